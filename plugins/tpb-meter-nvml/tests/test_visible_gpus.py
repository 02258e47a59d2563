"""The reading of `CUDA_VISIBLE_DEVICES` and of HIP's variables, entry by entry, and for any text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpb_core.api.visible import GpuIdentity, cuda_visible, hip_visible

ALIKE = [GpuIdentity(f"GPU-{letter * 4}-0000", "NVIDIA H100") for letter in "abcd"]
MIXED = [GpuIdentity("GPU-aaaa", "NVIDIA H100"), GpuIdentity("GPU-bbbb", "Tesla T4")]
SLICED = GpuIdentity("GPU-eeee-0000", "NVIDIA A100", (("MIG-1111-x", 1, 0), ("MIG-2222-x", 2, 0)), sliced=True)


@pytest.mark.parametrize(
    ("value", "places"),
    [
        (None, "abcd"),
        ("", ""),
        (" ", ""),
        ("-1", ""),
        ("NoDevFiles", ""),
        ("2,1", "cb"),
        (" 3 , 0 ", "da"),
        ("0,2,-1,1", "ac"),
        ("0,9,1", "a"),
        ("1,1", ""),
        ("GPU-cccc", "c"),
        ("gpu-CCCC-0000,0", "ca"),
        ("GPU-zzzz,0", ""),
        ("GPU-", None),
    ],
)
def test_lists(value: str | None, places: str | None) -> None:
    answer = cuda_visible({} if value is None else {"CUDA_VISIBLE_DEVICES": value}, ALIKE)
    if places is None:
        assert answer.problem is not None
    else:
        assert answer.problem is None
        assert answer.boards == tuple(f"GPU-{letter * 4}-0000" for letter in places)


def test_the_order_matters_only_where_models_differ_and_indices_choose() -> None:
    assert cuda_visible({"CUDA_VISIBLE_DEVICES": "0"}, MIXED).problem is not None
    assert cuda_visible({"CUDA_VISIBLE_DEVICES": "1,0"}, MIXED).problem is None, "all of them, in whatever order"
    assert cuda_visible({"CUDA_VISIBLE_DEVICES": "GPU-bbbb"}, MIXED).boards == ("GPU-bbbb",)
    assert cuda_visible({"CUDA_VISIBLE_DEVICES": "1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, MIXED).boards == ("GPU-bbbb",)
    assert cuda_visible({"CUDA_VISIBLE_DEVICES": "1", "CUDA_DEVICE_ORDER": "FASTEST_FIRST"}, MIXED).problem is not None


def test_slices_by_both_spellings() -> None:
    for value in ("MIG-2222-x", "MIG-2222", "MIG-GPU-eeee-0000/2/0"):
        assert cuda_visible({"CUDA_VISIBLE_DEVICES": value}, [SLICED]).slices == {"GPU-eeee-0000": ("MIG-2222-x",)}
    assert cuda_visible({"CUDA_VISIBLE_DEVICES": "MIG-GPU-eeee-0000/5/0"}, [SLICED]).slices == {}
    assert cuda_visible({"CUDA_VISIBLE_DEVICES": "0"}, [SLICED]).problem is not None


def test_hip_filters_twice() -> None:
    environ = {"ROCR_VISIBLE_DEVICES": "1,2,3", "HIP_VISIBLE_DEVICES": "0,2"}
    assert hip_visible(environ, ALIKE).boards == (ALIKE[1].uuid, ALIKE[3].uuid)
    assert hip_visible({"CUDA_VISIBLE_DEVICES": "2"}, ALIKE).boards == (ALIKE[2].uuid,)
    assert hip_visible({"HIP_VISIBLE_DEVICES": "1", "CUDA_VISIBLE_DEVICES": "2"}, ALIKE).boards == (ALIKE[1].uuid,)
    assert len(hip_visible({}, ALIKE).boards) == 4


@given(st.text(alphabet="0123456789,-GPUMIGabcd+/ \t٣²é", max_size=40), st.sampled_from([ALIKE, MIXED, [SLICED], [SLICED, *ALIKE], []]))
def test_any_text_gives_devices_that_exist_once_each(value: str, gpus: list[GpuIdentity]) -> None:
    answer = cuda_visible({"CUDA_VISIBLE_DEVICES": value}, gpus)
    assert len(set(answer.boards)) == len(answer.boards)
    assert set(answer.boards) <= {gpu.uuid for gpu in gpus if not gpu.sliced}
    assert set(answer.slices) <= {gpu.uuid for gpu in gpus if gpu.sliced}
