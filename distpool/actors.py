"""Actors: objects that live in a worker of their own, and whose methods are called from anywhere.

::

    @distpool.remote                         counter = Counter.remote(start=10)      a handle, at once
    class Counter:                           ref = counter.add.remote(5)             a reference
        def __init__(self, start): ...       distpool.get(ref)                       15
        def add(self, n): ...                distpool.kill(counter)

    Counter.options(name="c", max_restarts=3).remote(0)      distpool.get_actor("c")

Calls of one caller run in the order in which they were made, one at a time; with ``max_concurrency`` in that many
threads; in an actor with ``async def`` methods as tasks of its event loop. A handle may be passed to any call. An actor
ends with its last handle, unless it is detached.

Stands in for ``ray.actor``, ``ray.method``, ``ray.kill`` and ``ray.get_actor``.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from distpool import actor_names, objects, remote_options
from distpool.left_out import BIND
from distpool.remote_plans import Here, for_actor, job, workers_of
from distpool.scheduler.messages import ActorTerms, Contact
from distpool.scheduler.remote import actors, adopting, refs, submitting
from distpool.scheduler.remote.actor_pools import ActorSpec, Lent
from distpool.scheduler.remote.actors import ActorRef, Link
from distpool.scheduler.remote.hex_ids import ActorID
from distpool.scheduler.remote.plans import ENDLESS, Plan
from distpool.scheduler.remote.refs import ObjectRef
from distpool.scheduler.shells import worker_start
from distpool.scheduler.shells.actor_calls import exit_actor
from distpool.tasks import retry_on, returns_of

__all__ = [
    "ActorClass",
    "ActorClassInheritanceException",
    "ActorHandle",
    "ActorMethod",
    "exit_actor",
    "get_actor",
    "kill",
    "make",
    "method",
]

Function = TypeVar("Function", bound=Callable[..., Any])


class ActorClassInheritanceException(TypeError):
    """A class inherits from an actor class. Stands in for ``ray.actor.ActorClassInheritanceException``."""


#: How many calls of an actor with ``async def`` methods run at once, unless it says otherwise.
ASYNC_CONCURRENCY = 1000
#: Where ``method`` leaves its options.
_OPTIONS = "__distpool_method_options__"
#: Methods that every actor has.
_OF_ALL = ("__ray_ready__", "__ray_terminate__", "__ray_call__")


@dataclass(frozen=True)
class MethodFacts:
    """What a caller must know of a method. ``parameters``: names, kinds, and whether there is a default."""

    options: dict[str, Any]
    parameters: tuple[tuple[str, int, bool], ...] | None
    yields: bool = False

    @functools.cached_property
    def plain_arguments(self) -> int:
        """How many positional arguments need no further look; -1: any call does."""
        if self.parameters is None:
            return -1
        plain = all(kind in (0, 1) for _, kind, _ in self.parameters)
        return len(self.parameters) if plain else -1

    def check(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Raises TypeError if the method does not take these arguments."""
        if self.parameters is None:
            return
        signature = inspect.Signature(
            [
                inspect.Parameter(
                    parameter, inspect._ParameterKind(kind), default=None if has else inspect.Parameter.empty
                )
                for parameter, kind, has in self.parameters
            ]
        )
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{name}: {error}") from None


@dataclass(frozen=True)
class ClassFacts:
    """What a caller must know of an actor's class."""

    name: str
    methods: dict[str, MethodFacts]
    max_task_retries: int = 0
    max_pending_calls: int = -1
    is_async: bool = False
    module: str = ""
    groups: tuple[str, ...] = ()  # concurrency groups that there are
    extra: dict[str, Any] = field(default_factory=dict)


def method(*args: Any, **options: Any) -> Any:
    """Options of a method of an actor class: ``num_returns``, ``concurrency_group``, ``max_task_retries``, ...

    Raises:
        TypeError, ValueError: used without options; an option that there is not, or that cannot be so.
    """
    if args or not options:
        raise TypeError("method takes named options, as in @distpool.method(num_returns=2)")
    given = remote_options.check(remote_options.METHOD, options, "method")

    def note(function: Function) -> Function:
        setattr(function, _OPTIONS, given)
        return function

    return note


class ActorClass:
    """A class whose instances live in workers. Made by ``remote``; ``.remote(...)`` makes one and returns a handle."""

    def __init__(self, cls: type[Any], options: Mapping[str, Any]) -> None:
        self._cls = cls
        self._options = dict(options)
        self.__name__ = self.__qualname__ = cls.__name__
        self.__doc__ = cls.__doc__
        self.__module__ = cls.__module__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """An error: see ``remote``."""
        name = self._cls.__name__
        raise TypeError(f"actors are not made directly: instead of {name}(...), write {name}.remote(...)")

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        name = self._cls.__name__
        raise ActorClassInheritanceException(
            f"a class cannot inherit from the actor class {name}: inherit from a plain class, and make both remote"
        )

    def _remote(
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> ActorHandle:
        """``options(**options).remote(*args, **kwargs)`` in one, as many programs written for Ray have it."""
        return self.options(**options).remote(*(args or ()), **(kwargs or {}))

    def options(self, **options: Any) -> ActorClass:
        """The same class with some options otherwise: see ``remote``."""
        given = remote_options.check(remote_options.ACTOR, options, f"the actor class {self._cls.__name__}")
        return ActorClass(self._cls, {**self._options, **given})

    def remote(self, *args: Any, **kwargs: Any) -> ActorHandle:
        """Have an instance made in a worker of its own, and return its handle at once.

        Raises:
            TypeError: arguments that the constructor does not take.
            ValueError: another living actor has that name.
            Exception: what pickling the class or an argument raises, with a note that names the path to it.
        """
        options = self._options
        self._check_arguments(args, kwargs)
        name, space = options.get("name"), options.get("namespace")
        if name is not None:
            if not isinstance(name, str) or not name:
                raise ValueError(f"an actor's name is a string that is not empty, not {name!r}")
            if options.get("get_if_exists"):
                found = actor_names.find(name, space)
                if found is not None:
                    return found
        elif options.get("get_if_exists"):
            raise ValueError("get_if_exists needs the name of the actor that may exist: options(name=...)")
        facts = self._facts
        handle = ActorHandle(self._create(args, kwargs, facts), facts)
        if name is not None:
            try:
                actor_names.claim(handle, name, space)
            except ValueError:
                kill(handle)
                if options.get("get_if_exists") and (found := actor_names.find(name, space)) is not None:
                    return found
                raise
        return handle

    def _create(self, args: tuple[Any, ...], kwargs: dict[str, Any], facts: ClassFacts) -> ActorRef:
        options = self._options
        restarts = options.get("max_restarts") or 0
        places: list[int | str] = [place for place, value in enumerate(args) if isinstance(value, ObjectRef)]
        places += [name for name, value in kwargs.items() if isinstance(value, ObjectRef)]
        workers = workers_of(options, default_cpus=0.0)
        made: Any = _WithValues(self._cls, places) if places else self._cls

        def spec(link: Link) -> ActorSpec:
            keep: list[Any] = []
            plain = not kwargs and submitting.all_plain(args)
            payload = list(args) if plain else _dump_arguments(args, kwargs, keep)
            return ActorSpec(
                made,
                payload,
                self._terms(facts),
                restarts=restarts,
                resources=dict(workers.shape.resources),
                strategy=workers.shape.strategy,
                setup=for_actor(
                    workers.setup,
                    actor_id=link.actor_id,
                    actor_name=options.get("name") or "",
                    actor=(link.number, refs.base(), facts),
                ),
                name=f"{facts.name}-%d",
                on_event=link.on_event,
                keep=(keep, workers.kept),
            )

        lifetime = options.get("lifetime")
        detached = job.detaches if lifetime is None else lifetime == "detached"
        if detached and job.driver is not None:
            link = Link(f"d{refs.base()}", refs.next_number(), facts.name)  # nobody's own
            return adopting.create_detached(job.driver, spec(link), link)
        return actors.create(spec, facts.name, detached=detached)

    def _terms(self, facts: ClassFacts) -> ActorTerms:
        most = self._options.get("max_concurrency")
        if most is None:
            most = ASYNC_CONCURRENCY if facts.is_async else 1
        return ActorTerms(most, facts.is_async, self._groups())

    def _groups(self) -> dict[str, int]:
        groups = self._options.get("concurrency_groups") or {}
        if isinstance(groups, list):
            groups = {group["name"]: group["max_concurrency"] for group in groups}
        return dict(groups)

    @functools.cached_property
    def _facts(self) -> ClassFacts:
        methods: dict[str, MethodFacts] = {}
        is_async = False
        for name, function in inspect.getmembers(self._cls, callable):
            if name in ("__init__", "__class__", "__new__") or isinstance(function, type):
                continue
            if name.startswith("__") and name in vars(object):
                continue
            plain = inspect.unwrap(function)
            if inspect.iscoroutinefunction(plain) or inspect.isasyncgenfunction(plain):
                is_async = True
            options = getattr(function, _OPTIONS, {})
            yields = inspect.isgeneratorfunction(plain) or inspect.isasyncgenfunction(plain)
            bound = not isinstance(inspect.getattr_static(self._cls, name), (staticmethod, classmethod))
            methods[name] = MethodFacts(options, _parameters(function, skip_first=bound), yields)
        return ClassFacts(
            self._cls.__name__,
            methods,
            self._options.get("max_task_retries") or 0,
            self._options.get("max_pending_calls") or -1,
            is_async,
            self._cls.__module__,
            tuple(self._groups()),
        )

    @functools.cached_property
    def _constructor(self) -> MethodFacts:
        return MethodFacts({}, _parameters(self._cls.__init__, skip_first=True))

    def _check_arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._cls.__init__ is not object.__init__:
            facts = self._constructor
            if kwargs or len(args) != facts.plain_arguments:
                facts.check(f"{self._cls.__name__}.__init__", args, kwargs)
        elif (args or kwargs) and "__new__" not in vars(self._cls) and self._cls.__init__ is object.__init__:
            raise TypeError(f"{self._cls.__name__} takes no arguments")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name == "bind" and not hasattr(self._cls, name):
            raise AttributeError(BIND)
        return getattr(self._cls, name)

    def __reduce__(self) -> tuple[Any, ...]:
        return ActorClass, (self._cls, self._options)

    def __repr__(self) -> str:
        return f"<actor class {self._cls.__name__}>"


class _WithValues:
    """A class some of whose constructor's arguments are references, at these places: it gets their values."""

    def __init__(self, cls: type[Any], places: list[int | str]) -> None:
        self._cls = cls
        self._places = places
        self.__qualname__ = cls.__qualname__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        values = list(args)
        for place in self._places:
            if isinstance(place, int):
                values[place] = objects.get(values[place])
            else:
                kwargs[place] = objects.get(kwargs[place])
        return self._cls(*values, **kwargs)


def _dump_arguments(args: tuple[Any, ...], kwargs: dict[str, Any], keep: list[Any]) -> bytes:
    from distpool.scheduler.serialize import Exporter

    return Exporter(snapshot=False).dumps((args, kwargs), keep=keep)


def _parameters(function: Any, *, skip_first: bool) -> tuple[tuple[str, int, bool], ...] | None:
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return None  # a builtin that does not tell
    if skip_first:
        if not parameters:
            return None
        if parameters[0].kind is not inspect.Parameter.VAR_POSITIONAL:
            parameters = parameters[1:]
    return tuple([(p.name, int(p.kind), p.default is not inspect.Parameter.empty) for p in parameters])


class _MethodPlan:
    """How calls of a method with some options are made; it knows no handle, which would live as long as it."""

    __slots__ = ("facts", "group", "name", "options", "plan")

    def __init__(self, link: Link, of_class: ClassFacts, name: str, options: Mapping[str, Any]) -> None:
        self.options = dict(options)
        facts = of_class.methods.get(name)
        retries = options.get("max_task_retries")
        retries = of_class.max_task_retries if retries is None else retries
        returns, yields, gathers = returns_of(options, facts is not None and facts.yields)
        self.facts = facts
        self.name = name
        self.group = options.get("concurrency_group") or ""
        if self.group and self.group not in of_class.groups:
            there = ", ".join(of_class.groups) or "none"
            raise ValueError(f"{of_class.name} has no concurrency group {self.group}; there are: {there}")
        self.plan = Plan(
            name=options.get("name") or f"{of_class.name}.{name}",
            retries=ENDLESS if retries < 0 else retries,
            retry_on=retry_on(options.get("retry_exceptions", False)),
            returns=returns,
            yields=yields,
            gathers=gathers,
            label=options.get("name") or "",
            link=link,
        )


class ActorMethod:
    """A method of an actor, bound to a handle. ``.remote(...)`` calls it, ``.options`` changes how."""

    __slots__ = ("_handle", "_plan")

    def __init__(self, handle: ActorHandle, plan: _MethodPlan) -> None:
        self._handle = handle
        self._plan = plan

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """An error: see ``remote``."""
        name = self._plan.name
        raise TypeError(
            f"methods of actors are not called directly: instead of .{name}(...), write .{name}.remote(...)"
        )

    def remote(self, *args: Any, **kwargs: Any) -> Any:
        """Call the method in its actor; the arguments are copied before this returns.

        Returns:
            An ObjectRef; a list of as many as ``num_returns`` says; None for 0; an ObjectRefGenerator for "streaming";
            for "dynamic" an ObjectRef to a DynamicObjectRefGenerator.

        Raises:
            TypeError: arguments that the method does not take.
            Exception: what pickling an argument raises, with a note that names the path to it.
        """
        plan, handle = self._plan, self._handle
        facts = plan.facts
        if facts is not None and (kwargs or len(args) != facts.plain_arguments):
            facts.check(f"{plan.plan.name}()", args, kwargs)
        if handle._counts:
            handle._refuse_if_full()
        result = handle._ref.link.call(plan.plan, plan.name, plan.group, args, kwargs)
        if handle._counts:
            handle._count(result)
        return result

    def _remote(
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Any:
        """``options(**options).remote(*args, **kwargs)`` in one, as many programs written for Ray have it."""
        return self.options(**options).remote(*(args or ()), **(kwargs or {}))

    @property
    def bind(self) -> Any:
        """Not here: see ``left_out``."""
        raise AttributeError(BIND)

    def options(self, **options: Any) -> ActorMethod:
        """The same method with some options otherwise: see ``method``."""
        given = remote_options.check(remote_options.METHOD, options, f"the method {self._plan.plan.name}")
        of_method = self._plan.facts.options if self._plan.facts is not None else {}
        return _method_of(self._handle, self._plan.name, {**of_method, **given})

    def __reduce__(self) -> tuple[Any, ...]:
        return _method_of, (self._handle, self._plan.name, self._plan.options)

    def __repr__(self) -> str:
        return f"<method {self._plan.name} of {self._handle!r}>"


def _method_of(handle: ActorHandle, name: str, options: Mapping[str, Any]) -> ActorMethod:
    return ActorMethod(handle, _MethodPlan(handle._ref.link, handle._facts, name, options))


class ActorHandle:
    """What an actor is called by. Its attributes are the actor's methods. It may be passed to any call."""

    def __init__(self, ref: ActorRef, facts: ClassFacts) -> None:
        self._ref = ref
        self._facts = facts
        self._plans: dict[str, _MethodPlan] = {}
        self._counts = facts.max_pending_calls > 0
        self._pending = 0

    def __getattr__(self, name: str) -> ActorMethod:
        facts = self.__dict__.get("_facts")
        if facts is None:
            raise AttributeError(name)
        plan = self._plans.get(name)
        if plan is None:
            known = facts.methods.get(name)
            if known is None and name not in _OF_ALL:
                raise AttributeError(f"'{facts.name}' object has no attribute '{name}'")
            plan = _MethodPlan(self._ref.link, facts, name, {} if known is None else known.options)
            self._plans[name] = plan
        return ActorMethod(self, plan)

    @property
    def _actor_id(self) -> ActorID:
        return ActorID(self._ref.link.actor_id)

    _ray_actor_id = _actor_id

    def _refuse_if_full(self) -> None:
        if self._counts and self._pending >= self._facts.max_pending_calls:
            from distpool.exceptions import PendingCallsLimitExceeded

            raise PendingCallsLimitExceeded(
                f"{self._facts.name} has {self._pending} calls that are not done, and max_pending_calls of its options "
                f"is {self._facts.max_pending_calls}: get some results first"
            )

    def _count(self, result: Any) -> None:
        first = result[0] if isinstance(result, list) else result
        if isinstance(first, ObjectRef):
            self._pending += 1
            first.watch(self._one_done)

    def _one_done(self, _ref: ObjectRef) -> None:
        self._pending -= 1

    def __reduce__(self) -> tuple[Any, ...]:
        return ActorHandle, (self._ref, self._facts)

    def __copy__(self) -> ActorHandle:
        return self

    def __deepcopy__(self, memo: Any) -> ActorHandle:
        return self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ActorHandle) and other._actor_id == self._actor_id

    def __hash__(self) -> int:
        return hash(self._ref.link.actor_id)

    def __dir__(self) -> list[str]:
        return sorted({*object.__dir__(self), *self._facts.methods})

    def __repr__(self) -> str:
        return f"Actor({self._facts.name}, {self._ref.link.actor_id})"


def make(cls: type[Any], options: Mapping[str, Any]) -> ActorClass:
    """An actor class, of ``remote``."""
    given = remote_options.check(remote_options.ACTOR, options, f"the actor class {cls.__name__}")
    return ActorClass(cls, given)


def kill(actor: ActorHandle, *, no_restart: bool = True) -> None:
    """End an actor at once, whatever it does; calls that are not done fail with an ActorDiedError.

    Args:
        actor: its handle.
        no_restart: it does not come back. Otherwise this is a death like another, which ``max_restarts`` may answer.

    Raises:
        ValueError: not the handle of an actor.
    """
    if not isinstance(actor, ActorHandle):
        raise ValueError(
            f"kill takes the handle of an actor, not a {type(actor).__name__}; for a call there is cancel"
        )
    actor._ref.link.actor.kill(restart=not no_restart)


def own_handle(here: Here) -> ActorHandle:
    """In an actor's worker: a handle of that actor."""
    start = worker_start.this_worker
    assert start is not None
    assert start.attach is not None
    attach = start.attach
    number, base, facts = here.actor
    creator = Contact(attach.owner, attach.address, start.node if attach.process else "", attach.process)
    return ActorHandle(
        actors.of_another(base, number, facts.name, Lent(creator, attach.pool, ActorTerms())), facts
    )


def get_actor(name: str, namespace: str | None = None) -> ActorHandle:
    """A handle of the actor that was given this name.

    Args:
        name: as in ``options(name=...)``.
        namespace: where the name was given; by default this program's own, see ``init``.

    Raises:
        ValueError: there is no such actor.
    """
    if not isinstance(name, str) or not name:
        raise ValueError("get_actor takes the name that an actor was given, a string that is not empty")
    found = actor_names.find(name, namespace)
    if found is None:
        raise ValueError(
            f"there is no actor named {name!r}{f' in namespace {namespace!r}' if namespace else ''}: it was not made "
            "(yet), or has ended; or it was made in another namespace"
        )
    return found
