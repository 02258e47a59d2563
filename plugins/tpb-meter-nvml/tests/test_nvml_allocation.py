"""Which boards a run uses: the meter's side of `CUDA_VISIBLE_DEVICES`, and slices."""

from __future__ import annotations

from typing import Any

import pytest

from tpb_core.api import Channel, EventCode, Reason, Unavailable
from tpb_core.testing.nvml_double import MigSlice

SLICES = (MigSlice("MIG-11111111-0000", 3, 1), MigSlice("MIG-22222222-0000", 4, 2))


def counters(channels: list[Channel]) -> dict[str, Channel]:
    return {c.domain: c for c in channels if c.kind == "energy_counter"}


@pytest.mark.parametrize(
    ("environ", "used"),
    [
        ({}, [True, True, True]),
        ({"CUDA_VISIBLE_DEVICES": ""}, [False, False, False]),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, [False, False, False]),
        ({"CUDA_VISIBLE_DEVICES": "2"}, [False, False, True]),
        ({"CUDA_VISIBLE_DEVICES": "0,2,-1,1"}, [True, False, True]),
        ({"CUDA_VISIBLE_DEVICES": "GPU-bb"}, [False, True, False]),
        ({"CUDA_VISIBLE_DEVICES": "GPU-cc-3,GPU-aa-1"}, [True, False, True]),
    ],
)
def test_boards_not_visible_are_recorded_and_not_allocated(bench: Any, environ: dict[str, str], used: list[bool]) -> None:
    for uuid in ("GPU-aa-1", "GPU-bb-2", "GPU-cc-3"):
        bench.double.gpu("h100", uuid=uuid)
    found = counters(bench.meter(environ).discover())
    assert [found[f"n0/gpu{n}"].allocated for n in range(3)] == used
    assert bench.codes().count(EventCode.DEVICE_UNUSED) == used.count(False)


def test_the_option_overrides_the_environment(bench: Any) -> None:
    bench.double.gpu("h100", uuid="GPU-a").gpu("a100", uuid="GPU-b")
    found = counters(bench.meter({"CUDA_VISIBLE_DEVICES": "0"}, devices="1").discover())
    assert [found["n0/gpu0"].allocated, found["n0/gpu1"].allocated] == [False, True]


def test_indices_on_a_mixed_machine_are_refused_unless_the_order_is_known(bench: Any) -> None:
    bench.double.gpu("v100").gpu("h100")
    with pytest.raises(Unavailable) as caught:
        bench.meter({"CUDA_VISIBLE_DEVICES": "0"}).discover()
    assert caught.value.reason == Reason.NOT_CONFIGURED
    assert "CUDA_DEVICE_ORDER=PCI_BUS_ID" in (caught.value.fix or "")
    found = counters(bench.meter({"CUDA_VISIBLE_DEVICES": "0", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}).discover())
    assert [found["n0/gpu0"].allocated, found["n0/gpu1"].allocated] == [True, False]


def test_a_slice_is_refused_by_default(bench: Any) -> None:
    bench.double.gpu("a100", mig_mode=True, mig=SLICES)
    with pytest.raises(Unavailable) as caught:
        bench.meter({"CUDA_VISIBLE_DEVICES": "MIG-11111111"}).discover()
    assert caught.value.reason == Reason.MIG_SLICE
    assert "meter.nvml.mig=share" in (caught.value.fix or "")


def test_a_slice_beside_a_whole_board_is_recorded_but_not_counted(bench: Any) -> None:
    bench.double.gpu("a100", mig_mode=True, mig=SLICES, uuid="GPU-sliced").gpu("a100", uuid="GPU-whole")
    found = counters(bench.meter({"CUDA_VISIBLE_DEVICES": "MIG-11111111,GPU-whole"}).discover())
    assert [found["n0/gpu0"].allocated, found["n0/gpu1"].allocated] == [False, True]
    assert any(message.startswith("mig_slice: the run owns 3 of 7 slices") for _, message, _ in bench.events)


def test_a_share_is_labelled(bench: Any) -> None:
    bench.double.gpu("a100", mig_mode=True, mig=SLICES)
    found = counters(bench.meter({"CUDA_VISIBLE_DEVICES": "MIG-22222222-0000"}, mig="share").discover())
    assert found["n0/gpu0"].share == pytest.approx(4 / 7)
    assert (found["n0/gpu0"].share_method, found["n0/gpu0"].allocated) == ("compute_slices", True)


def test_who_owns_all_slices_owns_the_board(bench: Any) -> None:
    bench.double.gpu("a100", mig_mode=True, mig=(MigSlice("MIG-all", 7, 0),))
    found = counters(bench.meter({"CUDA_VISIBLE_DEVICES": "0"}).discover())
    assert (found["n0/gpu0"].allocated, found["n0/gpu0"].share) == (True, None)


def test_without_a_variable_several_slices_leave_open_which_is_used(bench: Any) -> None:
    bench.double.gpu("a100", mig_mode=True, mig=SLICES)
    with pytest.raises(Unavailable) as caught:
        bench.meter(mig="share").discover()
    assert caught.value.reason == Reason.MIG_SLICE
