"""Whatever a service answers: channels that keep the rules, a named error, or nothing."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tpb_core.api import BadInput
from tpb_core.testing.bmc_double import redfish_tree as tree
from tpb_core.testing.channel_rules import breaches
from tpb_core.testing.meter_context import RecordingContext
from tpb_meter_redfish.channels import describe
from tpb_meter_redfish.client import ServiceError, parse_address
from tpb_meter_redfish.config import RedfishConfig
from tpb_meter_redfish.explore import explore
from tpb_meter_redfish.pages import Pages
from tpb_meter_redfish.value import link, number, stamp_ns

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["Reading", "@odata.id", "Members", "Id", "PowerWatts"]), inner)
    ),
    max_leaves=8,
)


class Dictionary:
    """A service in memory."""

    def __init__(self, resources: dict[str, Any]) -> None:
        self.resources = resources

    def get(self, path: str) -> dict[str, Any]:
        resource = self.resources.get(path.rstrip("/"))
        if not isinstance(resource, dict):
            raise ServiceError("no", 404)
        return resource


def machine() -> dict[str, Any]:
    resources: dict[str, Any] = {}
    tree.root(resources)
    path = tree.chassis(resources, "1", metrics={"PowerWatts": 1300, "EnergyJoules": 5.0})
    tree.supply(resources, path, "PSU1", {"InputPowerWatts": 700, "OutputPowerWatts": 650})
    tree.supply(resources, path, "PSU2", {"InputPowerWatts": 610})
    tree.processor(resources, "S", "GPU_SXM_1", "GPU", {"PowerWatts": 500})
    tree.pdu(resources, "PDU1", {"PowerWatts": 9000}, {"A1": {"PowerWatts": 640}})
    return resources


PATHS = sorted(machine())


@settings(deadline=None, max_examples=300)
@given(st.dictionaries(st.sampled_from(PATHS), JSON, max_size=4))
def test_any_resources_in_place_of_the_right_ones(replaced: dict[str, Any]) -> None:
    service = explore(Pages(Dictionary({**machine(), **replaced}), lambda: False), processors=True)
    with contextlib.suppress(BadInput):
        described = describe([service], ["bmc:443"], RedfishConfig(), RecordingContext())
        assert breaches([item.channel for item in described]) == []


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(PATHS), st.data())
def test_any_value_in_place_of_one(path: str, data: st.DataObject) -> None:
    resources = machine()
    resource = resources[path]
    key = data.draw(st.sampled_from(sorted(resource)))
    resources[path] = {**resource, key: data.draw(JSON)}
    service = explore(Pages(Dictionary(resources), lambda: False), processors=True)
    with contextlib.suppress(BadInput):
        described = describe([service], ["bmc:443"], RedfishConfig(outlets=["PDU1/A1"]), RecordingContext())
        assert breaches([item.channel for item in described]) == []


@settings(deadline=None)
@given(JSON)
def test_any_document_as_a_number_a_stamp_a_link(document: Any) -> None:
    for pointer in (("Reading",), ("PowerWatts", "Reading"), ("Members", 0, "Reading"), ()):
        with contextlib.suppress(ValueError):
            value = number(document, pointer)
            assert value is None or (math.isfinite(value) and value >= 0)
        assert stamp_ns(document, pointer) is None or isinstance(stamp_ns(document, pointer), int)
        assert (link(document, *pointer) or "/").startswith("/")


@settings(deadline=None)
@given(st.text(max_size=40))
def test_any_text_as_a_number(text: str) -> None:
    with contextlib.suppress(ValueError):
        value = number({"Reading": text}, ("Reading",))
        assert value is not None and value == float(text)


@pytest.mark.parametrize(("written", "watts"), [("344", 344.0), (" 12.5 ", 12.5), ("1e3", 1000.0), (7, 7.0), (6540.25, 6540.25), (0, 0.0)])
def test_numbers_in_numbers_and_in_text(written: object, watts: float) -> None:
    assert number({"Reading": written}, ("Reading",)) == watts


@pytest.mark.parametrize("written", ["1,234", "344 W", "0x10", "١٢", "", "nan", True, [1], {"a": 1}, -1, 10**400])
def test_what_can_be_misread_is_no_number(written: object) -> None:
    with pytest.raises(ValueError, match="Reading is"):
        number({"Reading": written}, ("Reading",))


@pytest.mark.parametrize(("written", "ns"), [
    ("2026-11-21T00:00:00Z", 1795219200 * 10**9), ("2026-11-21T01:00:00.000001+01:00", 1795219200 * 10**9 + 1000),
    ("2026-11-21T00:00:00", None), ("1970-01-01T00:00:05Z", None), ("soon", None),
])  # fmt: skip
def test_stamps(written: str, ns: int | None) -> None:
    assert stamp_ns({"ReadingTime": written}, ("ReadingTime",)) == ns


@settings(deadline=None)
@given(st.text(max_size=40))
def test_any_address(url: str) -> None:
    with contextlib.suppress(ValueError):
        address = parse_address(url)
        assert address.host
        assert 0 <= address.port < 65_536
