"""Any OpenAI-compatible server as an engine of tpb, and its Prometheus metrics as a meter. Importing this opens no connection."""

from tpb_engine_openai.config import OpenAiConfig
from tpb_engine_openai.engine import OpenAiEngine
from tpb_engine_openai.meter import ServerMeter, ServerMeterConfig

__all__ = ["OpenAiConfig", "OpenAiEngine", "ServerMeter", "ServerMeterConfig"]
