"""``checkpoint=DIR``: what is there is not done again, whatever became of the run that did it."""

import contextlib
import functools
import gc
import os
import pickle
import re
import subprocess
import sys
import textwrap
import warnings

import pytest

from distpool import checkpoint_files, checkpoints
from distpool.checkpoint_keys import Digester
from tests.doors import checkpoint_bodies as bodies
from tests.run.programs import ROOT, environment


@pytest.fixture(autouse=True)
def log(tmp_path, monkeypatch):
    """The calls that were made; asking forgets them."""
    path = tmp_path / "log"
    monkeypatch.setenv("CHECKPOINT_LOG", str(path))

    def calls():
        found = sorted(map(int, path.read_text().split())) if path.exists() else []
        path.unlink(missing_ok=True)
        return found

    return calls


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "kept"


def files(folder):
    return sorted(folder.glob("*.results"))


# ------------------------------------------------------------------------------- the doors


@pytest.mark.parametrize("chunksize", [None, 1, 7])
def test_a_map_does_only_what_is_missing(ours, make_pool, folder, log, chunksize):
    pool = make_pool(2)
    assert pool.map(abs, [], checkpoint=folder) == []
    assert pool.map(bodies.add, range(20), chunksize, checkpoint=folder) == list(range(1, 21))
    assert log() == list(range(20))
    assert pool.map(bodies.add, range(20), chunksize, checkpoint=folder) == list(range(1, 21))
    assert log() == []
    assert pool.map(bodies.add, [30, 3, 31, 5], chunksize, checkpoint=folder) == [31, 4, 32, 6]
    assert log() == [30, 31]


def test_a_reordered_list_and_equal_items(ours, make_pool, folder, log):
    pool = make_pool(1)
    items = [3, 1, 1, 2]
    assert pool.map(bodies.add, items, checkpoint=folder) == [4, 2, 2, 3]
    assert log() == [1, 1, 2, 3]
    assert pool.map(bodies.add, [1, 2, 1, 3, 1], checkpoint=folder) == [2, 3, 2, 4, 2]
    assert log() == [1]  # the third of them


def test_all_doors_share_what_is_there(on_native, make_pool, make_executor, folder, log):
    pool, executor = make_pool(2), make_executor(2)
    assert pool.starmap(bodies.add, [(1,), (2,)], checkpoint=folder) == [2, 3]
    assert pool.map(bodies.add, [1, 2, 3], checkpoint=folder) == [2, 3, 4]
    assert log() == [1, 2, 3]
    assert list(executor.map(bodies.add, [1, 2, 3, 4], checkpoint=folder)) == [2, 3, 4, 5]
    assert log() == [4]
    assert list(executor.map(bodies.add, iter([4, 5, 3, 6]), chunksize=2, checkpoint=folder)) == [5, 6, 4, 7]
    assert log() == [5, 6]
    assert pool.map_async(bodies.add, [6, 7], checkpoint=folder).get() == [7, 8]
    assert pool.starmap_async(bodies.add, [(7,), (7, 5)], checkpoint=folder).get() == [8, 12]
    assert log() == [7, 7]


@pytest.mark.parametrize("chunksize", [1, 3])
def test_imap_keeps_the_order(ours, make_pool, folder, log, chunksize):
    pool = make_pool(2)
    pool.map(bodies.add, range(0, 40, 3), checkpoint=folder)
    log()
    found = pool.imap(bodies.add, iter(range(40)), chunksize, checkpoint=folder)
    assert list(found) == list(range(1, 41))
    assert next(found, "over") == "over"
    assert log() == [x for x in range(40) if x % 3]


@pytest.mark.parametrize("chunksize", [1, 3])
def test_imap_unordered_has_all(ours, make_pool, folder, log, chunksize):
    pool = make_pool(2)
    pool.map(bodies.add, range(0, 40, 3), checkpoint=folder)
    log()
    found = pool.imap_unordered(bodies.add, range(40), chunksize, checkpoint=folder)
    assert sorted(found) == list(range(1, 41))
    assert log() == [x for x in range(40) if x % 3]


def test_an_error_of_an_imap_comes_in_its_place(ours, make_pool, folder, log):
    pool = make_pool(1)
    pool.map(bodies.fail_at_three, [1, 2, 5], checkpoint=folder)
    found = pool.imap(bodies.fail_at_three, range(7), checkpoint=folder)
    assert [next(found) for _ in range(3)] == [0, -1, -2]
    with pytest.raises(ValueError, match="3"):
        next(found)
    assert list(found) == [-4, -5, -6]


def test_an_imaps_time_out_costs_no_result(on_native, make_pool, folder):
    pool = make_pool(1)
    found = pool.imap(bodies.work, range(3), checkpoint=folder)
    with pytest.raises(TimeoutError):
        found.next(timeout=1e-9)  # each takes 10 ms
    assert list(found) == [0, 1, 4]


def test_what_failed_is_not_kept(ours, make_pool, folder, log):
    pool = make_pool(1)
    with pytest.raises(ValueError, match="3"):
        pool.map(bodies.fail_at_three, range(6), chunksize=1, checkpoint=folder)
    assert log() == list(range(6))
    returned = pool.map(bodies.fail_at_three, range(7), checkpoint=folder, errors="return")
    assert log() == [3, 6]
    assert [str(value) for value in returned] == ["0", "-1", "-2", "3", "-4", "-5", "-6"]
    assert isinstance(returned[3], ValueError)
    stream = pool.imap(bodies.fail_at_three, range(7), checkpoint=folder, errors="return")
    assert [str(value) for value in stream] == [str(value) for value in returned]
    assert log() == [3]


def test_progress_counts_what_is_missing(ours, make_pool, folder, tmp_path):
    pool = make_pool(1)
    pool.map(bodies.add, range(6), checkpoint=folder)
    for chunksize in (1, 2):
        with open(tmp_path / "shown", "w") as shown:
            got = pool.map(bodies.add, range(10), chunksize, checkpoint=folder, progress={"file": shown})
        assert got == list(range(1, 11))
        if chunksize == 1:
            assert "4/4" in (tmp_path / "shown").read_text()


def test_callbacks_get_the_whole_list(ours, make_pool, folder):
    pool = make_pool(1)
    pool.map(bodies.add, range(3), checkpoint=folder)
    heard = []
    for items in (range(5), range(5)):  # in part, and in whole
        pool.map_async(bodies.add, items, callback=heard.append, checkpoint=folder).wait()
    assert heard == [[1, 2, 3, 4, 5]] * 2


# ---------------------------------------------------------------------- who is who


def in_a_run_of_its_own(text, hash_seed):
    """The identity of ``function`` in a program, in another process."""
    text = textwrap.dedent(text) + "\nfrom distpool.checkpoint_keys import Digester"
    text += "\nprint(Digester().function(function).hex())"
    done = subprocess.run(
        [sys.executable, "-c", text],
        env=environment(PYTHONPATH=str(ROOT), PYTHONHASHSEED=str(hash_seed)),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout.strip()


PROGRAM = """
    import functools, threading
    import distpool
    LIMITS = {"one", "two", "three"}
    class Thing:
        wide = 3
        def size(self, x): return x * self.wide
    def helper(x): return helper(x - 1) if x else 0
    def function(x, y=(1, 2)):
        # a comment
        return x in LIMITS, Thing().size(x), helper(x), x in {"a", "b", "c"}, (lambda: y)()
    thing = Thing()
"""


def test_a_function_of_the_script_is_known_again_and_any_change_is_seen():
    first = in_a_run_of_its_own(PROGRAM, 1)
    assert in_a_run_of_its_own(PROGRAM.replace("# a comment", "# another\n"), 2) == first
    changes = {
        '"two", ': "",
        "wide = 3": "wide = 4",
        "x * self": "x + self",
        "x - 1": "x - 2",
        "(1, 2)": "(1, 3)",
        '"b", ': "",
        "def function": "function = 0\n    def function2",
    }
    others = set()
    for old, new in list(changes.items())[:-1]:
        assert old in PROGRAM
        others.add(in_a_run_of_its_own(PROGRAM.replace(old, new), 1))
    assert len(others) == len(changes) - 1
    assert first not in others


def test_closures_partials_methods_and_callables_count_with_what_they_hold():
    def adding(more):
        return lambda x: x + more

    def identity(function):
        return Digester().function(function)

    makers = [
        adding,
        lambda more: functools.partial(bodies.add, second=more),
        bodies.Adder,
        lambda more: bodies.Adder(more).__call__,
        lambda more: functools.partial(adding(more)),
    ]
    found = [identity(make(more)) for make in makers for more in (1, 2)]
    assert len(set(found)) == len(found)
    assert [identity(make(more)) for make in makers for more in (1, 2)] == found


def test_items_are_known_by_their_content():
    def value(item):
        return Digester().value(item)

    text = "".join(["a", "b"])
    assert value([text, text]) == value(["ab", "".join(["a", "b"])])
    assert value({"one", "two"}) == value({"two", "one"}) != value({"one"})
    assert value(1) != value(1.0) != value(True)
    assert value((10**5000,)) == value((10**5000,)) != value((10**5000 + 1,))
    assert value(("\ud800",)) == value(("\ud800",)) != value(("\ud801",))
    endless = []
    endless.append(endless)
    assert value(endless) == value(endless)


def test_items_with_sets_are_known_again(on_native, make_pool, folder, log):
    pool = make_pool(1)
    assert pool.map(bodies.sort_words, [{"b", "a"}, frozenset("xyz")], checkpoint=folder) == [
        ["a", "b"],
        list("xyz"),
    ]
    log()
    pool.map(bodies.sort_words, [{"a", "b"}, frozenset("zyx")], checkpoint=folder)
    assert log() == []


def test_what_cannot_be_told_apart_is_refused(ours, make_pool, folder):
    class Stubborn:
        def __reduce__(self):
            raise ValueError("never")

    with pytest.raises(TypeError, match=r"checkpoint: .* cannot be pickled"):
        make_pool(1).map(functools.partial(bodies.add, Stubborn()), [1], checkpoint=folder)


# ---------------------------------------------------------------------- the files


def test_files_and_folder_are_the_users_alone(ours, make_pool, folder):
    make_pool(1).map(bodies.add, range(3), checkpoint=folder)
    assert os.stat(folder).st_mode & 0o777 == 0o700
    (only,) = files(folder)
    assert os.stat(only).st_mode & 0o777 == 0o600
    assert re.fullmatch(r"add-[0-9a-f]{32}-\d+-[0-9a-f]{12}\.results", only.name)


@pytest.mark.parametrize("cut", [1, 20, 50])
def test_a_half_written_record_is_dropped(ours, make_pool, folder, log, cut):
    pool = make_pool(1)
    pool.map(bodies.add, range(5), chunksize=1, checkpoint=folder)
    (only,) = files(folder)
    os.truncate(only, only.stat().st_size - cut)
    log()
    assert pool.map(bodies.add, range(5), checkpoint=folder) == [1, 2, 3, 4, 5]
    assert len(log()) == (1 if cut < 48 else 2)
    assert pool.map(bodies.add, range(5), checkpoint=folder) == [1, 2, 3, 4, 5]
    assert log() == []


def test_a_torn_record_is_dropped(ours, make_pool, folder, log):
    pool = make_pool(1)
    pool.map(bodies.add, range(5), chunksize=1, checkpoint=folder)
    (only,) = files(folder)
    data = bytearray(only.read_bytes())
    data[-1] ^= 1
    only.write_bytes(data)
    log()
    assert pool.map(bodies.add, range(5), checkpoint=folder) == [1, 2, 3, 4, 5]
    assert len(log()) == 1


def test_a_file_that_is_none_of_ours_is_left_alone(ours, make_pool, folder, log):
    pool = make_pool(1)
    pool.map(bodies.add, range(2), checkpoint=folder)
    (only,) = files(folder)
    other = folder / only.name.replace("add-", "add-", 1).replace(".results", "0.results")
    other.write_bytes(b"something else")
    other.chmod(0o600)
    (folder / "notes.txt").write_text("mine")
    log()
    assert pool.map(bodies.add, range(2), checkpoint=folder) == [1, 2]
    assert log() == []


def test_a_folder_that_others_may_write_to_is_refused(ours, make_pool, folder):
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(PermissionError, match="chmod go-w"):
        make_pool(1).map(bodies.add, range(2), checkpoint=folder)


def test_a_file_that_others_may_write_to_is_refused(ours, make_pool, folder, log):
    pool = make_pool(1)
    pool.map(bodies.add, range(2), checkpoint=folder)
    (only,) = files(folder)
    only.chmod(0o622)
    with pytest.raises(PermissionError, match=r"chmod go-w .*\.results"):
        pool.imap(bodies.add, range(2), checkpoint=folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_belongs_to_another_is_refused(ours, make_pool, folder):
    pool = make_pool(1)
    pool.map(bodies.add, range(2), checkpoint=folder)
    (only,) = files(folder)
    os.chown(only, 12345, 12345)
    with pytest.raises(PermissionError, match="belongs to another user"):
        pool.map(bodies.add, range(2), checkpoint=folder)
    os.chown(folder, 12345, 12345)
    with pytest.raises(PermissionError, match="belongs to another user"):
        pool.map(bodies.add, range(2), checkpoint=folder)


def test_a_link_is_not_followed(ours, make_pool, folder, tmp_path):
    pool = make_pool(1)
    pool.map(bodies.add, range(2), checkpoint=folder)
    (only,) = files(folder)
    only.rename(tmp_path / "elsewhere")
    only.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        pool.map(bodies.add, range(2), checkpoint=folder)


def test_a_full_disk_stops_the_keeping_and_not_the_map(ours, make_pool, folder, log, monkeypatch):
    write = os.write
    sizes = []

    def full_after_three(fd, data):
        if os.readlink(f"/proc/self/fd/{fd}").endswith(".results"):
            sizes.append(len(data))
            if len(sizes) == 5:  # the file's first line, then three records
                return write(fd, bytes(data)[:10])
            if len(sizes) > 5:
                raise OSError(28, "No space left on device")
        return write(fd, data)

    pool = make_pool(1)
    monkeypatch.setattr(os, "write", full_after_three)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert pool.map(bodies.add, range(9), chunksize=1, checkpoint=folder) == list(range(1, 10))
    monkeypatch.undo()
    assert [str(one.message) for one in caught] == [
        f"checkpoint {folder}: no more results are kept: No space left on device"
    ]
    assert len(sizes) == 6
    identity = Digester().function(bodies.add)
    assert len(checkpoint_files.Reader(str(folder), identity).places) == 3
    assert files(folder)[0].stat().st_size == sum(sizes[:4])


def test_a_result_that_cannot_be_pickled_again_is_not_kept(ours, make_pool, folder, monkeypatch):
    def refuse(value):
        raise pickle.PicklingError("not this")

    monkeypatch.setattr(checkpoints, "_pickled", refuse)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert make_pool(1).map(bodies.add, range(3), checkpoint=folder) == [1, 2, 3]
    assert [str(one.message) for one in caught] == [
        f"checkpoint {folder}: a result cannot be pickled, and is not kept: not this"
    ]
    assert files(folder) == []


def test_runs_at_the_same_time_do_not_disturb_each_other(on_native, make_pool, folder, log):
    pool = make_pool(2)
    first = pool.imap(bodies.add, range(30), checkpoint=folder)
    assert next(first) == 1
    second = pool.map(bodies.add, range(15, 60), checkpoint=folder)
    assert second == list(range(16, 61))
    assert list(first) == list(range(2, 31))
    log()
    assert pool.map(bodies.add, range(60), checkpoint=folder) == list(range(1, 61))
    assert log() == []


def test_no_descriptor_is_left(on_native, make_pool, folder):
    pool = make_pool(1)
    pool.map(bodies.add, range(3), checkpoint=folder)
    for _ in range(3):
        pool.map(bodies.add, range(6), checkpoint=folder)
        list(pool.imap(bodies.add, range(7), checkpoint=folder))
        dropped = pool.imap(bodies.add, range(8), checkpoint=folder)
        next(dropped)
        assert len(list(dropped)) == 7
        del dropped

    def still_open():
        names = []
        for fd in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):
                names.append(os.readlink(f"/proc/self/fd/{fd}"))
        return [name for name in names if name.startswith(str(folder))]

    assert still_open() == []
    dropped = pool.imap(bodies.add, range(9), checkpoint=folder)
    next(dropped)
    pool.terminate()
    pool.join()
    del dropped
    gc.collect()
    assert still_open() == []
