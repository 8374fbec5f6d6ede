"""What the page is made of goes along when distpool is installed, and what is not ours says whose it is."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "distpool" / "commands" / "dashboard"


def test_all_of_the_page_is_installed() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    patterns = setup["options.package_data"]["distpool.commands.dashboard"].split()
    there = {path for path in (PACKAGE / "page").rglob("*") if path.is_file()}
    named = {path for pattern in patterns for path in PACKAGE.glob(pattern) if path.is_file()}
    assert len(there) > 10
    assert named == there


def test_the_chart_library_is_the_version_that_the_makefile_names_with_its_licence() -> None:
    found = re.search(r"^UPLOT := (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert found is not None
    folder = PACKAGE / "page" / "vendor" / "uplot"
    assert f"(v{found[1]})" in (folder / "uPlot.esm.js").read_text()[:500]
    assert "MIT License" in (folder / "LICENSE").read_text()


def test_our_own_modules_make_no_markup_of_texts() -> None:
    """Names of functions and texts of errors are other people's: they go in as text only."""
    for path in (PACKAGE / "page").glob("*.js"):
        source = path.read_text()
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert word not in source, f"{word} in {path.name}"
