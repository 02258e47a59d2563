"""Engine plugin of tpb for DeepSpeed inference. Imports neither torch nor deepspeed until a model is opened."""

from tpb_engine_deepspeed.config import DeepSpeedConfig
from tpb_engine_deepspeed.engine import DeepSpeedEngine

__all__ = ["DeepSpeedConfig", "DeepSpeedEngine"]
