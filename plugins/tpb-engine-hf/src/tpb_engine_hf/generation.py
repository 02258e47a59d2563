"""Static batches through a Transformers `generate`, with a step log. Public: engines that wrap a Transformers model build on it.

A forward hook sees where each pass begins and how wide it is; a stopping criterion sees which tokens came out of it. A step lasts from
the end of the step before (at first: from the start of the batch) until its tokens are on the host. Reading the tokens waits for the
device, so that no further synchronisation is needed except between the pieces of a prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tpb_core.api import Clock, EngineSink, EventCode, Refused, Request, Sampling
from tpb_engine_hf.batch import Batch
from tpb_engine_hf.rows import CANCELLED, Row, rows_of, text_before_stop
from tpb_engine_hf.sampling import SeededSampling, is_seeded, native_settings, sequence_draws, shared_sampling
from tpb_engine_hf.tokens import HfTokenizer


@dataclass(frozen=True)
class SpecialIds:
    """Token ids with a meaning of their own."""

    end: frozenset[int]
    padding: int


@dataclass
class StaticBatches:
    """Runs batches on one model. `generate` is called with `input_ids`, `attention_mask`, `generation_config` and the usual lists."""

    model: Any
    generate: Callable[..., Any]
    tokenizer: HfTokenizer
    special: SpecialIds
    clock: Clock
    context_tokens: int | None = None
    """Longest input plus output of the model; None where it is not known."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Further arguments of `GenerationConfig`."""
    assistant: Any = None
    """A draft model, for assisted decoding."""
    beams: bool = True
    """Whether `generate` has beam search."""
    cancelled: Callable[[], Sequence[int]] = tuple
    """Requests that are to end early, asked after each step; not during a beam search, which shares its steps out among the beams."""

    @property
    def assisted(self) -> bool:
        """Whether tokens are drafted before they are computed."""
        return self.assistant is not None or bool(self.settings.get("prompt_lookup_num_tokens"))

    def run(self, requests: Sequence[Request], sink: EngineSink) -> None:
        """Run the requests together to their ends. A failure of the model ends those under way as `error`. Raises `Refused`."""
        shared = shared_sampling([request.sampling for request in requests])
        self._refuse(shared, requests)
        accepted, prompts = self._accept(requests, sink)
        if not accepted:
            return
        copies = shared.beam_width if shared.beam_width > 1 else shared.n
        rows = rows_of(accepted, prompts, self.special.end, copies)
        batch = Batch(
            rows,
            self.clock,
            sink,
            self.tokenizer.text,
            synchronize=self._synchronize(),
            assisted=self.assisted,
            beams=shared.beam_width > 1,
            cancelled=self.cancelled,
        )
        for request in accepted:
            sink.started(request.request, batch.started_ns)
        try:
            self._generate(batch, rows, accepted, prompts, shared)
        except RuntimeError as error:  # what torch raises: out of memory, a kernel that fails
            sink.event(EventCode.ENGINE_ERROR, f"{type(error).__name__}: {error}")
            batch.report()
            self._close(accepted, rows, sink, failure=f"{type(error).__name__}: {error}")
            return
        batch.report()
        self._close(accepted, rows, sink, failure=None)

    def _refuse(self, shared: Sampling, requests: Sequence[Request]) -> None:
        if shared.beam_width > 1 and not self.beams:
            raise Refused("This engine has no beam search.", "Set sampling.beam_width=1.")
        if not self.assisted:
            return
        if len(requests) > 1:
            raise Refused("Assisted decoding takes one request at a time.", "Set load.batch_size=1, or leave the draft model out.")
        if shared.n > 1 or shared.beam_width > 1 or any(request.sampling.stop for request in requests):
            raise Refused("Assisted decoding goes with neither several sequences nor beams nor stop strings.", "Leave the draft model out.")
        if shared.temperature > 0:
            raise Refused(
                "Assisted decoding draws tokens in a way of its own, so a temperature is not honoured exactly.",
                "Set sampling.temperature=0.",
            )

    def _accept(self, requests: Sequence[Request], sink: EngineSink) -> tuple[list[Request], list[list[int]]]:
        accepted, prompts = [], []
        for request in requests:
            ids = self.tokenizer.prompt_ids(request)
            needed = len(ids) + request.sampling.max_output_tokens
            if self.context_tokens is not None and needed > self.context_tokens:
                sink.failed(
                    request.request, self.clock.now_ns(), "rejected", f"input and output need {needed} tokens of {self.context_tokens}"
                )
                continue
            accepted.append(request)
            prompts.append(ids)
        return accepted, prompts

    def _synchronize(self) -> Callable[[], None]:
        import torch

        def nothing() -> None:
            return

        wait: Callable[[], None] = torch.cuda.synchronize if self.model.device.type == "cuda" else nothing
        return wait

    def _generate(self, batch: Batch, rows: list[Row], accepted: list[Request], prompts: list[list[int]], shared: Sampling) -> None:
        import torch
        from transformers import GenerationConfig
        from transformers.generation import LogitsProcessorList, StoppingCriteriaList

        beams = shared.beam_width > 1
        settings: dict[str, Any] = {
            "max_new_tokens": max(row.limit_tokens for row in rows),
            "pad_token_id": self.special.padding,
            "num_beams": 1,
        }
        if (beams or self.assisted) and not accepted[0].sampling.exact_output_length:
            settings["eos_token_id"] = sorted(self.special.end)  # these two crop at the end token themselves
        processors = LogitsProcessorList()
        if beams:
            settings |= {
                "num_beams": shared.beam_width,
                "num_return_sequences": shared.n,
                "return_dict_in_generate": True,
                "do_sample": False,
            }
        elif is_seeded([request.sampling for request in accepted]):
            samplings = {request.request: request.sampling for request in accepted}
            draws = [sequence_draws(samplings[row.request], row.sequence) for row in rows]
            processors.append(
                SeededSampling(shared, lambda: [d if row.ended is None else None for d, row in zip(draws, rows, strict=True)])
            )
            settings["do_sample"] = False
        else:
            settings |= native_settings(shared)
        if not beams:
            prompts = [row.prompt for row in rows]
        width = max(len(ids) for ids in prompts)
        ids = torch.tensor([[self.special.padding] * (width - len(prompt)) + prompt for prompt in prompts], device=self.model.device)
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=self.model.device)
        extra = {"assistant_model": self.assistant} if self.assistant is not None else {}
        with torch.inference_mode(), batch.watching(self.model, self.assistant):
            out = self.generate(
                input_ids=ids,
                attention_mask=mask,
                generation_config=GenerationConfig(**self.settings, **settings),
                logits_processor=processors,
                stopping_criteria=StoppingCriteriaList([batch]),
                **extra,
            )
            if beams:
                lengths = (out.beam_indices >= 0).sum(dim=1).tolist()
                outputs = [sequence[width : width + length] for sequence, length in zip(out.sequences.tolist(), lengths, strict=True)]
                batch.end_beams(outputs, shared.n)

    def _close(self, accepted: list[Request], rows: list[Row], sink: EngineSink, failure: str | None) -> None:
        now = self.clock.now_ns()
        for request in accepted:
            own = [row for row in rows if row.request == request.request and (row.output or row.ended)]
            if failure is not None and (not own or any(row.ended is None for row in own)):
                sink.failed(request.request, now, "error", failure)
                continue
            if any(row.ended == CANCELLED for row in own):
                sink.failed(request.request, now, CANCELLED, "cancelled on demand")
                continue
            texts = [text_before_stop(self.tokenizer.text(row.output), row.stop) for row in own]
            sink.finished(
                request.request,
                max((row.ended_ns for row in own if row.ended_ns is not None), default=now),
                "stop" if all(row.ended == "stop" for row in own) else "length",
                input_tokens=len(own[0].prompt),
                output_tokens=sum(len(row.output) for row in own),
                sequences=sum(row.request == request.request for row in rows),  # beams that gave no result were computed too
                text="\n".join(texts),
            )
