"""`distpool run`: an unmodified program whose pools, executors, locks, queues, values and managers are distpool's.

Two halves, either side of one `exec`:

    $ distpool run script.py a b
       |  launch()     a new, plain interpreter:  python script.py a b
       |               PYTHONPATH=distpool/run_hook:...   (for the first milliseconds only)
       v
    interpreter starts -> site -> run_hook/sitecustomize.py -> take_over()
       |                               undoes PYTHONPATH, then install()
       v
    script.py runs as `__main__`, with nothing of ours on its stack

The program is started by Python itself, so `sys.argv`, `sys.path`, `__main__`, tracebacks, signals, standard
input, exit status and the order of exit handlers are Python's own, and not an imitation.

`install` replaces names lazily. A module that has them gets, as its class, a subclass of `ModuleType` in which
those names are properties: whoever asks the module for `Pool` gets distpool's, and only then is distpool's engine
imported. The module's own functions, which look in its globals, still find the original there, and so the
standard `ThreadPool` goes on working. A module not imported yet is made with that class when it is imported. What
contexts make (`multiprocessing.Lock` is a method of the default one) they make by the methods of `context_makers`.

Libraries beyond the standard one are ``run_libraries``' affair.

What it is not: inherited. A Python that the program starts by `subprocess` is a plain one.
"""

from __future__ import annotations

import importlib
import os
import sys
from types import ModuleType

from distpool import run_libraries
from distpool.context_makers import MAKERS
from distpool.worker_hooks import HOOKS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from importlib.machinery import ModuleSpec
    from types import FrameType
    from typing import Any, NoReturn

# module of the standard library -> (module of distpool, names that both have)
_TABLE: dict[str, tuple[str, tuple[str, ...]]] = {
    "multiprocessing.pool": ("distpool.pool", ("Pool",)),
    "multiprocessing.queues": ("distpool.queues", ("JoinableQueue", "Queue", "SimpleQueue")),
    "multiprocessing.synchronize": (
        "distpool.synchronize",
        ("Barrier", "BoundedSemaphore", "Condition", "Event", "Lock", "RLock", "Semaphore"),
    ),
    "multiprocessing.sharedctypes": (
        "distpool.sharedctypes",
        (
            "Array",
            "RawArray",
            "RawValue",
            "Synchronized",
            "SynchronizedArray",
            "SynchronizedBase",
            "SynchronizedString",
            "Value",
            "copy",
            "synchronized",
        ),
    ),
    "multiprocessing.managers": (
        "distpool.managers",
        (
            "AcquirerProxy",
            "ArrayProxy",
            "AutoProxy",
            "BarrierProxy",
            "BaseListProxy",
            "BaseManager",
            "BasePoolProxy",
            "BaseProxy",
            "ConditionProxy",
            "DictProxy",
            "EventProxy",
            "IteratorProxy",
            "ListProxy",
            "MakeProxyType",
            "NamespaceProxy",
            "PoolProxy",
            "Server",
            "SharedMemoryManager",
            "SharedMemoryServer",
            "SyncManager",
            "ValueProxy",
        ),
    ),
    "concurrent.futures": ("distpool.futures", ("ProcessPoolExecutor",)),
    "concurrent.futures.process": ("distpool.futures", ("ProcessPoolExecutor",)),
}
_STAND_INS = {module: dict.fromkeys(names, home) for module, (home, names) in _TABLE.items()}

# Code of these packages keeps the original: they are built on it, some of them on what is inside of it.
_KEEP_ORIGINAL = ("multiprocessing", "concurrent", "distpool", "joblib", "loky")
_STANDARD = ("multiprocessing", "concurrent")

_HOOK_DIRECTORY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "run_hook")
_PACKAGE_PARENT_ENV = "DISTPOOL_RUN_PACKAGE_PARENT"
_PYTHONPATH_ENV = "DISTPOOL_RUN_PYTHONPATH"
_OPTIONS_ENV = "DISTPOOL_RUN_OPTIONS"


# --- the interpreter that launches -----------------------------------------------------------------------


def launch(
    program: Sequence[str], interpreter_options: Sequence[str] = (), options: Sequence[str] = ()
) -> NoReturn:
    """Replace this process by Python running `program` with distpool installed.

    program: what follows `python` on its command line: `["script.py", "a"]`, `["-m", "module"]`, `["-"]`.
    interpreter_options: options of Python itself that precede it, such as `["-X", "dev"]`.
    options: what else is wanted, of "ray", "pandas" and "summary".
    Raises OSError when the interpreter cannot be executed.
    """
    environment = dict(os.environ)
    before = environment.get("PYTHONPATH")
    if before is not None:
        environment[_PYTHONPATH_ENV] = before
    environment["PYTHONPATH"] = os.pathsep.join([_HOOK_DIRECTORY, before] if before else [_HOOK_DIRECTORY])
    environment[_PACKAGE_PARENT_ENV] = os.path.dirname(os.path.dirname(_HOOK_DIRECTORY))
    environment[_OPTIONS_ENV] = ",".join(options)
    os.execve(sys.executable, [sys.executable, *interpreter_options, *program], environment)


# --- the interpreter that runs the program ----------------------------------------------------------------


def take_over() -> None:
    """Undo what `launch` did to the environment and to `sys.path`, and install (called by `run_hook`)."""
    sys.path[:] = [entry for entry in sys.path if entry != _HOOK_DIRECTORY]
    sys.path_importer_cache.pop(_HOOK_DIRECTORY, None)
    os.environ.pop(_PACKAGE_PARENT_ENV, None)
    before = os.environ.pop(_PYTHONPATH_ENV, None)
    if before is None:
        os.environ.pop("PYTHONPATH", None)
    else:
        os.environ["PYTHONPATH"] = before
    options = os.environ.pop(_OPTIONS_ENV, "").split(",")
    install()
    if "ray" in options:
        run_libraries.stand_for_ray()
    if "pandas" in options:
        from distpool.run_pandas import stand_for_pandas

        stand_for_pandas()
    if "summary" in options:
        from distpool.summary import at_exit

        at_exit()


def install() -> None:
    """Let `multiprocessing` and `concurrent.futures.ProcessPoolExecutor` stand on distpool, in this process.

    Covers what the contexts and the package `multiprocessing` make (`context_makers.MAKERS`) and the classes of the
    modules in `_TABLE`, and what `run_libraries` puts in place. Imports none of them: a program that uses none pays
    nothing. Names that were bound by
    `from ... import` before the call stay what they were. Calling it again changes nothing.
    """
    if installed():
        return
    sys.meta_path.insert(0, _Finder)
    HOOKS.append(install)
    run_libraries.install()
    for name in _STAND_INS:
        if name in sys.modules:
            sys.modules[name].__class__ = _module_class(name)
    if "multiprocessing" in sys.modules:
        package = sys.modules["multiprocessing"]
        package.__class__ = _MultiprocessingPackage
        if "context" in package.__dict__:
            _set_makers(package, MAKERS)


def uninstall() -> None:
    """Give the standard library its own names back. What was made meanwhile goes on working."""
    if not installed():
        return
    sys.meta_path.remove(_Finder)
    HOOKS.remove(install)
    run_libraries.uninstall()
    for name in (*_STAND_INS, "multiprocessing"):
        if name in sys.modules:
            sys.modules[name].__class__ = ModuleType
    if "multiprocessing" in sys.modules and _original_makers:
        _set_makers(sys.modules["multiprocessing"], _original_makers)


def installed() -> bool:
    """Tell whether the stand-ins are in place in this process."""
    return _Finder in sys.meta_path


# --- names in modules: multiprocessing.pool.Pool, concurrent.futures.ProcessPoolExecutor -------------------


#: Instead of an original that its module has not loaded yet.
_NOT_LOADED = object()


class _StandIn:
    """A property of a module: distpool's class for everybody but those who are built on the original."""

    def __init__(self, name: str, home: str) -> None:
        self.name = name
        self.home = home
        # A program may replace the name itself (a test's mock, say, or None). It then has what it set, until it sets
        # what it found there, which is the original or ours.
        self.original: object = _NOT_LOADED
        self.set_by_program = False

    def __get__(self, module: ModuleType | None, owner: type | None = None) -> Any:
        if module is None:
            return self
        if not self.set_by_program and not _caller_is_built_on_the_original():
            return self._ours()
        if self.name in module.__dict__:
            return module.__dict__[self.name]
        # `concurrent.futures` loads its executors by a `__getattr__`, which Python asks after this error.
        raise AttributeError(f"module {module.__name__!r} has no attribute {self.name!r}")

    def _ours(self) -> Any:
        return getattr(importlib.import_module(self.home), self.name)

    def __set__(self, module: ModuleType, value: object) -> None:
        if not self.set_by_program:
            self.original = module.__dict__.get(self.name, _NOT_LOADED)
        if self.home in sys.modules and value is self._ours():
            self.__delete__(module)
            if self.original is not _NOT_LOADED:
                module.__dict__[self.name] = self.original
            return
        self.set_by_program = value is not self.original
        module.__dict__[self.name] = value

    def __delete__(self, module: ModuleType) -> None:
        self.set_by_program = False
        module.__dict__.pop(self.name, None)


def _caller_is_built_on_the_original() -> bool:
    """Look at who asks: the first frame outside this module and the import system."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("importlib."):
        frame = frame.f_back
    return _package_of(frame) in _KEEP_ORIGINAL


def _package_of(frame: FrameType) -> str:
    name: str = frame.f_globals.get("__name__", "")
    return name.partition(".")[0]


def _module_class(name: str) -> type[ModuleType]:
    """Make the class of the module `name`."""
    return type("module", (ModuleType,), {key: _StandIn(key, home) for key, home in _STAND_INS[name].items()})


class _Finder:
    """First in `sys.meta_path`: gives a module that is imported later its class when it is created."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Ask the other finders, and change nothing in their answer but how the empty module is made.

        The module is then run by its own loader, so an error in it has the traceback that it always had.
        """
        if name not in _STAND_INS and name != "multiprocessing":
            return None
        others = (getattr(finder, "find_spec", None) for finder in sys.meta_path if finder is not _Finder)
        specs = (find(name, path, target) for find in others if find is not None)
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is not None and spec.loader is not None and _is_standard_library(spec):
            cls = _MultiprocessingPackage if name == "multiprocessing" else _module_class(name)
            spec.loader.create_module = lambda spec: cls(spec.name)
        return spec


def _is_standard_library(spec: ModuleSpec) -> bool:
    """Leave a user's own module of that name alone."""
    return spec.origin is not None and spec.origin.startswith(os.path.dirname(os.__file__) + os.sep)


# --- the methods of contexts: multiprocessing.Lock, get_context(...).Pool ----------------------------------

_original_makers: dict[str, Any] = {}


class _MultiprocessingPackage(ModuleType):
    """The package `multiprocessing`, which learns that its `context` has been imported by being given it.

    That is the moment between `context` being complete and the package copying the methods of the default
    context, `Pool` among them, into its own globals.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "context" and isinstance(value, ModuleType):
            _set_makers(self, MAKERS)


def _set_makers(package: ModuleType, methods: Mapping[str, Any]) -> None:
    """Make `methods` those of every context, and of the package where that has copied them already."""
    base = package.context.BaseContext
    for name, method in methods.items():
        original = _original_makers.setdefault(name, vars(base)[name])
        setattr(base, name, method if method is original else _but_not_for_its_own(method, original))
        context = getattr(package.__dict__.get(name), "__self__", None)
        if isinstance(context, base):  # and not what the program has put there
            package.__dict__[name] = getattr(context, name)


def _but_not_for_its_own(method: Any, original: Any) -> Any:
    """A context's method, by which the standard library's own classes still get what they are built on.

    Who keeps an original executor (`_KEEP_ORIGINAL`) has it make queues and locks that it looks into.
    """

    def make(*args: Any, **kwargs: Any) -> Any:
        return (original if _package_of(sys._getframe(1)) in _STANDARD else method)(*args, **kwargs)

    for name in (
        "__module__",
        "__name__",
        "__qualname__",
        "__doc__",
    ):  # `functools` may not have been imported
        setattr(make, name, getattr(method, name))
    make.__wrapped__ = method  # type: ignore[attr-defined]
    return make
