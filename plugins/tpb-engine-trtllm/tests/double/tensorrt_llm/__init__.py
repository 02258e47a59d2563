"""Stand-in for the package tensorrt_llm: its public names and signatures, and an executor that makes tokens up at a known pace."""

from tensorrt_llm.llm import LLM
from tensorrt_llm.sampling_params import SamplingParams

__all__ = ["LLM", "SamplingParams", "__version__"]
__version__ = "1.2.0"
