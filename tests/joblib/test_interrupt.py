"""Ctrl-C in a program with joblib: one traceback, nothing left; at a prompt the next call works."""

from __future__ import annotations

import signal

import pytest

from tests.processes.scene import driver

PROGRAM = """
import time
import distpool.joblib, joblib
from tests.joblib import bodies

with joblib.parallel_config(backend="distpool", n_jobs=2):
    joblib.Parallel()(joblib.delayed(abs)(i) for i in range(4))
    print("ready", flush=True)
    {call}
"""
CALLS = {
    "list": "joblib.Parallel()(joblib.delayed(time.sleep)(100) for _ in range(9))",
    "generator": "list(joblib.Parallel(return_as='generator')(joblib.delayed(time.sleep)(100) for _ in range(9)))",
    "between two items": "for _ in joblib.Parallel(return_as='generator')([joblib.delayed(abs)(1)] * 2): "
    "time.sleep(100)",
}


@pytest.mark.parametrize("call", CALLS)
def test_one_ctrl_c_is_one_traceback(call: str) -> None:
    with driver(PROGRAM.format(call=CALLS[call]), tty=True) as it:
        it.read_until("ready\n")
        it.type("\x03")
        text = it.finish(within_s=10.0)
        assert text.count("KeyboardInterrupt") == 1, text
        # joblib looks for results in a loop with an except clause: what is met there has a context, and is still one.
        contexts = text.count("During handling of the above exception, another exception occurred")
        assert text.count("Traceback (most recent call last)") == 1 + contexts, text
        assert text.rstrip().endswith("KeyboardInterrupt"), text
        assert it.process.returncode == -signal.SIGINT
        it.expect_nothing_left(within_s=10.0)


def test_at_a_prompt_the_next_call_works() -> None:
    with driver(tty=True, interactive=True) as it:
        it.read_until(">>> ")
        it.type("import distpool.joblib, time; from joblib import Parallel, delayed\n")
        it.read_until(">>> ")
        it.type("call = lambda tasks: Parallel(2, backend='distpool')(tasks); print('wait' + 'ing')\n")
        it.read_until("\nwaiting\n>>> ")
        it.type("print('go' + 'ing'); call([delayed(time.sleep)(60)] * 4)\n")
        it.read_until("\ngoing\n")
        it.type("\x03")
        text = it.read_until("KeyboardInterrupt\n>>> ", within_s=20.0)
        assert text.count("Traceback") == 1, text
        it.type("print(sum(call(delayed(abs)(-i) for i in range(9))) + 1000)\n")
        it.read_until("\n1036\n>>> ")
