"""The receiving side: a worker's ``__main__``, its tasks' inputs, and the way back for their results.

::

    driver                                              worker
    describe_main() ───────────── bytes ──────────────► Importer().prepare_main(...)
    Exporter().function(f), dumps(args) ── blobs ─────► loads(blob)
    loads_result(blob) ◄────────── blobs ────────────── dumps_result(value)

The driver's script is never run again. The worker gets an empty ``__main__`` with the script's name, file and
arguments; functions, classes and globals appear in it as tasks bring them along. On the way back, what the driver
itself has defined is only named, so that results hold the driver's own classes.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from distpool.scheduler.serialize.blobs import loads
from distpool.scheduler.serialize.exceptions import dump_exception
from distpool.scheduler.serialize.exporter import Exporter
from distpool.scheduler.serialize.registry import MAIN, REGISTRY

_FACTS = ("__name__", "__file__", "__doc__", "__package__")


def describe_main() -> bytes:
    """Made in the driver: what a worker needs to stand in for it. Holds no code."""
    main = sys.modules[MAIN]
    spec = getattr(main, "__spec__", None)
    process = sys.modules.get("multiprocessing.process")
    description = {
        "token": REGISTRY.token,
        "facts": {name: value for name in _FACTS if (value := vars(main).get(name)) is not None},
        "spec": None if spec is None else (spec.name, spec.origin),
        "argv": list(sys.argv),
        "path": list(sys.path),
        "directory": _working_directory(),
        # Sockets and Connections are handed over by multiprocessing's resource sharer, which asks for this.
        "authkey": None if process is None else bytes(process.current_process().authkey),
    }
    return pickle.dumps(description, 5)


def loads_result(blob: bytes | memoryview, buffers: Any = None) -> Any:
    """In the driver: rebuild what ``Importer.dumps_result`` made."""
    return loads(blob, buffers, label="result")


class Importer:
    """One for the life of a worker in one session."""

    def __init__(self) -> None:
        self._exporter = self._results = Exporter(snapshot=False)
        self._driver = 0
        self._parent_main: ModuleType | None = None

    def prepare_main(self, description: bytes) -> None:
        """Replace this process's ``__main__`` by one that stands in for the driver's; also argv, path, directory."""
        facts = pickle.loads(description)
        self._driver = facts["token"]
        # The old module's functions may still run: it must live on.
        self._parent_main = sys.modules[MAIN]
        main = ModuleType(MAIN)
        vars(main).update(facts["facts"])
        vars(main)["__builtins__"] = __import__("builtins")
        if facts["spec"] is not None:
            name, origin = facts["spec"]
            main.__spec__ = ModuleSpec(name, None, origin=origin)
        sys.modules[MAIN] = main
        REGISTRY.main_is_received = True
        sys.argv[:] = facts["argv"]
        sys.path[:] = facts["path"]
        try:
            os.chdir(facts["directory"])
        except OSError:  # on another machine, or gone by now
            pass
        if facts["authkey"] is not None:
            from multiprocessing.process import current_process

            current_process().authkey = facts["authkey"]

    def refuse_closures(self) -> None:
        """From now on, a result that holds a lambda or a closure cannot be pickled, as with the standard pickle."""
        self._results = Exporter(snapshot=False, closures=False)

    def loads(self, blob: bytes | memoryview, buffers: Any = None) -> Any:
        """Rebuild a function, arguments, or whatever an Exporter made."""
        return loads(blob, buffers)

    def dumps_result(
        self,
        value: Any,
        buffer_callback: Callable[[pickle.PickleBuffer], Any] | None = None,
        *,
        to: int | None = None,
        keep: list[Any] | None = None,
        holder: int = 0,
    ) -> bytes:
        """Pickle a result for the task's owner.

        Args:
            value: what the task returned.
            buffer_callback: as in ``pickle.Pickler``.
            to: ``process_token()`` of the owner; the driver's if not given. What that process defined is only named.
            keep: lets big data go into the store, and gets what must be kept until the result has been sent.
            holder: the owner's number in the store, for which the data is put there.

        Raises:
            Whatever pickle raises, of the same type, with a note like ``at result.lock: cannot pickle ...``; what the
            store raises if it has no room.
        """
        owner = self._driver if to is None else to
        return self._results.dumps(value, buffer_callback, label="result", to=owner, keep=keep, holder=holder)

    def dump_exception(
        self, error: BaseException, *, note: str | None = None, to: int | None = None
    ) -> bytes:
        """Pickle what a task raised: see ``exceptions.dump_exception``. Never raises an Exception."""
        owner = self._driver if to is None else to
        return dump_exception(
            error, note=note, dumps=lambda value: self._exporter.dumps(value, label="result", to=owner)
        )


def process_token() -> int:
    """This process's number in the identities of what it exports."""
    return REGISTRY.token


def _working_directory() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:
        return "/"
