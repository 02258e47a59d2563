"""TensorRT-LLM for tpb: the LLM API and `trtllm-serve` as engines, its energy counter as a meter. Importing this loads no library."""

from tpb_engine_trtllm.config import TrtllmConfig, TrtllmServeConfig
from tpb_engine_trtllm.energy_meter import TrtllmEnergyConfig, TrtllmEnergyMeter
from tpb_engine_trtllm.engine import TrtllmEngine
from tpb_engine_trtllm.serve_engine import TrtllmServeEngine

__all__ = ["TrtllmConfig", "TrtllmEnergyConfig", "TrtllmEnergyMeter", "TrtllmEngine", "TrtllmServeConfig", "TrtllmServeEngine"]
