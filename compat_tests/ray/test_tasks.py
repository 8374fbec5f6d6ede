"""Remote functions: how they are called, what they are given, what comes back."""

import os
import time

import pytest

INIT = {"num_cpus": 4, "resources": {"pump": 2}}


def test_a_call_gives_a_reference_and_get_its_value(ray):
    @ray.remote
    def add(a, b):
        return a + b

    ref = add.remote(1, 2)
    assert isinstance(ref, ray.ObjectRef)
    assert ray.get(ref) == 3


def test_arguments_are_given_as_in_any_call(ray):
    @ray.remote
    def show(a, b=2, *rest, key, other="x", **more):
        return a, b, rest, key, other, more

    assert ray.get(show.remote(1, key=0)) == (1, 2, (), 0, "x", {})
    assert ray.get(show.remote(1, 3, 4, 5, key=0, other="y", further=7)) == (
        1,
        3,
        (4, 5),
        0,
        "y",
        {"further": 7},
    )


def test_a_task_without_a_return_gives_none(ray):
    @ray.remote
    def nothing():
        pass

    assert ray.get(nothing.remote()) is None


def test_a_list_of_references_gives_values_in_their_order(ray):
    @ray.remote
    def square(x):
        return x * x

    assert ray.get([square.remote(i) for i in range(200)]) == [i * i for i in range(200)]


def test_tasks_run_in_other_processes(ray):
    @ray.remote
    def process():
        return os.getpid()

    assert ray.get(process.remote()) != os.getpid()


def test_tasks_run_at_the_same_time(ray, gate):
    @ray.remote
    def stand(gate):
        gate.wait()
        return os.getpid()

    refs = [stand.remote(gate) for _ in range(4)]
    gate.arrived.wait_count(4)
    gate.open()
    assert len(set(ray.get(refs))) == 4


def test_no_more_tasks_run_than_there_are_cpus(ray, gate):
    @ray.remote(num_cpus=2)
    def stand(gate):
        gate.wait()

    refs = [stand.remote(gate) for _ in range(4)]
    gate.arrived.wait_count(2)
    assert ray.wait(refs, num_returns=1, timeout=0.5) == ([], refs)
    assert len(gate.arrived.lines()) == 2
    gate.open()
    ray.get(refs)


def test_a_custom_resource_bounds_tasks_as_cpus_do(ray, gate):
    @ray.remote(num_cpus=0, resources={"pump": 1})
    def stand(gate):
        gate.wait()

    refs = [stand.remote(gate) for _ in range(3)]
    gate.arrived.wait_count(2)
    assert ray.wait(refs, num_returns=1, timeout=0.5) == ([], refs)
    assert len(gate.arrived.lines()) == 2
    gate.open()
    ray.get(refs)


def test_a_lambda_may_be_remote(ray):
    assert ray.get(ray.remote(lambda x: x + 1).remote(1)) == 2


def test_a_closure_brings_what_it_captured(ray):
    factor = 3

    @ray.remote
    def scale(x):
        return factor * x

    assert ray.get(scale.remote(5)) == 15


def test_a_function_of_a_module_may_be_remote(ray):
    assert ray.get(ray.remote(of_this_module).remote(4)) == "of this module: 4"


def of_this_module(x):
    return f"of this module: {x}"


def test_the_decorator_takes_options(ray):
    @ray.remote(num_cpus=2, max_retries=0)
    def one():
        return 1

    assert ray.get(one.remote()) == 1


def test_options_make_another_function_and_leave_the_first(ray):
    @ray.remote
    def pair():
        return 1, 2

    first, second = pair.options(num_returns=2).remote()
    assert ray.get([first, second]) == [1, 2]
    assert ray.get(pair.remote()) == (1, 2)


def test_options_are_added_to_those_of_the_decorator(ray):
    @ray.remote(num_returns=2, name="first")
    def who():
        context = ray.get_runtime_context()
        return context.get_task_name(), context.get_assigned_resources()["CPU"]

    assert ray.get(who.options(num_cpus=2).remote()) == ["first", 2]
    assert ray.get(who.options(name="second").remote()) == ["second", 1]


def test_a_task_with_num_returns_gives_a_list_of_references(ray):
    @ray.remote(num_returns=3)
    def three():
        return "a", "b", "c"

    refs = three.remote()
    assert isinstance(refs, list)
    assert ray.get(refs) == ["a", "b", "c"]


def test_a_list_serves_several_returns_as_a_tuple_does(ray):
    @ray.remote(num_returns=2)
    def two():
        return [1, 2]

    assert ray.get(two.remote()) == [1, 2]


def test_no_returns_at_all(ray, marks):
    @ray.remote(num_returns=0)
    def note(marks):
        marks.add("done")

    assert note.remote(marks) is None
    assert marks.wait_count(1) == ["done"]


def test_a_wrong_number_of_returns_is_an_error_of_each(ray):
    @ray.remote(num_returns=3)
    def two():
        return 1, 2

    for ref in two.remote():
        with pytest.raises(ValueError, match="3"):
            ray.get(ref)


def test_each_of_several_returns_is_an_object_of_its_own(ray):
    @ray.remote(num_returns=2)
    def two():
        return 10, 20

    @ray.remote
    def half(x):
        return x // 2

    first, second = two.remote()
    assert first != second
    assert ray.get(half.remote(second)) == 10


def test_a_generator_may_give_a_fixed_number_of_returns(ray):
    @ray.remote(num_returns=3)
    def count():
        yield from range(3)

    assert ray.get(count.remote()) == [0, 1, 2]


def test_a_reference_as_argument_arrives_as_its_value(ray):
    @ray.remote
    def kind(x, *, key):
        return type(x).__name__, type(key).__name__

    assert ray.get(kind.remote(ray.put([1]), key=ray.put({}))) == ("list", "dict")


def test_a_reference_inside_an_argument_stays_one(ray):
    @ray.remote
    def total(refs, *, named):
        assert all(isinstance(ref, ray.ObjectRef) for ref in [*refs, named["c"]])
        return sum(ray.get([*refs, named["c"]]))

    a, b, c = (ray.put(i) for i in (1, 20, 300))
    assert ray.get(total.remote([a, b], named={"c": c})) == 321


def test_a_reference_that_is_not_ready_is_waited_for(ray, gate):
    @ray.remote
    def slow(gate):
        gate.wait()
        return 5

    @ray.remote
    def double(x):
        return 2 * x

    ref = double.remote(slow.remote(gate))
    gate.arrived.wait_count(1)
    assert ray.wait([ref], timeout=0.2) == ([], [ref])
    gate.open()
    assert ray.get(ref) == 10


def test_a_chain_of_tasks_without_a_get_between(ray):
    @ray.remote
    def more(x):
        return x + 1

    ref = ray.put(0)
    for _ in range(50):
        ref = more.remote(ref)
    assert ray.get(ref) == 50


def test_many_references_as_arguments_of_one_task(ray):
    @ray.remote
    def one(i):
        return i

    @ray.remote
    def add(*values):
        return sum(values)

    assert ray.get(add.remote(*[one.remote(i) for i in range(100)])) == 4950


def test_a_task_starts_tasks(ray):
    @ray.remote
    def inner(x):
        return x + 1

    @ray.remote
    def outer(x):
        return sum(ray.get([inner.remote(x + i) for i in range(3)]))

    assert ray.get(outer.remote(10)) == 36


def test_tasks_nest_deeper_than_there_are_cpus(ray):
    """A task that waits in get lends its CPU."""

    @ray.remote
    def down(levels):
        return 0 if levels == 0 else 1 + ray.get(down.remote(levels - 1))

    assert ray.get(down.remote(8)) == 8


def test_a_task_may_return_a_reference(ray):
    @ray.remote
    def inner():
        return "inner"

    @ray.remote
    def outer():
        return inner.remote()

    ref = ray.get(outer.remote())
    assert isinstance(ref, ray.ObjectRef)
    assert ray.get(ref) == "inner"


def test_a_remote_function_may_be_an_argument(ray):
    @ray.remote
    def inner(x):
        return -x

    @ray.remote
    def call(function, x):
        return ray.get(function.remote(x))

    assert ray.get(call.remote(inner, 3)) == -3


def test_an_argument_is_a_copy(ray):
    @ray.remote
    def change(items):
        items.append("changed")
        return items

    items = ["mine"]
    ref = change.remote(items)
    items.append("later")
    assert ray.get(ref) == ["mine", "changed"]


def test_big_arguments_and_results_arrive_whole(ray):
    @ray.remote
    def turn(data):
        return data[::-1]

    data = bytes(range(256)) * 8_000
    assert ray.get(turn.remote(data)) == data[::-1]


def test_a_worker_serves_max_calls_and_no_more(ray):
    @ray.remote(max_calls=2)
    def process():
        return os.getpid()

    processes = [ray.get(process.remote()) for _ in range(6)]
    assert all(processes.count(pid) <= 2 for pid in processes)


def test_a_task_has_a_name(ray):
    @ray.remote
    def anonymous():
        return ray.get_runtime_context().get_task_name()

    assert ray.get(anonymous.options(name="baptised").remote()) == "baptised"
    assert "anonymous" in ray.get(anonymous.remote())


def test_an_object_of_ones_own_class_goes_there_and_back(ray):
    class Point:
        def __init__(self, x, y):
            self.x, self.y = x, y

        def __eq__(self, other):
            return (self.x, self.y) == (other.x, other.y)

    @ray.remote
    def swap(point):
        return Point(point.y, point.x)

    assert ray.get(swap.remote(Point(1, 2))) == Point(2, 1)


def test_a_function_that_calls_itself(ray):
    @ray.remote
    def fibonacci(n):
        return n if n < 2 else sum(ray.get([fibonacci.remote(n - 1), fibonacci.remote(n - 2)]))

    assert ray.get(fibonacci.remote(6)) == 8


def test_another_definition_under_the_same_name_is_another_function(ray):
    @ray.remote
    def same():
        return "first"

    first = same

    @ray.remote
    def same():
        return "second"

    assert ray.get([first.remote(), same.remote()]) == ["first", "second"]


def test_the_longer_spelling_of_a_call_takes_lists_and_options(ray):
    @ray.remote
    def join(*words, by=" "):
        return by.join(words)

    assert ray.get(join._remote(args=["a", "b"], kwargs={"by": "-"}, num_cpus=0)) == "a-b"
    assert ray.get(join._remote(["a"])) == "a"
    assert ray.get(join._remote()) == ""
    assert join._remote(num_returns=0) is None


@pytest.mark.parametrize("pause_s", [0.0, 0.3], ids=["at once", "later"])
def test_each_task_of_a_chain_returns_the_reference_of_the_next(ray, pause_s):
    @ray.remote
    def link(left):
        if not left:
            time.sleep(pause_s)
            return "the end"
        return [link.remote(left - 1)]

    reached = [link.remote(5)]
    while isinstance(reached, list):
        reached = ray.get(reached[0], timeout=60)
    assert reached == "the end"


@pytest.mark.parametrize("kind", ["function", "method"])
def test_a_generator_with_a_fixed_number_of_returns_that_raises_leaves_the_earlier_ones(ray, kind):
    def count(good, then):
        for i in range(good):
            yield [i] * 100
        if then:
            raise KeyError(then)

    class Counter:
        def count(self, good, then):
            yield from count(good, then)

    made = ray.remote(count) if kind == "function" else ray.remote(Counter).remote().count
    first, second, third = made.options(num_returns=3).remote(2, "the third")
    assert ray.get([first, second]) == [[0] * 100, [1] * 100]
    with pytest.raises(KeyError, match="the third"):
        ray.get(third)
    short = made.options(num_returns=3).remote(2, "")
    with pytest.raises(ValueError):  # noqa: PT011  # Ray's text is its own
        ray.get(short)
