"""Write the same weights twice, as a Transformers folder and as a float GGUF file, so that engines can be compared on equal terms.

    python -m tpb_engine_hf.equal_weights MODEL.gguf OUT --dtype float32

The source is a GGUF file (quantised or not). Its tensors are dequantised once; the GGUF that is written holds exactly these values with the
source's metadata and tokenizer, the folder holds what Transformers makes of that file. Nothing is downloaded.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

STORED = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}
"""Names of torch's types in GGUF."""
NOT_COPIED = ("GGUF.", "general.architecture", "general.file_type", "general.quantization_version")


def write_float_gguf(source: Path, target: Path, dtype: str) -> None:
    """Copy metadata and tensors; matrices in `dtype`, vectors (norms) rounded to it and stored as float32, which llama.cpp expects."""
    import gguf

    reader = gguf.GGUFReader(source)
    architecture = reader.fields["general.architecture"].contents()
    writer = gguf.GGUFWriter(target, architecture)
    for name, field in reader.fields.items():
        if name.startswith(NOT_COPIED):
            continue
        is_list = field.types[0] == gguf.GGUFValueType.ARRAY
        writer.add_key_value(name, field.contents(), field.types[0], field.types[-1] if is_list else None)
    kind = gguf.GGMLQuantizationType[STORED[dtype]]
    writer.add_file_type(gguf.LlamaFileType.ALL_F32 if dtype == "float32" else gguf.LlamaFileType[f"MOSTLY_{STORED[dtype]}"])
    for tensor in reader.tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(tuple(int(n) for n in reversed(tensor.shape)))
        rounded = gguf.quants.quantize(values, kind)
        if values.ndim == 1:  # the same rounded numbers, wider
            writer.add_tensor(tensor.name, gguf.quants.dequantize(rounded, kind))
        else:
            writer.add_tensor(tensor.name, rounded, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_folder(source: Path, folder: Path, dtype: str) -> None:
    """Load a GGUF file through Transformers and save it as an ordinary model: Transformers refuses to save what it loaded from GGUF."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    loaded = AutoModelForCausalLM.from_pretrained(str(source.parent), gguf_file=source.name, dtype=torch.float32)
    settings: dict[str, Any] = {
        key: value for key, value in loaded.config.to_dict().items() if key not in ("quantization_config", "_name_or_path")
    }
    plain = type(loaded)(type(loaded.config)(**settings))
    plain.load_state_dict(loaded.state_dict(), strict=False)
    plain.tie_weights()
    plain.generation_config = GenerationConfig(eos_token_id=plain.config.eos_token_id, bos_token_id=plain.config.bos_token_id)
    plain.to(getattr(torch, dtype)).save_pretrained(folder)
    AutoTokenizer.from_pretrained(str(source.parent), gguf_file=source.name).save_pretrained(folder)


def write_both(source: Path, out: Path, dtype: str = "float32") -> tuple[Path, Path]:
    """Write `OUT/model.gguf` and a Transformers model into the same folder, so that `engine.model=OUT` means the same weights everywhere.

    Returns the file and the folder; `OUT/equal-weights.json` says where they come from.
    """
    out.mkdir(parents=True, exist_ok=True)
    float_file = out / "model.gguf"
    write_float_gguf(source, float_file, dtype)
    write_folder(float_file, out, dtype)
    (out / "equal-weights.json").write_text(json.dumps({"source": source.name, "dtype": dtype}, indent=1) + "\n")
    return float_file, out


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="write the same weights as a Transformers folder and as a float GGUF file")
    parser.add_argument("source", type=Path, help="a GGUF file")
    parser.add_argument("out", type=Path, help="folder to write into")
    parser.add_argument("--dtype", choices=tuple(STORED), default="float32")
    arguments = parser.parse_args()
    for path in write_both(arguments.source, arguments.out, arguments.dtype):
        print(path)


if __name__ == "__main__":
    main()
