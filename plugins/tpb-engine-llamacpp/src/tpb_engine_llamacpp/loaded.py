"""A loaded model with its context: the handles of llama.cpp and what they really are."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Any

from tpb_core.api import BadInput, EngineContext, Reason, Refused, Unavailable
from tpb_engine_llamacpp.config import FLASH_ATTENTION, KV_TYPES, LlamaCppConfig
from tpb_engine_llamacpp.native_log import LOG

DEFAULT_REQUEST_TOKENS = 2048
CACHED_PROMPTS = 16
"""Sequences beside the running ones that may keep prompts for reuse, where the prefix cache is on."""


def load_library() -> Any:
    """The low-level bindings (module `llama_cpp.llama_cpp`). Raises `Unavailable` where they are absent or do not load."""
    try:
        import llama_cpp.llama_cpp as lib
    except ModuleNotFoundError as error:
        raise Unavailable(
            f"llama-cpp-python is not installed in this interpreter ({error.name} is missing).",
            reason=Reason.NOT_INSTALLED,
            fix="Install it (a C++ compiler is needed):  pip install llama-cpp-python",
        ) from error
    except (ImportError, OSError, RuntimeError) as error:
        raise Unavailable(
            f"llama-cpp-python is installed but does not load: {error}",
            reason=Reason.UNSUPPORTED,
            fix="Build it again on this machine:  pip install --force-reinstall --no-cache-dir llama-cpp-python",
        ) from error
    return lib


class Loaded:
    """Model, context and KV memory. `close` frees them; it may be called at any time and more than once."""

    def __init__(self, lib: Any, path: Path, config: LlamaCppConfig, context: EngineContext) -> None:
        """Load the file and make the context. Raises `BadInput` (file, option) and `Refused` (no memory, an impossible combination)."""
        self.lib, self.path = lib, path
        self.model: Any = None
        self.context: Any = None
        self._check(config)
        lib.llama_backend_init()
        self.model = lib.llama_model_load_from_file(os.fsencode(path), self._model_params(config))
        if not self.model:
            reasons = [line for line in LOG.errors() if "failed to load model" not in line] or LOG.errors()
            raise BadInput(
                f"the model file {path} cannot be loaded: {reasons[-1] if reasons else 'llama.cpp does not say why'}",
                "Fetch the file again if it is incomplete; a model of a newer kind needs a newer llama-cpp-python.",
            )
        self.vocab = lib.llama_model_get_vocab(self.model)
        self.vocab_size: int = lib.llama_vocab_n_tokens(self.vocab)
        self.trained_context_tokens: int = lib.llama_model_n_ctx_train(self.model)
        self._refuse_unsuitable(config)
        self.context = lib.llama_init_from_model(self.model, self._context_params(config, context))
        if not self.context:
            self.close()
            errors = LOG.errors()
            raise Refused(
                f"llama.cpp cannot make a context for {path.name}: {errors[-1] if errors else 'it does not say why'}",
                "Lower  engine.context_tokens , or use  engine.kv_type_v=f16  without flash attention.",
            )
        self.memory = lib.llama_get_memory(self.context)
        self.context_tokens: int = lib.llama_n_ctx(self.context)
        self.batch_tokens: int = lib.llama_n_batch(self.context)
        self.sequences: int = lib.llama_n_seq_max(self.context)
        self.request_tokens = min(self.context_tokens, self.trained_context_tokens)
        """The most input and output tokens that one request may have."""

    def close(self) -> None:
        """Free context and model. Idempotent."""
        if self.context:
            self.lib.llama_free(self.context)
            self.context = None
        if self.model:
            self.lib.llama_model_free(self.model)
            self.model = None

    def metadata(self, key: str) -> str | None:
        """A value of the GGUF header as text."""
        size = 1 << 10
        buffer = ctypes.create_string_buffer(size)
        length = self.lib.llama_model_meta_val_str(self.model, key.encode(), buffer, size)
        if length >= size:
            buffer = ctypes.create_string_buffer(length + 1)
            length = self.lib.llama_model_meta_val_str(self.model, key.encode(), buffer, length + 1)
        return None if length < 0 else buffer.value.decode("utf-8", "replace")

    def end_tokens(self) -> frozenset[int]:
        """The ids that end a generation by themselves (EOS, EOT and their like)."""
        return frozenset(token for token in range(self.vocab_size) if self.lib.llama_vocab_is_eog(self.vocab, token))

    def _check(self, config: LlamaCppConfig) -> None:
        for name in ("kv_type_k", "kv_type_v"):
            if getattr(config, name) not in KV_TYPES:
                raise BadInput(f"engine.{name}={getattr(config, name)} is not known.", f"It is one of: {', '.join(KV_TYPES)}")
        for name in ("threads", "threads_batch", "batch_tokens", "micro_batch_tokens", "context_tokens"):
            value = getattr(config, name)
            if value is not None and value < 1:
                raise BadInput(f"engine.{name}={value} is too small.", "Give at least 1.")

    def _refuse_unsuitable(self, config: LlamaCppConfig) -> None:
        lib = self.lib
        if (
            not lib.llama_model_has_decoder(self.model)
            or lib.llama_model_has_encoder(self.model)
            or lib.llama_model_is_diffusion(self.model)
        ):
            self.close()
            raise Refused(f"{self.path.name} is not a decoder-only language model; engine llamacpp runs no other kind.")
        if config.prefix_cache and (lib.llama_model_is_recurrent(self.model) or lib.llama_model_is_hybrid(self.model)):
            self.close()
            raise Refused(
                f"{self.path.name} is a recurrent model, whose state cannot be shared by prefix.", "Leave out  engine.prefix_cache=true"
            )

    def _model_params(self, config: LlamaCppConfig) -> Any:
        params = self.lib.llama_model_default_params()
        if config.gpu_layers is not None:
            params.n_gpu_layers = config.gpu_layers
        params.load_mode = self.lib.LLAMA_LOAD_MODE_MMAP if config.mmap else self.lib.LLAMA_LOAD_MODE_NONE
        return params

    def _context_params(self, config: LlamaCppConfig, context: EngineContext) -> Any:
        params = self.lib.llama_context_default_params()
        most = self.lib.llama_max_parallel_sequences()
        if context.max_concurrency > most:
            self.close()
            raise Refused(f"llama.cpp runs at most {most} sequences at once; the load wants {context.max_concurrency}.", "Lower the load.")
        wanted = context.max_concurrency + (CACHED_PROMPTS if config.prefix_cache else 0)
        params.n_seq_max = min(wanted, most)
        params.n_ctx = config.context_tokens or self._default_context_tokens(config, context)
        params.n_batch, params.n_ubatch = config.batch_tokens, min(config.micro_batch_tokens, config.batch_tokens)
        params.n_threads = config.threads or usable_cores()
        params.n_threads_batch = config.threads_batch or params.n_threads
        params.flash_attn_type = FLASH_ATTENTION[config.flash_attention]
        params.type_k, params.type_v = KV_TYPES[config.kv_type_k], KV_TYPES[config.kv_type_v]
        params.kv_unified = True  # one pool of cells, so that requests of any length share it
        params.n_outputs_max = params.n_seq_max  # a step asks for one row of logits a sequence
        return params

    def _default_context_tokens(self, config: LlamaCppConfig, context: EngineContext) -> int:
        each = min(context.max_context_tokens or DEFAULT_REQUEST_TOKENS, self.trained_context_tokens)
        return each * context.max_concurrency * (2 if config.prefix_cache else 1)


def usable_cores() -> int:
    """Physical cores among the CPUs that this process may run on: a second thread on a core slows matrix products down."""
    cpus = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    cores = set()
    for cpu in cpus:
        siblings = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        try:
            cores.add(siblings.read_text().strip())
        except OSError:
            cores.add(str(cpu))
    return len(cores) or 1
