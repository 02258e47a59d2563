"""Options of the DeepSpeed engine."""

from __future__ import annotations

from dataclasses import dataclass

from tpb_core.api import option
from tpb_engine_hf.config import ModelOptions


@dataclass
class DeepSpeedConfig(ModelOptions):
    """Options of DeepSpeed's `init_inference`; those of loading are Transformers'."""

    name: str = option("deepspeed", help="entry-point name of the engine")
    backend: str = option("init_inference", help="which of DeepSpeed's inference engines", choices=("init_inference", "fastgen", "mii"))
    accelerator: str = option("auto", help="device that DeepSpeed drives", choices=("auto", "cpu", "cuda"))
    kernel_injection: bool | None = option(
        None, help="replace layers by DeepSpeed's fused kernels (default: on a GPU yes, on a CPU there are none)"
    )
    tensor_parallel: int = option(1, help="processes that share each layer; the others are started by the engine", unit="processes")
    master_port: int | None = option(None, help="TCP port on 127.0.0.1 where those processes meet (default: a free one)")
