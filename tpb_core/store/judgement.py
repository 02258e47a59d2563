"""How many requests ended well and kept to latency targets: counted once for tables, SQL and recommendations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tpb_core.api.codes import Reason
from tpb_core.store.targets import Answered, Target, keeps


@dataclass(frozen=True)
class Judgement:
    """`met[i]` of `judged` requests met target i, `good` met all; a failed request met none.

    `reason`: why requests cannot be judged (no stamps of first tokens, no requests); `good` and `met` are 0 then.
    """

    judged: int
    good: int
    met: tuple[int, ...]
    reason: Reason | None = None

    def meets(self, targets: Sequence[Target]) -> bool:
        """Whether every target is met by as many requests as its percentile asks for."""
        return self.reason is None and all(self.meets_each(targets))

    def meets_each(self, targets: Sequence[Target]) -> list[bool]:
        """The same, target by target."""
        return [met * 100 >= target.percent * self.judged for met, target in zip(self.met, targets, strict=True)]


def judge(answers: Iterable[Answered], targets: Sequence[Target]) -> Judgement:
    """Hold requests against targets."""
    kept = [[keeps(answer, target) for target in targets] for answer in answers]
    nothing = (0,) * len(targets)
    if not kept:
        return Judgement(0, 0, nothing, Reason.NO_REQUESTS)
    if any(None in each for each in kept):
        return Judgement(len(kept), 0, nothing, Reason.NO_TOKEN_STAMPS)
    return Judgement(len(kept), sum(all(each) for each in kept), tuple(sum(map(bool, column)) for column in zip(*kept, strict=True)))
