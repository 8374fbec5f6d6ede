"""A failed call's Failure becomes the exception that Ray's programs expect: of RayTaskError and of the user's type."""

import gc
import pickle
import traceback
import weakref

import pytest

from distpool import errors, exceptions
from distpool.errors import Failure
from distpool.exceptions import RayError, RayTaskError
from distpool.remote_failures import to_error, to_rays
from distpool.scheduler.messages import Death
from distpool.scheduler.messages.peers import ActorEnd
from distpool.scheduler.serialize import SerializationError, dump_exception
from tests.ray_util import raised

DEATH = Death(pid=7, host="here", signal=9, exit_code=-9)


def failed_with(error):
    """The Failure of a task that raises ``error``."""
    try:
        raise error
    except BaseException as caught:
        return Failure(error=dump_exception(caught))


def get(error, what="f"):
    """What ``get`` raises for a task that raised ``error``."""
    return to_error(failed_with(error), what)


def same(left, right):
    """Whether two exceptions are alike in type, arguments and attributes."""
    if isinstance(left, BaseExceptionGroup):
        return type(left) is type(right) and all(map(same, left.exceptions, right.exceptions))
    return (type(left), repr(left.args), vars(left)) == (type(right), repr(right.args), vars(right))


@pytest.mark.parametrize("kind", raised.MAKERS)
def test_it_is_of_both_types_and_tells_where_it_came_from(kind):
    original = raised.MAKERS[kind]()
    error = get(original, "work")
    assert isinstance(error, RayTaskError)
    assert isinstance(error, type(original))
    assert same(error.cause, original)
    assert type(error).__name__ == f"RayTaskError({type(original).__qualname__})"
    assert error.task_name == error.function_name == "work"
    assert error.args == (error.cause,)
    text = str(error)
    assert text.startswith("distpool::work()\n")
    assert "in failed_with" in text
    assert "test_remote_failures.py" in text
    assert f"{type(original).__qualname__}" in text
    assert "distpool/scheduler" not in text


@pytest.mark.parametrize("kind", raised.MAKERS)
def test_its_attributes_are_those_of_the_original(kind):
    original = raised.MAKERS[kind]()
    error = get(original)
    names = [name for name in dir(original) if not name.startswith("_") and hasattr(original, name)]
    for name in names:
        value = getattr(original, name)
        if callable(value) or name in ("args", "exceptions", "actor_id", "obj"):
            continue
        assert getattr(error, name) == value, name


@pytest.mark.parametrize("kind", raised.MAKERS)
def test_pickled_it_keeps_types_cause_and_text(kind):
    error = get(raised.MAKERS[kind]())
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert same(again.cause, error.cause)
    assert repr(again) == repr(error)


@pytest.mark.parametrize("kind", raised.MAKERS)
def test_a_task_that_gets_it_and_raises_it_on(kind):
    inner = get(raised.MAKERS[kind](), "inner")
    outer = get(inner, "outer")
    assert type(outer) is type(inner)
    assert same(outer.cause, inner.cause)
    text = str(outer)
    assert text.startswith("distpool::outer()\n")
    assert text.index("distpool::outer()") < text.index("distpool::inner()")
    assert pickle.loads(pickle.dumps(outer)).task_name == "outer"


@pytest.mark.parametrize("kind", raised.MAKERS)
def test_it_can_be_caught_by_either_name_and_printed(kind):
    for caught in (RayTaskError, RayError, errors.DistpoolError, type(raised.MAKERS[kind]())):
        with pytest.raises(caught) as info:
            raise get(raised.MAKERS[kind]())
        printed = "".join(traceback.format_exception(info.value))
        assert printed.count("in failed_with") == 1


def test_of_a_final_type_it_is_a_plain_one_with_the_cause():
    error = get(raised.Final("f"))
    assert type(error) is RayTaskError
    assert same(error.cause, raised.Final("f"))
    assert pickle.loads(pickle.dumps(error)).cause.args == ("f",)
    with pytest.raises(TypeError, match="no type derived from Final"):
        error.make_dual_exception_instance()
    assert error.as_instanceof_cause() is error


def test_a_group_that_no_exception_may_hold_is_a_plain_one():
    error = get(BaseExceptionGroup("g", [raised.Base("b")]))
    assert type(error) is RayTaskError
    assert same(error.cause.exceptions[0], raised.Base("b"))


def test_a_type_that_cannot_be_sent_is_named():
    kind = type("Stuck", (Exception,), {"lock": __import__("threading").Lock()})
    error = get(kind("s"))
    assert type(error) is RayTaskError
    assert "Stuck: s" in str(error)
    assert "Stuck" in str(error.cause)


def test_neither_constructor_nor_hooks_of_the_users_type_run():
    kinds = raised.Registered.kinds
    get(raised.Registered("y"))
    assert raised.Registered.kinds == kinds
    failure = failed_with(raised.Choosy("c"))
    made = raised.Choosy.made
    to_error(failure, "f")
    assert raised.Choosy.made == made


def test_names_that_clash_are_raytaskerrors_and_the_rest_is_the_originals():
    error = get(raised.Clashing("rain"), "work")
    assert isinstance(error, raised.Clashing)
    assert type(error.cause) is raised.Clashing
    assert error.function_name == "work"
    assert (error.cause.function_name, error.made_up) == ("something else", 42)
    with pytest.raises(AttributeError, match="unheard"):
        error.unheard


def test_split_and_except_star_work_on_groups():
    error = get(ExceptionGroup("two", [ValueError(1), KeyError("k")]))
    match, rest = error.split(ValueError)
    assert [type(each) for each in match.exceptions] == [ValueError]
    assert [type(each) for each in rest.exceptions] == [KeyError]


def test_the_type_is_made_once_and_goes_with_the_users():
    def types():
        class Local(Exception):
            pass

        failure = failed_with(Local("l"))
        first, second = to_error(failure, "f"), to_error(failure, "f")
        assert type(first) is type(second)
        return weakref.ref(type(first))

    made = types()
    gc.collect()
    assert made() is None


def test_the_users_own_chain_is_in_the_text_and_below_the_cause():
    try:
        try:
            raise KeyError("deep")
        except KeyError as inner:
            raise ValueError("shallow") from inner
    except ValueError as error:
        failure = Failure(error=dump_exception(error))
    error = to_error(failure, "f")
    assert "direct cause" in str(error)
    assert str(error).count("Traceback") == 2
    assert same(error.cause.__cause__, KeyError("deep"))
    assert error.__cause__ is None
    assert same(pickle.loads(pickle.dumps(error)).cause.__cause__, KeyError("deep"))


def test_notes_are_shown_once():
    original = ValueError("no")
    original.add_note("look at the third line")
    error = get(original)
    assert error.cause.__notes__ == ["look at the third line"]
    assert "".join(traceback.format_exception(error)).count("third line") == 1
    error.add_note("added here")
    assert pickle.loads(pickle.dumps(error)).__notes__ == ["added here"]
    late = to_error(Failure(error=dump_exception(ValueError("no"), note="put on later")), "f")
    assert "".join(traceback.format_exception(late)).count("put on later") == 1


def test_what_another_exception_was_raised_from_is_there():
    inner = get(KeyError("k"), "inner")
    try:
        try:
            raise inner
        except KeyError as caught:
            raise RuntimeError("outer") from caught
    except RuntimeError as error:
        failure = Failure(error=dump_exception(error))
    outer = to_error(failure, "outer")
    assert isinstance(outer, RuntimeError)
    assert isinstance(outer.cause.__cause__, RayTaskError)
    assert isinstance(outer.cause.__cause__, KeyError)
    assert "distpool::inner()" in str(outer)


def test_an_interrupt_in_a_task_is_its_cancellation_and_never_the_callers():
    error = get(KeyboardInterrupt())
    assert isinstance(error, exceptions.TaskCancelledError)
    assert isinstance(error, RayTaskError)
    assert isinstance(error, errors.TaskCancelled)
    assert not isinstance(error, KeyboardInterrupt)


@pytest.mark.parametrize("code", [None, 0, 3, "bye"])
def test_an_exit_in_a_task_never_ends_the_caller(code):
    error = get(SystemExit(code))
    assert type(error) is exceptions.WorkerCrashedError
    assert f"SystemExit({code!r})" in str(error)
    actors = to_error(failed_with(SystemExit(code)), "A.f", actor_id="ab")
    assert type(actors) is exceptions.ActorDiedError
    assert actors.actor_id == "ab"


def test_arguments_that_cannot_be_unpickled_are_a_system_error():
    cause = errors.CannotUnpickle.explained("the arguments", KeyError("k"))
    error = get(cause)
    assert isinstance(error, exceptions.RaySystemError)
    assert isinstance(error, errors.CannotUnpickle)
    assert not isinstance(error, RayTaskError)
    assert "the arguments could not be unpickled" in str(error)
    assert same(error.__cause__, KeyError("k"))


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (errors.StoreFull("no room"), exceptions.ObjectStoreFullError),
        (errors.DiskFull(28, "no room"), exceptions.OutOfDiskError),
        (errors.WorkerDied("it died", DEATH), exceptions.WorkerCrashedError),
        (errors.TaskCancelled("away"), exceptions.TaskCancelledError),
        (errors.TimeoutError("late"), exceptions.GetTimeoutError),
        (errors.ClusterError("lost"), exceptions.RaySystemError),
    ],
)
def test_errors_of_the_engine_have_rays_names_as_well(raised, kind):
    for error in (to_error(Failure(exception=raised), "f"), get(raised).cause, get(raised)):
        assert isinstance(error, kind)
        assert isinstance(error, type(raised))
        assert str(raised) in str(error)
    assert getattr(to_rays(raised), "death", None) == getattr(raised, "death", None)


def test_errors_of_others_stay_what_they_are():
    error = SerializationError("gone")
    assert to_error(Failure(exception=error), "f") is error


@pytest.mark.parametrize(
    ("failure", "actor", "kind", "text"),
    [
        (Failure(death=DEATH), None, exceptions.WorkerCrashedError, "running f .pid 7 on here. was killed by SIGKILL"),
        (Failure(reason="node gone"), None, exceptions.WorkerCrashedError, "was lost: node gone"),
        (Failure(death=DEATH), "ab", exceptions.ActorDiedError, "was killed by SIGKILL"),
        (Failure(death=DEATH, kind="out of memory"), None, exceptions.OutOfMemoryError, "SIGKILL"),
        (Failure(reason="no word", kind="node died"), None, exceptions.NodeDiedError, "no word"),
        (Failure(cancelled=True, reason="cancelled"), None, exceptions.TaskCancelledError, "^f was cancelled$"),
        (Failure(cancelled=True), None, exceptions.TaskCancelledError, "^f was cancelled$"),
        (Failure(cancelled=True, reason="by its parent"), None, exceptions.TaskCancelledError, "by its parent"),
        (Failure(limit_s=2.5), None, exceptions.TaskTimeoutError, "f ran for longer than its task_timeout of 2.5 s"),
        (Failure(reason="gone", kind="lost"), None, exceptions.ObjectLostError, "object ee cannot.*gone; made by f"),
        (Failure(reason="gone", kind="owner died"), None, exceptions.OwnerDiedError, "owned it is gone"),
        (Failure(reason="gone", kind="owner died"), "ab", exceptions.ActorDiedError, "had created the actor is gone"),
        (Failure(kind="freed"), None, exceptions.ObjectFreedError, "has freed it"),
        (Failure(kind="fetch"), None, exceptions.ObjectFetchTimedOutError, "in time"),
        (
            Failure(reason="f may not run again", kind="reconstruction"),
            None,
            exceptions.ObjectReconstructionFailedError,
            "lost, and f may not run again .made by f",
        ),
        (Failure(kind="unschedulable", reason="no GPU"), None, exceptions.TaskUnschedulableError, "f: no GPU"),
        (Failure(kind="runtime env", reason="no pip"), None, exceptions.RuntimeEnvSetupError, "f: no pip"),
        (Failure(kind="pending calls", reason="9 of 8"), "ab", exceptions.PendingCallsLimitExceeded, "9 of 8"),
        (Failure(kind="placement group removed"), None, exceptions.TaskPlacementGroupRemoved, "f"),
        (Failure(kind=ActorEnd.UNAVAILABLE, death=DEATH), "ab", exceptions.ActorUnavailableError, "ab cannot.*SIGKILL"),
        (Failure(kind=ActorEnd.DIED, death=DEATH), "ab", exceptions.ActorDiedError, "SIGKILL"),
        (Failure(kind=ActorEnd.KILLED), "ab", exceptions.ActorDiedError, "killed by the program"),
        (Failure(kind=ActorEnd.EXITED), "ab", exceptions.ActorDiedError, "ended itself"),
        (Failure(kind=ActorEnd.CLOSED), "ab", exceptions.ActorDiedError, "nobody had a handle"),
        (Failure(kind=ActorEnd.OWNER_DIED), "ab", exceptions.ActorDiedError, "created the actor is gone"),
        (Failure(kind=ActorEnd.REFUSED, reason="no node"), "ab", exceptions.ActorUnschedulableError, "no node"),
        (Failure(kind=ActorEnd.CONSTRUCTOR, reason="?"), "ab", exceptions.ActorDiedError, "constructor failed"),
    ],
)  # fmt: skip
def test_what_nobody_raised_has_a_name_and_says_why(failure, actor, kind, text):
    error = to_error(failure, "f", actor_id=actor, ref="ee")
    assert type(error) is kind
    with pytest.raises(kind, match=text):
        raise pickle.loads(pickle.dumps(error))
    if isinstance(error, errors.WorkerDied):
        assert error.death == failure.death
    if isinstance(error, exceptions.RayActorError):
        assert error.actor_id == "ab"


def test_every_end_of_an_actor_has_its_error():
    ends = [value for name, value in vars(ActorEnd).items() if name.isupper()]
    assert len(ends) >= 8
    for kind in ends:
        error = to_error(Failure(kind=kind, reason="so"), "A.f", actor_id="ab")
        assert isinstance(error, (exceptions.RayActorError, exceptions.ActorUnschedulableError)), kind


def test_an_actor_whose_constructor_raised_is_dead_of_that():
    failure = failed_with(raised.KeywordOnly(7, hint="h"))
    failure.kind = ActorEnd.CONSTRUCTOR
    error = to_error(failure, "Counter.add", actor_id="ab")
    for each in (error, pickle.loads(pickle.dumps(error))):
        assert type(each) is exceptions.ActorDiedError
        assert each.actor_init_failed
        assert each.actor_id == "ab"
        assert "distpool::Counter.__init__() (actor_id=ab)" in str(each)
        assert "KeywordOnly: code 7" in str(each)


@pytest.mark.parametrize("error", [errors.CannotUnpickle("unreadable"), SystemExit(3), KeyboardInterrupt()])
def test_whatever_ends_a_constructor_the_actor_is_dead_of_it(error):
    failure = failed_with(error)
    failure.kind = ActorEnd.CONSTRUCTOR
    made = to_error(failure, "Counter.add", actor_id="ab")
    assert type(made) is exceptions.ActorDiedError
    assert "Counter.__init__" in str(made)


@pytest.mark.parametrize("kind", ["value", "keyword only", "group"])
def test_a_call_whose_argument_failed_says_so(kind):
    original = raised.MAKERS[kind]()
    failure = Failure(error=failed_with(original).error, call="f")
    assert "argument" not in str(to_error(failure, "f"))
    error = to_error(failure, "g")
    assert isinstance(error, type(original))
    assert same(error.cause, original)
    assert str(error).startswith("distpool::g()\n  one of its arguments could not be had:\n")
    assert "distpool::f()" in str(error)


def test_a_call_whose_arguments_worker_died_says_so():
    error = to_error(Failure(death=DEATH, call="f"), "g")
    assert isinstance(error, RayTaskError)
    assert isinstance(error, exceptions.WorkerCrashedError)
    assert error.death == DEATH
    assert "running f (pid 7 on here) was killed" in str(error)
