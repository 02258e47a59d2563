"""The requests of a run: prompts turned into token ids once, before anything is measured, with the sampling that all of them share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from tpb_core import drivers
from tpb_core.api.errors import BadInput, Refused
from tpb_core.api.prompts import Prompt, PromptContext, PromptsConfig, PromptSource
from tpb_core.api.requests import Request, Sampling
from tpb_core.config.schema import Point, SamplingOptions
from tpb_core.run.engine_client import EngineClient


@dataclass
class RequestPlan:
    """Prompts with their token ids. `request(i)` begins again where there are fewer prompts than requests."""

    prompts: list[Prompt]
    sampling: Sampling
    run_id: str
    notes: list[str]
    inputs: str
    """`token_ids`, or `text` where the engine does its own tokenizing."""

    def request(self, ordinal: int, position: int) -> Request:
        """The request with ordinal `ordinal` of the run, made from prompt number `position`."""
        prompt = self.prompts[position % len(self.prompts)]
        sampling = self.sampling
        if prompt.output_tokens is not None:
            sampling = replace(sampling, max_output_tokens=prompt.output_tokens)
        if sampling.seed is not None:
            sampling = replace(sampling, seed=sampling.seed + ordinal)
        return Request(
            request=ordinal,
            request_id=f"{self.run_id}-{ordinal}",
            sampling=sampling,
            input_ids=prompt.input_ids,
            text=prompt.text if prompt.input_ids is None else None,
            messages=prompt.messages if prompt.input_ids is None else None,
            prompt_id=prompt.prompt_id,
            conversation_id=prompt.conversation_id,
            turn=prompt.turn,
        )

    def conversations(self, count: int) -> list[list[int]]:
        """The positions of the first `count` requests, those of a conversation together in the order of its turns.

        A prompt without a conversation is one of its own; prompts that begin again begin their conversations again.
        """
        found: dict[tuple[int, str], list[int]] = {}
        for position in range(count):
            cycle, place = divmod(position, len(self.prompts))
            prompt = self.prompts[place]
            own = prompt.conversation_id if prompt.conversation_id is not None else f"\0{place}"
            found.setdefault((cycle, own), []).append(position)
        turn = [prompt.turn if prompt.turn is not None else place for place, prompt in enumerate(self.prompts)]
        return [sorted(positions, key=lambda position: turn[position % len(turn)]) for positions in found.values()]


def plan_requests(
    options: dict[str, Any], sampling: SamplingOptions, count: int, seed: int, engine: EngineClient, run_id: str
) -> RequestPlan:
    """Draw at most `count` prompts and tokenise them by the engine's tokenizer. Raises `BadInput` where there are none."""
    source_class = drivers.load("tpb.prompts", options["name"])
    capabilities = engine.capabilities
    context = PromptContext(seed=seed, tokenizer=engine if capabilities.tokenizer else None)
    source: PromptSource[PromptsConfig] = source_class(source_class.config_class(**options), context)
    prompts = list(source.prompts(count))
    if not prompts:
        raise BadInput(f"prompt source {options['name']!r} gave no prompt")
    as_ids = capabilities.tokenizer and capabilities.token_input
    if as_ids:
        _tokenise(prompts, engine)
    elif any(prompt.input_ids is not None for prompt in prompts):
        raise Refused(
            f"prompt source {options['name']!r} gives token ids and this engine takes text only",
            "Choose another prompt source, for example prompts=builtin",
        )
    return RequestPlan(prompts, _sampling(sampling, seed), run_id, source.notes(), "token_ids" if as_ids else "text")


def _tokenise(prompts: list[Prompt], engine: EngineClient) -> None:
    texts = [prompt for prompt in prompts if prompt.input_ids is None and prompt.text is not None]
    chats = [prompt for prompt in prompts if prompt.input_ids is None and prompt.messages is not None]
    for prompt, ids in zip(texts, engine.encode([prompt.text or "" for prompt in texts]) if texts else [], strict=True):
        prompt.input_ids = ids
    for prompt, ids in zip(chats, engine.render_chat([prompt.messages or [] for prompt in chats]) if chats else [], strict=True):
        prompt.input_ids = ids
    for prompt in prompts:
        if not prompt.input_ids:
            raise BadInput(f"prompt {prompt.prompt_id!r} has no tokens", "Leave out empty prompts.")


def longest_request_tokens(point: Point) -> int | None:
    """The longest input plus output of a point, for engines that are loaded with room for it; None where its prompt source cannot know."""
    source_class = drivers.load("tpb.prompts", point.prompts["name"])
    source: PromptSource[PromptsConfig] = source_class(source_class.config_class(**point.prompts), PromptContext(seed=point.run.seed))
    return source.longest_request_tokens(point.load.requests, point.sampling.max_output_tokens)


def _sampling(options: SamplingOptions, seed: int) -> Sampling:
    if options.max_output_tokens < 1:
        raise BadInput(f"sampling.max_output_tokens={options.max_output_tokens}: at least 1 is needed")
    return Sampling(
        max_output_tokens=options.max_output_tokens,
        exact_output_length=options.exact_output_length,
        temperature=options.temperature,
        top_p=options.top_p,
        top_k=options.top_k,
        n=options.n,
        beam_width=options.beam_width,
        seed=seed if options.temperature > 0 else None,
        stop=tuple(options.stop),
    )


def check_capabilities(engine: EngineClient, sampling: SamplingOptions, *, static_batch: bool, max_concurrency: int, name: str) -> bool:
    """Whether the load runs as static batches on this engine. Raises `Refused` for what the engine cannot do, before it is loaded."""
    capabilities = engine.capabilities
    wanted = _sampling(sampling, 0).features()
    able = capabilities.sampling | ({"exact_output_length"} if capabilities.exact_output_length else set())
    if missing := sorted(wanted - able):
        raise Refused(
            f"engine {name!r} cannot do sampling.{', sampling.'.join(missing)} exactly as asked",
            "Leave the option out, or choose an engine that can; `tpb plugins show` lists what each can do.",
        )
    if static_batch and capabilities.static_batch:
        return True
    if capabilities.concurrent_streams:
        return False
    if capabilities.static_batch and max_concurrency == 1:
        return True
    raise Refused(
        f"engine {name!r} runs static batches only and this load needs requests that join and leave at any time", "Type load=static"
    )
