"""Stand-in for tensorrt_llm.llmapi.llm: the LLM classes with their published signatures."""

import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

from tensorrt_llm.double_settings import SETTINGS
from tensorrt_llm.executor.batch import Running
from tensorrt_llm.executor.py_executor import PyExecutor
from tensorrt_llm.executor.result import RequestOutput
from tensorrt_llm.llmapi.llm_args import TorchLlmArgs, TrtLlmArgs
from tensorrt_llm.sampling_params import SamplingParams

FORGOTTEN: list[Any] = []
"""Ranks that nobody ended."""
TEMPLATE_START, TEMPLATE_END = "<|user|>", "<|assistant|>"


class ByteTokenizer:
    """As `TransformersTokenizer`: a token is a byte, moved by three for the special tokens."""

    name_or_path = "byte-tokenizer"
    eos_token_id = 2
    pad_token_id = 0

    def encode(self, text: str, add_special_tokens: bool = True, **kwargs: Any) -> list[int]:
        return [1] * add_special_tokens + [byte + 3 for byte in text.encode()]

    def decode(self, token_ids: list[int], skip_special_tokens: bool = False, **kwargs: Any) -> str:
        return bytes(token - 3 for token in token_ids if token >= 3).decode("utf-8", "replace")

    def apply_chat_template(self, conversation: list[dict[str, Any]], *, tokenize: bool = True, add_generation_prompt: bool = False) -> Any:
        if any(message["role"] not in ("user", "assistant", "system") for message in conversation):
            raise ValueError("roles must be user, assistant, system")
        text = "".join(f"{TEMPLATE_START}{message['content']}" for message in conversation) + TEMPLATE_END * add_generation_prompt
        return self.encode(text) if tokenize else text


class BaseLLM:
    args_class: type = TorchLlmArgs
    stamps_at_end = False

    def __init__(
        self,
        model: str | Path,
        tokenizer: Any = None,
        tokenizer_mode: str = "auto",
        skip_tokenizer_init: bool = False,
        trust_remote_code: bool = False,
        tensor_parallel_size: int = 1,
        dtype: str = "auto",
        revision: str | None = None,
        tokenizer_revision: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.args = self.args_class(
            model=model, tokenizer=tokenizer, tokenizer_mode=tokenizer_mode, skip_tokenizer_init=skip_tokenizer_init,
            trust_remote_code=trust_remote_code, tensor_parallel_size=tensor_parallel_size, dtype=dtype, revision=revision,
            tokenizer_revision=tokenizer_revision, **kwargs,
        )  # fmt: skip
        if not Path(model).is_dir():
            raise OSError(f"{model} is not a local folder and is not a valid model identifier listed on 'https://huggingface.co/models'")
        self._ranks = [subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) for _ in range(tensor_parallel_size - 1)]
        self._tokenizer = ByteTokenizer()
        self._numbers = itertools.count(1)
        self._executor: PyExecutor | None = PyExecutor(self.args, stamps_at_end=self.stamps_at_end)

    @property
    def tokenizer(self) -> ByteTokenizer:
        return self._tokenizer

    @property
    def llm_id(self) -> str:
        return "double"

    def generate_async(
        self,
        inputs: Any,
        sampling_params: SamplingParams | None = None,
        lora_request: Any = None,
        prompt_adapter_request: Any = None,
        streaming: bool = False,
        kv_cache_retention_config: Any = None,
        disaggregated_params: Any = None,
    ) -> RequestOutput:
        assert self._executor is not None, "LLM is shutting down"
        sampling = sampling_params or SamplingParams()
        if not isinstance(inputs, list) or not all(isinstance(token, int) for token in inputs):
            raise ValueError(f"The inputs must be type str or list of int, but got {type(inputs)}")
        longest = self.args.max_seq_len or 4096
        if len(inputs) + sampling.max_tokens > longest:
            raise ValueError(
                f"The sum of prompt length ({len(inputs)}) and max_tokens ({sampling.max_tokens}) should not exceed max_seq_len ({longest})"
            )
        number = next(self._numbers)
        output = RequestOutput._made(number, list(inputs), sampling, self._executor.abort)
        self._executor.enqueue(Running(number, 2048 + 64 * number, list(inputs), sampling, output))
        return output

    def get_stats(self, timeout: float | None = 2) -> list[dict[str, Any]]:
        assert self._executor is not None
        return self._executor._iter_stats_result.get_results(timeout)

    def shutdown(self) -> None:
        if self._executor is not None:
            self._executor.shutdown()
            self._executor = None
        if SETTINGS.leaves_ranks:
            FORGOTTEN.extend(self._ranks)
            return
        for rank in self._ranks:
            rank.kill()
            rank.wait()


class _TorchLLM(BaseLLM):
    pass


class LLM(_TorchLLM):
    pass


class _TrtLLM(BaseLLM):
    args_class = TrtLlmArgs
    stamps_at_end = True
