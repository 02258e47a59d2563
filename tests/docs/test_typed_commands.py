"""What the pages tell people to type is understood: commands exist, flags exist, configurations compose with what is installed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tpb_core import drivers, known
from tpb_core.cli.flags import read_flags
from tpb_core.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *ROOT.glob("plugins/*/README.md")])
_FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)


def typed(page: Path) -> Iterator[list[str]]:
    """The words of each indented line that begins with `tpb`, comments left out."""
    text = _FENCE.sub("", page.read_text()) if "docs/reference" not in str(page) else ""
    for line in re.findall(r"^(?: {4}|\t) *(tpb .*)$", text, re.MULTILINE):
        words = shlex.split(re.split(r"\s{2,}#? ?(?=\S)|\s+#\s", line)[0] if '"' not in line else line.split("   ")[0], comments=True)
        if "..." not in words:
            yield words[1:]


def commands() -> list[tuple[str, list[str]]]:
    return [(f"{page.relative_to(ROOT)}: tpb {' '.join(words)}", words) for page in PAGES for words in typed(page)]


@pytest.mark.parametrize("words", [words for _, words in commands()], ids=[name for name, _ in commands()])
def test_what_is_typed_begins_as_tpb_wants_it(words: list[str]) -> None:
    """A command of the dispatcher, or options and known flags."""
    if words and words[0] in COMMANDS:
        return
    read_flags([word for word in words if word not in ("--traceback", "--version")])
    for word in words:
        assert word.startswith("-") or "=" in word, f"{word!r} is neither a command nor an option"


def compositions() -> list[list[str]]:
    """Runs that the tutorial and the README ask for and whose plugins may be installed here."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs" / "tutorial").glob("*.md")), ROOT / "docs" / "how-to" / "your-own-model.md"]
    rows = [words for page in pages for words in typed(page) if not words or words[0] not in COMMANDS]
    return [words for words in rows if "--help" not in words]


@pytest.mark.parametrize("words", compositions(), ids=" ".join)
def test_the_tutorials_runs_compose(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """`--dry-run` plans them. Files that stand for the reader's own are made first."""
    from tpb_core.cli import run

    monkeypatch.chdir(tmp_path)
    _need_installed(words)
    made = []
    for word in words:
        key, equals, value = word.partition("=")
        if key in ("engine.model", "prompts.path"):
            names = [str(tmp_path / Path(name).name) for name in value.split(",")]
            for name in names:
                Path(name).write_text('{"text": "hello"}\n')
            value = ",".join(names)
        made.append(f"{key}{equals}{value}")
    assert run.main([*made, "--dry-run"]) == 0
    assert "Nothing was measured" in capsys.readouterr().out


def _need_installed(words: list[str]) -> None:
    for word in words:
        key, _, value = word.lstrip("+").partition("=")
        group = {"engine": "tpb.engines", "meter": "tpb.meters"}.get(key)
        for name in value.strip("[]").split(",") if group else []:
            if name not in ("auto", *drivers.names(group or "")):
                assert name in known.KNOWN[group or ""], f"{key}={name} is no plugin of this repository"
                pytest.skip(f"{known.KNOWN[group or ''][name]} is not installed here")


def test_the_pages_show_commands_at_all() -> None:
    assert len(commands()) > 40
