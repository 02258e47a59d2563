"""Tell everyone who listens that something happened. The only package that knows pluggy.

A plugin marks its functions with `hookimpl` and names the module (or object) that holds them in the entry-point group `tpb.hooks`.
"""

from tpb_core.hooks.facade import Hooks
from tpb_core.hooks.marks import hookimpl
from tpb_core.hooks.values import DoctorCheck, ReportColumn

__all__ = ["DoctorCheck", "Hooks", "ReportColumn", "hookimpl"]
