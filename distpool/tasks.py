"""Remote functions: ``@remote``.

::

    @distpool.remote                            @distpool.remote(num_cpus=2, max_retries=0)
    def square(x): return x * x                 def heavy(x): ...

    ref = square.remote(3)                      runs in a worker; returns at once, a reference
    ref = square.options(name="s").remote(3)    the same, with other options
    distpool.get(ref)                           9

``remote`` makes actors of classes (``actors``). Stands in for ``ray.remote`` and ``ray.remote_function``.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from distpool import remote_failures, remote_options
from distpool.errors import Failure
from distpool.left_out import BIND
from distpool.remote_plans import version, workers_of
from distpool.scheduler.remote import submitting
from distpool.scheduler.remote.plans import ENDLESS, Plan

__all__ = ["RemoteFunction", "remote"]

#: How often a call is made again whose worker has died, unless it says otherwise.
MAX_RETRIES = 3


class RemoteFunction:
    """A function whose calls run in workers, of ``remote``; ``.remote(...)`` calls it, ``.options`` changes how."""

    def __init__(self, function: Callable[..., Any], options: Mapping[str, Any]) -> None:
        self._function = function
        self._options = dict(options)
        self._name = str(
            self._options.get("name")
            or getattr(function, "__qualname__", None)
            or type(function).__qualname__
        )
        self._made: Plan | None = None
        self._signature: inspect.Signature | None = None
        functools.update_wrapper(self, function, updated=())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """An error: see ``remote``."""
        name = self._name
        raise TypeError(
            f"remote functions are not called directly: instead of {name}(...), write {name}.remote(...)"
        )

    def remote(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function in a worker; the arguments are copied before this returns.

        References among the arguments stand for their values; inside of other arguments they stay references.

        Returns:
            An ObjectRef; a list of as many as ``num_returns`` says; None for 0; an ObjectRefGenerator for "streaming";
            for "dynamic" an ObjectRef to a DynamicObjectRefGenerator.

        Raises:
            TypeError: arguments that the function does not take.
            Exception: what pickling the function or an argument raises, with a note that names the path to it.
        """
        if kwargs or len(args) != self._plain_arguments:
            self._check_arguments(args, kwargs)
        plan = self._made
        if plan is None or plan.pool is None or plan.pool.closed or plan.version != version():
            plan = self._made = plan_of(self._function, self._options, self._name)
        return submitting.call(plan, self._function, args, kwargs)

    @functools.cached_property
    def _plain_arguments(self) -> int:
        """How many positional arguments need no further look; -1: any call does."""
        code = getattr(self._function, "__code__", None)
        if code is None or code.co_flags & 0x0C or code.co_kwonlyargcount:
            return -1
        return int(code.co_argcount)

    def _check_arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """What does not fit is the caller's error, here and now."""
        if self._signature is None:
            try:
                self._signature = inspect.signature(self._function)
            except (TypeError, ValueError):
                return  # a builtin that does not tell
        self._signature.bind(*args, **kwargs)

    def _remote(
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Any:
        """``options(**options).remote(*args, **kwargs)`` in one, as many programs written for Ray have it."""
        return self.options(**options).remote(*(args or ()), **(kwargs or {}))

    def options(self, **options: Any) -> RemoteFunction:
        """The same function with some options otherwise: see ``remote``."""
        given = remote_options.check(remote_options.TASK, options, f"the remote function {self._name}")
        _check_yields(self._function, given, self._name)
        return RemoteFunction(self._function, {**self._options, **given})

    @property
    def bind(self) -> Any:
        """Not here: see ``left_out``."""
        raise AttributeError(BIND)

    def __reduce__(self) -> tuple[Any, ...]:
        return RemoteFunction, (self._function, self._options)

    def __repr__(self) -> str:
        return f"<remote function {self._name}>"


def plan_of(function: Callable[..., Any], options: Mapping[str, Any], name: str) -> Plan:
    """How calls with these options are made, in the session that there is. Raises as ``workers_of`` does."""
    made_at = version()
    retries = options.get("max_retries")
    retries = MAX_RETRIES if retries is None else retries
    returns, yields, gathers = returns_of(options, _is_generator(function))
    workers = workers_of(options, default_cpus=1.0)
    return Plan(
        name=name,
        label=options.get("name") or "",
        shape=workers.shape,
        setup=workers.setup,
        kept=workers.kept,
        version=made_at,
        retries=ENDLESS if retries < 0 else retries,
        retry_on=retry_on(options.get("retry_exceptions", False)),
        returns=returns,
        yields=yields,
        gathers=gathers,
    )


def returns_of(options: Mapping[str, Any], is_generator: bool) -> tuple[int, int | None, bool]:
    """How many values a call gives; if it yields them, how many may lie unread (0: any number), else None.

    Last whether what it yields is handed out together.
    """
    returns = options.get("num_returns")
    if returns == "dynamic":
        return 1, 0, True
    if isinstance(returns, str) or (returns is None and is_generator):
        unread = options.get("_generator_backpressure_num_objects")
        return 1, unread if isinstance(unread, int) and unread > 0 else 0, False
    return (1 if returns is None else int(returns)), None, False


def retry_on(kinds: Any) -> Callable[[Failure], bool] | None:
    """Which failures of a call are tried again: ``retry_exceptions``; None for none."""
    if kinds is False or (kinds is not True and not kinds):
        return None
    wanted: tuple[type[BaseException], ...] = (Exception,) if kinds is True else tuple(kinds)

    def retry(failure: Failure) -> bool:
        error = remote_failures.to_error(failure, "")
        return isinstance(error, wanted)

    return retry


def remote(*args: Any, **options: Any) -> Any:
    """Make a function remote, or an actor of a class; bare, or with options.

    Options of a function: ``num_cpus`` (1), ``num_gpus``, ``memory`` (bytes), ``resources`` (others, by name),
    ``accelerator_type``; ``num_returns`` (1); ``max_retries`` (3; -1: without end) for calls whose worker died,
    ``retry_exceptions`` (False; True, or a list of types) for those that raised; ``max_calls`` until a worker is
    replaced; ``name``; ``runtime_env``; ``scheduling_strategy``; ``label_selector``.

    Raises:
        TypeError, ValueError: neither a function nor a class; an option that there is not, or cannot be so.
    """
    if len(args) == 1 and not options and (callable(args[0])):
        return _make(args[0], {})
    if args or not options:
        raise TypeError(
            "remote is used as @remote, or with options as @remote(num_cpus=2); options are named, "
            "and what is made remote is a function or a class"
        )
    return lambda made_remote: _make(made_remote, options)


def _make(target: Any, options: Mapping[str, Any]) -> Any:
    if inspect.isclass(target):
        from distpool import actors

        return actors.make(target, options)
    if not callable(target):
        raise TypeError(f"remote takes a function or a class, not a {type(target).__name__}")
    name = getattr(target, "__qualname__", type(target).__qualname__)
    given = remote_options.check(remote_options.TASK, options, f"the remote function {name}")
    _check_yields(target, given, name)
    if inspect.iscoroutinefunction(inspect.unwrap(target)):
        raise ValueError(
            f"{name} is a coroutine function, and a remote function is run to its end by its worker: call asyncio.run "
            "in a plain function, or make it a method of an actor, which has an event loop"
        )
    return RemoteFunction(target, given)


def _check_yields(function: Any, options: Mapping[str, Any], name: str) -> None:
    returns = options.get("num_returns")
    if isinstance(returns, str) and not _is_generator(function):
        raise ValueError(
            f'num_returns="{returns}" is for a generator, a function that yields, and {name} is none'
        )


def _is_generator(function: Any) -> bool:
    plain = inspect.unwrap(function)
    return inspect.isgeneratorfunction(plain) or inspect.isasyncgenfunction(plain)
