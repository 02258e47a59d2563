"""Engines in other interpreters: found by path or name, composed from what the worker there tells."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tpb_core.api import WORKER_PROTOCOL
from tpb_core.api.errors import BadInput
from tpb_core.config import interpreter
from tpb_core.config.compose import compose

WORDS = ["engine=acme", "meter=acme", "prompts=acme", "attributor=[acme]"]


@pytest.fixture
def other_python(tmp_path: Path, acme: None) -> Path:
    """Another path of this interpreter, which is all that makes it another one to tpb; it finds this one's packages."""
    python = tmp_path / "other" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    return python


def test_options_come_from_the_other_interpreter(other_python: Path) -> None:
    here = compose(WORDS)
    there = compose([*WORDS, f"engine.python={other_python}", "engine.token_ms=3", "engine.extra.x=1"])
    assert there.engine["token_ms"] == 3.0
    assert there.engine["python"] == str(other_python)
    assert there.engine["extra"] == {"x": 1}
    assert there.engine.keys() == here.engine.keys()


def test_types_choices_and_secrets_hold_there_too(other_python: Path) -> None:
    python = f"engine.python={other_python}"
    for word, expected in (
        ("engine.token_ms=fast", "is not of type float"),
        ("engine.mode=x", "is not permitted"),
        ("engine.treads=1", "engine.threads"),
        ("engine.token_ms=-1", "is too small"),
    ):
        with pytest.raises(BadInput) as caught:
            compose([*WORDS, python, word])
        assert expected in "\n".join(caught.value.lines())
    point = compose([*WORDS, python, "engine.api_key=hunter2"])
    assert "hunter2" not in repr(point.config) + repr(point.overrides)


def test_an_engine_that_is_not_there_is_refused_with_the_reason(other_python: Path) -> None:
    with pytest.raises(BadInput) as caught:
        interpreter.config_class_in(str(other_python), "nonesuch")
    assert "nonesuch" in caught.value.what
    assert "tpb env create nonesuch" in str(caught.value.fix)


def test_an_interpreter_without_tpb_is_refused(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'No module named tpb_core' >&2\nexit 1\n")
    python.chmod(0o755)
    with pytest.raises(BadInput, match="No module named tpb_core"):
        interpreter.config_class_in(str(python), "acme")


def test_an_environment_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    python = tmp_path / "tpb" / "envs" / "mine" / "bin" / "python"
    python.parent.mkdir(parents=True)
    os.symlink(sys.executable, python)
    assert interpreter.find_python("mine") == str(python)
    assert interpreter.environments() == ["mine"]


def test_an_engine_may_live_in_another_interpreter_alone(tmp_path: Path, acme: None) -> None:
    told = {
        "protocol": WORKER_PROTOCOL,
        "options": [{"name": "name", "type": "str", "default": "far"}, {"name": "python", "type": "str | None", "default": None}],
    }
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps(told)}\nEND\n")
    python.chmod(0o755)
    point = compose(["engine=far", f"engine.python={python}", *WORDS[1:]])
    assert point.engine == {"name": "far", "python": str(python)}
    with pytest.raises(BadInput, match="engine 'far' is not known"):
        compose(["engine=far", *WORDS[1:]])


def test_an_environment_of_that_name_is_named_in_the_refusal(tmp_path: Path, acme: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    (tmp_path / "tpb" / "envs" / "far" / "bin").mkdir(parents=True)
    os.symlink(sys.executable, tmp_path / "tpb" / "envs" / "far" / "bin" / "python")
    with pytest.raises(BadInput) as caught:
        compose(["engine=far", *WORDS[1:]])
    assert "engine.python=far" in str(caught.value.fix)


def test_a_preset_may_choose_the_interpreter(other_python: Path, install: Any, tmp_path: Path) -> None:
    folder = install("remote", "1.0", {"tpb.conf": {"remote": "remote_conf"}})
    presets = folder / "remote_conf" / "engine"
    presets.mkdir(parents=True)
    (folder / "remote_conf" / "__init__.py").touch()
    (presets / "acme_elsewhere.yaml").write_text(f"name: acme\npython: {other_python}\ntoken_ms: 4\n")
    point = compose(["engine=acme_elsewhere", *WORDS[1:]])
    assert (point.engine["name"], point.engine["token_ms"], point.engine["python"]) == ("acme", 4.0, str(other_python))
    assert point.choices["engine"] == "acme_elsewhere"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("int", int),
        ("<class 'float'>", float),
        ("float | None", float | None),
        ("typing.Optional[str]", str | None),
        ("list[str]", list[str]),
        ("dict[str, Any]", dict[str, Any]),
        ("SomethingElse", Any),
        ("((", Any),
    ],
)
def test_types_are_read_from_their_names(text: str, expected: Any) -> None:
    assert interpreter._type_of(text) == expected


def test_own_is_the_environment_of_the_engine_that_is_chosen(tmp_path: Path, acme: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with pytest.raises(BadInput) as caught:
        compose(["engine=acme", "engine.python=own", "prompts=acme"])
    assert "there is no environment 'acme'" in caught.value.what
    assert caught.value.fix == "Make it:  tpb env create acme"
