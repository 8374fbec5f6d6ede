"""``runtime_env``: the environment, files and packages that a task, an actor or a whole job brings to its workers.

::

    init(runtime_env=...)        job ───┐
    f.options(runtime_env=...)   task ──┤ merge: env_vars together, of all else the task's
                                        ▼
                          prepare ─► Prepared(key, env, payload())     in the process that asks
                                        │ key: equal content, equal key, so the same workers
                                        ▼ payload: with a worker's set-up
                          apply(payload, base_dir)                     in each worker, before the user's code
                                        │
                          adopted() ─► the parent of what its tasks ask for

Folders are packed when ``prepare`` is called (``runtime_env_packing``): what is changed later comes with the next call.
What becomes of each field in a worker is told in ``runtime_env_applying``; where it is kept, in ``runtime_env_cache``.

Not here: other interpreters, conda and containers. They are named, with what to do instead (``runtime_env_fields``).
``eager_install`` is understood but means nothing: an environment is made by the first worker that needs it.

Stands in for ``ray.runtime_env``.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from distpool.runtime_env_applying import Payload, adopted, apply, archive_called, folders_adopted
from distpool.runtime_env_fields import (
    FIELDS,
    HOOK,
    INSTALLERS,
    PACKED,
    checked_config,
    checked_field,
    is_packed,
    unknown,
)
from distpool.runtime_env_packing import Archive, pack
from distpool.runtime_env_requirements import local_files, plain_install

__all__ = ["Payload", "Prepared", "RuntimeEnv", "RuntimeEnvConfig", "adopted", "apply", "merge", "prepare"]


class RuntimeEnvConfig(dict[str, Any]):
    """How a runtime_env is set up.

    Args:
        setup_timeout_seconds: a worker that is not ready after so many seconds is an error; -1: no limit.
        eager_install: understood, and without effect.
        log_files: not supported.

    Raises:
        TypeError, ValueError: one is not what it may be.
    """

    def __init__(
        self,
        setup_timeout_seconds: float | None = 600,
        eager_install: bool | None = True,
        log_files: list[str] | None = None,
    ) -> None:
        given = {
            "setup_timeout_seconds": setup_timeout_seconds,
            "eager_install": eager_install,
            "log_files": log_files,
        }
        super().__init__(checked_config(given))

    def to_dict(self) -> dict[str, Any]:
        """A plain dict of it."""
        return dict(self)


class RuntimeEnv(dict[str, Any]):
    """A runtime_env that was checked: a dict whose fields may also be given by name. None means not given.

    Args:
        env_vars: names and texts; ``${NAME}`` is replaced by what NAME is in the worker.
        working_dir: a folder or a .zip file; each worker's current folder is a copy of it.
        py_modules: folders, .py, .zip and .whl files, and modules, to be imported in workers.
        excludes: files of these folders to be left out, as in a .gitignore file.
        pip: requirements, the path of a requirements file, or a dict with "packages".
        uv: the same, installed by uv.
        worker_process_setup_hook: a function, or "module.function", that each worker calls when it starts.
        config: a RuntimeEnvConfig.
        fields: others of Ray's fields, which are refused, each with what to do instead.

    Raises:
        TypeError, ValueError: a field is not what it may be, is not supported, or there is none of that name.
    """

    def __init__(
        self,
        *,
        py_modules: list[Any] | None = None,
        py_executable: str | None = None,
        working_dir: str | None = None,
        pip: Any = None,
        uv: Any = None,
        conda: Any = None,
        container: Any = None,
        image_uri: str | None = None,
        env_vars: Mapping[str, str] | None = None,
        worker_process_setup_hook: Any = None,
        nsight: Any = None,
        rocprof_sys: Any = None,
        config: Any = None,
        _validate: bool = True,
        **fields: Any,
    ) -> None:
        super().__init__()
        fields |= {
            "py_modules": py_modules,
            "py_executable": py_executable,
            "working_dir": working_dir,
            "pip": pip,
            "uv": uv,
            "conda": conda,
            "container": container,
            "image_uri": image_uri,
            "env_vars": env_vars,
            "worker_process_setup_hook": worker_process_setup_hook,
            "nsight": nsight,
            "rocprof_sys": rocprof_sys,
            "config": config,
        }
        for name, value in fields.items():
            if value is not None:
                self[name] = value
            elif name not in FIELDS:
                checked_name(name)
        _refuse_two_installers(self)

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, checked_field(name, value))

    def set(self, name: str, value: Any) -> None:
        """Set a field."""
        self[name] = value

    def to_dict(self) -> dict[str, Any]:
        """A plain dict of it."""
        return dict(self)

    def serialize(self) -> str:
        """JSON; only for one without functions and modules."""
        return json.dumps(self, sort_keys=True)

    @classmethod
    def deserialize(cls, text: str) -> RuntimeEnv:
        """The one that ``serialize`` made a text of."""
        return cls(**json.loads(text))

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (dict(self),)


def _rebuilt(fields: dict[str, Any]) -> RuntimeEnv:
    return RuntimeEnv(**fields)


_REFUSED_IF_GIVEN = ("py_executable", "conda", "container", "image_uri", "nsight", "rocprof_sys")


def checked_name(name: str) -> None:
    """Refuse the name of a field that there is not, even if nothing is said in it."""
    if name not in _REFUSED_IF_GIVEN and name not in FIELDS:
        checked_field(name, None)


@dataclass(frozen=True, slots=True)
class Prepared:
    """An environment that is ready to be sent.

    ``key`` is "" if there is nothing to do; workers of equal keys may be shared. ``env`` is a parent for others.
    """

    key: str
    env: RuntimeEnv
    _payload: Payload
    _hook: Any = None

    def payload(self, dumps: Callable[[Any], bytes] | None = None) -> Payload:
        """What a worker's set-up brings along; of plain values only.

        Args:
            dumps: pickles the hook, if that is a function: ``Exporter.dumps`` of who sends the worker its tasks, so
                that globals which the hook has changed are those that tasks see. Without it they have their own.

        Raises:
            ValueError: the hook cannot be pickled.
        """
        if self._hook is None:
            return self._payload
        if dumps is None:
            from distpool.scheduler.serialize import Exporter

            dumps = Exporter(snapshot=False).dumps
        try:
            return replace(self._payload, hook=dumps(self._hook))
        except Exception as error:
            raise _unsendable(self._hook, error) from error


def merge(parent: Mapping[str, Any] | None, child: Mapping[str, Any] | None) -> RuntimeEnv:
    """What a task has: its parent's environment (the job's, or that of the task that starts it), and its own over that.

    ``env_vars`` are put together; any other field of the child's replaces that of the parent, and so does ``pip``
    its parent's ``uv``.

    Raises:
        TypeError, ValueError: one of them is no runtime_env.
    """
    merged, own = checked(parent), checked(child)
    if any(name in own for name in INSTALLERS):
        for name in INSTALLERS:
            merged.pop(name, None)
    variables = {**merged.get("env_vars", {}), **own.get("env_vars", {})}
    dict.update(merged, own)
    if variables:
        merged["env_vars"] = variables
    return merged


def checked(env: Mapping[str, Any] | None) -> RuntimeEnv:
    """A new, checked RuntimeEnv of a dict. Raises TypeError and ValueError."""
    if env is None:
        return RuntimeEnv()
    if not isinstance(env, Mapping):
        raise TypeError(f"runtime_env must be a dict or a RuntimeEnv, not {type(env).__name__}: {env!r}")
    for name in env:
        if not isinstance(name, str):
            raise unknown("runtime_env", name, list(FIELDS))
        if env[name] is None:
            checked_name(name)
    return RuntimeEnv(**{name: value for name, value in env.items() if value is not None})


def _refuse_two_installers(env: Mapping[str, Any]) -> None:
    if all(name in env for name in INSTALLERS):
        raise ValueError("runtime_env has both 'pip' and 'uv': name all packages in one of them")


def prepare(
    runtime_env: Mapping[str, Any] | None, base_dir: str, parent: Mapping[str, Any] | None = None
) -> Prepared:
    """Check an environment, merge it with its parent's, and pack what it takes along.

    A folder is looked through at each call, and read if it does not look as it did; without folders this takes some 20
    microseconds.

    Args:
        runtime_env: what a task, an actor or a job asks for.
        base_dir: the session's directory, for archives.
        parent: the job's ``Prepared.env``, or in a worker ``adopted()``.

    Raises:
        TypeError, ValueError: it is wrong, names what is not there, or holds more than may be sent.
        OSError: a file cannot be read, or an archive not be written.
    """
    env = merge(parent, runtime_env)
    if not env:
        return Prepared("", env, Payload({}))
    archives: dict[str, Archive] = {}
    excludes = env.get("excludes", [])

    def packed(entry: Any, *, as_module: bool) -> str:
        if is_packed(entry):
            archive = _archives.get(entry) or archive_called(entry)
            if not os.path.exists(archive.path):
                raise ValueError(
                    f"runtime_env: {archive.label} was packed for a session that has ended; give its path"
                )
        else:
            archive = pack(entry, excludes, base_dir, as_module=as_module)
        name = PACKED + archive.digest
        _archives[name] = archives[name] = archive
        return name

    if "working_dir" in env:
        env["working_dir"] = packed(env["working_dir"], as_module=False)
    if "py_modules" in env:
        env["py_modules"] = [packed(entry, as_module=True) for entry in env["py_modules"]]
    for kind in INSTALLERS:
        if kind in env:
            env[kind] = plain_install(kind, env[kind])
    fields = {name: value for name, value in env.items() if name != HOOK or isinstance(value, str)}
    hook = env[HOOK] if HOOK in env and HOOK not in fields else None
    return Prepared(_key(env), env, Payload(fields, b"", tuple(archives.values()), folders_adopted()), hook)


#: What was packed here, by name: a job's is named again by each of its tasks.
_archives: dict[str, Archive] = {}


def _key(env: Mapping[str, Any]) -> str:
    """A name for all that makes a difference to workers."""
    facts = {name: value for name, value in env.items() if name not in ("config", "excludes") and value}
    if not facts:
        return ""
    if not isinstance(facts.get(HOOK, ""), str):
        facts[HOOK] = _digest_of(facts[HOOK])
    for kind in INSTALLERS:
        if kind in facts:
            facts["files"] = local_files(facts[kind]["packages"])
    return hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=16).hexdigest()


def _digest_of(hook: Any) -> str:
    """A name for a function: the same for the same code and what it captures, however often it was defined."""
    import cloudpickle

    try:
        return hashlib.blake2b(cloudpickle.dumps(hook), digest_size=16).hexdigest()
    except Exception as error:
        raise _unsendable(hook, error) from error


def _unsendable(hook: Any, error: Exception) -> ValueError:
    return ValueError(
        f"runtime_env[{HOOK!r}] {hook!r} cannot be sent to workers: {error}; give its name as 'module.function'"
    )
