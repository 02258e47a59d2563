"""`offline`: everything at once; the engine batches as it likes."""

from __future__ import annotations

from tpb_core.run.load.shape import LoadShape, Send


class OfflineShape(LoadShape):
    """One send of all requests."""

    def __init__(self, total: int, max_concurrency: int) -> None:
        super().__init__(total, min(max_concurrency, total))

    def due(self, now_ns: int) -> list[Send]:
        """All requests, the first time."""
        if self.stopped or self.sent:
            return []
        self.sent = self.total
        return [Send(range(self.total), now_ns)]
