"""What a worker is told once, before any task: the surroundings of the pool's creator, and its initializer.

``make_setup`` runs in the owner when a pool is opened, ``apply_setup`` in each of its workers. Together they make a
worker, which is a fork of a clean parent, look like a child of the program: environment, working directory,
``sys.path``, ``sys.argv``, ``__main__``, context variables, ``multiprocessing.current_process()`` and its
authentication key.
"""

from __future__ import annotations

import itertools
import multiprocessing.process
import os
from collections.abc import Callable, Mapping, Sequence
from contextvars import copy_context
from types import MappingProxyType
from typing import Any

import msgspec

from distpool.scheduler import node_identity
from distpool.scheduler.serialize import (
    Exporter,
    Importer,
    SerializationError,
    describe_main,
    parcels,
    place_of_variable,
)
from distpool.scheduler.shells import surroundings
from distpool.scheduler.shells.lending import as_if_spawning
from distpool.scheduler.shells.node_resources import VISIBLE
from distpool.scheduler.shells.worker_start import WorkerStart
from distpool.worker_hooks import HOOKS, OWNER_HOOKS

_NODE = node_identity.VARIABLE.encode()


class _Setup(msgspec.Struct, array_like=True):
    environment: dict[bytes, bytes]
    umask: int
    main: bytes
    parent: str
    name: str
    surroundings: bytes
    hooks: list[bytes]
    initializer: bytes | None
    closures: bool
    context: list[bytes]


def make_setup(
    exporter: Exporter,
    name: str,
    initializer: Callable[..., Any] | None,
    initargs: tuple[Any, ...],
    closures: bool = True,
    environment: Mapping[str, str] = MappingProxyType({}),
    hooks: Sequence[tuple[bytes, list[Any]]] = (),
) -> tuple[bytes, list[Any]]:
    """Describe this process for its workers, and say whether their results may hold closures.

    ``environment`` has variables that only they have; ``hooks`` are pickles of functions that are called there before
    the initializer, behind ``worker_hooks.HOOKS``, each with what it must keep.

    Returns:
        The description, and what must be kept for as long as it is used.

    Raises:
        What pickling the initializer or its arguments raises.
    """
    for prepare in OWNER_HOOKS:
        prepare()
    process = multiprocessing.process.current_process()
    keep: list[Any] = []
    for _, kept in hooks:
        keep += kept
    start = None if initializer is None else _dump_start(exporter, initializer, initargs, keep)
    setup = msgspec.msgpack.encode(
        _Setup(
            environment={
                **os.environb,
                **{os.fsencode(name): os.fsencode(value) for name, value in environment.items()},
            },
            umask=_umask(),
            main=describe_main(),
            parent=process.name,
            name=name,
            surroundings=surroundings.describe(),
            hooks=[exporter.dumps(HOOKS, keep=keep), *(blob for blob, _ in hooks)],
            initializer=start,
            closures=closures,
            context=_context(exporter, keep),
        )
    )
    return setup, keep


def _context(exporter: Exporter, keep: list[Any]) -> list[bytes]:
    """The context variables that are set here, each with its value; those that can be sent.

    That are variables which some module has a name for. What distpool keeps in its own is each process's.
    """
    found = []
    for variable, value in copy_context().items():
        place = place_of_variable(variable)
        if place is None or place[0].partition(".")[0] == "distpool":
            continue
        try:
            found.append(exporter.dumps((variable, value), keep=keep))
        except Exception:  # of the user's: a fork would have had it
            continue
    return found


def _dump_start(
    exporter: Exporter, initializer: Callable[..., Any], initargs: tuple[Any, ...], keep: list[Any]
) -> bytes:
    """Initializer and arguments; these may hold queues and locks, as with multiprocessing."""
    try:
        with as_if_spawning(exporter):
            return exporter.dumps((initializer, initargs), keep=keep)
    except RuntimeError as error:
        if "fork context" in str(error):
            error.add_note(
                "distpool: workers are not forked from this program; make what they share with it by "
                "multiprocessing.get_context('spawn')"
            )
        raise


def contained_setup(blob: bytes) -> bytes:
    """The same description, for a worker that does not see this process's store.

    What could not be sent is told by the set-up of the worker.
    """
    setup = msgspec.msgpack.decode(blob, type=_Setup)
    if setup.initializer is not None:
        setup.initializer = contained(setup.initializer)
    setup.hooks = [contained(blob) for blob in setup.hooks]
    setup.context = [contained(blob) for blob in setup.context]
    return msgspec.msgpack.encode(setup)


def contained(blob: bytes) -> bytes:
    """See ``parcels.self_contained``; where that fails, a blob that says so to whom it concerns."""
    try:
        return parcels.self_contained(blob)
    except (SerializationError, MemoryError) as error:
        return parcels.failing(error)


def apply_setup(
    blob: bytes, start: WorkerStart, importer: Importer, *, gpus: Sequence[str] | None = None
) -> None:
    """Become a child of the program that made ``blob``, then run its initializer, whose exceptions come out.

    ``gpus`` are the only devices that CUDA is to find; None: those of the program.
    """
    setup = msgspec.msgpack.decode(blob, type=_Setup)
    if gpus is not None:
        setup.environment[VISIBLE.encode()] = ",".join(gpus).encode()
    _apply_environment(setup.environment)
    os.umask(setup.umask)
    _become_child(setup, start)
    importer.prepare_main(setup.main)
    surroundings.adopt(setup.surroundings)
    if not setup.closures:
        importer.refuse_closures()
    for blob in setup.context:
        try:
            variable, value = importer.loads(blob)
        except Exception:  # its module is not here, or what it needs
            continue
        variable.set(value)
    for blob in setup.hooks:
        for hook in importer.loads(blob):
            hook()
    if setup.initializer is not None:
        function, args = importer.loads(setup.initializer)
        function(*args)


def _apply_environment(environment: dict[bytes, bytes]) -> None:
    """Have the program's environment, but for the node, which is this process's own."""
    environment.pop(_NODE, None)
    if _NODE in os.environb:
        environment[_NODE] = os.environb[_NODE]
    for key in [key for key in os.environb if key not in environment]:
        del os.environb[key]
    for key, value in environment.items():
        if os.environb.get(key) != value:
            os.environb[key] = value


def _become_child(setup: _Setup, start: WorkerStart) -> None:
    """Make ``multiprocessing.current_process()`` and ``parent_process()`` say what a child would hear."""
    child: Any = multiprocessing.process.BaseProcess.__new__(multiprocessing.process.BaseProcess)
    child._identity = (start.worker,)
    child._config = {"authkey": b"", "semprefix": "/mp"}  # prepare_main brings the key
    child._parent_pid = start.driver_pid
    child._parent_name = setup.parent
    child._popen = None
    child._closed = False
    child._name = setup.name % start.worker if "%d" in setup.name else setup.name
    child._children = set()
    module: Any = multiprocessing.process
    module._current_process = child
    module._process_counter = itertools.count(1)
    module._children = set()
    module._parent_process = module._ParentProcess(setup.parent, start.driver_pid, None)


def _umask() -> int:
    """The umask. Where the kernel does not tell it, it can only be read by setting it, for everybody, for a moment."""
    try:
        with open("/proc/self/status") as file:
            for line in file:
                if line.startswith("Umask:"):
                    return int(line.split()[1], 8)
    except OSError:
        pass
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
