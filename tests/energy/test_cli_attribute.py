"""`tpb attribute`: what it asks for and what it refuses, with the exit codes of design."""

from __future__ import annotations

from pathlib import Path

import pytest

from tpb_core.api import BadBundle, BadInput
from tpb_core.cli import attribute


def test_without_words_it_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert attribute.main([]) == 0
    assert attribute.run(["--help"]) == 0
    assert "--with NAME" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--with", "totals"], ["runs/x", "--with"], ["runs/x", "--fast"]])
def test_what_cannot_be_understood_is_bad_input(words: list[str]) -> None:
    with pytest.raises(BadInput) as caught:
        attribute.main(words)
    assert caught.value.exit_code == 2
    assert caught.value.fix is not None


def test_an_unknown_attributor_names_those_that_are_installed(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="total"):
        attribute.main([str(tmp_path), "--with", "total"])


def test_a_folder_that_is_no_bundle_is_refused_by_file(tmp_path: Path) -> None:
    with pytest.raises(BadBundle) as caught:
        attribute.main([str(tmp_path)])
    assert "manifest.json" in str(caught.value)
