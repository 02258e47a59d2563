"""`tpb attribute BUNDLE... [--with NAME]`: compute the energies of finished bundles again, with the methods that apply to them."""

from __future__ import annotations

from pathlib import Path

from tpb_core.api.errors import EXIT_DONE, BadInput

USAGE = """\
Usage: tpb attribute BUNDLE... [--with NAME]...

Reads the samples, steps and requests of each bundle and writes energy, request_energy, budget and validity into it. Rows of the same
method are replaced, others are kept. Bundles made by other programs are read too.

  --with NAME    use this attributor (repeat it for several); default: every installed one that takes a single run,
                 and those that do not apply to a bundle say why
  -h, --help     print this

A study's attributor (such as differencing) takes all bundles together and writes into studies/<study_id>/ beside them.
"""


def main(argv: list[str]) -> int:
    """The command. Exit code 2 for bad bundles and names, 3 where an attributor that was asked for does not apply."""
    if not argv or argv[0] in ("-h", "--help"):
        print(USAGE, end="")
        return EXIT_DONE
    folders, names = _arguments(argv)
    from tpb_core import drivers
    from tpb_core.api import PreconditionFailed
    from tpb_core.store.bundle import Bundle

    asked = bool(names)
    names = names or [plugin.name for plugin in drivers.installed("tpb.attributors")]
    classes = {name: drivers.load("tpb.attributors", name) for name in names}
    bundles = [Bundle.open(folder) for folder in folders]
    for name, attributor_class in classes.items():
        if attributor_class.scope == "run":
            groups = [(folder, folder, [bundle]) for folder, bundle in zip(folders, bundles, strict=True)]
        elif asked:
            groups = _studies(folders, bundles)
        else:
            continue
        for shown, target, runs in groups:
            attributor = attributor_class(attributor_class.config_class(name=name))
            try:
                ledgers = attributor.attribute(runs)
            except PreconditionFailed as refusal:
                if asked:
                    raise
                print(f"{shown}: {name} does not apply: {refusal.what}")
                continue
            _write(target, ledgers)
            for ledger in ledgers:
                print(f"{shown}: {ledger.method}: {len(ledger.energy)} energy rows, {_invalid(ledger)}")
    return EXIT_DONE


def _arguments(argv: list[str]) -> tuple[list[Path], list[str]]:
    folders: list[Path] = []
    names: list[str] = []
    words = iter(argv)
    for word in words:
        if word == "--with" or word.startswith("--with="):
            name = word.partition("=")[2] if "=" in word else next(words, "")
            if not name:
                raise BadInput("--with needs the name of an attributor.", "Type for example: tpb attribute runs/RUN_ID --with windowed")
            names += [part for part in name.split(",") if part]
        elif word.startswith("-"):
            raise BadInput(f"tpb attribute knows no flag {word!r}.", "Type: tpb attribute --help")
        else:
            folders.append(Path(word))
    if not folders:
        raise BadInput("No bundle was given.", "Type for example: tpb attribute runs/RUN_ID")
    return folders, names


def _studies(folders: list[Path], bundles: list) -> list[tuple[Path, Path, list]]:  # type: ignore[type-arg]
    """Bundles by study: what to show, the study's folder, its runs."""
    groups: dict[Path, list] = {}  # type: ignore[type-arg]
    for folder, bundle in zip(folders, bundles, strict=True):
        study = (bundle.manifest.get("study") or {}).get("study_id") or bundle.run_id
        groups.setdefault(folder.resolve().parent / "studies" / str(study), []).append(bundle)
    return [(target, target, runs) for target, runs in groups.items()]


def _write(target: Path, ledgers: list) -> None:  # type: ignore[type-arg]
    from tpb_core.store.ledger import write_ledgers

    target.mkdir(parents=True, exist_ok=True)
    write_ledgers(target, ledgers)


def _invalid(ledger: object) -> str:
    from tpb_core.api import Ledger

    assert isinstance(ledger, Ledger)
    failed = sorted({row.check for row in ledger.validity if row.gate and row.passed is not True})
    return f"gates not passed: {', '.join(failed)}" if failed else "every gate passed"


run = main
