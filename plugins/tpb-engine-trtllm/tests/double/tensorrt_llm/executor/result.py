"""Stand-in for tensorrt_llm.executor.result: outputs as they are handed to callers, and the statistics' queue with its one-shot end."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import Empty, Queue
from typing import Any

from tensorrt_llm.executor.utils import RequestError


@dataclass(slots=True)
class CompletionOutput:
    index: int
    text: str = ""
    token_ids: list[int] | None = field(default_factory=list)
    cumulative_logprob: float | None = None
    logprobs: list[Any] | None = field(default_factory=list)
    prompt_logprobs: list[Any] | None = field(default_factory=list)
    finish_reason: str | None = None
    stop_reason: int | str | None = None
    generation_logits: Any = None
    disaggregated_params: Any = None
    request_perf_metrics: Any = None
    _last_token_ids_len: int = field(default=0, init=False, repr=False)

    @property
    def length(self) -> int:
        return len(self.token_ids)

    @property
    def token_ids_diff(self) -> list[int]:
        """Of the last response that was about this sequence: stale while responses are about others."""
        return self.token_ids[self._last_token_ids_len :]


class RequestOutput:
    """Made by `generate_async` only."""

    def __init__(self) -> None:
        raise RuntimeError("RequestOutput is made by the executor")

    @classmethod
    def _made(cls, number: int, ids: list[int], sampling: Any, abort: Callable[[int], None]) -> "RequestOutput":
        made = cls.__new__(cls)
        made.request_id, made.prompt, made.prompt_token_ids = number, None, ids
        made.outputs = [CompletionOutput(index) for index in range(sampling.n)]
        made.context_logits, made.finished, made.cached_tokens = None, False, 0
        made._abort, made._aborted = abort, False
        made._queue = asyncio.Queue()
        made._loop = asyncio.get_running_loop()
        return made

    def abort(self) -> None:
        self._abort(self.request_id)
        self._aborted = True

    def aborted(self) -> bool:
        return self._aborted

    def _put(self, response: tuple[Any, ...]) -> None:
        """From the executor's thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._queue.put_nowait, response)

    def __aiter__(self) -> "RequestOutput":
        return self

    async def __anext__(self) -> "RequestOutput":
        if self.finished:
            raise StopAsyncIteration
        response = await self._queue.get()
        if response[0] == "error":
            raise RequestError(response[1])
        _, sequence, ids, reason, final, metrics, cached = response
        output = self.outputs[sequence]
        output._last_token_ids_len = len(output.token_ids)
        output.token_ids.extend(ids)
        output.finish_reason, output.request_perf_metrics, self.cached_tokens = reason, metrics, cached
        self.finished = final
        return self

    async def aresult(self) -> "RequestOutput":
        async for _ in self:
            pass
        return self


class IterationResult:
    """What `get_stats` reads. Once it was found empty it stays shut until requests are submitted again."""

    def __init__(self, most: int) -> None:
        self._done = False
        self.queue: Queue[str] = Queue()
        self._most = most

    def mark_undone(self) -> None:
        self._done = False

    def put(self, row: dict[str, Any]) -> None:
        if self.queue.qsize() >= self._most:
            self.queue.get_nowait()
        self.queue.put(json.dumps(row))

    def get_results(self, timeout: float | None) -> list[dict[str, Any]]:
        results = []
        while not self._done:
            try:
                results.append(json.loads(self.queue.get(timeout=timeout)))
            except Empty:
                self._done = True
        return results
