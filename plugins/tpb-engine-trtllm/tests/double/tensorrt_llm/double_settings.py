"""How the stand-in behaves, and its steady clock. Tests change `SETTINGS`; whole runs give JSON in the environment (TRTLLM_DOUBLE)."""

import json
import os
import time
from dataclasses import dataclass, fields
from datetime import timedelta


@dataclass
class Settings:
    """Times in seconds."""

    step_s: float = 0.004
    prefill_token_s: float = 0.0002
    executor_clock_s: float = 0.0
    """The executor's steady clock minus CLOCK_MONOTONIC."""
    binding: bool = True
    """`tensorrt_llm.bindings.steady_clock_now` is there; it reads the clock of this process, which is right."""
    timestamps: bool = True
    zone_s: float = 0.0
    """The executor's local time minus ours."""
    reuses_anyway: int = 0
    """Blocks reused although block reuse is off."""
    fails_after: int | None = None
    """The executor dies after so many tokens of a request."""
    ends_with: str | None = None
    """Finish reason of every request, whatever it did."""
    leaves_ranks: bool = False
    """`shutdown` forgets the processes of further ranks."""
    loses_statistics: int = 0
    """Every so manieth row is not given."""
    natural_tokens: int = 12

    @classmethod
    def read(cls) -> "Settings":
        given = json.loads(os.environ.get("TRTLLM_DOUBLE", "{}"))
        return cls(**given)

    def reset(self) -> None:
        for one in fields(self):
            setattr(self, one.name, one.default)


SETTINGS = Settings.read()


def executor_now() -> timedelta:
    """The steady clock of the executor's process."""
    return timedelta(microseconds=time.monotonic_ns() // 1000) + timedelta(seconds=SETTINGS.executor_clock_s)
