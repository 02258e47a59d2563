"""What becomes of a request before it runs: its token ids are found and checked, or it is rejected with a reason."""

from __future__ import annotations

from tpb_core.api import BadInput, Request
from tpb_engine_llamacpp.choice import Draw, StopStrings
from tpb_engine_llamacpp.loaded import Loaded
from tpb_engine_llamacpp.sequence import Sequence
from tpb_engine_llamacpp.tokens import LlamaTokenizer


class Rejected(Exception):
    """The request cannot be run on this engine as it was loaded."""


class Intake:
    """Makes sequences of requests."""

    def __init__(self, loaded: Loaded, tokenizer: LlamaTokenizer) -> None:
        self._loaded, self._tokenizer = loaded, tokenizer
        self._end_tokens = loaded.end_tokens()

    def sequence(self, request: Request, queued_ns: int) -> Sequence:
        """The request, ready to be placed. Raises `Rejected`."""
        sampling = request.sampling
        if sampling.n > 1 or sampling.beam_width > 1:
            raise Rejected("several sequences a request (n, beam_width) are not supported by engine llamacpp")
        if sampling.max_output_tokens < 1:
            raise Rejected(f"max_output_tokens is {sampling.max_output_tokens}")
        ids = self._ids(request)
        sequence = Sequence(
            request=request,
            ids=ids,
            end_tokens=frozenset() if sampling.exact_output_length else self._end_tokens,
            queued_ns=queued_ns,
            prefill_end=len(ids),
        )
        loaded = self._loaded
        if sequence.room > loaded.request_tokens:
            limit = (
                f"the KV cache holds {loaded.context_tokens} (engine.context_tokens)"
                if loaded.context_tokens < loaded.trained_context_tokens
                else f"the model's context is {loaded.trained_context_tokens}"
            )
            raise Rejected(f"{len(ids)} input and {sampling.max_output_tokens} output tokens do not fit: {limit}")
        if sampling.temperature > 0:
            sequence.draw = Draw(loaded, sampling, default_seed=request.request)
        if sampling.stop:
            sequence.stops = StopStrings(self._tokenizer, sampling.stop)
        return sequence

    def _ids(self, request: Request) -> list[int]:
        ids = request.input_ids
        if ids is None:
            try:
                if request.messages is not None:
                    ids = self._tokenizer.render_chat([request.messages])[0]
                else:
                    ids = self._tokenizer.encode([request.text or ""])[0]
            except BadInput as error:
                raise Rejected(error.what) from error
        if not ids:
            raise Rejected("there are no input tokens")
        if not 0 <= min(ids) <= max(ids) < self._loaded.vocab_size:
            raise Rejected(f"an input id is outside of the vocabulary (0 to {self._loaded.vocab_size - 1})")
        return list(ids)
