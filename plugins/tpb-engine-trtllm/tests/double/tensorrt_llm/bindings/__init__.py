"""Stand-in for the compiled bindings: the steady clock of this process."""

import time
from datetime import timedelta

from tensorrt_llm.double_settings import SETTINGS

if SETTINGS.binding:

    def steady_clock_now() -> timedelta:
        """std::chrono::steady_clock, which is CLOCK_MONOTONIC on Linux."""
        return timedelta(microseconds=time.monotonic_ns() // 1000)
