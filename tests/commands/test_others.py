"""``top``, ``logs``, ``memory``, ``timeline``, and what all commands say when there is nobody to ask."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest

import distpool
from distpool import cli
from distpool.scheduler import client
from distpool.scheduler.shells import inquiries, session_dir
from tests.commands import bodies
from tests.commands.conftest import Say
from tests.processes.scene import wait_until


def test_top_shows_nodes_calls_and_workers(say: Say, tmp_path: Path) -> None:
    refs = [bodies.remote_after.options(name="looked at").remote(tmp_path / "go", n) for n in range(5)]
    wait_until(lambda: say("top", "--once", "--interval", "0.1")[1].count("looked at") == 3, "two run")
    status, text, complaints = say("top", "--once", "--interval", "0.1")
    assert (status, complaints) == (0, "")
    nodes, calls, functions, workers = text.split("\n\n")
    assert nodes.splitlines()[1].split()[1] == "2/2"
    assert f"program, process {os.getpid()}" in calls
    assert "remote calls, each with CPU 1: 3 calls wait, 2 sent to workers" in calls
    assert functions.splitlines()[1].split()[:5] == ["looked", "at", "0", "2", "3"]
    assert workers.splitlines()[1].split()[2:4] == ["looked", "at"]
    (tmp_path / "go").touch()
    assert distpool.get(refs, timeout=60) == list(range(5))


def test_top_wants_a_terminal_and_says_what_does_without(say: Say) -> None:
    status, _, complaint = say("top")
    assert status == 1
    assert complaint == "distpool top: standard output is no terminal: use `distpool top --once`\n"


def test_top_on_a_terminal(session: None) -> None:
    rich = pytest.importorskip("rich.console")
    from distpool.commands import top
    from distpool.commands.dashboard.chronicle import Chronicle
    from distpool.commands.finding import Parser, asker
    from distpool.commands.looking import asker_name, look

    with asker(Parser("top", "").parse_args(["--session", str(os.getpid())])) as cluster:
        now = look(cluster, asker_name())
    seen = Chronicle()
    seen.take(now)
    console = rich.Console(width=120, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(rich.Group(*top._drawn(seen, now, "the head is away")))
    text = console.export_text()
    console.file.close()
    assert now.facts.head in text
    assert "CPUS IN USE" in text
    assert "the head is away" in text


def test_logs_of_a_program_are_where_its_output_is(say: Say) -> None:
    status, text, _ = say("logs")
    assert status == 0
    assert f"goes where the output of process {os.getpid()} goes" in text
    status, _, complaint = say("logs", "Waiter")
    assert status == 1
    assert complaint.startswith("distpool logs: there is no log of 'Waiter'; what is printed on ")


def test_memory_of_one_session(say: Say) -> None:
    ref = distpool.put(np.ones(1_000_000))
    status, text, _ = say("memory")
    assert status == 0
    assert "7.6 MiB" in text
    assert f"driver {os.getpid()}" in text
    assert distpool.get(ref).size == 1_000_000


def test_the_timeline_goes_to_a_file(say: Say, tmp_path: Path) -> None:
    assert distpool.get(bodies.use.options(name="on the timeline").remote(1), timeout=60) == 1
    path = tmp_path / "trace.json"
    wait_until(
        lambda: say("timeline", str(path))[0] == 0 and "on the timeline" in path.read_text(),
        "the call is there",
    )
    events = json.loads(path.read_text())
    assert any(event["name"] == "on the timeline" and event["ph"] == "X" for event in events)
    status, _, complaint = say("timeline", str(tmp_path / "no" / "folder.json"))
    assert status == 1
    assert complaint.count("\n") == 1


@pytest.mark.parametrize("command", ["top", "why", "stack", "logs", "timeline", "memory"])
def test_help_and_mistakes(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--help"])
    assert ended.value.code == 0
    assert "--address HOST:PORT" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--no-such-option"])
    assert ended.value.code == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith(f"distpool {command}: ")
    assert complaint.count("\n") == 1


@pytest.mark.parametrize("command", ["why", "stack", "logs", "timeline"])
def test_nobody_to_ask(command: str, session: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([command, "--session", "1"]) == 1
    assert "no program of yours with process 1" in capsys.readouterr().err
    assert cli.main([command, "--address", "nowhere"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_without_a_name_the_one_program_here_is_asked(
    own_tmpdir: str, session: None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    here = client.session().cluster.directory
    monkeypatch.setattr(session_dir, "living", lambda: [here])
    assert cli.main(["stack"]) == 0
    assert f"program, process {os.getpid()}" in capfd.readouterr().out
    monkeypatch.setattr(session_dir, "living", lambda: [here, here])
    assert cli.main(["stack"]) == 1
    complaint = f"several programs run here; choose one by --session PID: {os.getpid()}, {os.getpid()}"
    assert capfd.readouterr().err == f"distpool stack: {complaint}\n"
    monkeypatch.setattr(session_dir, "living", list)
    assert cli.main(["stack"]) == 1
    assert "nothing of yours runs on this machine" in capfd.readouterr().err


def test_calls_go_on_at_their_pace_while_somebody_looks(say: Say) -> None:
    """And whoever looks all the time does no harm."""
    done = threading.Event()
    looks = []

    def look() -> None:
        while not done.is_set():
            looks.append(say("top", "--once", "--interval", "0.1")[0])

    thread = threading.Thread(target=look)
    thread.start()
    with distpool.Pool(2) as pool:
        for _ in range(3):
            assert pool.map(abs, range(-20_000, 0)) == list(range(20_000, 0, -1))
    done.set()
    thread.join(60)
    assert looks
    assert set(looks) == {0}


def test_a_bug_in_an_answer_is_not_the_end_of_the_session(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = []
    monkeypatch.setattr(threading, "excepthook", lambda args: heard.append(args.exc_type))
    session = client.session()
    assert distpool.get(bodies.use.remote(1), timeout=60) == 1

    def fails(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setitem(session.inquiries.topics, "activity", fails)
    assert isinstance(session.inquiries, inquiries.Inquiries)
    say("top", "--once", "--interval", "0.1")
    assert ZeroDivisionError in heard
    assert distpool.get(bodies.use.remote(2), timeout=60) == 2
