"""Ray's exceptions: their places in the one tree, attributes, texts, and that they pickle."""

import builtins
import concurrent.futures
import copy
import multiprocessing
import pickle
import re
from concurrent.futures.process import BrokenProcessPool

import pytest

from distpool import errors, exceptions
from distpool.scheduler.messages import Death
from distpool.scheduler.serialize import dump_exception, load_exception

DEATH = Death(pid=7, host="here", signal=9, exit_code=-9)

#: Every exception that Ray's documentation names.
NAMES = re.findall(
    r"\w+",
    """
    RayError RayTaskError TaskCancelledError TaskUnschedulableError TaskPlacementGroupRemoved
    WorkerCrashedError RayActorError ActorDiedError ActorUnavailableError ActorUnschedulableError
    ActorPlacementGroupRemoved ActorAlreadyExistsError ActorHandleNotFoundError
    PendingCallsLimitExceeded AsyncioActorExit ObjectLostError OwnerDiedError
    ObjectReconstructionFailedError ObjectFetchTimedOutError ObjectFreedError
    ReferenceCountingAssertionError ObjectStoreFullError OutOfDiskError OutOfMemoryError
    GetTimeoutError NodeDiedError LocalRayletDiedError RaySystemError RpcError RuntimeEnvSetupError
    AuthenticationError CrossLanguageError UnserializableException ObjectRefStreamEndOfStreamError
    RayChannelError RayChannelTimeoutError RayDirectTransportError RayCgraphCapacityExceeded
    """,
)

MADE = [
    exceptions.RayError("e"),
    exceptions.RayTaskError("f", "Traceback (most recent call last):\n  here\nKeyError: 'k'\n", KeyError("k"), pid=3),
    exceptions.TaskCancelledError(),
    exceptions.TaskCancelledError(b"\xab\x12", "because"),
    exceptions.TaskTimeoutError("late"),
    exceptions.TaskUnschedulableError("no GPU"),
    exceptions.TaskPlacementGroupRemoved(),
    exceptions.WorkerCrashedError(),
    exceptions.WorkerCrashedError("it died", DEATH),
    exceptions.OutOfMemoryError("too big", DEATH),
    exceptions.NodeDiedError("unplugged"),
    exceptions.RayActorError(),
    exceptions.RayActorError("ab", "text", True, True, DEATH),
    exceptions.ActorDiedError(),
    exceptions.ActorDiedError("killed", "ab", DEATH),
    exceptions.ActorDiedError(exceptions.RayTaskError("A.__init__", "tb", ValueError("v"), actor_id="ab")),
    exceptions.ActorUnavailableError("restarts", b"\xab"),
    exceptions.ActorUnavailableError("restarts"),
    exceptions.ActorUnschedulableError("no GPU"),
    exceptions.ActorPlacementGroupRemoved(),
    exceptions.ActorAlreadyExistsError("twice"),
    exceptions.ActorHandleNotFoundError("none"),
    exceptions.PendingCallsLimitExceeded("8"),
    exceptions.AsyncioActorExit(),
    exceptions.ObjectLostError("ab", None, "here"),
    exceptions.OwnerDiedError("ab", b"address", "here"),
    exceptions.ObjectReconstructionFailedError("ab", None, "no tries are left", call_site="here"),
    exceptions.ObjectFetchTimedOutError("ab", None, ""),
    exceptions.ObjectFreedError("ab"),
    exceptions.ReferenceCountingAssertionError("ab", None, ""),
    exceptions.ObjectStoreFullError("full"),
    exceptions.OutOfDiskError("full"),
    exceptions.OutOfDiskError(28, "full"),
    exceptions.GetTimeoutError("late"),
    exceptions.LocalRayletDiedError(),
    exceptions.RaySystemError("broken"),
    exceptions.RaySystemError("broken", "traceback"),
    exceptions.DataUnreadableError("unreadable"),
    exceptions.RpcError("no answer", 14),
    exceptions.RuntimeEnvSetupError(),
    exceptions.RuntimeEnvSetupError("no pip"),
    exceptions.AuthenticationError("who?"),
    exceptions.CrossLanguageError("java"),
    exceptions.UnserializableException("traceback"),
    exceptions.ObjectRefStreamEndOfStreamError(),
    exceptions.RayChannelError("c"),
    exceptions.RayChannelTimeoutError("c"),
    exceptions.RayCgraphCapacityExceeded("c"),
    exceptions.RayDirectTransportError("c"),
    exceptions.StreamingGeneratorReplayInconsistentError("c"),
    exceptions.PlasmaObjectNotAvailable("c"),
    exceptions.OufOfBandObjectRefSerializationException("c"),
    exceptions.UserCodeException("c"),
]  # fmt: skip


def facts(error):
    """All that one can see of it."""
    state = {name: repr(value) for name, value in vars(error).items()}
    return type(error), str(error), repr(error.args), state


def test_every_name_is_there_and_in_the_tree():
    for name in NAMES:
        kind = getattr(exceptions, name)
        assert issubclass(kind, exceptions.RayError)
        assert issubclass(kind, errors.DistpoolError)
        assert kind.__module__ == "distpool.exceptions"
    assert set(NAMES) <= set(exceptions.__all__)
    assert {type(error).__name__ for error in MADE} == set(exceptions.__all__)


@pytest.mark.parametrize("error", MADE, ids=lambda error: type(error).__name__)
def test_each_pickles_as_it_is(error):
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert facts(pickle.loads(pickle.dumps(error, protocol))) == facts(error)
    assert facts(copy.copy(error)) == facts(error)


@pytest.mark.parametrize("error", MADE, ids=lambda error: type(error).__name__)
def test_each_comes_from_a_task_with_cause_and_traceback(error):
    try:
        try:
            raise KeyError("first")
        except KeyError as first:
            raise error from first
    except exceptions.RayError as caught:
        again = load_exception(dump_exception(caught))
    finally:
        error.__traceback__ = error.__cause__ = error.__context__ = None
    assert facts(again) == facts(error)
    assert "in test_each_comes_from_a_task" in str(again.__cause__)
    assert again.__cause__.__cause__.args == ("first",)


@pytest.mark.parametrize("error", MADE, ids=lambda error: type(error).__name__)
def test_each_says_something_without_any_internals(error):
    assert "None" not in str(error)
    assert "<" not in str(error)
    if error.args:
        assert str(error)


@pytest.mark.parametrize(
    ("name", "also"),
    [
        ("GetTimeoutError", (errors.TimeoutError, builtins.TimeoutError, multiprocessing.TimeoutError)),
        ("TaskTimeoutError", (errors.TimeoutError, builtins.TimeoutError)),
        ("RayChannelTimeoutError", (errors.TimeoutError, builtins.TimeoutError)),
        ("ObjectStoreFullError", (errors.StoreFull, errors.StoreError, MemoryError)),
        ("OutOfDiskError", (errors.DiskFull, OSError)),
        ("OutOfMemoryError", (errors.WorkerDied, MemoryError)),
        ("WorkerCrashedError", (errors.WorkerDied, BrokenProcessPool)),
        ("NodeDiedError", (errors.WorkerDied,)),
        ("ActorDiedError", (exceptions.RayActorError, errors.WorkerDied)),
        ("ActorUnavailableError", (exceptions.RayActorError, errors.WorkerDied)),
        ("TaskCancelledError", (errors.TaskCancelled, concurrent.futures.CancelledError)),
        ("OwnerDiedError", (exceptions.ObjectLostError, errors.StoreError)),
        ("ReferenceCountingAssertionError", (exceptions.ObjectLostError, AssertionError)),
        ("DataUnreadableError", (exceptions.RaySystemError, errors.CannotUnpickle)),
        ("RaySystemError", (errors.ClusterError,)),
        ("ActorAlreadyExistsError", (ValueError,)),
        ("ActorHandleNotFoundError", (ValueError,)),
    ],
)
def test_what_else_they_are(name, also):
    for kind in also:
        assert issubclass(getattr(exceptions, name), kind), kind


def test_a_task_error_tells_whose_it_is():
    error = exceptions.RayTaskError(
        "A.f",
        "Traceback (most recent call last):\n  here\nKeyError: 'k'\n",
        KeyError("k"),
        pid=3,
        ip="10.0.0.1",
        actor_repr="A(1)",
        actor_id="ab",
    )
    assert str(error) == (
        "distpool::A.f() (pid=3, ip=10.0.0.1, actor_id=ab, repr=A(1))\n  here\nKeyError: 'k'"
    )
    both = error.as_instanceof_cause()
    assert isinstance(both, KeyError)
    assert str(both) == str(error)
    assert (both.pid, both.ip, both.actor_repr, both.actor_id) == (3, "10.0.0.1", "A(1)", "ab")
    assert both.as_instanceof_cause() is both
    assert type(both.make_dual_exception_instance()) is type(both)


def test_an_actors_error_says_which_and_whether_its_constructor_raised():
    cause = exceptions.RayTaskError("A.__init__", "tb", ValueError("v"), actor_id="ab")
    error = exceptions.ActorDiedError.from_task_error(cause)
    assert error.actor_init_failed
    assert error.actor_id == "ab"
    assert not error.preempted
    assert not exceptions.ActorDiedError().actor_init_failed
    assert exceptions.RayActorError("ab", "x", preempted=True).preempted
    assert exceptions.ActorUnavailableError("m", b"\xab\x12").actor_id == "ab12"


def test_the_users_own_error_may_derive_from_these():
    class Mine(exceptions.RayTaskError):
        pass

    assert Mine("f", "tb", KeyError("k")).as_instanceof_cause().cause.args == ("k",)
