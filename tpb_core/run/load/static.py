"""`static`: B requests at a time. The next batch is due when the last one has ended."""

from __future__ import annotations

from typing import ClassVar

from tpb_core.run.load.shape import LoadShape, Send


class StaticShape(LoadShape):
    """Batches of `batch_size`; the last one may be smaller."""

    static_batch: ClassVar[bool] = True

    def __init__(self, total: int, batch_size: int) -> None:
        super().__init__(total, min(batch_size, total))
        self._batch_size = batch_size

    def due(self, now_ns: int) -> list[Send]:
        """The next batch, once nothing is under way."""
        if self.stopped or self.sent == self.total or self.ended < self.sent:
            return []
        batch = range(self.sent, min(self.sent + self._batch_size, self.total))
        self.sent = batch.stop
        return [Send(batch, now_ns)]
