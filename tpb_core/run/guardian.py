"""What the sampler does when its parent pipe closes without a word, because the session was killed.

End the engine, put devices back, finish the bundle.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from tpb_core.api.codes import EventCode
from tpb_core.run.sampler import Sampler
from tpb_core.run.transport import end_process_group
from tpb_core.store.finish import finish_bundle


def take_over(sampler: Sampler, engine_groups: Iterable[int], bundle: Path) -> None:
    """Runs in the sampler process. Whatever fails, the next thing is still tried: the engine first, since it costs energy."""
    for group in engine_groups:
        end_process_group(group)
    sampler.event(EventCode.SESSION_LOST, "the session process vanished; the sampler ended the engine and finished the bundle", None)
    with contextlib.suppress(OSError):  # a full disk: finish_bundle keeps what was flushed
        sampler.stop()
    finish_bundle(bundle, status="partial", status_reason=str(EventCode.SESSION_LOST))
