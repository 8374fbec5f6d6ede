"""What is refused, by which type of error, and that its text names the culprit."""

import threading

import pytest

from compat_tests.ray.waiting import call_until_it_raises


@pytest.fixture
def function(ray):
    @ray.remote
    def function(x):
        return x

    return function


@pytest.fixture
def actor(ray):
    @ray.remote
    class Actor:
        def method(self, x):
            return x

    return Actor


@pytest.mark.parametrize("option", ["num_foo", "numcpus", "max_restarts", "lifetime", "get_if_exists"])
def test_an_option_that_tasks_do_not_have(ray, function, option):
    with pytest.raises(ValueError, match=option):
        function.options(**{option: 1})
    with pytest.raises(ValueError, match=option):
        ray.remote(**{option: 1, "num_cpus": 1})(lambda: None)


@pytest.mark.parametrize("option", ["num_foo", "max_retries", "max_calls", "num_returns", "retry_exceptions"])
def test_an_option_that_actors_do_not_have(ray, actor, option):
    with pytest.raises(ValueError, match=option):
        actor.options(**{option: 1})


WRONG = [
    ("num_cpus", "two", TypeError),
    ("num_cpus", -1, ValueError),
    ("num_gpus", -1, ValueError),
    ("memory", -1, ValueError),
    ("resources", [1], TypeError),
    ("resources", {"CPU": 1}, ValueError),
    ("resources", {"GPU": 1}, ValueError),
    ("num_returns", -1, ValueError),
    ("num_returns", "many", (TypeError, ValueError)),
    ("max_retries", -2, ValueError),
    ("max_retries", "x", TypeError),
    ("max_calls", -1, ValueError),
    ("retry_exceptions", "ValueError", TypeError),
    ("scheduling_strategy", "SOMEWHERE", ValueError),
    ("name", 3, TypeError),
]


@pytest.mark.parametrize(
    ("option", "value", "error"), WRONG, ids=lambda part: str(getattr(part, "__name__", part))
)
def test_a_wrong_value_for_a_task(ray, function, option, value, error):
    with pytest.raises(error):
        function.options(**{option: value}).remote(1)


WRONG_FOR_ACTORS = [
    ("max_restarts", -2, ValueError),
    ("max_restarts", "x", TypeError),
    ("max_task_retries", -2, ValueError),
    ("max_concurrency", "x", TypeError),
    ("lifetime", "eternal", ValueError),
    ("namespace", 3, TypeError),
    ("concurrency_groups", 3, TypeError),
    ("num_cpus", -1, ValueError),
]


@pytest.mark.parametrize(
    ("option", "value", "error"), WRONG_FOR_ACTORS, ids=lambda part: str(getattr(part, "__name__", part))
)
def test_a_wrong_value_for_an_actor(ray, actor, option, value, error):
    with pytest.raises(error):
        actor.options(**{option: value}).remote()


def test_remote_functions_are_not_called_directly(ray, function):
    with pytest.raises(TypeError, match="remote"):
        function(1)


def test_actor_classes_and_methods_are_not_called_directly(ray, actor):
    with pytest.raises(TypeError, match="remote"):
        actor()
    with pytest.raises(TypeError, match="remote"):
        actor.remote().method(1)


def test_remote_wants_a_function_or_a_class(ray):
    with pytest.raises((TypeError, AssertionError)):
        ray.remote(3)


@pytest.mark.parametrize("arguments", [(), (1, 2), (lambda: None, 2)], ids=len)
def test_remote_wants_options_by_name(ray, arguments):
    with pytest.raises((TypeError, AssertionError, ValueError)):
        ray.remote(*arguments)


def test_arguments_that_do_not_fit_are_refused_at_once(ray, function, actor):
    handle = actor.remote()
    for call in (
        lambda: function.remote(),
        lambda: function.remote(1, 2),
        lambda: function.remote(y=1),
        lambda: actor.remote(1),
        lambda: handle.method.remote(),
        lambda: handle.method.remote(1, 2),
    ):
        with pytest.raises(TypeError):
            call()


def test_a_method_that_there_is_not(ray, actor):
    with pytest.raises(AttributeError, match="nothing_like_it"):
        actor.remote().nothing_like_it


def test_actor_classes_have_no_subclasses(ray, actor):
    with pytest.raises(TypeError):
        type("Derived", (actor,), {})


@pytest.mark.parametrize("value", [3, "text", None, {}, (), object()], ids=lambda value: type(value).__name__)
def test_get_wants_a_reference_or_a_list(ray, value):
    with pytest.raises((ValueError, TypeError)):
        ray.get(value)


def test_get_wants_only_references_in_the_list(ray):
    with pytest.raises(TypeError):
        ray.get([ray.put(1), 3])


def test_a_generator_is_no_list_of_references(ray):
    with pytest.raises((ValueError, TypeError)):
        ray.get(ray.put(i) for i in range(2))


def test_a_reference_is_not_put(ray):
    with pytest.raises(TypeError):
        ray.put(ray.put(1))


def test_wait_wants_a_list_of_references(ray):
    ref = ray.put(1)
    for value in (ref, (ref,), [3], "text"):
        with pytest.raises(TypeError):
            ray.wait(value)


@pytest.mark.parametrize(("option", "value"), [("num_returns", 2), ("num_returns", 0), ("timeout", -1)])
def test_wait_wants_sensible_numbers(ray, option, value):
    with pytest.raises(ValueError):  # noqa: PT011, the text differs
        ray.wait([ray.put(1)], **{option: value})


def test_cancel_wants_a_reference(ray):
    with pytest.raises(TypeError):
        ray.cancel(3)


def test_kill_wants_an_actor(ray, actor):
    for value in (3, ray.put(1), actor):
        with pytest.raises(ValueError, match="actor"):
            ray.kill(value)


def test_a_value_that_cannot_be_serialized(ray, function, actor):
    lock = threading.Lock()
    for call in (
        lambda: ray.put(lock),
        lambda: ray.put({"in": [lock]}),
        lambda: function.remote(lock),
        lambda: ray.get(actor.remote().method.remote(lock)),
        lambda: ray.remote(lambda: lock).remote(),
    ):
        with pytest.raises(TypeError, match="lock"):
            call()


def test_a_class_that_cannot_be_serialized(ray):
    lock = threading.Lock()

    @ray.remote
    class Holds:
        def method(self):
            return lock

    with pytest.raises(TypeError, match="lock"):
        Holds.remote()


@pytest.mark.differs(
    "Ray waits for an autoscaler for ever; where there is none we tell within 10 s what the nodes have"
)
def test_resources_that_no_node_has(ray, ours, function):
    ref = function.options(resources={"unobtainium": 1}).remote(1)
    if ours:
        with pytest.raises(ray.exceptions.RayError, match="unobtainium"):
            ray.get(ref, timeout=15)
    else:
        with pytest.raises(ray.exceptions.GetTimeoutError):
            ray.get(ref, timeout=3)
        ray.cancel(ref)


def test_a_call_on_a_dead_actor(ray, actor):
    handle = actor.remote()
    ray.kill(handle)
    with pytest.raises(ray.exceptions.ActorDiedError):
        call_until_it_raises(lambda: ray.get(handle.method.remote(1)))


def test_a_wrong_option_of_a_method(ray, actor):
    with pytest.raises((ValueError, TypeError)):
        actor.remote().method.options(num_foo=1).remote(1)


def test_an_unknown_concurrency_group(ray, actor):
    handle = actor.remote()
    with pytest.raises((ValueError, ray.exceptions.RayError)):
        ray.get(handle.method.options(concurrency_group="unknown").remote(1), timeout=10)


def test_method_wants_known_options(ray):
    with pytest.raises((AssertionError, TypeError, ValueError)):
        ray.method(num_foo=1)(lambda self: None)
