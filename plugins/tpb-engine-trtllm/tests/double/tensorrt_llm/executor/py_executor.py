"""Stand-in for the PyTorch executor: in-flight batching in a thread, with or without overlap, and statistics of each iteration."""

import threading
import time
from datetime import datetime, timedelta
from typing import Any

from tensorrt_llm.double_settings import SETTINGS, executor_now
from tensorrt_llm.executor.batch import Running, Sequence
from tensorrt_llm.executor.result import IterationResult


class PyExecutor:
    """`enqueue`, `abort`, `shutdown` are called from outside; the rest is the thread's."""

    def __init__(self, args: Any, *, stamps_at_end: bool = False) -> None:
        self._args, self._stamps_at_end = args, stamps_at_end
        self._overlap = not getattr(args, "disable_overlap_scheduler", True)
        self._waiting: list[Running] = []
        self._active: list[Running] = []
        self._known: set[tuple[int, ...]] = set()
        self._condition = threading.Condition()
        self._stopped = False
        self._iteration = self._ids = self._rows = 0
        self._iter_stats_result = IterationResult(args.iter_stats_max_iterations or 1000)
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._thread.start()

    def enqueue(self, request: Running) -> None:
        self._iter_stats_result.mark_undone()
        with self._condition:
            self._waiting.append(request)
            self._condition.notify()

    def abort(self, number: int) -> None:
        with self._condition:
            for request in self._waiting + self._active:
                if request.number == number:
                    request.cancelled = True

    def shutdown(self) -> None:
        with self._condition:
            self._stopped = True
            self._condition.notify()
        self._thread.join()

    def _loop(self) -> None:
        pending = None
        while True:
            with self._condition:
                while not (self._waiting or self._active or pending or self._stopped):
                    self._condition.wait()
                if self._stopped:
                    return
                self._admit()
            batch = self._launch()
            if batch is not None:
                time.sleep(SETTINGS.step_s + SETTINGS.prefill_token_s * batch["context_tokens"])
            if not self._overlap:
                self._process(batch)
                continue
            self._process(pending)
            pending = batch

    def _admit(self) -> None:
        most = self._args.max_batch_size or 2048
        while self._waiting and len(self._active) < most:
            request = self._waiting.pop(0)
            if self._args.kv_cache_config.enable_block_reuse:
                self._reuse(request)
            self._active.append(request)

    def _reuse(self, request: Running) -> None:
        size = self._args.kv_cache_config.tokens_per_block
        starts = [tuple(request.ids[:end]) for end in range(size, len(request.ids), size)]
        known = [start for start in starts if start in self._known]
        request.cached = len(known[-1]) if known else 0
        for sequence in request.sequences:
            sequence.prefilled = request.cached
        self._known.update(starts)

    def _launch(self) -> dict[str, Any] | None:
        """Schedule one iteration: decoding sequences first, then prompts, in chunks where that is asked for."""
        sequences = [sequence for request in self._active for sequence in request.sequences if sequence.launchable]
        if not sequences:
            return None
        started, now, room = executor_now(), datetime.now(), self._args.max_num_tokens or 8192
        batch: dict[str, Any] = {"timestamp": now, "begin_s": time.perf_counter(), "context_tokens": 0, "context_kv": 0, "chunks": 0,
                                 "decoding": [], "ready": []}  # fmt: skip
        for sequence in sequences:
            if not sequence.in_prefill:
                batch["decoding"].append(sequence)
                batch["ready"].append(sequence)
                sequence.launched += 1
        for sequence in sequences:
            if sequence.in_prefill and sequence not in batch["ready"]:
                left = len(sequence.request.ids) - sequence.prefilled
                width = min(left, room - batch["context_tokens"]) if self._args.enable_chunked_prefill else left
                if width <= 0:
                    continue
                batch["chunks"] += 1
                batch["context_tokens"] += width
                batch["context_kv"] += sequence.prefilled
                sequence.prefilled += width
                if not sequence.in_prefill:
                    batch["ready"].append(sequence)
                    sequence.launched += 1
        for sequence in sequences:
            sequence.request.first_scheduled = sequence.request.first_scheduled or started
        return batch

    def _process(self, batch: dict[str, Any] | None) -> None:
        if batch is None:
            return
        with self._condition:
            for sequence in batch["ready"]:
                sequence.request.take(sequence)
            self._iteration += 1
            if getattr(self._args, "enable_iter_perf_stats", True):
                self._give_statistics(batch)
            self._active = [request for request in self._active if not request.complete]

    def _give_statistics(self, batch: dict[str, Any]) -> None:
        self._rows += 1
        if SETTINGS.loses_statistics and self._rows > 8 and self._rows % SETTINGS.loses_statistics == 0:
            return
        stamp = (datetime.now() if self._stamps_at_end else batch["timestamp"]) + timedelta(seconds=SETTINGS.zone_s)
        row: dict[str, Any] = {
            "timestamp": stamp.strftime("%m-%d-%Y %H:%M:%S.%f") if SETTINGS.timestamps else "",
            "iter": self._iteration,
            "iterLatencyMS": 1e3 * (time.perf_counter() - batch["begin_s"]),
            "newActiveRequestsQueueLatencyMS": 0.0, "numNewActiveRequests": 0, "numActiveRequests": len(self._active),
            "numQueuedRequests": len(self._waiting), "numCompletedRequests": 0, "maxNumActiveRequests": 2048,
            "gpuMemUsage": 1, "cpuMemUsage": 0, "pinnedMemUsage": 0,
            "kvCacheStats": {"maxNumBlocks": 100, "freeNumBlocks": 50, "usedNumBlocks": 50, "tokensPerBlock": 32, "allocTotalBlocks": 0,
                             "allocNewBlocks": 0, "reusedBlocks": 0, "missedBlocks": 0, "cacheHitRate": 0.0},
            "staticBatchingStats": {"numScheduledRequests": 0, "numContextRequests": 0, "numCtxTokens": 0, "numGenTokens": 0,
                                    "emptyGenSlots": 0},
            "inflightBatchingStats": {
                "numScheduledRequests": len(batch["decoding"]) + batch["chunks"], "numContextRequests": batch["chunks"],
                "numGenRequests": len(batch["decoding"]), "numPausedRequests": 0, "numCtxTokens": batch["context_tokens"],
                "microBatchId": 0, "avgNumDecodedTokensPerIter": 0.0, "numCtxKvTokens": batch["context_kv"],
            },
            "specDecodingStats": None, "attentionDpRank": 0,
            "schedulerMode": "overlap" if self._overlap else "non_overlap",
        }  # fmt: skip
        if getattr(self._args, "enable_iter_req_stats", False):
            states = [self._state(request, sequence) for request in self._active for sequence in request.sequences]
            row |= {"requestStats": states} if states else {}
        self._iter_stats_result.put(row)

    def _state(self, request: Running, sequence: Sequence) -> dict[str, Any]:
        under_way = "CONTEXT_IN_PROGRESS" if sequence.in_prefill else "GENERATION_IN_PROGRESS"
        return {
            "id": request.executor_id + sequence.index,
            "stage": "GENERATION_COMPLETE" if request.complete else under_way,
            "contextPrefillPosition": sequence.prefilled, "numGeneratedTokens": len(sequence.output), "avgNumDecodedTokensPerIter": 1.0,
            "scheduled": True, "paused": False, "disServingStats": None, "allocTotalBlocksPerRequest": 0, "allocNewBlocksPerRequest": 0,
            "reusedBlocksPerRequest": 0, "missedBlocksPerRequest": 0, "kvCacheHitRatePerRequest": 0.0,
        }  # fmt: skip
