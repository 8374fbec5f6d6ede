"""What is raised, where, and what it tells."""

import pickle

import pytest

from compat_tests.ray.waiting import call_until_it_raises


class OwnError(Exception):
    """An exception that takes more than a text."""

    def __init__(self, code, *, hint="none"):
        super().__init__(f"code {code}")
        self.code = code
        self.hint = hint

    def __reduce__(self):
        return type(self)._again, (self.code, self.hint)

    @classmethod
    def _again(cls, code, hint):
        return cls(code, hint=hint)


@pytest.fixture
def fail(ray):
    @ray.remote
    def fail(error):
        raise error

    return fail


@pytest.fixture
def raised(ray):
    def raised(ref):
        with pytest.raises(Exception) as caught:  # noqa: PT011, which one it is the tests look at
            ray.get(ref)
        return caught.value

    return raised


@pytest.mark.parametrize(
    "error",
    [
        ValueError("v"),
        KeyError("k"),
        ZeroDivisionError(),
        OSError(2, "none"),
        StopIteration(1),
        AssertionError("a"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_exception_is_of_its_own_type_and_of_rays(ray, fail, raised, error):
    found = raised(fail.remote(error))
    assert isinstance(found, type(error))
    assert isinstance(found, ray.exceptions.RayTaskError)
    assert isinstance(found, ray.exceptions.RayError)


def test_its_cause_is_what_the_task_raised(fail, raised):
    found = raised(fail.remote(ValueError("here", 3)))
    assert type(found.cause) is ValueError
    assert found.cause.args == ("here", 3)


def test_its_text_is_the_remote_traceback(ray, raised):
    @ray.remote
    def outer_function():
        inner_function()

    def inner_function():
        raise ValueError("deep down")

    text = str(raised(outer_function.remote()))
    for part in ("outer_function", "inner_function", "test_exceptions.py", "ValueError", "deep down"):
        assert part in text


def test_an_exception_of_ones_own_keeps_its_attributes(fail, raised):
    found = raised(fail.remote(OwnError(7, hint="look left")))
    assert isinstance(found, OwnError)
    assert (found.cause.code, found.cause.hint) == (7, "look left")
    assert (found.code, found.hint) == (7, "look left")


def test_an_exception_class_of_a_function(ray, fail):
    class Local(RuntimeError):
        pass

    with pytest.raises(Local, match="local"):
        ray.get(fail.remote(Local("local")))


def test_an_error_goes_through_nested_tasks(ray, fail, raised):
    @ray.remote
    def outer():
        return ray.get(fail.remote(KeyError("inside")))

    found = raised(outer.remote())
    assert isinstance(found, KeyError)
    assert "outer" in str(found)
    assert "fail" in str(found)


def test_an_error_goes_through_arguments(ray, fail, raised):
    @ray.remote
    def use(value):
        raise AssertionError("must not run")

    found = raised(use.remote(use.remote(fail.remote(KeyError("first")))))
    assert isinstance(found, KeyError)
    assert "must not run" not in str(found)


def test_an_error_is_caught_inside_of_a_task(ray, fail):
    @ray.remote
    def careful():
        try:
            ray.get(fail.remote(ValueError("caught")))
        except ValueError as error:
            return "caught" in str(error)

    assert ray.get(careful.remote()) is True


def test_get_of_several_raises_the_failure(ray, fail):
    with pytest.raises(ValueError, match="one of them"):
        ray.get([ray.put(1), fail.remote(ValueError("one of them")), ray.put(2)])


def test_it_is_raised_again_at_each_get(ray, fail, raised):
    ref = fail.remote(ValueError("again"))
    assert isinstance(raised(ref), ValueError)
    assert isinstance(raised(ref), ValueError)


def test_all_returns_of_a_failed_task_fail(ray, raised):
    @ray.remote(num_returns=3)
    def fail():
        raise ValueError("all")

    assert [type(raised(ref).cause) for ref in fail.remote()] == [ValueError] * 3


def test_an_exception_that_cannot_be_pickled(ray, raised):
    @ray.remote
    def fail():
        error = ValueError("holds a lock")
        error.lock = __import__("threading").Lock()
        raise error

    found = raised(fail.remote())
    assert isinstance(found, ray.exceptions.RayTaskError)
    assert "holds a lock" in str(found)


def test_a_result_that_cannot_be_pickled(ray, raised):
    @ray.remote
    def lock():
        return __import__("threading").Lock()

    found = raised(lock.remote())
    assert isinstance(found, TypeError)
    assert "lock" in str(found)


def test_sys_exit_in_a_task(ray):
    @ray.remote(max_retries=0)
    def leave():
        raise SystemExit(3)

    with pytest.raises((ray.exceptions.WorkerCrashedError, SystemExit)):
        ray.get(leave.remote())


def test_errors_travel(ray, fail, raised):
    @ray.remote
    def show(errors):
        return isinstance(errors[0], ValueError), str(errors[0].cause)

    found = raised(fail.remote(ValueError("travels")))
    assert ray.get(show.remote([found])) == (True, "travels")
    (again,) = ray.get(ray.put([found]))
    assert isinstance(again, ValueError)
    assert "travels" in str(again)


def test_errors_of_rays_own_may_be_pickled(library):
    again = pickle.loads(pickle.dumps(library.exceptions.GetTimeoutError("too late")))
    assert isinstance(again, library.exceptions.GetTimeoutError)
    assert "too late" in str(again)


def test_an_error_as_the_cause_of_another(ray, raised):
    @ray.remote
    def fail():
        try:
            {}["missing"]
        except KeyError as error:
            raise ValueError("outer") from error

    text = str(raised(fail.remote()))
    assert "outer" in text
    assert "missing" in text


def test_an_error_of_a_method_names_the_method(ray, raised):
    @ray.remote
    class Broken:
        def method(self):
            raise ValueError("of a method")

    found = raised(Broken.remote().method.remote())
    assert isinstance(found, ValueError)
    assert "Broken.method" in str(found)


TREE = [
    ("RayTaskError", "RayError"),
    ("TaskCancelledError", "RayError"),
    ("TaskUnschedulableError", "RayError"),
    ("TaskPlacementGroupRemoved", "RayError"),
    ("WorkerCrashedError", "RayError"),
    ("RayActorError", "RayError"),
    ("ActorDiedError", "RayActorError"),
    ("ActorUnavailableError", "RayActorError"),
    ("ActorUnschedulableError", "RayError"),
    ("ActorPlacementGroupRemoved", "RayError"),
    ("PendingCallsLimitExceeded", "RayError"),
    ("ObjectLostError", "RayError"),
    ("OwnerDiedError", "ObjectLostError"),
    ("ObjectReconstructionFailedError", "ObjectLostError"),
    ("ObjectFetchTimedOutError", "ObjectLostError"),
    ("ObjectFreedError", "ObjectLostError"),
    ("ReferenceCountingAssertionError", "ObjectLostError"),
    ("ReferenceCountingAssertionError", AssertionError),
    ("ObjectStoreFullError", "RayError"),
    ("OutOfDiskError", "RayError"),
    ("OutOfMemoryError", "RayError"),
    ("GetTimeoutError", "RayError"),
    ("GetTimeoutError", TimeoutError),
    ("NodeDiedError", "RayError"),
    ("RaySystemError", "RayError"),
    ("RuntimeEnvSetupError", "RayError"),
    ("CrossLanguageError", "RayError"),
    ("AsyncioActorExit", "RayError"),
    ("RayError", Exception),
]


@pytest.mark.parametrize(("name", "base"), TREE, ids=lambda part: getattr(part, "__name__", part))
def test_the_tree_of_exceptions(library, name, base):
    base = getattr(library.exceptions, base) if isinstance(base, str) else base
    assert issubclass(getattr(library.exceptions, name), base)


def test_too_many_pending_calls(ray, gate):
    @ray.remote(max_pending_calls=2)
    class Stand:
        def stand(self, gate):
            gate.wait()

    handle = Stand.remote()
    with pytest.raises(ray.exceptions.PendingCallsLimitExceeded):
        [handle.stand.remote(gate) for _ in range(20)]


def test_a_dead_actors_error_says_which(ray):
    @ray.remote
    class Mortal:
        def method(self):
            pass

    handle = Mortal.remote()
    ray.get(handle.method.remote())
    ray.kill(handle)
    with pytest.raises(ray.exceptions.ActorDiedError, match="Mortal") as caught:
        call_until_it_raises(lambda: ray.get(handle.method.remote()))
    assert caught.value.actor_id == handle._actor_id.hex()
