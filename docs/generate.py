"""Write the pages of docs/reference that are made from the code.

    python docs/generate.py            write them
    python docs/generate.py --check    write nothing; exit code 1 and the names of pages that are not what would be written

A plugin or command that cannot be imported is left out, said on stderr, and makes the exit code 1.

Everything comes from the checkout: commands from the dispatcher, options from the config dataclasses of the core and of every plugin
under plugins/ (installed or not), tables from the schemas, codes and checks from their closed lists. So a new plugin or command needs
one more run of this file and nothing else.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs" / "reference"
NOTE = "<!-- Made by `python docs/generate.py`. Change the code, not this page. -->\n"


def pages() -> tuple[dict[str, str], dict[str, str]]:
    """File name -> text, and the plugins and commands that could not be imported, with the error."""
    sys.path[:0] = [str(ROOT), str(ROOT / "docs")]
    os.environ.update(COLUMNS="118", NO_COLOR="1")  # help texts wrap to the width of the terminal
    from generator import benches, codes, commands, coverage, discovery, formats, interfaces, options, plugins, sensors

    checkout = discovery.Checkout(ROOT)
    made = {
        "commands.md": commands.page(checkout.broken),
        "options.md": options.page(ROOT / "conf"),
        **plugins.pages(checkout),
        "interfaces.md": interfaces.page(),
        "bundle-tables.md": formats.bundle_page(),
        "database.md": formats.database_page(),
        "codes.md": codes.page(),
        "validity.md": codes.validity_page(),
        "gpu-sensors.md": sensors.page(),
        "benches.md": benches.page(ROOT / "bench"),
        "coverage.md": coverage.page(REFERENCE / "coverage.csv"),
    }
    return {name: NOTE + text.rstrip() + "\n" for name, text in made.items()}, checkout.broken


def main() -> int:
    """Exit code 0, or 1 where `--check` found a page that is not up to date."""
    parser = argparse.ArgumentParser(description="Write the pages of docs/reference that are made from the code.")
    parser.add_argument("--check", action="store_true", help="write nothing; say which pages are not up to date")
    check = parser.parse_args().check
    made, broken = pages()
    for name, error in broken.items():
        print(f"{name} is left out: {error}", file=sys.stderr)
    stale = [name for name, text in made.items() if not (REFERENCE / name).is_file() or (REFERENCE / name).read_text() != text]
    if check:
        for name in stale:
            print(f"docs/reference/{name} is not up to date. Type:  python docs/generate.py")
        return 1 if stale or broken else 0
    REFERENCE.mkdir(parents=True, exist_ok=True)
    for name in stale:
        (REFERENCE / name).write_text(made[name])
        print(f"docs/reference/{name}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
