"""Listeners: all are told, and one that fails is reported and stops nobody."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from tpb_core.api.errors import TpbError
from tpb_core.hooks import DoctorCheck, Hooks, hookimpl, specs


class Listener:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    @hookimpl
    def bundle_complete(self, bundle: Path) -> None:
        self.told.append(bundle)

    @hookimpl
    def doctor_checks(self) -> list[DoctorCheck]:
        return [DoctorCheck("mine", works=True, detail="fine")]


class Failing:
    """Raises."""

    @hookimpl
    def bundle_complete(self, bundle: Path) -> None:
        raise RuntimeError("out of paper")


class Misspelt:
    """A hook that does not exist."""

    @hookimpl
    def bundle_compleet(self, bundle: Path) -> None: ...


class WrongArgument:
    """A hook with an argument that it does not have."""

    @hookimpl
    def bundle_complete(self, package: Path) -> None: ...


def hooks_with(*listeners: object) -> tuple[Hooks, list[TpbError]]:
    faults: list[TpbError] = []
    hooks = Hooks(faults.append)
    for number, listener in enumerate(listeners):
        hooks.listen(listener, name=f"listener{number}", distribution=f"dist{number}")
    return hooks, faults


def test_a_failing_listener_is_named_and_the_others_are_told() -> None:
    before, after = Listener(), Listener()
    hooks, faults = hooks_with(before, Failing(), after)
    hooks.bundle_complete(Path("b"))
    assert before.told == after.told == [Path("b")]
    assert [fault.what for fault in faults] == ["dist1 failed while listening to bundle_complete: RuntimeError: out of paper"]


def test_answers_of_all_listeners_are_joined() -> None:
    hooks, _ = hooks_with(Listener(), Listener())
    assert [check.name for check in hooks.doctor_checks()] == ["mine", "mine"]


@pytest.mark.parametrize("wrong", [Misspelt(), WrongArgument()])
def test_a_misspelt_hook_is_reported_and_the_rest_works(wrong: object) -> None:
    good = Listener()
    hooks, faults = hooks_with(wrong, good)
    hooks.bundle_complete(Path("b"))
    assert good.told == [Path("b")]
    assert len(faults) == 1
    assert "dist0 failed while registering hook listener 'listener0'" in faults[0].what


def test_installed_listeners_are_found_and_broken_ones_reported(acme: None, install: Any, tmp_path: Path) -> None:
    install("noisy", "1.0", {"tpb.hooks": {"noisy": "noisy_l"}}, {"noisy_l": "raise RuntimeError('no')"})
    faults: list[TpbError] = []
    hooks = Hooks.of_installed_plugins(faults.append)
    hooks.bundle_complete(tmp_path)
    assert (tmp_path / "x_acme.txt").read_text().startswith("points seen by acme: ")
    assert any("noisy failed while importing hook listener 'noisy'" in fault.what for fault in faults)


def test_every_specification_says_when_it_is_called_and_has_a_facade_method() -> None:
    found = {name: hook for name, hook in vars(specs).items() if inspect.isfunction(hook) and hook.__module__ == specs.__name__}
    assert found
    for name, hook in found.items():
        assert (hook.__doc__ or "").startswith("Called "), name
        assert list(inspect.signature(getattr(Hooks, name)).parameters)[1:] == list(inspect.signature(hook).parameters), name
