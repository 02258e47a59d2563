"""The engine interface: load a model, run requests, report tokens and steps. Implementations live in the engine worker process."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from tpb_core.api.clock import Clock
from tpb_core.api.codes import EventCode
from tpb_core.api.options import option
from tpb_core.api.requests import Request, Step
from tpb_core.api.versions import ENGINE_INTERFACE


@dataclass
class EngineConfig:
    """Options that every engine has. A plugin's config class extends it."""

    name: str = option("???", help="entry-point name of the engine")
    python: str | None = option(
        None,
        help="interpreter that runs the engine worker, or the name of an environment made by `tpb env create`; "
        "`own`: the environment of the engine's name (default: this one)",
    )
    model: str | None = option(None, help="model: a path or a name that the engine understands")
    prefix_cache: bool = option(False, help="let the engine reuse the KV cache of equal prompt beginnings")
    start_timeout_s: float = option(900.0, help="longest time that loading may take", unit="s")


@dataclass(frozen=True)
class Capabilities:
    """What an engine can do. The core adapts to it, or refuses by name; it never pretends."""

    static_batch: bool = False
    """`run_batch`: a batch starts together and decodes together, prefill and decode in separate steps."""
    batch_cancel: bool = False
    """A static batch goes on without requests that `EngineContext.cancelled` names; without it a batch that takes too long ends the run."""
    concurrent_streams: bool = False
    """`submit`, `advance`, `cancel`: requests join and leave at any time."""
    step_log: bool = False
    step_members: bool = False
    token_stamps: bool = True
    exact_output_length: bool = False
    prefix_cache_control: bool = False
    tokenizer: bool = False
    token_input: bool = False
    """Takes `Request.input_ids`."""
    served: bool = False
    """The model runs in other processes, or on another host; the worker only talks to them, and its CPU time is the load client's."""
    virtual_time: bool = False
    """A simulated engine: runs on a virtual clock inside the session process."""
    sampling: frozenset[str] = frozenset()
    """Of `Sampling.features()`, those that the engine honours exactly."""


@dataclass
class EngineDescription:
    """What was loaded, for the manifest key `engine`. Everything in it is what *is*, not what was asked for, except `requested`."""

    name: str
    version: str
    model: dict[str, Any] = field(default_factory=dict)
    """`name`, `revision`, `total_parameters`, `active_parameters`, `layers`, `heads`, `context_tokens`, where known."""
    dtype: str | None = None
    quantization: str | None = None
    tokenizer: dict[str, Any] = field(default_factory=dict)
    requested: dict[str, Any] = field(default_factory=dict)
    effective: dict[str, Any] = field(default_factory=dict)
    """Options as the engine really uses them; a key in both with another value is reported as `options_differ`."""
    prefix_cache: bool | None = None
    instances: list[dict[str, Any]] = field(default_factory=lambda: [{"instance": "0", "role": "mixed", "node": "n0", "devices": []}])
    step_log: dict[str, Any] = field(default_factory=lambda: {"available": False, "members": False, "reason": "no_step_log"})
    extensions: dict[str, Any] = field(default_factory=dict)


class Tokenizer(Protocol):
    """The engine's own tokenizer. Prompt sources reach it through the worker protocol, so calls take many texts at once."""

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, without special tokens added."""

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """Texts of each list of token ids."""

    def render_chat(self, conversations: Sequence[Sequence[dict[str, Any]]]) -> list[list[int]]:
        """Token ids of each conversation under the model's chat template, with the opening of the answer. Raises `BadInput` without one."""


class EngineSink(Protocol):
    """Where an engine reports. All times are on the run clock. Calls are cheap; the worker does the writing."""

    def started(self, request: int, t_ns: int, queued_ns: int | None = None) -> None:
        """The engine began to compute a request; `queued_ns` is when the engine itself accepted it."""

    def tokens(self, request: int, t_ns: int, count: int, ids: Sequence[int] = ()) -> None:
        """`count` output tokens of a request came out together at `t_ns`."""

    def first_token(self, request: int, t_ns: int) -> None:
        """The first output came at `t_ns`, from a server that does not say how many tokens it sends when; `tokens` is not called then."""

    def finished(
        self,
        request: int,
        t_ns: int,
        reason: str,
        *,
        input_tokens: int | None,
        output_tokens: int | None,
        cached_tokens: int | None = 0,
        sequences: int = 1,
        preemptions: int | None = 0,
        text: str | None = None,
    ) -> None:
        """A request ended well. `reason` is `stop` or `length`; counts are of token ids, by the engine; None where it does not say."""

    def failed(self, request: int, t_ns: int, status: str, error: str) -> None:
        """A request ended with `error`, `timeout`, `cancelled` or `rejected`; what it cost stays in the ledger."""

    def step(self, step: Step) -> None:
        """One iteration is over."""

    def window(self, name: str, t0_ns: int, t1_ns: int) -> None:
        """A stretch of the engine's start that deserves its own window (`compile`)."""

    def event(self, code: EventCode, message: str, request: int | None = None) -> None:
        """Something that belongs in events.parquet."""


@dataclass
class EngineContext:
    """What the core tells an engine about the run."""

    clock: Clock
    run_id: str
    node: str = "n0"
    max_concurrency: int = 1
    """The most requests that the load shape will have under way at once (batch size, concurrency)."""
    max_context_tokens: int | None = None
    """The longest input plus output that the load needs, where it is known before loading."""
    log_path: str | None = None
    """Where an engine that starts a server puts its log."""
    cancelled: Callable[[], Sequence[int]] = tuple
    """Requests that are to end early, since the last call: `run_batch` asks between steps, where `Capabilities.batch_cancel`."""
    extras: dict[str, Any] = field(default_factory=dict)


E_co = TypeVar("E_co", bound=EngineConfig, covariant=True)


class Engine(ABC, Generic[E_co]):
    """One engine. Built and used by one thread of the engine worker process.

    Order of calls: `check` (by `tpb doctor`, no instance), then `open`, `tokenizer` at any time after it, `run_batch` or
    `prepare`/`submit`/`advance`, `settle` when a load is over, `reset_caches` between repeats that keep the worker, `close`
    (idempotent, works after a failed `open`).
    Module import must be light; load the engine's library in `check` or `open`.
    """

    interface_version: ClassVar[str] = ENGINE_INTERFACE
    config_class: ClassVar[type[EngineConfig]] = EngineConfig
    capabilities: ClassVar[Capabilities] = Capabilities()
    """What the engine can do at best; `own_capabilities` is what this one can."""

    def __init__(self, config: E_co, context: EngineContext) -> None:
        self.config = config
        self.context = context

    @classmethod
    def check(cls) -> str:
        """The version of the engine's library in this interpreter. Raises `Unavailable` with what to type where it does not work."""
        raise NotImplementedError

    def own_capabilities(self) -> Capabilities:
        """What this very engine can do: with these options before `open`, with what was found (a server) after it."""
        return self.capabilities

    @abstractmethod
    def open(self, sink: EngineSink) -> EngineDescription:
        """Load the model. Raises `BadInput` (no such model), `Unavailable`, `Refused`."""

    def tokenizer(self) -> Tokenizer:
        """The tokenizer, where `capabilities.tokenizer`."""
        raise NotImplementedError

    def run_batch(self, requests: Sequence[Request], sink: EngineSink) -> None:
        """Run the requests together to their ends; returns when the last is finished. All prefill comes before any decode."""
        raise NotImplementedError

    def prepare(self, requests: Sequence[Request]) -> None:
        """Do what can be done for requests before they are due, in a gap of the load: `submit` gets the same objects later, or never.

        What was prepared and not submitted is forgotten in `settle`.
        """

    def submit(self, requests: Sequence[Request], sink: EngineSink) -> None:
        """Accept requests; returns at once. `rejected` requests are reported to the sink."""
        raise NotImplementedError

    def advance(self, sink: EngineSink, until_ns: int) -> bool:
        """Do one iteration (or wait for background work until `until_ns` at the latest) and report it. False where nothing is under way."""
        raise NotImplementedError

    def report_fd(self) -> int | None:
        """Readable while `advance` has an end of a request to report, for engines whose work goes on in the background.

        The worker then waits for it and for messages at once, so that requests are sent on time and no core is kept busy waiting.
        """
        return None

    def cancel(self, requests: Sequence[int], sink: EngineSink) -> None:
        """End requests early; they are reported as `cancelled`."""
        raise NotImplementedError

    def settle(self, sink: EngineSink) -> None:
        """Report what is still to come of requests that have ended: steps that an engine tells late. Nothing is under way then.

        Called when a load is over, outside of what is measured, and allowed a few seconds.
        """

    def reset_caches(self) -> bool:
        """Forget cached prompts. False where the engine cannot."""
        return False

    def processes(self) -> list[int]:
        """Process ids beside this one that work for the engine (a server it started)."""
        return []

    def close(self) -> None:
        """Free the model, end child processes. Idempotent."""
