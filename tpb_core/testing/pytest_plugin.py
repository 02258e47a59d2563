"""The pytest option `--tpb-live`: conformance suites also run against the real hardware and services of this machine.

Registered by tpb-core's `pytest11` entry point; imports nothing of tpb, because pytest loads it in every session.
"""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--tpb-live`."""
    group = parser.getgroup("tpb", "conformance suites of tpb")
    group.addoption(
        "--tpb-live", action="store_true", default=False, help="also run the live tier: real sensors, real services, nothing simulated"
    )
