"""For authors of plugins: conformance suites, and stand-ins for the hardware and services that plugins talk to.

`meter_suite` certifies a meter, `engine_suite` an engine; `sysfs_tree` keeps powercap and hwmon trees moving; `pytest_plugin` adds the
option `--tpb-live`. Import the modules directly; nothing is imported here, because pytest loads this package in every session.
"""
