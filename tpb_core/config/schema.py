"""The options that belong to the core: run, sampling, load shapes, latency targets, output. Plain dataclasses, one noun each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tpb_core.api.options import MISSING, option


@dataclass
class RunOptions:
    """What belongs to every point of a study and not to its load shape."""

    repeats: int = option(1, help="measurements of each point", minimum=1)
    order: str = option("random", help="order of points and repeats", choices=("random", "sequential", "abba"))
    seed: int = option(0, help="seed of everything that is drawn: order, prompts, arrivals, sampling")
    isolation: str = option(
        "process",
        help="`process`: a fresh engine worker for each run; `engine`: keep it while only the load changes",
        choices=("process", "engine"),
    )
    idle_s: float = option(
        5.0,
        help="idle time with the model loaded, before and after the measurement; skipped where no sensor is readable",
        unit="s",
        minimum=0,
    )
    idle_bare_s: float = option(0.0, help="idle time before the engine starts", unit="s", minimum=0)
    warmup_rounds: int = option(
        3, help="most warm-up rounds; fewer once two rounds in a row take the same time within 10 %", unit="rounds", minimum=0
    )
    request_timeout_s: float = option(600.0, help="a request that takes longer is cancelled", unit="s", minimum=0)
    max_duration_s: float | None = option(None, help="the measurement ends after this time whatever is left", unit="s", minimum=0)
    gate_s: float = option(
        0.0, help="before the engine starts, wait until every device was idle, cool and steady for this long; 0 is off", unit="s"
    )
    gate_timeout_s: float = option(900.0, help="the run begins after this time all the same, and says that the gate did not open", unit="s")
    until_ci: str | None = option(
        None, help="add repeats until the 95 % interval of J per output token is within this share, for example 2%"
    )
    max_repeats: int = option(20, help="most repeats of a point under run.until_ci")
    until_saturated: str | None = option(
        None, help="end the study at the point that raises the throughput over the one before by less than this share, for example 5%"
    )
    client_cores: str | None = option(
        None, help="cores for the load client and the sampler, for example 0-1; the engine keeps all cores (default: nothing is pinned)"
    )
    power_limit_w: float | None = option(None, help="power limit of every GPU of the run, set for the run and put back after it", unit="W")
    lock_clock_mhz: int | None = option(None, help="compute clock of every GPU of the run, locked for the run", unit="MHz")
    rerun: bool = option(False, help="measure points again that are finished already")
    keep_texts: bool = option(False, help="store the output texts in the bundle")


@dataclass
class SamplingOptions:
    """How output tokens are chosen; the same on every engine, or refused."""

    max_output_tokens: int = option(64, help="most output tokens of a request", unit="tokens", minimum=1)
    exact_output_length: bool = option(True, help="end-of-sequence tokens do not end a request, so that all have the same length")
    temperature: float = option(0.0, help="0 is greedy", minimum=0)
    top_p: float = option(1.0, help="nucleus sampling; 1 is off", minimum=0)
    top_k: int = option(0, help="0 is off", minimum=0)
    n: int = option(1, help="sequences a request", minimum=1)
    beam_width: int = option(1, help="1 is no beam search", minimum=1)
    stop: list[str] = option([], help="strings that end a request")


@dataclass
class LoadConfig:
    """Options that every load shape has."""

    name: str = option(MISSING, help="name of the load shape")
    requests: int = option(32, help="measured requests", unit="requests", minimum=1)


@dataclass
class StaticLoad(LoadConfig):
    """B requests at a time: a batch starts together, the next one starts when all are finished."""

    name: str = option("static", help="name of the load shape")
    batch_size: int = option(4, help="requests a batch", unit="requests", minimum=1)


@dataclass
class ClosedLoad(LoadConfig):
    """N concurrent users: each sends its next request when the last one is answered."""

    name: str = option("closed", help="name of the load shape")
    concurrency: int = option(4, help="users", unit="requests", minimum=1)
    think_time_s: float = option(0.0, help="pause of a user between an answer and the next request", unit="s", minimum=0)


@dataclass
class OfflineLoad(LoadConfig):
    """All requests at once; the engine batches as it likes."""

    name: str = option("offline", help="name of the load shape")
    max_concurrency: int = option(64, help="sequences that the engine is told to make room for", unit="requests", minimum=1)


@dataclass
class OpenLoad(LoadConfig):
    """Options of the shapes that send on a schedule, whatever the answers do."""

    duration_s: float | None = option(None, help="send for this long instead of a number of requests", unit="s")
    max_concurrency: int = option(64, help="sequences that the engine is told to make room for", unit="requests")


@dataclass
class ConstantLoad(OpenLoad):
    """One request every 1/rate seconds."""

    name: str = option("constant", help="name of the load shape")
    rate: float = option(1.0, help="requests a second", unit="1/s")


@dataclass
class PoissonLoad(OpenLoad):
    """Independent arrivals at a mean rate."""

    name: str = option("poisson", help="name of the load shape")
    rate: float = option(1.0, help="mean requests a second", unit="1/s")


@dataclass
class GammaLoad(OpenLoad):
    """Arrivals with gamma-distributed gaps."""

    name: str = option("gamma", help="name of the load shape")
    rate: float = option(1.0, help="mean requests a second", unit="1/s")
    burstiness: float = option(1.0, help="shape of the gaps: 1 is Poisson, below 1 in bursts, above 1 more regular")


@dataclass
class RampLoad(OpenLoad):
    """Independent arrivals at a rate that grows (or falls) linearly."""

    name: str = option("ramp", help="name of the load shape")
    rate: float = option(0.5, help="mean requests a second at the start", unit="1/s")
    end_rate: float = option(4.0, help="mean requests a second at the end", unit="1/s")
    duration_s: float | None = option(60.0, help="length of the ramp", unit="s")


@dataclass
class TraceLoad(OpenLoad):
    """Arrival times as the prompt source gives them."""

    name: str = option("trace", help="name of the load shape")
    rate_scale: float = option(1.0, help="2 replays the trace twice as fast")


LOADS: dict[str, type[LoadConfig]] = {
    "static": StaticLoad,
    "closed": ClosedLoad,
    "offline": OfflineLoad,
    "constant": ConstantLoad,
    "poisson": PoissonLoad,
    "gamma": GammaLoad,
    "ramp": RampLoad,
    "trace": TraceLoad,
}


@dataclass
class SloOptions:
    """Latency targets of a request. One that ended well and kept to all of them is good. They judge a run; they do not change it."""

    ttft_ms: float | None = option(None, help="longest good time to first token, from when the request was due", unit="ms", minimum=1e-6)
    tpot_ms: float | None = option(
        None, help="longest good time per output token after the first, mean of a request", unit="ms", minimum=1e-6
    )
    e2e_ms: float | None = option(None, help="longest good time from due to finished", unit="ms", minimum=1e-6)
    percentile: float = option(95.0, help="the run meets a target when this share of its requests does", unit="%", minimum=1e-6)


@dataclass
class OutOptions:
    """Where results go. Never part of a point's hash."""

    dir: str = option("runs", help="folder of bundles and database")
    database: str | None = option(None, help="database file (default: tpb.duckdb in out.dir)")


@dataclass(frozen=True)
class Point:
    """One composed point: what a session needs to measure it. Options of plugins are plain dicts, checked against their schema."""

    engine: dict[str, Any]
    meters: dict[str, dict[str, Any]]
    prompts: dict[str, Any]
    attributors: list[dict[str, Any]]
    load: LoadConfig
    sampling: SamplingOptions
    run: RunOptions
    out: OutOptions
    choices: dict[str, Any]
    """Choice of each group, for example `{"engine": "llamacpp", "meter": ["rapl"], "meter_auto": True, "load": "static"}`."""
    config: dict[str, Any]
    """The whole composed configuration as JSON values, secrets redacted."""
    point: str
    """Hash of the configuration without `out`, repeats and stop rules."""
    overrides: list[str] = field(default_factory=list)
    """What the user typed for this point, for tables."""
