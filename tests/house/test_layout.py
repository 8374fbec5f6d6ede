"""The house stands as ARCHITECTURE.md and CONTRIBUTING.md describe it."""

import ast
import configparser
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import distpool

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(
    path
    for folder in ("distpool", "tests", "compat_tests", "benchmarks", "examples")
    for path in (ROOT / folder).rglob("*.py")
)


def modules_imported(path: Path) -> set[str]:
    """Collect the absolute imports of a file, those inside functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module)
    return found


def test_the_links_at_the_top_lead_into_the_package() -> None:
    for name in ("scheduler", "dataframe"):
        link = ROOT / name
        assert link.is_symlink()
        assert os.readlink(link) == f"distpool/{name}"
        assert link.is_dir()


def test_nothing_imports_through_the_links() -> None:
    """That would make a second copy of every class."""
    wrong = {
        str(path.relative_to(ROOT)): name
        for path in SOURCES
        for name in modules_imported(path)
        if name.partition(".")[0] in ("scheduler", "dataframe")
    }
    assert len(SOURCES) > 30
    assert wrong == {}


def test_every_folder_of_the_package_is_a_package() -> None:
    """Else it would be left out of what gets installed."""
    folders = {path.parent for path in (ROOT / "distpool").rglob("*.py")}
    assert [
        str(folder.relative_to(ROOT)) for folder in folders if not (folder / "__init__.py").exists()
    ] == []


def test_the_example_is_an_unmodified_program() -> None:
    imports = {name.partition(".")[0] for name in modules_imported(ROOT / "examples" / "complexity.py")}
    assert imports <= sys.stdlib_module_names
    assert "multiprocessing" in imports


def test_dependencies_point_one_way() -> None:
    pytest.importorskip("importlinter")
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", code, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_every_module_has_its_place_in_the_layers() -> None:
    """One that no layer names could import anything."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    named = {name.strip(" ()") for layer in contracts[0]["layers"] for name in layer.split(":")}
    modules = {f"distpool.{path.stem}" for path in (ROOT / "distpool").glob("*.py")}
    parts = {f"distpool.scheduler.{path.stem}" for path in (ROOT / "distpool" / "scheduler").iterdir()}
    hidden = {
        "distpool.__init__",
        "distpool.__main__",
        "distpool.scheduler.__init__",
        "distpool.scheduler.__pycache__",
    }
    assert (modules | parts) - named - hidden == set()


def test_metadata() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    required = setup["options"]["install_requires"].split()
    assert [re.split("[>=]", line)[0] for line in required] == ["pyzmq", "msgspec", "cloudpickle", "psutil"]
    assert setup["options"]["python_requires"] == ">=3.11"
    assert setup["metadata"]["version"] == distpool.__version__
    assert f"## {distpool.__version__}" in (ROOT / "CHANGELOG.md").read_text()
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    assert tools["pytest"]["ini_options"]["filterwarnings"] == ["error"]
    assert tools["mypy"]["strict"] is True


def test_the_readme_names_only_commands_that_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in ("README.md", "CONTRIBUTING.md"):
        named = set(re.findall(r"(?:`|^)make ([a-z]+)", (ROOT / page).read_text(), re.MULTILINE))
        assert named <= targets, page
        assert {"test"} <= named, page


def test_the_folders_that_contributing_names_exist() -> None:
    named = re.findall(r"^\| `([^`]+)` \|", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    folders = [name for name in named if not name.startswith("make ")]
    assert len(folders) > 8
    assert [name for name in folders if not (ROOT / name).exists()] == []
