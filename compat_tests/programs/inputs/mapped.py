"""tqdm's process_map over the source files of this folder."""

import ast
from pathlib import Path

from tqdm.contrib.concurrent import process_map


def functions(path):
    tree = ast.parse(path.read_text(errors="replace"))
    return str(path), sum(isinstance(node, ast.FunctionDef) for node in ast.walk(tree))


if __name__ == "__main__":
    with open("bar", "w") as bar:
        print(
            process_map(functions, sorted(Path("stdlib").rglob("*.py")), max_workers=2, chunksize=4, file=bar)
        )
    Path("bar").unlink()  # it shows times
