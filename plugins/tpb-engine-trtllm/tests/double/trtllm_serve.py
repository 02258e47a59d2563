"""Stand-in for the program trtllm-serve, on the stand-in of the library: `python trtllm_serve.py MODEL --port N ...`.

Its routes are those of tensorrt_llm.serve.openai_server; unknown fields of a request are HTTP 400, as there. TRTLLM_SERVE_DOUBLE gives
JSON: `energy_w` (power behind /energy_metrics, null: 503), `missing` (paths that answer 404).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

FIELDS = {
    "model", "prompt", "messages", "max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k", "min_p",
    "repetition_penalty", "n", "seed", "stop",
    "ignore_eos", "min_tokens", "stream", "stream_options", "use_beam_search", "detokenize", "best_of",
}  # fmt: skip


class Server:
    """The LLM, its loop, and what waits to be read."""

    def __init__(self, model: str, arguments: dict[str, Any]) -> None:
        from tensorrt_llm import LLM
        from tensorrt_llm.llmapi import KvCacheConfig

        given = dict(arguments)
        given["kv_cache_config"] = KvCacheConfig(**given.get("kv_cache_config", {}))
        self.llm = LLM(model, **given)
        self.name = Path(model).name
        self.behaviour = json.loads(os.environ.get("TRTLLM_SERVE_DOUBLE", "{}"))
        self.begin_s = time.monotonic()
        self.records: deque[dict[str, Any]] = deque(maxlen=self.llm.args.perf_metrics_max_requests)
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def ids(self, body: dict[str, Any]) -> list[int]:
        prompt = body.get("prompt")
        if isinstance(prompt, list):
            return prompt
        if prompt is None:
            prompt = self.llm.tokenizer.apply_chat_template(body["messages"], tokenize=False, add_generation_prompt=True)
        return self.llm.tokenizer.encode(prompt)

    def sampling(self, body: dict[str, Any]) -> Any:
        from tensorrt_llm import SamplingParams

        limit = body.get("max_tokens") or body.get("max_completion_tokens") or 16
        given = {"max_tokens": limit, "ignore_eos": bool(body.get("ignore_eos")), "return_perf_metrics": self.llm.args.return_perf_metrics}
        if not body.get("temperature"):
            return SamplingParams(**given, top_k=1)
        return SamplingParams(**given, temperature=body["temperature"], top_p=body.get("top_p", 1.0), top_k=body.get("top_k", 0),
                              n=body.get("n", 1), seed=body.get("seed"))  # fmt: skip

    def note(self, output: Any) -> None:
        """A request has ended: its record is there before the last word of its answer is."""
        metrics = output.outputs[0].request_perf_metrics
        if metrics is None or not self.llm.args.perf_metrics_max_requests:
            return
        timing = metrics.timing_metrics
        names = ("arrival_time", "first_scheduled_time", "first_token_time", "last_token_time")
        self.records.append(
            {
                "request_id": output.request_id,
                "perf_metrics": {
                    "first_iter": 0, "last_iter": 0,
                    "timing_metrics": {"server_arrival_time": None, **{name: getattr(timing, name).total_seconds() for name in names}},
                    "kv_cache_metrics": vars(metrics.kv_cache_metrics),
                },
            }
        )  # fmt: skip


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_state: Server

    def log_message(self, *words: Any) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        state, path = self.server_state, self.path
        if path in state.behaviour.get("missing", ()):
            self._reply(404, {"detail": "Not Found"})
        elif path == "/health":
            self._reply(200, {})
        elif path == "/version":
            self._reply(200, {"version": "1.2.0"})
        elif path == "/v1/models":
            self._reply(200, {"object": "list", "data": [{"id": state.name, "object": "model", "owned_by": "tensorrt_llm"}]})
        elif path == "/metrics":
            self._reply(200, state.llm.get_stats(timeout=0.05) if state.llm.args.enable_iter_perf_stats else [])
        elif path == "/perf_metrics":
            records, state.records = state.records, deque(maxlen=state.records.maxlen)
            self._reply(200, list(records))
        elif path == "/steady_clock_offset":
            received = _steady()
            time.sleep(0.2)
            self._reply(200, {"receive_ts": received, "transmit_ts": _steady()})
        elif path == "/energy_metrics":
            watts = state.behaviour.get("energy_w")
            if watts is None:
                self._reply(503, {"error": "Energy monitoring is not available"})
            else:
                joules = round(watts * (time.monotonic() - state.begin_s), 4)
                self._reply(200, {"total_energy_j": joules, "query_time": time.perf_counter()})
        else:
            self._reply(404, {"detail": "Not Found"})

    def do_POST(self) -> None:
        state = self.server_state
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path not in ("/v1/completions", "/v1/chat/completions"):
            self._reply(404, {"detail": "Not Found"})
            return
        if foreign := sorted(set(body) - FIELDS):
            self._reply(400, {"object": "error", "message": f"Extra inputs are not permitted: {foreign}", "code": 400})
            return
        chat, stream = "chat" in self.path, bool(body.get("stream"))
        answers: asyncio.Queue[Any] = asyncio.Queue()
        task = asyncio.run_coroutine_threadsafe(self._generate(state, body, answers, chat), state.loop)

        def take() -> Any:
            return asyncio.run_coroutine_threadsafe(answers.get(), state.loop).result()

        try:
            self._answer(take, stream=stream)
        except (BrokenPipeError, ConnectionResetError):
            task.cancel()
            self.close_connection = True

    def _answer(self, take: Any, *, stream: bool) -> None:
        first = take()
        if isinstance(first, ValueError):
            self._reply(400, {"object": "error", "message": str(first), "code": 400})
            return
        if not stream:
            while first is not None and "whole" not in first:
                first = take()
            self._reply(200, first["whole"])
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while first is not None:
            if "whole" not in first:
                self._chunk(f"data: {json.dumps(first)}\n\n".encode())
            first = take()
        self._chunk(b"data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")

    async def _generate(self, state: Server, body: dict[str, Any], answers: Any, chat: bool) -> None:
        try:
            ids = state.ids(body)
            output = state.llm.generate_async(ids, sampling_params=state.sampling(body), streaming=True)
        except ValueError as error:
            await answers.put(error)
            return
        options, sent = body.get("stream_options") or {}, {}
        try:
            async for answer in output:
                for each in answer.outputs:
                    fresh = each.token_ids[sent.get(each.index, 0) :]
                    if not fresh:
                        continue
                    sent[each.index] = len(each.token_ids)
                    text = state.llm.tokenizer.decode(fresh, skip_special_tokens=True)
                    piece = {"delta": {"content": text}} if chat else {"text": text}
                    event: dict[str, Any] = {"choices": [{"index": each.index, "finish_reason": each.finish_reason, **piece}]}
                    if options.get("continuous_usage_stats"):
                        event["usage"] = _usage(len(ids), len(each.token_ids), 0)
                    await answers.put(event)
        except asyncio.CancelledError:
            output.abort()
            raise
        except RuntimeError as error:
            await answers.put({"error": {"message": str(error), "code": 500}})
            await answers.put(None)
            return
        usage = _usage(len(ids), sum(len(each.token_ids) for each in output.outputs), output.cached_tokens)
        state.note(output)
        if options.get("include_usage"):
            await answers.put({"choices": [], "usage": usage})
        texts = [state.llm.tokenizer.decode(each.token_ids, skip_special_tokens=True) for each in output.outputs]
        said = [{"message": {"content": text}} if chat else {"text": text} for text in texts]
        choices = [
            {"index": each.index, "finish_reason": each.finish_reason, **words} for each, words in zip(output.outputs, said, strict=True)
        ]
        await answers.put({"whole": {"choices": choices, "usage": usage}})
        await answers.put(None)

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n" % len(data) + data + b"\r\n")

    def _reply(self, status: int, document: Any) -> None:
        data = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _steady() -> float:
    from tensorrt_llm.double_settings import executor_now

    return executor_now().total_seconds()


def _usage(prompt: int, output: int, cached: int) -> dict[str, Any]:
    return {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output,
            "prompt_tokens_details": {"cached_tokens": cached}}  # fmt: skip


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--host", default="localhost")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--backend", choices=("pytorch", "tensorrt", "_autodeploy"), default="pytorch")
    parser.add_argument("--trust_remote_code", action="store_true")
    parser.add_argument("--extra_llm_api_options", "--config")
    words = parser.parse_args()
    arguments = json.loads(Path(words.extra_llm_api_options).read_text()) if words.extra_llm_api_options else {}
    Handler.server_state = Server(words.model, arguments)
    ThreadingHTTPServer.daemon_threads = True
    with ThreadingHTTPServer((words.host, words.port), Handler) as http:
        print(f"http://{words.host}:{http.server_address[1]}", flush=True)
        http.serve_forever()


if __name__ == "__main__":
    main()
