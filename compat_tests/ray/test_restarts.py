"""Actors that die and come back: max_restarts, max_task_retries, and what is lost."""

import os
import signal
import uuid

import pytest

from compat_tests.ray.waiting import call_until_it_raises, eventually


@pytest.fixture
def phoenix(ray):
    @ray.remote
    class Phoenix:
        def __init__(self, start=0, marks=None):
            self.value = start
            self.builds = marks.add("built") if marks else 0

        def add(self):
            self.value += 1
            return self.value

        def process(self):
            return os.getpid()

        def die(self):
            os.kill(os.getpid(), signal.SIGKILL)

        def dies_until(self, marks, count):
            if marks.add("call") < count:
                self.die()
            return "survived"

        def fails_until(self, marks, count):
            if marks.add("call") < count:
                raise ValueError("not yet")
            return "succeeded"

        def reconstructed(self):
            return ray.get_runtime_context().was_current_actor_reconstructed

        def leave(self):
            ray.actor.exit_actor()

    return Phoenix


def answer(ray, call):
    """The answer, once there is one: calls that meet the death fail."""

    def ask():
        try:
            return [ray.get(call.remote())]
        except ray.exceptions.RayActorError:
            return []

    return eventually(ask)[0]


def test_an_actor_does_not_come_back_by_itself(ray, phoenix):
    handle = phoenix.remote()
    with pytest.raises(ray.exceptions.ActorDiedError):
        ray.get(handle.die.remote())
    with pytest.raises(ray.exceptions.ActorDiedError):
        ray.get(handle.add.remote())


def test_max_restarts_brings_it_back_newly_built(ray, phoenix):
    handle = phoenix.options(max_restarts=1).remote(10)
    assert ray.get(handle.add.remote()) == 11
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(handle.die.remote())
    assert answer(ray, handle.add) == 11


def test_max_restarts_bounds_the_lives(ray, phoenix, marks):
    handle = phoenix.options(max_restarts=2).remote(0, marks)
    for life in range(3):
        assert answer(ray, handle.add) == 1
        assert len(marks.lines()) == life + 1
        with pytest.raises(ray.exceptions.RayActorError):
            ray.get(handle.die.remote())
    with pytest.raises(ray.exceptions.ActorDiedError):
        call_until_it_raises(lambda: ray.get(handle.add.remote()))
    assert len(marks.lines()) == 3


def test_minus_one_restarts_without_end(ray, phoenix):
    handle = phoenix.options(max_restarts=-1).remote()
    for _ in range(4):
        assert answer(ray, handle.add) == 1
        with pytest.raises(ray.exceptions.RayActorError):
            ray.get(handle.die.remote())
    assert answer(ray, handle.add) == 1


def test_a_restarted_actor_knows_it(ray, phoenix):
    handle = phoenix.options(max_restarts=1).remote()
    assert ray.get(handle.reconstructed.remote()) is False
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(handle.die.remote())
    assert answer(ray, handle.reconstructed) is True


def test_a_killer_from_outside(ray, phoenix):
    handle = phoenix.options(max_restarts=1).remote()
    first = ray.get(handle.process.remote())
    os.kill(first, signal.SIGKILL)
    eventually(lambda: answer(ray, handle.process) != first)


def test_a_call_without_retries_fails_with_the_actor(ray, phoenix, marks):
    handle = phoenix.options(max_restarts=1).remote()
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(handle.dies_until.remote(marks, 2))
    assert answer(ray, handle.add) == 1
    assert marks.lines() == ["call"]


def test_max_task_retries_sends_the_call_again(ray, phoenix, marks):
    handle = phoenix.options(max_restarts=3, max_task_retries=3).remote()
    assert ray.get(handle.dies_until.remote(marks, 3)) == "survived"
    assert len(marks.lines()) == 3


def test_max_task_retries_bounds_the_calls(ray, phoenix, marks):
    handle = phoenix.options(max_restarts=-1, max_task_retries=1).remote()
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(handle.dies_until.remote(marks, 10))
    assert answer(ray, handle.add) == 1
    assert len(marks.lines()) == 2


def test_max_task_retries_of_one_method(ray, phoenix, marks):
    handle = phoenix.options(max_restarts=-1).remote()
    call = handle.dies_until.options(max_task_retries=-1)
    assert ray.get(call.remote(marks, 4)) == "survived"


def test_retries_need_restarts(ray, phoenix, marks):
    handle = phoenix.options(max_restarts=0, max_task_retries=5).remote()
    with pytest.raises(ray.exceptions.ActorDiedError):
        ray.get(handle.dies_until.remote(marks, 3))
    assert marks.lines() == ["call"]


def test_retry_exceptions_of_a_method(ray, phoenix, marks):
    handle = phoenix.remote()
    call = handle.fails_until.options(max_task_retries=3, retry_exceptions=True)
    assert ray.get(call.remote(marks, 3)) == "succeeded"
    assert len(marks.lines()) == 3


def test_name_and_handles_lead_to_the_new_life(ray, phoenix):
    name = uuid.uuid4().hex
    handle = phoenix.options(name=name, max_restarts=1).remote()
    found = ray.get_actor(name)
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(handle.die.remote())
    assert answer(ray, found.add) == 1
    assert ray.get(ray.get_actor(name).add.remote()) == 2
    assert ray.get(handle.add.remote()) == 3


def test_kill_ends_all_lives(ray, phoenix):
    handle = phoenix.options(max_restarts=-1).remote()
    ray.get(handle.add.remote())
    ray.kill(handle)
    with pytest.raises(ray.exceptions.ActorDiedError):
        call_until_it_raises(lambda: ray.get(handle.add.remote()))


def test_kill_of_this_life_only(ray, phoenix):
    handle = phoenix.options(max_restarts=-1).remote()
    first = ray.get(handle.process.remote())
    ray.kill(handle, no_restart=False)
    eventually(lambda: answer(ray, handle.process) != first)
    assert answer(ray, handle.add) == 1


def test_leaving_on_purpose_is_no_death_to_come_back_from(ray, phoenix):
    handle = phoenix.options(max_restarts=-1).remote()
    with pytest.raises(ray.exceptions.ActorDiedError):
        ray.get(handle.leave.remote())
    with pytest.raises(ray.exceptions.ActorDiedError):
        ray.get(handle.add.remote())


def test_another_process_has_the_handle_across_a_restart(ray, phoenix):
    @ray.remote
    class User:
        def __init__(self, handle):
            self.handle = handle

        def use(self):
            return ray.get(self.handle.add.remote())

    handle = phoenix.options(max_restarts=1, max_task_retries=-1).remote()
    user = User.remote(handle)
    assert ray.get(user.use.remote()) == 1
    os.kill(ray.get(handle.process.remote()), signal.SIGKILL)
    assert ray.get(user.use.remote()) in (1, 2)
    assert ray.get(handle.add.remote()) in (1, 2, 3)


@pytest.mark.parametrize("wait", [False, True], ids=["at once", "when it is there"])
def test_kill_with_restart_spends_a_restart_whether_its_worker_is_there_or_not(ray, wait):
    @ray.remote(num_cpus=4)  # all that there are
    class Greedy:
        def hello(self):
            return "hello"

    first = Greedy.options(max_restarts=1, max_task_retries=-1).remote()
    if wait:
        ray.get(first.hello.remote())
    ray.kill(first, no_restart=False)
    assert ray.get(first.hello.remote()) == "hello"
    ray.kill(first, no_restart=False)
    second = Greedy.remote()
    assert ray.get(second.hello.remote(), timeout=30) == "hello", "the first one has given back what it had"
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(first.hello.remote())
    ray.kill(second)


@pytest.mark.parametrize("deeds", ["die raise raise", "raise die raise", "raise raise raise"])
def test_deaths_and_exceptions_use_up_the_same_retries(ray, marks, deeds):
    @ray.remote(max_restarts=-1)
    class Doomed:
        @ray.method(max_task_retries=2, retry_exceptions=True)
        def work(self, marks, deeds):
            deed = [*deeds, "return"][marks.add("call") - 1]
            if deed == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            if deed == "raise":
                raise ValueError("once more")
            return "too often"

    with pytest.raises(ValueError, match="once more"):
        ray.get(Doomed.remote().work.remote(marks, deeds.split()), timeout=60)
    assert len(marks.lines()) == 3
