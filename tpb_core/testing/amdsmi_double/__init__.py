"""A stand-in for the Python module `amdsmi`, with the signatures of version 7.0.2, over a machine that a test describes."""

from tpb_core.testing.amdsmi_double.machine import MODULES, AmdGpu, AmdMachine

__all__ = ["MODULES", "AmdGpu", "AmdMachine"]
