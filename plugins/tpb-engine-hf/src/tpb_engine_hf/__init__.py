"""Engine plugin of tpb for Hugging Face Transformers. Imports neither torch nor transformers until a model is opened."""

from tpb_engine_hf.config import HfConfig, ModelOptions
from tpb_engine_hf.engine import HfEngine

__all__ = ["HfConfig", "HfEngine", "ModelOptions"]
