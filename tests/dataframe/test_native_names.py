"""The names of the native operations are known before their modules are imported, and are those of the decorators.

`DISTPOOL_WRITE_NAMES=1 pytest tests/dataframe/test_native_names.py` writes `native_names.py` anew.
"""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import distpool.dataframe
from distpool.dataframe import applying, native_names, natives, objects

HEAD = '''"""Which methods of which class have a native operation, and in which module: known without importing one.

Written by tests/dataframe/test_native_names.py, which compares it with the decorators of the operations.
"""

from __future__ import annotations

'''

# What is registered is told by a process in which nothing was known before.
TOLD = """
import sys, types
names = types.ModuleType("distpool.dataframe.native_names")
names.NAMES, names.HEAVY, names.MEETS = {}, frozenset(), frozenset()
sys.modules["distpool.dataframe.native_names"] = names
from distpool.dataframe import natives
natives.load_all()
for owner, methods in sorted(natives.TABLE.items()):
    for name, native in sorted(methods.items()):
        module = native.run.__module__.removeprefix("distpool.dataframe.")
        print(module, owner, name, native.heavy, native.meets)
"""


def written(told):
    names, heavy, meets = {}, [], []
    for line in told.splitlines():
        module, owner, name, is_heavy, does_meet = line.split()
        names.setdefault(module, {}).setdefault(owner, []).append(name)
        heavy += [f"{owner}.{name}"] * (is_heavy == "True")
        meets += [f"{owner}.{name}"] * (does_meet == "True")
    lines = ["NAMES: dict[str, dict[str, str]] = {"]
    for module, owners in sorted(names.items()):
        lines.append(f'    "{module}": {{')
        for owner, methods in sorted(owners.items()):
            rows = textwrap.wrap(" ".join(methods), 90, break_long_words=False)
            if len(rows) == 1:
                lines.append(f'        "{owner}": "{rows[0]}",')
                continue
            lines.append(f'        "{owner}": (')
            lines += [f'            "{row} "' for row in rows[:-1]] + [f'            "{rows[-1]}"']
            lines.append("        ),")
        lines.append("    },")
    lines.append("}")
    for name, labels in (("HEAVY", heavy), ("MEETS", meets)):
        lines += ["", f"{name} = frozenset(", "    ("]
        lines += [f'        "{label}",' for label in labels] + ["    )", ")"]
    return HEAD + "\n".join(lines) + "\n"


def told(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    ).stdout


def test_the_names_are_those_of_the_decorators():
    made, path = written(told(TOLD)), Path(native_names.__file__)
    if os.environ.get("DISTPOOL_WRITE_NAMES"):
        path.write_text(made)
    assert path.read_text() == made, "DISTPOOL_WRITE_NAMES=1 writes it anew"


def test_each_operation_is_found_by_its_name():
    for methods in natives.TABLE.values():
        for native in methods.values():
            assert callable(native.run)


def test_the_methods_with_functions_are_those_that_can_be_shared_out():
    known = {owner: tuple(methods) for owner, methods in applying.METHODS.items()}
    assert known == objects.WITH_FUNCTION


def test_importing_it_and_using_pandas_imports_no_operation():
    loaded = told(
        "import sys, distpool.dataframe as pd;"
        "made = pd.DataFrame({'a': [1, 2]}); made['b'] = made.a + 1; made.groupby('a').b.sum(); made.merge(made);"
        "print([name for name in sys.modules if name.startswith('distpool.dataframe.operations')"
        " or name in ('polars', 'zmq', 'distpool.dataframe.python_functions')])"
    )
    assert loaded.strip() == "[]", distpool.dataframe.__name__
