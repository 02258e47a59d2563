"""llama.cpp as an engine of tpb. Importing this loads neither llama.cpp nor numpy."""

from tpb_engine_llamacpp.config import LlamaCppConfig
from tpb_engine_llamacpp.engine import LlamaCppEngine

__all__ = ["LlamaCppConfig", "LlamaCppEngine"]
