"""Stand-ins for DCGM at its three outer edges: the program `dcgmi`, a dcgm-exporter, and the Python bindings. All show one machine."""

from tpb_core.testing.dcgm_double.exporter import Exporter
from tpb_core.testing.dcgm_double.machine import DcgmGpu, DcgmMachine, GraceCpu
from tpb_core.testing.dcgm_double.program import BINDINGS, install_dcgmi

__all__ = ["BINDINGS", "DcgmGpu", "DcgmMachine", "Exporter", "GraceCpu", "install_dcgmi"]
