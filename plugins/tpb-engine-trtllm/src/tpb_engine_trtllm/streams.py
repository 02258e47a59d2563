"""Requests under way in the LLM API: one asyncio loop in a thread of its own follows their outputs and stamps them as they come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

from tpb_core.api import Request
from tpb_engine_openai.reporting_loop import ReportingLoop

_ABORT_PATIENCE_S = 10.0
"""Longest wait for the last word of a request that was given up."""


class Tokens(NamedTuple):
    """Output tokens that came together."""

    request: int
    t_ns: int
    ids: list[int]


class Ended(NamedTuple):
    """The end of a request. `reasons` and `outputs` (token ids) have one entry for each sequence."""

    request: Request
    submitted_ns: int
    t_ns: int
    status: str
    error: str
    reasons: list[str]
    outputs: list[list[int]]
    metrics: list[Any]
    """`request_perf_metrics` of each sequence, None where there is none."""
    cached_tokens: int | None


Report = Tokens | Ended


class Streams:
    """`submit`, `cancel`, `take`, `wait` and `close` are called by one thread; the rest happens in the loop's."""

    def __init__(self, llm: Any, now_ns: Callable[[], int], timeout_s: float) -> None:
        self._llm, self._now_ns, self._timeout_s = llm, now_ns, timeout_s
        self._promises: dict[int, tuple[Any, asyncio.Timeout]] = {}
        self._given_up: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._reporting: ReportingLoop[Report] = ReportingLoop("trtllm-streams", now_ns)
        self._loop = self._reporting.loop
        self.fileno, self.wait, self.take = self._reporting.fileno, self._reporting.wait, self._reporting.take

    # --- called by the engine --------------------------------------------------------------------------------------------------

    def submit(self, request: Request, ids: list[int], parameters: Any) -> None:
        """Begin a request; returns at once. Its end is reported whatever happens."""
        self._loop.call_soon_threadsafe(self._begin, request, ids, parameters)

    def cancel(self, request: int) -> None:
        """Give a request up. Nothing happens where it has ended."""
        self._loop.call_soon_threadsafe(self._give_up, request)

    def close(self) -> None:
        """Give everything up and end the thread. Idempotent."""
        self._reporting.close(self._stop, _ABORT_PATIENCE_S)

    # --- in the loop's thread --------------------------------------------------------------------------------------------------

    def _begin(self, request: Request, ids: list[int], parameters: Any) -> None:
        task = self._loop.create_task(self._run(request, ids, parameters))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, request: Request, ids: list[int], parameters: Any) -> None:
        submitted_ns = self._now_ns()
        try:
            promise = self._llm.generate_async(ids, sampling_params=parameters, streaming=True)
        except ValueError as error:  # what the LLM API refuses by itself: too long for max_seq_len or max_num_tokens
            self._end(request, submitted_ns, "rejected", _first_line(error))
            return
        except Exception as error:  # the executor is gone: plain RuntimeError and its like
            self._end(request, submitted_ns, "error", _first_line(error))
            return
        status, words = "ok", ""
        try:
            async with asyncio.timeout(self._timeout_s) as patience:
                self._promises[request.request] = (promise, patience)
                await self._follow(request.request, promise)
        except TimeoutError:
            status, words = "timeout", f"not answered within {self._timeout_s:g} s"
            promise.abort()
        except asyncio.CancelledError:
            promise.abort()
            raise
        except Exception as error:  # RequestError and whatever else the executor raises in us
            status, words = "error", _first_line(error)
        finally:
            self._promises.pop(request.request, None)
        if request.request in self._given_up and status != "error":
            status, words = "cancelled", "cancelled by the client"
        self._given_up.discard(request.request)
        self._end(request, submitted_ns, status, words, promise)

    async def _follow(self, number: int, promise: Any) -> None:
        """Stamp what comes. A response is of one sequence; the others still have their last `token_ids_diff`, so lengths are compared."""
        seen: dict[int, int] = {}
        async for answer in promise:
            t_ns = self._now_ns()
            fresh: list[int] = []
            for output in answer.outputs:
                ids = output.token_ids or []
                fresh += ids[seen.get(output.index, 0) :]
                seen[output.index] = len(ids)
            if fresh:
                self._reporting.report(Tokens(number, t_ns, fresh), wake=False)

    def _end(self, request: Request, submitted_ns: int, status: str, words: str, promise: Any = None) -> None:
        outputs = [] if promise is None else list(promise.outputs)
        cached = getattr(promise, "cached_tokens", None)
        self._reporting.report(
            Ended(
                request,
                submitted_ns,
                self._now_ns(),
                status,
                words,
                [str(output.finish_reason) for output in outputs],
                [list(output.token_ids or []) for output in outputs],
                [getattr(output, "request_perf_metrics", None) for output in outputs],
                cached if isinstance(cached, int) and cached >= 0 else None,
            ),
            wake=True,
        )

    def _give_up(self, number: int) -> None:
        if number in self._promises:
            promise, patience = self._promises[number]
            self._given_up.add(number)
            patience.reschedule(self._loop.time() + _ABORT_PATIENCE_S)
            promise.abort()

    async def _stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
