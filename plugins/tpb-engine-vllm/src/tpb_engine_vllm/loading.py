"""Start vLLM's engine with its core in this process, and end it. Imports torch and vllm."""

from __future__ import annotations

import difflib
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from multiprocessing import resource_tracker
from typing import Any

from tpb_core.api import BadInput, Clock, Reason, Refused, TpbError, Unavailable
from tpb_engine_hf.source import ModelSource
from tpb_engine_vllm.arguments import engine_arguments
from tpb_engine_vllm.config import VllmConfig
from tpb_engine_vllm.library import default_kv_cache_bytes
from tpb_engine_vllm.models import model_argument

_FIX = "Check the options, engine.args among them; the whole error is in worker.log in the run's folder."

_one_is_open = False


@dataclass
class Started:
    """A running engine, and when it compiled and captured graphs (ns of the run clock; None where it did not)."""

    engine: Any
    compiled: tuple[int, int] | None


@contextmanager
def _explained(model: str) -> Iterator[None]:
    try:
        yield
    except TpbError:
        raise
    except ImportError as error:
        raise Unavailable(f"vLLM needs a library for {model} that is not installed: {error}", reason=Reason.NOT_INSTALLED) from error
    except (OSError, ValueError, TypeError, KeyError, NotImplementedError) as error:
        raise BadInput(f"vLLM does not take {model} with these options: {_first_line(error)}", _FIX) from error
    except Exception as error:  # no memory, no device, failed checks, errors of vLLM's own
        raise Refused(f"vLLM could not start with {model}: {_first_line(error)}", _FIX) from error


def _first_line(error: BaseException) -> str:
    """The line of an error that says what is wrong; pydantic puts a heading above it."""
    lines = [line.strip() for line in str(error).strip().splitlines()] or [type(error).__name__]
    return lines[1] if len(lines) > 1 and "validation error" in lines[0] else lines[0]


def start(config: VllmConfig, source: ModelSource, clock: Clock) -> Started:
    """Load the model. Raises `BadInput`, `Refused` and `Unavailable`, with nothing left behind."""
    global _one_is_open
    if _one_is_open:
        raise Refused("This process has a vLLM engine already, and vLLM's process groups are one set for a process.", "Close it first.")
    arguments = engine_arguments(config, model_argument(source), default_kv_cache_bytes())
    with _explained(source.label):
        import torch
        from vllm import EngineArgs, LLMEngine
        from vllm.usage.usage_lib import UsageContext
        from vllm.v1.executor.abstract import Executor

        _check_names(config, {field.name for field in fields(EngineArgs)})
        if config.threads is not None:  # a library that was loaded before does not look at the environment again
            torch.set_num_threads(config.threads)
        try:
            told = EngineArgs(**arguments).create_engine_config(UsageContext.ENGINE_CONTEXT)
            stages = Stages(clock)
            engine = LLMEngine(
                vllm_config=told,
                executor_class=stages.watch(Executor.get_class(told)),
                log_stats=True,
                usage_context=UsageContext.ENGINE_CONTEXT,
                multiprocess_mode=False,
            )
        except BaseException:
            _clean_up()
            raise
    _one_is_open = True
    # the scheduler keeps its stamps of requests; what vLLM would count, print and export of each step is work that nobody reads
    engine.logger_manager = None
    if not engine.output_processor.tracing_enabled:  # spans are made of these counts
        engine.log_stats = engine.output_processor.log_stats = False
        engine.engine_core.engine_core.scheduler.make_stats = _no_statistics
    compiles = not told.model_config.enforce_eager and stages.times
    return Started(engine, (stages.times[0], stages.times[-1]) if compiles else None)


def _no_statistics(*arguments: Any, **keywords: Any) -> None:
    """In place of `Scheduler.make_stats`."""


def _check_names(config: VllmConfig, known: set[str]) -> None:
    for name in config.args:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3)
            raise BadInput(
                f"engine.args holds {name}, which is no engine argument of this version of vLLM.",
                f"Did you mean {', '.join(near)}?" if near else "The names are those of vllm.EngineArgs.",
            )


class Stages:
    """Notes when an executor profiles, compiles and captures graphs: from before the first until after the last of these calls."""

    CALLS = ("determine_available_memory", "compile_or_warm_up_model")

    def __init__(self, clock: Clock) -> None:
        self.times: list[int] = []
        self._clock = clock

    def watch(self, executor: type) -> type:
        """The same executor class with these calls timed."""

        def timed(name: str) -> Any:
            def call(own: Any, *arguments: Any, **keywords: Any) -> Any:
                self.times.append(self._clock.now_ns())
                try:
                    return getattr(executor, name)(own, *arguments, **keywords)
                finally:
                    self.times.append(self._clock.now_ns())

            return call

        return type(executor.__name__, (executor,), {name: timed(name) for name in self.CALLS})


def stop(engine: Any) -> None:
    """End the engine and its worker processes and give the memory back."""
    global _one_is_open
    _one_is_open = False
    engine.engine_core.shutdown()
    _clean_up()
    # Python's own helper for the memory that worker processes share would stay as long as this process
    resource_tracker._resource_tracker._stop()  # type: ignore[attr-defined]  # no public way to end it


def _clean_up() -> None:
    from vllm.distributed import cleanup_dist_env_and_memory
    from vllm.envs import disable_envs_cache

    cleanup_dist_env_and_memory()
    disable_envs_cache()
    gc.unfreeze()
    gc.collect()
