"""Work at a prompt: cells of a notebook, and lines typed at the plain one.

The notebook is real: ``FRONT_END`` starts an IPython kernel and has it run the cells that it is given, as Jupyter
does, the interrupt button included (a SIGINT to the kernel). What it prints, one line of JSON per cell, is judged
here. It runs in a process of its own, so that its sockets and loops are not taken for leaks of ours.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.processes.scene import driver

PROMPT_WITHIN_S = 2.0

FRONT_END = """
import json, re, sys, time
from jupyter_client import KernelManager

folder, cells = sys.argv[1], json.loads(sys.argv[2])
manager = KernelManager(transport="ipc", ip=folder + "/kernel")
manager.start_kernel()
client = manager.client()
client.start_channels()
client.wait_for_ready(timeout=30)
for code, interrupt_when in cells:
    seen = {"out": "", "err": "", "errors": [], "prompt_after_s": None}
    pressed_s = None

    def take(message):
        global pressed_s
        kind, content = message["msg_type"], message["content"]
        if kind == "stream":
            seen["out" if content["name"] == "stdout" else "err"] += content["text"]
        elif kind == "error":
            traceback = re.sub(r"\\x1b\\[[0-9;]*m", "", "\\n".join(content["traceback"]))
            seen["errors"].append([content["ename"], content["evalue"], traceback])
        if interrupt_when and interrupt_when in seen["out"] and pressed_s is None:
            pressed_s = time.monotonic()
            manager.interrupt_kernel()

    client.execute_interactive(code, timeout=30, output_hook=take)
    if pressed_s is not None:
        seen["prompt_after_s"] = time.monotonic() - pressed_s
    print(json.dumps(seen), flush=True)
client.stop_channels()
manager.shutdown_kernel()
print("the kernel has ended", flush=True)
"""


class Cell(NamedTuple):
    """A cell, and the words of its output upon which it is interrupted."""

    code: str
    interrupt_when: str = ""


class Seen(NamedTuple):
    """What became of a cell. An error is its type's name, its text, and its traceback."""

    out: str
    err: str
    errors: list[list[str]]
    prompt_after_s: float | None

    def printed(self) -> str:
        """Its output, if that is all there was."""
        assert not self.err
        assert not self.errors
        return self.out.strip()


def run_notebook(cells: list[Cell], folder: Path) -> list[Seen]:
    """Run the cells in one kernel, and end it. No process of it may be left."""
    pytest.importorskip("ipykernel")
    pytest.importorskip("jupyter_client")
    places = {name: str(folder / name) for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR")}
    places["JUPYTER_CONFIG_DIR"] = str(folder / "config")
    with driver(FRONT_END, str(folder), json.dumps(cells), env=places) as it:
        text = it.finish(within_s=60.0)
        *lines, last = text.splitlines()
        assert last == "the kernel has ended", text
        assert it.process.returncode == 0, text
        it.expect_nothing_left(within_s=5.0)
    return [Seen(**json.loads(line)) for line in lines]


SET_UP = Cell("""
import os, time
import distpool
from distpool.futures import ProcessPoolExecutor

def double(number):
    return 2 * number

class Point:
    def __init__(self, x):
        self.x = x

pool = distpool.Pool(2)
executor = ProcessPoolExecutor(2)
print(pool.map(double, range(4)), list(executor.map(double, range(4))))
""")


def test_cells_use_what_earlier_cells_defined(tmp_path: Path) -> None:
    cells = [
        SET_UP,
        Cell(
            "print(pool.map(lambda n: double(n) + 1, [1, 2]), executor.submit(lambda: double(21)).result())"
        ),
        Cell("def moved(point, by=3):\n    return Point(point.x + double(by))"),
        Cell("point = pool.apply(moved, (Point(1),)); print(type(point) is Point, point.x)"),
        Cell("point = executor.submit(moved, Point(2), by=5).result(); print(type(point) is Point, point.x)"),
        Cell("print(pool.starmap(lambda a, b: a * b, [(2, 3), (4, 5)]), list(pool.imap(double, range(3))))"),
        Cell("def double(number):\n    return 'now', number"),
        Cell("print(pool.map(double, [1, 2]), executor.submit(double, 3).result())"),
        Cell("def fails(number):\n    raise ValueError(f'no {number}')"),
        Cell("pool.map(fails, [7])"),
        Cell("executor.submit(fails, 8).result()"),
        Cell("with distpool.Pool(1) as own: print(own.map(lambda n: double(n), [6]))"),
    ]
    seen = run_notebook(cells, tmp_path)
    assert seen[0].printed() == "[0, 2, 4, 6] [0, 2, 4, 6]"
    assert seen[1].printed() == "[3, 5] 42"
    assert seen[3].printed() == "True 7"
    assert seen[4].printed() == "True 12"
    assert seen[5].printed() == "[6, 20] [0, 2, 4]"
    assert seen[7].printed() == "[('now', 1), ('now', 2)] ('now', 3)"
    for number, cell in ((7, seen[9]), (8, seen[10])):
        ((kind, text, traceback),) = cell.errors
        assert (kind, text) == ("ValueError", f"no {number}")
        assert "line 2, in fails" in traceback, "it shows where in the cell"
        assert "RemoteTraceback" in traceback
    assert seen[11].printed() == "[('now', 6)]"


def test_one_interrupt_gives_the_prompt_back_and_the_same_pool_stays_usable(tmp_path: Path) -> None:
    waits = [
        ("pool.map(time.sleep, [60, 60, 60])", "pool.map(double, range(4))"),
        ("pool.apply(time.sleep, (60,))", "pool.map(double, range(4))"),
        ("list(executor.map(time.sleep, [60, 60, 60]))", "list(executor.map(double, range(4)))"),
    ]
    # Not flushed: the kernel would wait for that on an Event, in which an interrupt can raise an error of its own
    # ("release unlocked lock"). Its output thread passes the word on a moment later, when the cell is where it waits.
    cells = [SET_UP]
    for waiting, again in waits * 2:
        cells.append(Cell(f"print('waiting'); {waiting}", interrupt_when="waiting"))
        cells.append(
            Cell(f"began_s = time.monotonic(); print({again}); again_s = time.monotonic() - began_s")
        )
        cells.append(Cell("print(again_s)"))
    _, *seen = run_notebook(cells, tmp_path)
    for interrupted in seen[0::3]:
        assert [kind for kind, _, _ in interrupted.errors] == ["KeyboardInterrupt"], "".join(
            interrupted.errors[0][2]
        )
        assert interrupted.errors[0][2].count("Traceback (most recent call last)") == 1
        assert not interrupted.err, "nothing else is printed, by no process"
        assert interrupted.prompt_after_s is not None
        assert interrupted.prompt_after_s < PROMPT_WITHIN_S
    for asked, again_s in zip(seen[1::3], seen[2::3], strict=True):
        assert asked.printed() == "[0, 2, 4, 6]"
        assert float(again_s.printed()) < PROMPT_WITHIN_S, "the workers are free at once"


def test_the_plain_prompt() -> None:
    """Lines typed at ``python -i``: what they define, and define again, and a Ctrl-C in between."""
    with driver(tty=True, interactive=True) as it:

        def enter(line: str, expected: str, within_s: float = 20.0) -> str:
            it.type(line + "\n")
            return it.read_until(f"\n{expected}>>> ", within_s)

        it.read_until(">>> ")
        enter("import time, distpool; from distpool.futures import ProcessPoolExecutor", "")
        enter("def double(n): return 2 * n\n", "")
        enter("pool = distpool.Pool(2); executor = ProcessPoolExecutor(2)", "")
        enter("pool.map(double, range(4))", "[0, 2, 4, 6]\n")
        enter("executor.submit(lambda n: double(n) + 1, 5).result()", "11\n")
        enter("def double(n): return 'now', n\n", "")
        enter("pool.map(double, [1]), list(executor.map(double, [2]))", "([('now', 1)], [('now', 2)])\n")
        for waiting in ("pool.map(time.sleep, [60] * 3)", "list(executor.map(time.sleep, [60] * 3))"):
            it.type(f"print('wait' + 'ing'); {waiting}\n")
            it.read_until("\nwaiting\n")
            it.type("\x03")
            text = it.read_until(">>> ", within_s=PROMPT_WITHIN_S)
            assert text.count("Traceback (most recent call last)") == 1, text
            assert "KeyboardInterrupt\n>>> " in text
            began_s = time.monotonic()
            enter("pool.map(double, [3]), list(executor.map(double, [4]))", "([('now', 3)], [('now', 4)])\n")
            assert time.monotonic() - began_s < PROMPT_WITHIN_S
        it.type("exit()\n")
        it.finish(within_s=5.0)
        it.expect_nothing_left(within_s=2.0)
