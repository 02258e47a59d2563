"""vLLM as an engine of tpb, offline and served. Importing this imports neither torch nor vllm."""

from tpb_engine_vllm.config import TuningOptions, VllmConfig, VllmServeConfig
from tpb_engine_vllm.engine import VllmEngine
from tpb_engine_vllm.serve import VllmServeEngine

__all__ = ["TuningOptions", "VllmConfig", "VllmEngine", "VllmServeConfig", "VllmServeEngine"]
