"""cancel: what waits, what runs, what has children, and what does not want to."""

import asyncio
import os
import signal
import time

import pytest

from compat_tests.ray.waiting import eventually

INIT = {"num_cpus": 4, "resources": {"slot": 1}}


@pytest.fixture
def stand(ray):
    """A task that stands at a gate."""

    @ray.remote(max_retries=0)
    def stand(gate):
        gate.wait()
        return "let through"

    return stand


def test_a_running_task_is_interrupted(ray, stand, gate):
    ref = stand.remote(gate)
    gate.arrived.wait_count(1)
    ray.cancel(ref)
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(ref)


def test_it_meets_a_keyboard_interrupt(ray, gate, marks):
    @ray.remote(max_retries=0)
    def note(gate, marks):
        try:
            gate.wait()
        except KeyboardInterrupt:
            marks.add("interrupted")
            raise

    ref = note.remote(gate, marks)
    gate.arrived.wait_count(1)
    ray.cancel(ref)
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(ref)
    assert marks.wait_count(1) == ["interrupted"]


def test_a_task_that_loops_for_ever(ray, marks):
    @ray.remote(max_retries=0)
    def loop(marks):
        marks.add("there")
        while True:
            pass

    ref = loop.remote(marks)
    marks.wait_count(1)
    ray.cancel(ref)
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(ref, timeout=20)


def test_a_waiting_task_never_starts(ray, stand, gate, marks):
    @ray.remote(resources={"slot": 1})
    def note(marks):
        marks.add("ran")

    first = stand.options(resources={"slot": 1}).remote(gate)
    gate.arrived.wait_count(1)
    waiting = note.remote(marks)
    ray.cancel(waiting)
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(waiting)
    gate.open()
    ray.get(first)
    assert marks.lines() == []


def test_a_task_that_waits_for_its_arguments(run_program):
    """In a program of its own, that leaves at once: Ray 2.60 aborts the driver when the argument comes after all."""
    done = run_program(
        """
        import ray
        import time

        @ray.remote
        def slow():
            time.sleep(3600)

        @ray.remote
        def use(value):
            print("ran")

        ray.init(num_cpus=2, include_dashboard=False)
        waiting = use.remote(slow.remote())
        ray.cancel(waiting)
        try:
            ray.get(waiting)
        except ray.exceptions.TaskCancelledError:
            print("cancelled")
        """
    )
    assert done.stdout == "cancelled\n", done.stderr


def test_a_finished_task_keeps_its_result(ray):
    @ray.remote
    def one():
        return 1

    ref = one.remote()
    assert ray.get(ref) == 1
    ray.cancel(ref)
    assert ray.get(ref) == 1


def test_what_depends_on_a_cancelled_task_fails_with_it(ray, stand, gate):
    @ray.remote
    def use(value):
        return value

    ref = stand.remote(gate)
    behind = use.remote(ref)
    gate.arrived.wait_count(1)
    ray.cancel(ref)
    with pytest.raises(ray.exceptions.RayError):
        ray.get(behind)


def test_a_cancelled_task_is_not_retried(ray, gate):
    @ray.remote(max_retries=5, retry_exceptions=True)
    def stand(gate):
        gate.wait()

    ref = stand.remote(gate)
    gate.arrived.wait_count(1)
    ray.cancel(ref)
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(ref)
    assert len(gate.arrived.lines()) == 1


def test_force_kills_the_worker(ray, gate, marks):
    @ray.remote(max_retries=5)
    def stubborn(gate, marks):
        try:
            gate.wait()
        finally:
            marks.add("cleaned up")

    ref = stubborn.remote(gate, marks)
    gate.arrived.wait_count(1)
    ray.cancel(ref, force=True)
    with pytest.raises((ray.exceptions.TaskCancelledError, ray.exceptions.WorkerCrashedError)):
        ray.get(ref)
    assert marks.lines() == []


def test_children_are_cancelled_with_their_parent(ray, stand, gate):
    @ray.remote(max_retries=0)
    def parent(gate, marks):
        child = stand.remote(gate)
        marks.add("child")
        try:
            return ray.get(child)
        finally:
            with pytest.raises(ray.exceptions.TaskCancelledError):
                ray.get(child)
            marks.add("child cancelled")

    ref = parent.remote(gate, gate.arrived)
    gate.arrived.wait_count(2)
    ray.cancel(ref)
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(ref)
    assert "child cancelled" in gate.arrived.wait_count(3)


def test_children_may_be_spared(ray, gate, marks):
    @ray.remote
    def child(gate, marks):
        gate.wait()
        marks.add("child finished")

    @ray.remote(max_retries=0)
    def parent(gate, marks):
        return ray.get(child.remote(gate, marks))

    ref = parent.remote(gate, marks)
    gate.arrived.wait_count(1)
    ray.cancel(ref, recursive=False)
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(ref)
    gate.open()
    assert marks.wait_count(1) == ["child finished"]


def test_a_cancelled_task_gives_its_resources_back(ray, stand, gate):
    ref = stand.options(resources={"slot": 1}).remote(gate)
    gate.arrived.wait_count(1)
    ray.cancel(ref)
    assert ray.get(ray.remote(lambda: "next").options(resources={"slot": 1}).remote(), timeout=20) == "next"


def test_an_async_method_is_cancelled(ray, marks):
    @ray.remote
    class Waiting:
        async def wait(self, marks):
            marks.add("there")
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                marks.add("cancelled")
                raise

        async def fine(self):
            return "fine"

    handle = Waiting.remote()
    ref = handle.wait.remote(marks)
    marks.wait_count(1)
    ray.cancel(ref)
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(ref)
    assert marks.wait_count(2) == ["there", "cancelled"]
    assert ray.get(handle.fine.remote()) == "fine"


def test_a_waiting_method_never_starts(ray, gate, marks):
    @ray.remote
    class Stand:
        def stand(self, gate):
            gate.wait()
            return "let through"

        def note(self, marks):
            marks.add("ran")

    handle = Stand.remote()
    first, waiting = handle.stand.remote(gate), handle.note.remote(marks)
    gate.arrived.wait_count(1)
    ray.cancel(waiting)
    gate.open()
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(waiting)
    assert ray.get(first) == "let through"
    assert marks.lines() == []


def test_methods_cannot_be_cancelled_by_force(ray, gate):
    @ray.remote
    class Stand:
        def stand(self, gate):
            gate.wait()

    ref = Stand.remote().stand.remote(gate)
    gate.arrived.wait_count(1)
    with pytest.raises(ValueError, match="force"):
        ray.cancel(ref, force=True)


def test_a_cancelled_generator(ray, gate):
    @ray.remote(max_retries=0)
    def slow(gate):
        yield 1
        gate.wait()
        yield 2

    generator = slow.remote(gate)
    assert ray.get(next(generator)) == 1
    gate.arrived.wait_count(1)
    ray.cancel(generator)
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(list(generator))


def test_a_task_may_ask_whether_it_is_cancelled(ray, gate, marks):
    @ray.remote(max_retries=0)
    def ask(gate, marks):
        try:
            marks.add(ray.get_runtime_context().is_canceled())
            gate.wait()
        except KeyboardInterrupt:
            marks.add(ray.get_runtime_context().is_canceled())
            raise

    ref = ask.remote(gate, marks)
    gate.arrived.wait_count(1)
    ray.cancel(ref)
    assert marks.wait_count(2) == ["False", "True"]


@pytest.mark.differs(
    "Ray's cancel is not heard by what runs outside of Python code; ours ends it, its resources come back"
)
@pytest.mark.parametrize("what", ["sleep", "C code"])
def test_a_task_that_does_not_hear_the_interrupt(ray, ours, marks, what):
    @ray.remote(max_retries=0, resources={"slot": 1})
    def deaf(marks):
        marks.add(os.getpid())
        return time.sleep(3600) if what == "sleep" else sum(range(10**12))

    @ray.remote(resources={"slot": 1})
    def next_one():
        return "next"

    ref = deaf.remote(marks)
    (process,) = marks.wait_count(1)
    ray.cancel(ref)
    if ours:
        with pytest.raises(ray.exceptions.TaskCancelledError):
            ray.get(ref, timeout=3)
    else:
        with pytest.raises(ray.exceptions.GetTimeoutError):
            ray.get(ref, timeout=3)
        os.kill(int(process), signal.SIGKILL)
    assert ray.get(next_one.remote(), timeout=20) == "next"


@pytest.mark.differs(
    "a task that catches Ray's interrupt goes on and succeeds; ours is cancelled all the same"
)
def test_a_task_that_catches_the_interrupt(ray, ours, gate):
    @ray.remote(max_retries=0)
    def stubborn(gate):
        try:
            gate.wait()
        except KeyboardInterrupt:
            return "went on"

    ref = stubborn.remote(gate)
    gate.arrived.wait_count(1)
    ray.cancel(ref)
    if ours:
        with pytest.raises(ray.exceptions.TaskCancelledError):
            ray.get(ref)
    else:
        assert ray.get(ref) == "went on"


def test_cancel_twice_and_of_a_lost_cause(ray, stand, gate):
    ref = stand.remote(gate)
    gate.arrived.wait_count(1)
    ray.cancel(ref)
    ray.cancel(ref)
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(ref)
    ray.cancel(ref)
    assert eventually(lambda: ray.wait([ref], timeout=0)[0] == [ref])


@pytest.mark.parametrize("force", [False, True], ids=["plain", "by force"])
def test_a_call_that_another_process_has_made(ray, stand, gate, force):
    @ray.remote
    def make(gate):
        return [stand.remote(gate)]

    (ref,) = ray.get(make.remote(gate))
    gate.arrived.wait_count(1)
    ray.cancel(ref, force=force)
    errors = ray.exceptions
    # By force it may take the process that has made the call with it, or look as if.
    with pytest.raises((errors.TaskCancelledError, errors.WorkerCrashedError, errors.OwnerDiedError)):
        ray.get(ref, timeout=30)


def test_an_actor_cancels_a_call_of_its_creators(ray, stand, gate):
    @ray.remote
    class Canceller:
        def cancel(self, refs):
            ray.cancel(refs[0])

    ref = stand.remote(gate)
    gate.arrived.wait_count(1)
    ray.get(Canceller.remote().cancel.remote([ref]))
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(ref, timeout=30)
