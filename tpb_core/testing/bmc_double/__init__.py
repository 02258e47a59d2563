"""Management controllers on loopback: OpenIPMI's `ipmi_sim` with a DCMI module and power sensors that follow files, and a Redfish service.

The real ipmitool and the real pyghmi speak to the first. It needs the Debian packages openipmi, ipmitool, libopenipmi-dev and gcc
(`.ci/install-debian-packages`); `ipmi_sim.what_is_missing()` names what is not there.
"""
