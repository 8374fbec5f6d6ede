"""Places in shared memory: found by other processes, never used twice while somebody may see them."""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys

import pytest

from distpool.errors import SharedElsewhere, SharedGone
from distpool.scheduler.shared import identity, segment

READ_IT = """
import pickle, sys
place = pickle.loads(bytes.fromhex(sys.stdin.read()))
print(place.words[0])
place.words[1] = 43
"""


def in_another_process(program: str, pickled: bytes, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program],
        input=pickled.hex(),
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_a_place_is_zeros_and_what_is_written_there_is_seen_elsewhere() -> None:
    place = segment.allocate(100)
    assert bytes(place.view) == bytes(128)  # rounded up
    place.words[0] = 42
    done = in_another_process(READ_IT, pickle.dumps(place))
    assert (done.stdout, done.stderr) == ("42\n", "")
    assert place.words[1] == 43


def test_a_place_sent_on_by_one_who_received_it_outlives_its_maker() -> None:
    make = """
import pickle
from distpool.scheduler.shared import segment
place = segment.allocate(64)
place.words[0] = 7
print(pickle.dumps(place).hex(), flush=True)
input()
"""
    with subprocess.Popen(
        [sys.executable, "-c", make], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as maker:
        assert maker.stdin is not None
        assert maker.stdout is not None
        pickled = bytes.fromhex(maker.stdout.readline())
        place = pickle.loads(pickled)
        sent_on = pickle.dumps(place)
        maker.stdin.write("\n")
    assert place.words[0] == 7
    assert in_another_process(READ_IT, sent_on).stdout == "7\n"
    del place
    segment._sent.clear()  # what was pickled a moment ago is kept for whoever it was sent to
    gc.collect()
    with pytest.raises(SharedGone, match=f"no process that had it is left.*{maker.pid}"):
        pickle.loads(pickled)


def test_what_was_sent_is_kept_for_a_while_however_many_small_things_follow(monkeypatch) -> None:
    large = segment.allocate(segment.SEGMENT_BYTES)
    pickled = pickle.dumps(large)
    del large
    for _ in range(100):
        pickle.dumps(segment.allocate(64))
    gc.collect()
    assert pickle.loads(pickled).words[0] == 0
    many = [pickle.dumps(segment.allocate(segment.SEGMENT_BYTES)) for _ in range(17)]
    gc.collect()
    with pytest.raises(SharedGone):
        pickle.loads(many[0])
    assert pickle.loads(many[1]).words[0] == 0
    monkeypatch.setattr(segment, "_SENT_S", 0.0)
    pickle.dumps(segment.allocate(64))
    gc.collect()
    with pytest.raises(SharedGone):
        pickle.loads(many[-1])


def test_another_node_is_told_that_it_cannot_see_it() -> None:
    done = in_another_process(READ_IT, pickle.dumps(segment.allocate(64)), DISTPOOL_NODE="elsewhere")
    assert SharedElsewhere.__name__ in done.stderr
    assert "cannot be seen on node 'elsewhere'" in done.stderr


def test_space_is_used_again_and_zeroed_if_nobody_can_have_seen_it() -> None:
    place = segment.allocate(448)
    address = place.address
    place.words[3] = 1
    del place
    again = segment.allocate(448)
    assert (again.address, again.words[3]) == (address, 0)


@pytest.mark.parametrize("how", ["pickled", "forked"])
def test_space_is_not_used_again_if_somebody_may_have_seen_it(how: str) -> None:
    place = segment.allocate(576)
    address = place.address
    if how == "pickled":
        pickle.dumps(place)
    else:
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
    del place
    assert segment.allocate(576).address != address


def test_a_forked_child_allocates_in_segments_of_its_own() -> None:
    place = segment.allocate(64)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        mine = segment.allocate(64)
        os.write(writing, b"same" if mine.segment is place.segment else b"own")
        place.words[0] = 5  # what it inherited is shared
        os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(reading, 10) == b"own"
    assert place.words[0] == 5
    os.close(reading)
    os.close(writing)


def test_large_places_have_segments_of_their_own_that_go_with_them() -> None:
    before = len(os.listdir("/proc/self/fd"))
    place = segment.allocate(segment.SEGMENT_BYTES)
    assert len(os.listdir("/proc/self/fd")) > before
    place.view[-1] = 1
    del place
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_word_names_a_process_until_it_is_dead() -> None:
    assert identity.pid_of(identity.me) == os.getpid()
    assert not identity.is_dead(identity.me)
    assert identity.is_dead(identity.NOBODY)
    assert identity.is_dead(identity.me ^ 1)  # another start time: the pid was reused
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writing, identity.me.to_bytes(8, "little"))
        os._exit(0)
    word = int.from_bytes(os.read(reading, 8), "little")
    assert identity.pid_of(word) == pid
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert identity.is_dead(word)  # a zombie is dead
    os.waitpid(pid, 0)
    assert identity.is_dead(word)
    os.close(reading)
    os.close(writing)
