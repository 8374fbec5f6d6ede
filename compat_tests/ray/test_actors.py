"""Actors: a class at work in a process of its own, its state, its methods and its handles."""

import os

import numpy as np
import pytest

from compat_tests.ray.waiting import call_until_it_raises, eventually, has_ended


@pytest.fixture
def counter(ray):
    """An actor that counts."""

    @ray.remote
    class Counter:
        def __init__(self, start=0):
            self.value = start

        def add(self, amount=1):
            self.value += amount
            return self.value

        def read(self):
            return self.value

        def process(self):
            return os.getpid()

        def fail(self):
            raise ValueError("of a method")

    return Counter


def test_an_actor_keeps_its_state(ray, counter):
    handle = counter.remote()
    assert [ray.get(handle.add.remote()) for _ in range(3)] == [1, 2, 3]
    assert ray.get(handle.read.remote()) == 3


def test_the_constructor_takes_arguments(ray, counter):
    assert ray.get(counter.remote(5).read.remote()) == 5
    assert ray.get(counter.remote(start=7).read.remote()) == 7


def test_references_are_resolved_for_constructor_and_methods(ray, counter):
    handle = counter.remote(ray.put(10))
    assert ray.get(handle.add.remote(ray.put(5))) == 15
    assert ray.get(handle.add.remote(amount=ray.put(5))) == 20


def test_nested_references_stay_references_for_methods(ray):
    @ray.remote
    class Reader:
        def read(self, refs):
            assert isinstance(refs[0], ray.ObjectRef)
            return ray.get(refs[0])

    assert ray.get(Reader.remote().read.remote([ray.put("x")])) == "x"


def test_each_actor_has_a_process_and_a_state_of_its_own(ray, counter):
    first, second = counter.remote(), counter.remote(100)
    ray.get([first.add.remote(), second.add.remote()])
    assert ray.get([first.read.remote(), second.read.remote()]) == [1, 101]
    processes = ray.get([first.process.remote(), second.process.remote(), first.process.remote()])
    assert processes[0] == processes[2] != processes[1]
    assert os.getpid() not in processes


def test_calls_of_one_caller_run_in_their_order(ray):
    @ray.remote
    class Log:
        def __init__(self):
            self.seen = []

        def note(self, i):
            self.seen.append(i)

        def read(self):
            return self.seen

    log = Log.remote()
    for i in range(300):
        log.note.remote(i)
    assert ray.get(log.read.remote()) == list(range(300))


def test_one_call_at_a_time(ray, gate):
    @ray.remote
    class Stand:
        def stand(self, gate):
            gate.wait()

    handle = Stand.remote()
    refs = [handle.stand.remote(gate) for _ in range(2)]
    gate.arrived.wait_count(1)
    assert ray.wait(refs, timeout=0.3) == ([], refs)
    assert len(gate.arrived.lines()) == 1
    gate.open()
    ray.get(refs)


def test_a_result_of_one_actor_is_an_argument_for_another(ray, counter):
    first, second = counter.remote(), counter.remote()
    assert ray.get(second.add.remote(first.add.remote(20))) == 20


def test_a_handle_is_an_argument_of_a_task(ray, counter):
    @ray.remote
    def use(handle):
        return ray.get(handle.add.remote(10))

    handle = counter.remote()
    assert ray.get([use.remote(handle) for _ in range(2)][-1]) in (10, 20)
    assert eventually(lambda: ray.get(handle.read.remote()) == 20)


def test_a_handle_inside_a_container_and_a_closure(ray, counter):
    handle = counter.remote()

    @ray.remote
    def use(handles):
        return ray.get(handles["it"].add.remote()) + ray.get(handle.add.remote())

    assert ray.get(use.remote({"it": handle})) == 3


def test_an_actor_holds_the_handle_of_another(ray, counter):
    @ray.remote
    class Front:
        def __init__(self, behind):
            self.behind = behind

        def add(self):
            return ray.get(self.behind.add.remote())

    behind = counter.remote()
    assert ray.get(Front.remote(behind).add.remote()) == 1
    assert ray.get(behind.read.remote()) == 1


def test_an_actor_makes_actors_and_tasks(ray, counter):
    @ray.remote
    def double(x):
        return 2 * x

    @ray.remote
    class Parent:
        def __init__(self):
            self.child = counter.remote(3)

        def ask(self):
            return ray.get(double.remote(self.child.add.remote()))

        def lend(self):
            return self.child

    parent = Parent.remote()
    assert ray.get(parent.ask.remote()) == 8
    assert ray.get(ray.get(parent.lend.remote()).read.remote()) == 4


def test_a_handle_to_itself(ray):
    @ray.remote
    class Self:
        def me(self):
            return ray.get_runtime_context().current_actor

        def value(self):
            return "it is me"

    assert ray.get(ray.get(Self.remote().me.remote()).value.remote()) == "it is me"


def test_an_exception_leaves_the_actor_alive(ray, counter):
    handle = counter.remote()
    ray.get(handle.add.remote())
    with pytest.raises(ValueError, match="of a method"):
        ray.get(handle.fail.remote())
    assert ray.get(handle.read.remote()) == 1


def test_a_failing_constructor_is_told_by_each_call(ray):
    @ray.remote
    class Broken:
        def __init__(self):
            raise ValueError("cannot be built")

        def method(self):
            pass

    handle = Broken.remote()
    for _ in range(2):
        with pytest.raises(ray.exceptions.ActorDiedError, match="cannot be built"):
            ray.get(handle.method.remote())


def test_a_class_that_is_wrapped_by_hand(ray):
    class Plain:
        def hello(self):
            return "hello"

    assert ray.get(ray.remote(Plain).remote().hello.remote()) == "hello"
    assert ray.get(ray.remote(num_cpus=1)(Plain).remote().hello.remote()) == "hello"
    assert Plain().hello() == "hello"


def test_a_class_of_a_module(ray):
    assert ray.get(ray.remote(OfThisModule).remote().twice.remote(4)) == 8


class OfThisModule:
    def twice(self, x):
        return 2 * x


def test_methods_are_inherited(ray):
    class Base:
        def __init__(self, x):
            self.x = x

        def base(self):
            return ("base", self.x)

        def over(self):
            return "base"

    @ray.remote
    class Derived(Base):
        def __init__(self, x):
            super().__init__(x + 1)

        def over(self):
            return "derived of " + super().over()

    handle = Derived.remote(1)
    assert ray.get([handle.base.remote(), handle.over.remote()]) == [("base", 2), "derived of base"]


def test_static_and_class_methods(ray):
    @ray.remote
    class Various:
        name = "of the class"

        @staticmethod
        def static(x):
            return x + 1

        @classmethod
        def of_class(cls):
            return cls.name

    handle = Various.remote()
    assert ray.get(handle.static.remote(1)) == 2
    assert ray.get(handle.of_class.remote()) == "of the class"


def test_methods_call_each_other_plainly(ray):
    @ray.remote
    class Inner:
        def outer(self):
            return self.inner() + 1

        def inner(self):
            return 1

    assert ray.get(Inner.remote().outer.remote()) == 2


def test_a_methods_number_of_returns(ray):
    @ray.remote
    class Pairs:
        @ray.method(num_returns=2)
        def declared(self):
            return 1, 2

        def plain(self):
            return 3, 4

    handle = Pairs.remote()
    first, second = handle.declared.remote()
    assert ray.get([first, second]) == [1, 2]
    assert ray.get(handle.plain.options(num_returns=2).remote()) == [3, 4]
    assert ray.get(handle.plain.remote()) == (3, 4)
    assert ray.get(handle.declared.options(num_returns=1).remote()) == (1, 2)


def test_a_method_may_be_kept(ray, counter):
    handle = counter.remote()
    add = handle.add
    assert ray.get([add.remote(), add.remote()]) == [1, 2]


def test_big_arrays_to_and_from_an_actor(ray):
    @ray.remote
    class Holder:
        def keep(self, array):
            self.array = array
            return array.sum()

        def give(self):
            return self.array

    handle = Holder.remote()
    assert ray.get(handle.keep.remote(np.ones(1_000_000))) == 1_000_000
    assert ray.get(handle.give.remote()).shape == (1_000_000,)


def test_an_actor_keeps_a_reference(ray):
    @ray.remote
    class Holder:
        def keep(self, refs):
            self.refs = refs

        def read(self):
            return ray.get(self.refs[0])

    handle = Holder.remote()
    ray.get(handle.keep.remote([ray.put("kept")]))
    assert ray.get(handle.read.remote()) == "kept"


def test_options_of_an_actor(ray, counter):
    @ray.remote(num_cpus=2)
    class Asking:
        def resources(self):
            return ray.get_runtime_context().get_assigned_resources().get("CPU")

    assert ray.get(Asking.remote().resources.remote()) == 2
    assert ray.get(Asking.options(num_cpus=1).remote().resources.remote()) == 1
    assert ray.get(counter.options(num_cpus=1, max_concurrency=2).remote(4).read.remote()) == 4


def test_idle_actors_need_no_cpu(ray, counter):
    """By default an actor takes a CPU to start, and none to be."""
    handles = [counter.remote(i) for i in range(6)]
    assert ray.get([handle.read.remote() for handle in handles]) == list(range(6))


def test_kill_ends_an_actor(ray, counter):
    handle = counter.remote()
    process = ray.get(handle.process.remote())
    ray.kill(handle)
    with pytest.raises(ray.exceptions.ActorDiedError):
        call_until_it_raises(lambda: ray.get(handle.read.remote()))
    assert eventually(lambda: has_ended(process))


def test_kill_ends_the_call_that_runs_and_those_that_wait(ray, gate):
    @ray.remote
    class Stand:
        def stand(self, gate):
            gate.wait()

    handle = Stand.remote()
    refs = [handle.stand.remote(gate) for _ in range(3)]
    gate.arrived.wait_count(1)
    ray.kill(handle)
    for ref in refs:
        with pytest.raises(ray.exceptions.RayActorError):
            ray.get(ref)


def test_a_death_by_itself_is_told_by_each_call(ray):
    @ray.remote
    class Mortal:
        def die(self):
            os._exit(1)

        def live(self):
            return "alive"

    handle = Mortal.remote()
    assert ray.get(handle.live.remote()) == "alive"
    for method in (handle.die, handle.live):
        with pytest.raises(ray.exceptions.ActorDiedError):
            ray.get(method.remote())


def test_exit_actor_ends_it_after_the_calls_before(ray, counter):
    @ray.remote
    class Leaving:
        def before(self):
            return "before"

        def leave(self):
            ray.actor.exit_actor()

    handle = Leaving.remote()
    assert ray.get(handle.before.remote()) == "before"
    with pytest.raises(ray.exceptions.ActorDiedError):
        ray.get(handle.leave.remote())
    with pytest.raises(ray.exceptions.ActorDiedError):
        ray.get(handle.before.remote())


def test_exit_actor_outside_of_an_actor(ray):
    with pytest.raises(TypeError):
        ray.actor.exit_actor()


def test_terminate_lets_earlier_calls_finish(ray, counter):
    handle = counter.remote()
    refs = [handle.add.remote() for _ in range(20)]
    handle.__ray_terminate__.remote()
    assert ray.get(refs) == list(range(1, 21))
    with pytest.raises(ray.exceptions.ActorDiedError):
        ray.get(handle.read.remote())


def test_an_actor_goes_with_its_last_handle(ray, counter):
    handle = counter.remote()
    process = ray.get(handle.process.remote())
    del handle
    assert eventually(lambda: has_ended(process))


def test_pending_calls_are_answered_after_the_last_handle_went(ray, counter):
    assert ray.get([counter.remote(1).add.remote() for _ in range(2)]) == [2, 2]


def test_handles_show_class_and_identity(ray, counter):
    handle = counter.remote()
    assert "Counter" in repr(handle)
    assert handle == handle
    assert handle != counter.remote()
    assert len({handle, handle}) == 1


def test_a_generic_or_special_method(ray):
    @ray.remote
    class Callable:
        def __call__(self, x):
            return x + 1

        def __len__(self):
            return 3

    handle = Callable.remote()
    assert ray.get(handle.__call__.remote(1)) == 2
    assert ray.get(handle.__len__.remote()) == 3


def test_private_state_is_not_reached_through_the_handle(ray, counter):
    with pytest.raises(AttributeError):
        counter.remote().value


def test_ray_methods_of_every_actor(ray, counter):
    handle = counter.remote(1)
    assert ray.get(handle.__ray_ready__.remote()) is True
    assert ray.get(handle.__ray_call__.remote(lambda self, x: self.value + x, 2)) == 3


def test_a_method_is_called_though_an_attribute_bears_its_name(ray):
    @ray.remote
    class Door:
        def __init__(self):
            self.opened = False

        def opened(self):
            return "a method's answer"

        @staticmethod
        def closed():
            return "a static one's"

        @classmethod
        def kind(cls):
            return cls.__name__

        def hide(self):
            self.closed = self.kind = None

    door = Door.remote()
    assert ray.get(door.opened.remote()) == "a method's answer"
    ray.get(door.hide.remote())
    assert ray.get([door.closed.remote(), door.kind.remote()]) == ["a static one's", "Door"]


def test_inheriting_from_an_actor_class_has_an_error_of_its_own(ray, counter):
    from ray.actor import ActorClassInheritanceException

    assert issubclass(ActorClassInheritanceException, TypeError)
    with pytest.raises(ActorClassInheritanceException):

        class More(counter):
            pass


def test_the_longer_spelling_of_a_call_takes_lists_and_options(ray, counter):
    handle = counter._remote(args=[5], num_cpus=0)
    assert ray.get(handle.add._remote(kwargs={"amount": 2})) == 7
    assert ray.get(handle.read._remote(num_returns=1)) == 7
    assert ray.get(counter._remote().read._remote()) == 0


def test_a_method_is_an_argument(ray, counter):
    @ray.remote
    def call(methods):
        return ray.get([method.remote() for method in methods])

    handle = counter.remote(5)
    assert ray.get(call.remote([handle.read, handle.add.options(name="named")])) == [5, 6]


@pytest.mark.parametrize("placed", [True, False], ids=["placed", "and one that waits for a place"])
def test_an_actor_ends_with_the_last_handle_of_the_actor_that_holds_its_own(ray, placed):
    @ray.remote(num_cpus=0)
    class Child:
        def process(self):
            return os.getpid()

    @ray.remote
    class Parent:
        def make(self):
            self.child = Child.remote()
            if not placed:
                self.waiting = Child.options(num_cpus=4).remote()
            return os.getpid(), ray.get(self.child.process.remote())

    busy = Child.options(num_cpus=2).remote()
    ray.get(busy.process.remote())
    parent = Parent.remote()
    processes = ray.get(parent.make.remote())
    del parent
    eventually(lambda: all(has_ended(process) for process in processes))
