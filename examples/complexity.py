"""Rank the functions of Python's standard library by cyclomatic complexity, with a `multiprocessing.Pool`.

An ordinary program: it imports the standard library only, and knows nothing of distpool.

    python complexity.py                             plain multiprocessing
    python -m distpool run complexity.py             the same program on distpool

Complexity is counted as McCabe did: one for the function, and one for each place where its path forks.
"""

import argparse
import ast
import multiprocessing
import os
import sys
import sysconfig
import warnings

FORKS = (
    ast.If,
    ast.IfExp,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.ExceptHandler,
    ast.comprehension,
    ast.Assert,
    ast.match_case,
)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
LEFT_OUT = {"site-packages", "dist-packages", "__pycache__", "test", "tests", "idle_test"}


def source_files(directory):
    """List the Python files below a directory in a fixed order, tests and installed packages left out."""
    found = []
    for folder, subfolders, names in os.walk(directory):
        subfolders[:] = sorted(set(subfolders) - LEFT_OUT)
        found += [os.path.join(folder, name) for name in sorted(names) if name.endswith(".py")]
    return found


def complexity(function):
    """Count the paths through a function; those of functions defined inside it are their own."""
    count, rest = 1, list(ast.iter_child_nodes(function))
    while rest:
        node = rest.pop()
        if isinstance(node, FUNCTIONS):
            continue
        if isinstance(node, FORKS):
            count += 1
        elif isinstance(node, ast.BoolOp):
            count += len(node.values) - 1
        rest.extend(ast.iter_child_nodes(node))
    return count


def functions_in(node, prefix=""):
    """Yield each function below a node with its qualified name."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (*FUNCTIONS, ast.ClassDef)):
            name = prefix + child.name
            if isinstance(child, FUNCTIONS):
                yield name, child
            yield from functions_in(child, name + ".")
        else:
            yield from functions_in(child, prefix)


def analyse(path):
    """Parse one file: its path, its number of lines, and (complexity, line, name) of each of its functions."""
    with open(path, "rb") as file:
        source = file.read()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old spellings in the files that are read
            tree = ast.parse(source)
    except (SyntaxError, ValueError):  # templates, and files for another Python
        return path, 0, None
    lines = source.count(b"\n")
    return path, lines, [(complexity(node), node.lineno, name) for name, node in functions_in(tree)]


def show_progress(done, total):
    """Draw a bar over the last one, when it has grown."""
    width = 40
    filled = done * width // total
    if done > 1 and filled == (done - 1) * width // total:
        return
    print(f"\r[{'#' * filled}{'.' * (width - filled)}] {done}/{total} files", end="", file=sys.stderr)
    if done == total:
        print(file=sys.stderr)


def main():
    """Analyse all files in parallel and print the most complex functions."""
    parser = argparse.ArgumentParser(description="Rank functions by cyclomatic complexity.")
    parser.add_argument("directory", nargs="?", default=sysconfig.get_path("stdlib"))
    parser.add_argument("--top", type=int, default=20, help="how many functions to print (default: 20)")
    parser.add_argument("--processes", type=int, help="how many processes (default: one for each CPU)")
    parser.add_argument(
        "--progress", action="store_true", help="show progress even where stderr is no terminal"
    )
    options = parser.parse_args()
    progress = options.progress or sys.stderr.isatty()

    paths = source_files(options.directory)
    if not paths:
        parser.error(f"there are no Python files in {options.directory}")
    results = []
    with multiprocessing.Pool(options.processes) as pool:
        for result in pool.imap_unordered(analyse, paths):
            results.append(result)
            if progress:
                show_progress(len(results), len(paths))

    parsed = [(path, lines, functions) for path, lines, functions in results if functions is not None]
    ranked = sorted(
        (-count, os.path.relpath(path, options.directory), line, name)
        for path, _, functions in parsed
        for count, line, name in functions
    )
    print("complexity  function")
    for negative, path, line, name in ranked[: options.top]:
        print(f"{-negative:10}  {path}:{line} {name}")
    total = sum(-negative for negative, *_ in ranked)
    print(
        f"{len(ranked)} functions in {len(parsed)} files of {sum(lines for _, lines, _ in parsed)} lines; "
        f"mean complexity {total / max(len(ranked), 1):.2f}; {len(results) - len(parsed)} files do not parse"
    )


if __name__ == "__main__":
    main()
