"""`Sampling` as Transformers takes it: exactly, or refused. Seeds are honoured for each sequence on its own, whatever the batch."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from tpb_core.api import Refused, Sampling

SEED_STRIDE = 1_000_003
"""Keeps the seeds of a request's sequences apart from those of requests with neighbouring seeds."""


def shared_sampling(samplings: Sequence[Sampling]) -> Sampling:
    """The one way of choosing tokens that all requests of a batch share; lengths, seeds and stop strings may differ.

    Raises `Refused` where they do not share one, or for a combination that has no exact counterpart.
    """
    first = samplings[0]
    for other in samplings[1:]:
        for name in ("temperature", "top_p", "top_k", "n", "beam_width"):
            if getattr(other, name) != getattr(first, name):
                raise Refused(
                    f"Requests that run together ask for different values of sampling.{name}; Transformers has one for a whole batch.",
                    "Run them as separate points, or one at a time with load.batch_size=1.",
                )
    if first.beam_width > 1:
        if first.temperature > 0:
            raise Refused(
                "Beam search with a temperature means something else on every engine.",
                "Set sampling.temperature=0 or sampling.beam_width=1.",
            )
        if first.n > first.beam_width:
            raise Refused(
                f"Beam search of width {first.beam_width} has no {first.n} results.", "Set sampling.n to at most sampling.beam_width."
            )
        if any(sampling.stop for sampling in samplings):
            raise Refused(
                "Transformers does not end a beam at a stop string exactly.", "Leave sampling.stop empty or set sampling.beam_width=1."
            )
        if len({(sampling.max_output_tokens, sampling.exact_output_length) for sampling in samplings}) > 1:
            raise Refused(
                "Beam search gives all requests of a batch the same length limit.", "Use one output length, or load.batch_size=1."
            )
    return first


def is_seeded(samplings: Sequence[Sampling]) -> bool:
    """Whether tokens are drawn and a seed says how."""
    return any(sampling.temperature > 0 and sampling.seed is not None for sampling in samplings)


def native_settings(sampling: Sampling) -> dict[str, Any]:
    """Arguments of `GenerationConfig` that make Transformers draw tokens itself (no seed)."""
    if sampling.temperature <= 0:
        return {"do_sample": False}
    return {"do_sample": True, "temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k}


def sequence_draws(sampling: Sampling, sequence: int) -> random.Random:
    """The random numbers of one sequence. Without a seed they differ from run to run."""
    if sampling.seed is None:
        return random.Random()
    return random.Random(sampling.seed * SEED_STRIDE + sequence)


class SeededSampling:
    """A logits processor that draws each row's token from that row's own random numbers.

    Temperature, top-k and top-p are Transformers' own warpers, in its order. The token is the one at which the cumulative probability
    passes a uniform draw (inverse transform sampling), one draw a token; all other scores become minus infinity, so that the arg max
    that follows picks it. `rows` gives the draws of the first rows of scores, None for rows that are of no interest; further rows
    (requests whose prompt is not complete) are of no interest either.
    """

    supports_continuous_batching = True

    def __init__(self, sampling: Sampling, rows: Callable[[], Sequence[random.Random | None]]) -> None:
        from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

        self._rows = rows
        self._warpers: list[Any] = []
        if sampling.temperature != 1.0:
            self._warpers.append(TemperatureLogitsWarper(float(sampling.temperature)))
        if sampling.top_k > 0:
            self._warpers.append(TopKLogitsWarper(sampling.top_k))
        if sampling.top_p < 1.0:
            self._warpers.append(TopPLogitsWarper(sampling.top_p))

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Scores (rows, vocabulary) in, scores of the same shape out."""
        import torch

        for warp in self._warpers:
            scores = warp(input_ids, scores)
        draws = [0.0 if row is None else row.random() for row in self._rows()]
        draws += [0.0] * (scores.shape[0] - len(draws))
        cumulative = torch.softmax(scores, dim=-1, dtype=torch.float32).cumsum(dim=-1)
        points = torch.tensor(draws, dtype=torch.float32, device=scores.device).unsqueeze(1) * cumulative[:, -1:]
        tokens = torch.searchsorted(cumulative, points, right=True).clamp_(max=scores.shape[-1] - 1)
        return torch.full_like(scores, -torch.inf).scatter_(1, tokens, 0.0)
