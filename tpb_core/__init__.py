"""tpb: joules per token, per request and per phase, with an error bar on every figure."""

__version__ = "0.1.0"
