"""Logging, warnings, printing and surroundings in workers are as in the program: its handlers, filters and settings."""

import contextvars
import locale
import logging
import logging.handlers
import os
import re
import sys
import threading
import time
import warnings
from contextlib import contextmanager

import pytest

from distpool.pool import Pool
from distpool.scheduler import client
from distpool.scheduler.shells import remarks
from tests.run.programs import ROOT, environment, start

BOUND_S = 20.0


class Kept(logging.Handler):
    """Keeps what it is given."""

    def __init__(self, level=0):
        super().__init__(level)
        self.records = []

    def emit(self, record):
        self.records.append(record)

    @property
    def texts(self):
        return [record.getMessage() for record in self.records]


@contextmanager
def handled_by(name, level=logging.NOTSET, handler=None, **settings):
    """A handler, and settings, of one logger of this process for a while."""
    logger = logging.getLogger(name)
    handler = handler or Kept()
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = settings.get("propagate", logger.propagate)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]


@pytest.fixture
def kept():
    """What the root logger's handler gets, from INFO on."""
    with handled_by("", logging.INFO) as handler:
        yield handler


def wait_until(condition):
    until_s = time.monotonic() + BOUND_S
    while not condition():
        assert time.monotonic() < until_s
        time.sleep(0.005)


# ------------------------------------------------------------------------------------- logging


def log_each(x, times=3):
    logger = logging.getLogger("tasks.each")
    for number in range(times):
        logger.info("%s: %d", x, number)
        logger.debug("not wanted")
    return x


class Secret:
    def __reduce__(self):
        raise TypeError("never")

    def __repr__(self):
        return "a secret"


def log_unusual():
    logger = logging.getLogger("tasks")
    logger.info("one %r", Secret())
    logger.info({"a": "dict"})
    logger.info("%(x)s", {"x": "by name"})
    logger.info("with", extra={"who": "me", "what": Secret(), "when": {1, 2}})
    try:
        raise ValueError("inside")
    except ValueError:
        logger.exception("caught")
    logging.log(25, "of a level of its own")


def log_wrong():
    logging.getLogger("tasks").info("%d", "no number")


def log_and_wait(path):
    logging.getLogger("tasks").info("begun")
    until_s = time.monotonic() + BOUND_S
    while not os.path.exists(path):
        assert time.monotonic() < until_s
        time.sleep(0.005)


def log_in_thread():
    thread = threading.Thread(target=lambda: logging.getLogger("tasks").info("in a thread"))
    thread.start()
    thread.join()


def log_later(path):
    """A thread that goes on when its task is done, and logs when the file is there."""
    threading.Thread(target=log_and_wait, args=(path,)).start()


def own_handlers(path):
    logging.basicConfig(filename=path, level=logging.INFO, format="%(message)s")


def own_handler_below(path):
    logger = logging.getLogger("tasks")
    logger.addHandler(logging.FileHandler(path))
    logging.getLogger("silent").addHandler(logging.NullHandler())


def log_below():
    logging.getLogger("tasks").info("below")
    logging.getLogger("silent").info("through a silent library")


def log_at_exit():
    import atexit

    atexit.register(logging.getLogger("tasks").info, "the last words")


def effective_levels():
    return logging.getLogger().level, logging.getLogger("tasks").level


def log_in_inner_pool(x):
    with Pool(1) as pool:
        return pool.apply(log_each, (x,))


def log_in_fork():
    pid = os.fork()
    if pid == 0:
        logging.getLogger("tasks").info("in a fork")
        os._exit(0)
    return os.waitpid(pid, 0)[1]


def flood(count):
    logger = logging.getLogger("tasks")
    for number in range(count):
        logger.info("%d %s", number, "x" * 10_000)


def test_every_record_is_handled_here_before_its_result_is_seen(on_native, make_pool, kept):
    pool = make_pool(2)
    for _ in range(3):
        kept.records.clear()
        assert pool.map(log_each, range(200), chunksize=1) == list(range(200))
        assert sorted(kept.texts) == sorted(f"{x}: {number}" for x in range(200) for number in range(3))
        assert all(record.levelno == logging.INFO for record in kept.records)
        assert {record.processName for record in kept.records} <= {
            f"ForkPoolWorker-{n}" for n in range(1, 1000)
        }
    by_worker = {}
    for record in kept.records:
        by_worker.setdefault(record.process, []).append(record.created)
    assert os.getpid() not in by_worker
    assert all(times == sorted(times) for times in by_worker.values())


def test_an_executor_loses_none_until_it_is_shut_down(on_native, make_executor, kept):
    executor = make_executor(2)
    futures = [executor.submit(log_each, x, 1) for x in range(500)]
    executor.shutdown()
    assert len(kept.records) == 500
    assert all(future.done() for future in futures)


def test_records_that_cannot_be_pickled_come_as_text(on_native, make_pool, kept):
    make_pool(1).apply(log_unusual)
    one, as_dict, by_name, extra, caught, between = kept.records
    assert [one.getMessage(), as_dict.getMessage(), by_name.getMessage()] == [
        "one a secret",
        "{'a': 'dict'}",
        "by name",
    ]
    assert (extra.who, extra.what, extra.when) == ("me", "a secret", {1, 2})
    text = logging.Formatter("%(message)s").format(caught)
    assert text.startswith("caught\nTraceback ")
    assert "in log_unusual" in text
    assert text.endswith("ValueError: inside")
    assert (between.levelname, between.name) == ("Level 25", "root")


def test_levels_of_loggers_hold_in_workers(on_native, make_pool, kept):
    with handled_by("tasks", logging.ERROR):
        pool = make_pool(1)
        assert pool.apply(effective_levels) == (logging.INFO, logging.ERROR)
        pool.apply(log_each, (1,))
        assert kept.records == []


def test_a_new_worker_sees_the_level_of_now(on_native, make_pool, kept):
    pool = make_pool(1, maxtasksperchild=1)
    assert pool.apply(effective_levels)[1] == logging.NOTSET
    with handled_by("tasks", logging.ERROR):
        wait_until(lambda: pool.apply(effective_levels)[1] == logging.ERROR)


def test_a_level_that_is_raised_counts_at_once(on_native, make_pool, kept):
    pool = make_pool(1)
    pool.apply(log_each, (1,))
    assert len(kept.records) == 3
    with handled_by("tasks", logging.ERROR):
        pool.apply(log_each, (1,))
    assert len(kept.records) == 3


def test_a_level_that_is_lowered_counts_from_the_next_call_on(on_native, make_pool, kept):
    """In workers that run already; those who were not told would not make the records at all."""
    pool = make_pool(2)
    with handled_by("tasks", logging.ERROR):
        pool.map(log_each, range(10), chunksize=1)
    assert kept.records == []
    for level, per_call in [(logging.DEBUG, 6), (logging.WARNING, 0), (logging.NOTSET, 3)]:
        kept.records.clear()
        with handled_by("tasks.each", level):
            pool.map(log_each, range(10), chunksize=1)
        assert len(kept.records) == 10 * per_call
    with handled_by("", logging.DEBUG):
        kept.records.clear()
        assert pool.apply(effective_levels)[0] == logging.DEBUG
        logging.disable(logging.CRITICAL)
        try:
            assert pool.apply(logging.getLogger().isEnabledFor, (logging.ERROR,)) is False
        finally:
            logging.disable(logging.NOTSET)
    assert pool.apply(logging.getLogger().isEnabledFor, (logging.ERROR,)) is True


def test_a_level_that_a_task_has_set_is_not_undone(on_native, make_pool, kept):
    pool = make_pool(1)
    pool.apply(set_level, ("tasks.other", logging.CRITICAL))
    with handled_by("tasks", logging.ERROR):
        assert pool.apply(level_of, ("tasks.other",)) == logging.CRITICAL
        assert pool.apply(level_of, ("tasks",)) == logging.ERROR


def set_level(name, level):
    logging.getLogger(name).setLevel(level)


def level_of(name):
    return logging.getLogger(name).level


def test_named_loggers_propagation_and_filters_are_this_processs(on_native, make_pool, kept):
    pool = make_pool(1)
    with handled_by("tasks", logging.INFO, propagate=False) as named:
        named.addFilter(lambda record: "1" in record.getMessage())
        pool.apply(log_each, ("x",))
    assert named.texts == ["x: 1"]
    assert kept.records == []


def test_a_record_of_a_long_task_comes_while_it_runs(on_native, make_pool, kept, tmp_path):
    pool = make_pool(1)
    result = pool.apply_async(log_and_wait, (tmp_path / "go",))
    wait_until(lambda: kept.texts == ["begun"])
    assert not result.ready()
    (tmp_path / "go").touch()
    result.get(BOUND_S)


def test_records_of_what_is_done_come_before_a_long_task_behind_it(on_native, make_pool, kept, tmp_path):
    """The results of the short ones are fetched while it runs, by the worker's second thread."""
    pool = make_pool(1)
    pool.apply(abs, (1,))
    short = [pool.apply_async(log_each, (x, 1)) for x in range(3)]
    long = pool.apply_async(log_and_wait, (tmp_path / "go",))
    for x, result in enumerate(short):
        assert result.get(BOUND_S) == x
        assert f"{x}: 0" in kept.texts
    (tmp_path / "go").touch()
    long.get(BOUND_S)


def test_threads_of_tasks_are_heard_also_after_the_task(on_native, make_pool, kept, tmp_path):
    pool = make_pool(1)
    pool.apply(log_in_thread)
    assert kept.texts == ["in a thread"]
    pool.apply(log_later, (tmp_path / "go",))
    wait_until(lambda: kept.texts == ["in a thread", "begun"])
    (tmp_path / "go").touch()


def test_handlers_that_the_initializer_makes_win(on_native, make_pool, kept, tmp_path):
    pool = make_pool(1, own_handlers, (tmp_path / "log",))
    pool.apply(log_each, ("x",))
    assert (tmp_path / "log").read_text() == "x: 0\nx: 1\nx: 2\n"
    assert kept.records == []


def test_a_handler_below_the_root_is_called_once_and_those_above_it_here(
    on_native, make_pool, kept, tmp_path
):
    pool = make_pool(1, own_handler_below, (tmp_path / "log",))
    with handled_by("tasks") as named:
        pool.apply(log_below)
    assert (tmp_path / "log").read_text() == "below\n"
    assert named.records == []
    assert kept.texts == ["below", "through a silent library"]


def test_nothing_is_remembered_of_workers_that_are_gone(on_native, make_pool, kept):
    pool = make_pool(1, maxtasksperchild=1)
    pool.map(log_each, range(5), chunksize=1)
    pool.close()
    pool.join()
    reissue = client.session().shell.reissue
    wait_until(lambda: not reissue.pending and not reissue._inbox)
    assert reissue._unseen == {}
    assert len(kept.records) == 15


def test_the_last_words_of_a_worker_come_too(on_native, make_executor, kept):
    executor = make_executor(1)
    executor.submit(log_at_exit).result()
    executor.shutdown()
    wait_until(lambda: kept.texts == ["the last words"])


def test_a_pool_in_a_task_is_heard_in_the_program(on_native, make_pool, kept):
    assert make_pool(1).apply(log_in_inner_pool, (7,)) == 7
    assert kept.texts == ["7: 0", "7: 1", "7: 2"]


def test_a_fork_of_a_worker_logs_nowhere_and_harms_nothing(on_native, make_pool, kept):
    pool = make_pool(1)
    assert pool.apply(log_in_fork) == 0
    pool.apply(log_each, ("x",))
    assert kept.texts == ["x: 0", "x: 1", "x: 2"]


def test_a_handler_that_raises_stops_nothing(on_native, make_pool, kept, monkeypatch):
    class Wild(logging.Handler):
        def emit(self, record):
            raise OSError("no room")

    seen = []
    monkeypatch.setattr(threading, "excepthook", seen.append)
    with handled_by("tasks", handler=Wild()):
        assert make_pool(1).apply(log_each, ("x",)) == "x"
    assert [str(args.exc_value) for args in seen] == ["no room"] * 3
    assert make_pool(1).apply(log_each, ("y",)) == "y"
    assert kept.texts == ["y: 0", "y: 1", "y: 2"]


def test_a_result_is_not_ready_before_its_records_are_handled(on_native, make_pool, kept):
    """Whoever looks, instead of waiting, sees the same order; so does a callback."""

    class Slow(Kept):
        def emit(self, record):
            time.sleep(0.05)
            super().emit(record)

    handled_before = []
    with handled_by("tasks", handler=Slow()) as slow:
        result = make_pool(1).apply_async(
            log_each, (1,), callback=lambda _: handled_before.append(len(slow.records))
        )
        wait_until(result.ready)
        assert len(slow.records) == 3
    assert handled_before == [3]


def test_a_handler_may_use_a_pool(on_native, make_pool, kept):
    class Asking(logging.Handler):
        def emit(self, record):
            answers.append(other.apply(abs, (-1,)))

    answers, other = [], make_pool(1)
    with handled_by("tasks", handler=Asking()):
        make_pool(1).apply(log_each, ("x",))
        wait_until(lambda: len(answers) == 3)  # a handler that takes more than a second is not waited for
    assert answers == [1, 1, 1]


def test_a_stuck_handler_holds_nothing_up_and_what_is_kept_is_bounded(on_native, make_pool, kept):
    """16 MB with the program and 16 MB in the worker, out of 60; how many went is said."""
    go = threading.Event()

    class Stuck(logging.Handler):
        def emit(self, record):
            go.wait(BOUND_S)

    pool = make_pool(1)
    with handled_by("tasks", handler=Stuck()):
        pool.apply(flood, (6_000,))
        assert pool.apply(abs, (-3,)) == 3
        waiting = list(client.session().shell.reissue._inbox)
        sizes = [len(frame) for _, message in waiting if message for frame in message.frames]
        assert 0 < sum(sizes) <= remarks.BUFFER_BYTES * 1.1
        go.set()
        wait_until(lambda: any(record.name == "distpool" for record in kept.records))
    said = [record for record in kept.records if record.name == "distpool"]
    lost = sum(int(record.getMessage().split()[0]) for record in said)
    assert "were dropped" in said[0].getMessage()
    wait_until(lambda: len(kept.records) - len(said) + lost == 6_000)
    assert 1_500 < lost < 5_000


# ------------------------------------------------------------------------------------- warnings


class Custom(UserWarning):
    pass


def warn(text="careful", category=UserWarning, times=1):
    for _ in range(times):
        warnings.warn(text, category, stacklevel=1)


def warn_and_catch():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn()
    return [str(one.message) for one in caught]


def the_filters():
    return [(action, kind.__name__) for action, _, kind, _, _ in warnings.filters]


@contextmanager
def shown_warnings(action="default"):
    """What is shown in this process; pools are to be made inside."""
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter(action)
        yield shown


def test_a_warning_of_many_workers_is_shown_once(on_native, make_pool):
    with shown_warnings() as shown:
        pool = make_pool(2)
        pool.map(warn, ["a", "b"] * 20, chunksize=1)
        assert sorted(str(one.message) for one in shown) == ["a", "b"]
    assert {one.filename for one in shown} == {__file__}
    assert {one.category for one in shown} == {UserWarning}


def test_always_is_always(on_native, make_pool):
    with shown_warnings("always") as shown:
        make_pool(2).map(warn, ["a"] * 10, chunksize=1)
        assert [str(one.message) for one in shown] == ["a"] * 10


def test_a_class_of_ones_own_and_ignoring_it(on_native, make_pool):
    with shown_warnings() as shown:
        warnings.simplefilter("ignore", Custom)
        pool = make_pool(1)
        pool.apply(warn, ("x", Custom))
        pool.apply(warn, ("y", UserWarning))
        assert [str(one.message) for one in shown] == ["y"]
        assert pool.apply(the_filters)[:2] == [("ignore", "Custom"), ("default", "Warning")]


def test_error_makes_errors_there(on_native, make_pool):
    with shown_warnings("error"), pytest.raises(Custom, match="careful"):
        make_pool(1).apply(warn, ("careful", Custom))


def test_a_task_that_catches_its_warnings_has_them(on_native, make_pool):
    with shown_warnings() as shown:
        assert make_pool(1).apply(warn_and_catch) == ["careful"]
    assert shown == []


def test_warnings_can_be_captured_by_logging(on_native, make_pool, kept):
    with shown_warnings("always"):
        logging.captureWarnings(True)
        try:
            make_pool(1).apply(warn)
        finally:
            logging.captureWarnings(False)
    assert [record.name for record in kept.records] == ["py.warnings"]
    assert "UserWarning: careful" in kept.texts[0]


# ----------------------------------------------------------------------- surroundings, printing


def surroundings():
    return {
        "variable": os.environ.get("AS_IF_LOCAL"),
        "directory": os.getcwd(),
        "path": sys.path[0],
        "limit": sys.getrecursionlimit(),
        "locale": locale.setlocale(locale.LC_ALL),
        "umask": os.umask(0o022),
        "hour": time.localtime(0).tm_hour,
    }


def test_surroundings_are_those_of_the_pools_creation(on_native, make_pool, monkeypatch, tmp_path):
    monkeypatch.setenv("AS_IF_LOCAL", "yes")
    monkeypatch.setenv("TZ", "Etc/GMT-5")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    limit, mask, where = sys.getrecursionlimit(), os.umask(0o027), locale.setlocale(locale.LC_ALL)
    try:
        sys.setrecursionlimit(limit + 1234)
        locale.setlocale(locale.LC_ALL, "C")
        pool = make_pool(1)
        assert pool.apply(surroundings) == {
            "variable": "yes",
            "directory": str(tmp_path),
            "path": str(tmp_path),
            "limit": limit + 1234,
            "locale": "C",
            "umask": 0o027,
            "hour": 5,
        }
    finally:
        sys.setrecursionlimit(limit)
        os.umask(mask)
        locale.setlocale(locale.LC_ALL, where)


#: Of this module, and so known to workers by name.
VARIABLE = contextvars.ContextVar("VARIABLE", default="nothing")
BARE = contextvars.ContextVar("BARE")


class Unsendable:
    def __reduce__(self):
        raise TypeError("never")


def context_values():
    return VARIABLE.get(), BARE.get("unset")


def set_variable(value):
    VARIABLE.set(value)


def test_context_variables_are_those_of_the_pools_creation(on_native, make_pool):
    def run():
        assert make_pool(1).apply(context_values) == ("nothing", "unset")
        VARIABLE.set({"request": 7})
        BARE.set(Unsendable())
        nameless = contextvars.ContextVar("nameless")
        nameless.set(1)
        pool = make_pool(1)
        VARIABLE.set("later")
        assert pool.apply(context_values) == ({"request": 7}, "unset"), "what cannot be sent is left out"
        pool.apply(set_variable, ("by a task",))
        assert pool.apply(context_values)[0] == "by a task", "as in a child that was forked"

    contextvars.Context().run(run)


def test_a_variable_of_the_program_itself_is_one_with_its_functions(tmp_path):
    program = """
from contextvars import ContextVar
from distpool import Pool
from distpool.futures import ProcessPoolExecutor
request, bare = ContextVar("request", default="none"), ContextVar("bare")

def see(_=None):
    return request.get(), bare.get("unset")

def have_set(value):
    request.set(value)
    return request

if __name__ == "__main__":
    print(Pool(1).apply(see))
    request.set("set")
    with Pool(2) as pool, ProcessPoolExecutor(1) as executor:
        bare.set("after")
        print(*set(pool.map(see, range(4), chunksize=1)), executor.submit(see).result())
        same = executor.submit(have_set, "there").result() is request
        print(same, request.get(), *executor.submit(see).result())
"""
    (tmp_path / "program.py").write_text(program)
    outcome = start([sys.executable, "program.py"], tmp_path, env=environment(PYTHONPATH=str(ROOT)))
    assert outcome.err == ""
    *lines, last = outcome.out.splitlines()
    assert lines == ["('none', 'unset')", "('set', 'unset') ('set', 'after')"], (
        "executors begin with their first call"
    )
    assert last == "True set there after"


PROGRAM = """
import logging, os, sys, warnings
from distpool import Pool

def task(x):
    print("task", x)
    print("  of it", x, end="\\n")
    return x

def complain(x):
    warnings.warn("careful")
    logging.getLogger("a.b").warning("w%d", x)
    if "basic" in sys.argv:
        logging.info("i%d", x)

def bare(x):
    logging.warning("w%d", x)

if __name__ == "__main__":
    if "basic" in sys.argv:
        logging.basicConfig(level=logging.INFO, format="%(name)s:%(message)s")
    pool = Pool(2)
    for x in range(20):
        result = pool.apply(task, (x,))
        os.write(1, b"result %d\\n" % result)
    pool.map(complain, range(4), chunksize=1)
    if "bare" in sys.argv:
        pool.map(bare, range(4), chunksize=1)
    os.write(1, b"end\\n")
    os._exit(0) if "abrupt" in sys.argv else pool.terminate()
"""


def run_program(tmp_path, *words):
    (tmp_path / "program.py").write_text(PROGRAM)
    outcome = start([sys.executable, "program.py", *words], tmp_path, env=environment(PYTHONPATH=str(ROOT)))
    assert outcome.status == 0, outcome.err
    return outcome


def test_what_a_task_prints_is_out_before_its_result_is_seen(tmp_path):
    expected = [line for x in range(20) for line in (f"task {x}", f"  of it {x}", f"result {x}")]
    assert run_program(tmp_path, "abrupt").out.splitlines() == [*expected, "end"]


def test_without_handlers_warnings_and_above_go_to_stderr_once(tmp_path):
    lines = run_program(tmp_path).err.splitlines()
    assert sorted(lines) == sorted(
        [
            f"{tmp_path}/program.py:11: UserWarning: careful",
            '  warnings.warn("careful")',
            "w0",
            "w1",
            "w2",
            "w3",
        ]
    )


def test_the_modules_own_functions_configure_the_program_if_nothing_does(tmp_path):
    """As a call of ``logging.warning`` in the program itself would."""
    lines = run_program(tmp_path, "bare").err.splitlines()
    assert sorted(line for line in lines if line.startswith("WARNING:root:")) == [
        f"WARNING:root:w{x}" for x in range(4)
    ]


def test_basic_config_of_the_program_counts(tmp_path):
    lines = run_program(tmp_path, "basic").err.splitlines()
    assert sorted(line for line in lines if re.match("a.b:|root:", line)) == sorted(
        [f"a.b:w{x}" for x in range(4)] + [f"root:i{x}" for x in range(4)]
    )


def test_a_bad_format_is_shown_as_logging_shows_it(tmp_path):
    program = "import tests.doors.test_as_if_local as t, logging\nfrom distpool import Pool\n"
    program += "logging.basicConfig(level=20)\nprint(Pool(1).apply(t.log_wrong))\n"
    outcome = start(
        [sys.executable, "-W", "ignore", "-c", program], tmp_path, env=environment(PYTHONPATH=str(ROOT))
    )
    assert outcome.out == "None\n"
    assert outcome.err.startswith("--- Logging error ---")
    assert "%d format" in outcome.err


def test_distpool_itself_says_nothing(on_native, make_pool, kept):
    wait_until(lambda: client.session().shell.reissue._thread is None)  # of an earlier test
    assert make_pool(2).map(abs, range(100)) == list(range(100))
    assert kept.records == []
    assert client.session().shell.reissue._thread is None
