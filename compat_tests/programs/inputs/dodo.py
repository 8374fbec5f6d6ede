"""doit: one task a file, on processes of its own."""

from pathlib import Path


def count(path, targets):
    Path(targets[0]).write_text(str(len(Path(path).read_text().split())))


def task_count():
    for path in sorted(Path("stdlib/json").glob("*.py")):
        yield {
            "name": path.stem,
            "actions": [(count, [str(path)])],
            "targets": [f"{path.stem}.words"],
            "file_dep": [str(path)],
        }
