"""Options of the simulated engine: its physics by name, its batching, its layout."""

from __future__ import annotations

from dataclasses import dataclass

from tpb_core.api import EngineConfig, option


@dataclass
class SimEngineConfig(EngineConfig):
    """Options of engine `sim`. The defaults are roughly an 8B model in 16 bit on one H100, run without graph capture."""

    name: str = option("sim", help="entry-point name of the engine")
    cost: str = option(
        "affine",
        help="cost model: what steps take in time and energy; `affine` is what attributors fit, the others lie outside",
        choices=("affine", "roofline", "attention", "power_cap", "experts", "warming"),
    )
    cost_parameters: dict[str, float] = option(
        {}, help="numbers of the cost model to replace, by name (seconds.busy, static.loaded_w, cap_w)"
    )
    layout: str = option("single", help="how instances lie on devices", choices=("single", "data_parallel", "pipeline", "disaggregated"))
    devices: int = option(1, help="simulated GPUs", unit="devices")
    max_sequences: int | None = option(None, help="most sequences in a continuous batch (default: what the load needs)", unit="requests")
    chunk_tokens: int = option(
        512, help="most tokens of a step under continuous batching: longer prompts are computed in chunks", unit="tokens"
    )
    batch_tokens: int = option(16384, help="most prompt tokens of one prefill pass of a static batch", unit="tokens")
    mixed_steps: bool = option(True, help="prefill chunks and decode share steps under continuous batching")
    padding: bool = option(False, help="static batches pad prompts to the longest and keep finished sequences until the batch is done")
    kv_tokens: int | None = option(
        None, help="room in the KV cache; when it runs out, sequences are preempted and recomputed", unit="tokens"
    )
    context_tokens: int = option(131072, help="longest input plus output; requests beyond are rejected", unit="tokens")
    drafts: int = option(0, help="tokens drafted for each sequence and step (speculative decoding); 0 is off", unit="tokens")
    draft_cost: float = option(
        0.0, help="cost of a draft model's pass relative to the model's; 0: drafts come without a model of their own"
    )
    acceptance: float = option(0.7, help="probability that a drafted token is accepted where all before it were")
    host_gap_ms: float = option(0.0, help="pause of an instance between two steps", unit="ms")
    host_lag_ms: float = option(0.0, help="mean time until the host sees that a step has ended", unit="ms")
    asynchronous: bool = option(False, help="steps are dispatched while the one before runs, so that host stamps overlap")
    transfer_ms: float = option(2.0, help="time that a KV cache takes from a prefill to a decode instance", unit="ms")
    jitter: float = option(0.01, help="relative spread of the time and of the energy of steps with the same work")
    natural_tokens: float = option(48.0, help="median output length where end-of-sequence tokens end a request", unit="tokens")
    load_s: float = option(2.0, help="simulated time that loading takes", unit="s")
    truth: bool = option(True, help="keep the true energy of every step for x_truth.parquet (memory grows with the run)")
    seed: int | None = option(
        None, help="seed of jitter, accepted drafts, host lag (default: from the run, so that repeats differ) and of lengths"
    )
