"""Stand-in for tensorrt_llm._tensorrt_engine: the LLM class that runs built engine files."""

from tensorrt_llm.llm import _TrtLLM as LLM

__all__ = ["LLM"]
