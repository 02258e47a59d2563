"""From typed words to a point: spellings, presets, types, and what is said of bad input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tpb_core.api.errors import BadInput, PluginFault
from tpb_core.config.compose import compose
from tpb_core.config.schema import ClosedLoad, Point, StaticLoad

pytestmark = pytest.mark.usefixtures("acme")

BASE = ["engine=acme", "meter=acme", "prompts=acme", "attributor=[acme]"]


def acme_point(*words: str) -> Point:
    return compose([*BASE, *words])


def refusal(*words: str) -> BadInput:
    with pytest.raises(BadInput) as caught:
        acme_point(*words)
    return caught.value


def test_a_point_has_the_defaults_of_the_chosen_plugins() -> None:
    point = acme_point()
    assert point.engine["token_ms"] == 10.0
    assert point.engine["prefix_cache"] is False
    assert point.meters == {"acme": {"name": "acme", "interval_ms": 20.0, "required": False, "watts": 42.0, "broken": False}}
    assert point.attributors == [{"name": "acme"}]
    assert point.load == StaticLoad(requests=32, batch_size=4)
    assert point.choices["engine"] == "acme"
    assert point.choices["meter"] == ["acme"]
    assert point.choices["meter_auto"] is False
    json.dumps(point.config)


@pytest.mark.parametrize("sign", ["", "+", "++"])
def test_every_spelling_works_for_groups_and_values(sign: str) -> None:
    words = [f"{sign}engine=acme", f"{sign}meter=[acme]", f"{sign}prompts=acme", f"{sign}attributor=[acme]", f"{sign}load=closed"]
    point = compose([*words, f"{sign}load.concurrency=7", f"{sign}engine.token_ms=2"])
    assert point.load == ClosedLoad(requests=32, concurrency=7)
    assert point.engine["token_ms"] == 2.0


@pytest.mark.parametrize("sign", ["", "+"])
def test_groups_and_values_win_over_an_experiment_wherever_they_stand(sign: str) -> None:
    preset = compose([f"{sign}experiment=acme_short"])
    assert (preset.engine["name"], preset.load.requests, preset.run.repeats) == ("acme", 4, 2)
    assert preset.choices["experiment"] == "acme_short"
    changed = compose([f"{sign}load=closed", "load.requests=9", f"{sign}experiment=acme_short", "~load.batch_size"])
    assert changed.load == ClosedLoad(requests=9, concurrency=4)


def test_a_value_of_a_preset_that_does_not_fit_names_its_file() -> None:
    with pytest.raises(BadInput) as caught:
        compose(["+experiment=acme_short", "load=closed"])
    assert "load.batch_size" in caught.value.what
    assert "acme_short.yaml" in caught.value.what


def test_automatic_meters_can_be_configured_by_name() -> None:
    point = compose(["engine=acme", "prompts=acme", "attributor=[acme]", "meter.acme.watts=7"])
    assert point.choices["meter_auto"] is True
    assert point.meters["acme"]["watts"] == 7.0


def test_automatic_meters_leave_out_simulated_worlds(install: object) -> None:
    module = (
        "from dataclasses import dataclass\nfrom tpb_core.api import *\n"
        "class M(Meter):\n    virtual_time = True\n    def discover(self): return []\n    def read(self): return []\n"
        "@dataclass\nclass C(MeterConfig):\n    name: str = option('wired', help='x')\n    host: str = option(MISSING, help='where')\n"
        "class W(Meter):\n    config_class = C\n    def discover(self): return []\n    def read(self): return []\n"
    )
    install("worlds", "1.0", {"tpb.meters": {"world": "worlds_m:M", "wired": "worlds_m:W"}}, {"worlds_m": module})  # type: ignore[operator]
    words = ["engine=acme", "prompts=acme", "attributor=[acme]"]
    assert not {"world", "wired"} & compose(words).meters.keys()
    assert compose([*words, "meter.wired.host=h"]).meters["wired"]["host"] == "h"


def test_automatic_meters_leave_out_broken_ones_and_say_so(install: object) -> None:
    install("snapped", "1.0", {"tpb.meters": {"snapped": "snapped_m:M"}}, {"snapped_m": "raise RuntimeError('snap')"})  # type: ignore[operator]
    words = ["engine=acme", "prompts=acme", "attributor=[acme]"]
    point = compose(words)
    assert "snapped" not in point.meters
    assert "snapped failed while importing meter 'snapped'" in point.choices["meter_broken"]["snapped"]
    with pytest.raises(PluginFault):
        compose([*words, "meter=[acme,snapped]"])
    with pytest.raises(PluginFault):
        compose([*words, "meter.snapped.required=true"])


def test_two_meters_land_in_packages_of_their_own(install: object) -> None:
    module = "from tpb_core.api import *\nclass M(Meter):\n    def discover(self): return []\n    def read(self): return []\n"
    install("second", "1.0", {"tpb.meters": {"second": "second_m:M"}}, {"second_m": module})  # type: ignore[operator]
    point = compose(["engine=acme", "+meter=[acme,second]", "prompts=acme", "attributor=[acme]", "meter.second.required=true"])
    assert list(point.meters) == ["acme", "second"]
    assert point.meters["second"]["required"] is True
    assert point.meters["acme"]["required"] is False


def test_free_options_take_new_keys_without_a_plus() -> None:
    assert acme_point("engine.extra.depth=3").engine["extra"] == {"depth": 3}


def test_values_of_other_options_and_of_the_environment_are_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_MODEL", "m1")
    point = acme_point("engine.model=${oc.env:ACME_MODEL}", "load.requests=${load.batch_size}")
    assert point.engine["model"] == "m1"
    assert point.load.requests == 4


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["engine.token_mss=3"], ["engine.token_mss", "engine 'acme' has no option 'token_mss'", "Did you mean engine.token_ms?"]),
        (["engine.xyzzy=3"], ["has no option 'xyzzy'", "tpb engine=acme --help"]),
        (["load.batch_size=many"], ["load.batch_size=many is not of type int", "Type, for example:  load.batch_size=4"]),
        (["load.batch_size=2.5"], ["is not of type int"]),
        (["load.batch_size=null"], ["load.batch_size=null is not of type int"]),
        (["load.batch_size=0"], ["load.batch_size=0 is too small", "The least is 1."]),
        (["load.batch_size=-3"], ["load.batch_size=-3 is too small"]),
        (["engine.mode=stromy"], ["engine.mode=stromy is not permitted", "Did you mean engine.mode=stormy?"]),
        (["run.order=alphabetical"], ["run.order=alphabetical is not permitted", "Permitted: random, sequential, abba"]),
        (["run.repeat=3"], ["run has no option 'repeat'", "Did you mean run.repeats"]),
        (["engin=acme"], ["'engin' is neither a group nor an option", "Did you mean engine?"]),
        (["+enginee.x=1"], ["'enginee'", "Did you mean engine?"]),
        (["engine=acmee"], ["engine 'acmee' is not known", "Did you mean acme?", "acme (tpb-acme 3.2.1)"]),
        (["load=statik"], ["load 'statik' is not known", "Did you mean load=static?"]),
        (["+experiment=acme_shrt"], ["experiment 'acme_shrt' is not known", "Did you mean experiment=acme_short?"]),
        (["load"], ["'load' is not understood", "name=value"]),
        (["meter.rapl.required=true"], ["rapl"]),
        (["engine.model=a(b"], ["engine.model=a(b cannot be read", "Quote"]),
        (["engine.model=${oc.env:TPB_NOT_SET}"], ["engine.model", "TPB_NOT_SET"]),
        (["engine.model=${nowhere.x}"], ["engine.model"]),
        (["hydra.verbose=true"], ["options of Hydra itself"]),
        (["engine.python=nowhere"], ["no environment 'nowhere'", "tpb env create nowhere"]),
        (["engine.python=/not/there/python"], ["no interpreter at /not/there/python"]),
        (["load=3"], ["load '3' is not known"]),
        (["run=3"], ["run"]),
        (["sampling.stop=x"], ["sampling.stop"]),
        (["prompts=null"], ["prompts=null: a run needs one"]),
    ],
)
def test_bad_input_says_what_where_and_what_to_type(words: list[str], expected: list[str]) -> None:
    error = refusal(*words)
    message = "\n".join(error.lines())
    for part in expected:
        assert part in message
    assert error.exit_code == 2
    assert len(message) < 600


def test_a_secret_reaches_the_engine_and_nothing_that_is_stored() -> None:
    point = acme_point("engine.api_key=hunter2")
    assert point.engine["api_key"] == "hunter2"
    assert "hunter2" not in json.dumps([point.config, point.overrides, point.choices])
    assert point.point == acme_point("engine.api_key=other").point
    whole = acme_point("engine={api_key: hunter2, token_ms: 3}")
    assert (whole.engine["api_key"], whole.engine["token_ms"]) == ("hunter2", 3.0)
    assert "hunter2" not in json.dumps([whole.config, whole.overrides])


def test_a_point_is_known_by_what_is_measured() -> None:
    here = acme_point().point
    for plan_only in (["out.dir=/elsewhere"], ["run.repeats=9"], ["run.rerun=true"], ["run.order=abba"]):
        assert acme_point(*plan_only).point == here
    for measured in (["load.batch_size=5"], ["engine.token_ms=11"], ["run.seed=1"], ["sampling.temperature=0.5"], ["meter.acme.watts=1"]):
        assert acme_point(*measured).point != here
    assert acme_point("load.batch_size=4").point == here


def test_the_home_folder_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/x")
    assert acme_point("out.dir=~/runs").out.dir == "/home/x/runs"
    assert acme_point("engine.model=~/a~b/m.gguf").engine["model"] == "/home/x/a~b/m.gguf"


PLAIN_TEXTS = ["/a b/c.gguf", "/a@b:c/d+e.gguf", "http://h:8000/v1?a=b&c=d", "org/model-1.5_B", "'/a,b.gguf'", "C:\\x", "/a(1)/b.gguf"]


@pytest.mark.parametrize("path", PLAIN_TEXTS)
def test_paths_and_addresses_come_through(path: str) -> None:
    assert acme_point(f"engine.model={path}").engine["model"] == path.strip("'")


def test_a_plugin_may_ship_a_group_of_its_own(install: object, tmp_path: Path) -> None:
    folder = install("presets", "1.0", {"tpb.conf": {"presets": "lab_conf"}})  # type: ignore[operator]
    lab = folder / "lab_conf"
    (lab / "site").mkdir(parents=True)
    (lab / "__init__.py").touch()
    (lab / "site" / "hall3.yaml").write_text("# @package _global_\nmeter:\n  acme:\n    watts: 3\n")
    for sign in ("", "+"):
        point = acme_point(f"{sign}site=hall3")
        assert point.meters["acme"]["watts"] == 3.0
        assert point.choices["site"] == "hall3"


def test_the_list_of_load_shapes_names_them_all() -> None:
    from tpb_core.config.groups import LOAD_NAMES
    from tpb_core.config.schema import LOADS

    assert sorted(LOADS) == list(LOAD_NAMES)
