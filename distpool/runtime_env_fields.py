"""What a ``runtime_env`` may say, field by field: checked where it is written, brought to one form where it is used.

::

    {"pip": "requirements.txt", ...} ── checked_field ──► the same, or an error of one line
                                     ── plain_install ──► {"packages": ["numpy==2.0", ...], ...}

A wrong type is a TypeError, a wrong value a ValueError; both name the field, what it may be, and for what there is not
here, what to do instead. Nothing is read from the disk but requirements files, in ``runtime_env_requirements``.

The fields are those of Ray's ``ray.runtime_env.RuntimeEnv``.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

__all__ = [
    "FIELDS",
    "HOOK",
    "INSTALLERS",
    "PACKED",
    "checked_config",
    "checked_field",
    "is_packed",
    "unknown",
]

#: Fields that say what to install; the one of a child replaces the other of its parent.
INSTALLERS = ("pip", "uv")
HOOK = "worker_process_setup_hook"
#: How the name of something starts that was packed already: what a task's children inherit.
PACKED = "packed://"

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")

#: What there is not, and what to do instead.
_ABSENT = {
    "conda": "install packages with pip= or uv=, or start the program in that conda environment: its workers have it",
    "container": "start the nodes in that container: their workers are in it",
    "image_uri": "start the nodes in a container of that image: their workers are in it",
    "java_jars": "there are only Python workers",
    "nsight": "start the program under the profiler (nsys profile --trace-fork-before-exec=true python ...)",
    "py_executable": "workers are forks of the program's own interpreter: start the program with that one, or "
    "bring packages with pip= or uv=",
    "rocprof_sys": "start the program under the profiler: its workers are its children",
    "_nsight": "start the program under the profiler",
}
_ABSENT["rocprof-sys"] = _ABSENT["_rocprof_sys"] = _ABSENT["rocprof_sys"]

_PIP_FIELDS = ("packages", "pip_check", "pip_version", "pip_install_options")
_UV_FIELDS = ("packages", "uv_check", "uv_version", "uv_pip_install_options")
_CONFIG_FIELDS = ("setup_timeout_seconds", "eager_install", "log_files")


def unknown(kind: str, name: object, known: Sequence[str]) -> ValueError:
    """The error for a name that is none of ``known``."""
    near = difflib.get_close_matches(str(name), known, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
    return ValueError(f"{kind} has no field {name!r}: {hint}")


def is_packed(entry: object) -> bool:
    """Whether an entry names what was packed before, instead of a path."""
    return isinstance(entry, str) and entry.startswith(PACKED)


def checked_field(name: str, value: Any) -> Any:
    """``value``, if field ``name`` may have it.

    Raises:
        TypeError, ValueError: it may not, or there is no such field.
    """
    if name in _ABSENT:
        raise ValueError(f"runtime_env[{name!r}] is not supported here; {_ABSENT[name]}")
    if name not in FIELDS:
        raise unknown("runtime_env", name, list(FIELDS))
    return FIELDS[name](value)


def _wrong_type(name: str, right: str, value: Any) -> TypeError:
    return TypeError(f"runtime_env[{name!r}] must be {right}, not {type(value).__name__}: {_short(value)}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _path(name: str, value: Any, what: str) -> str:
    if not isinstance(value, str | os.PathLike) or not isinstance(os.fspath(value), str):
        raise _wrong_type(name, what, value)
    text = str(os.fspath(value))
    if not text:
        raise ValueError(f"runtime_env[{name!r}] must be {what}, not an empty text")
    if _URI.match(text) and not is_packed(text):
        raise ValueError(
            f"runtime_env[{name!r}]: {_short(text)} is no local path, and nothing is downloaded here; download it and "
            "give the folder or .zip file"
        )
    return text


def _working_dir(value: Any) -> str:
    return _path("working_dir", value, "the path of a folder or of a .zip file")


def _py_modules(value: Any) -> list[Any]:
    what = "a list of paths (folder, .py, .zip, .whl) and modules"
    if not isinstance(value, list | tuple):
        raise _wrong_type("py_modules", what, value)
    return [item if isinstance(item, ModuleType) else _path("py_modules", item, what) for item in value]


def _texts(name: str, value: Any, what: str) -> list[str]:
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise _wrong_type(name, what, value)
    return list(value)


def _excludes(value: Any) -> list[str]:
    return _texts("excludes", value, "a list of patterns, as in a .gitignore file")


def _env_vars(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise _wrong_type("env_vars", "a dict of texts", value)
    for key, text in value.items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise TypeError(
                f"runtime_env['env_vars'] must be a dict of texts, not {_short({key: text})}: use str()"
            )
        if not key or "=" in key or "\0" in key + text:
            raise ValueError(f"runtime_env['env_vars']: no environment can have {_short({key: text})}")
    return dict(value)


def _installer(name: str, fields: tuple[str, ...]) -> Callable[[Any], Any]:
    what = "a list of requirements, the path of a requirements file, or a dict with 'packages'"

    def check(value: Any) -> Any:
        if isinstance(value, Mapping):
            for key in value:
                if key not in fields:
                    raise unknown(f"runtime_env[{name!r}]", key, fields)
            if "packages" not in value:
                raise ValueError(f"runtime_env[{name!r}] has no 'packages': a list of requirements")
            known = {key: item for key, item in value.items() if item is not None}
            for key, item in known.items():
                part = f"{name}.{key}"
                if key == "packages":
                    known[key] = packages(part, item)
                elif key.endswith("_options"):
                    known[key] = _texts(part, item, "a list of texts")
                elif key.endswith("_check"):
                    if not isinstance(item, bool):
                        raise _wrong_type(part, "True or False", item)
                elif not isinstance(item, str):
                    raise _wrong_type(part, "a text such as '==24.0'", item)
            return known
        return packages(name, value)

    def packages(part: str, value: Any) -> Any:
        if isinstance(value, str | os.PathLike):
            return _path(part, value, what)
        return _texts(part, value, what)

    return check


def _hook(value: Any) -> Any:
    if isinstance(value, str):
        if not re.fullmatch(r"\w+(\.\w+)+", value):
            raise ValueError(
                "runtime_env['worker_process_setup_hook'] must lead to a function, as 'module.function' does, not "
                f"{value!r}"
            )
    elif not callable(value):
        raise _wrong_type(
            "worker_process_setup_hook", "a function without arguments, or 'module.function'", value
        )
    return value


def checked_config(value: Any) -> dict[str, Any]:
    """The fields of ``RuntimeEnvConfig``; those that are not given have their defaults."""
    if not isinstance(value, Mapping):
        raise _wrong_type("config", "a dict or a RuntimeEnvConfig", value)
    for key in value:
        if key not in _CONFIG_FIELDS:
            raise unknown("runtime_env['config']", key, _CONFIG_FIELDS)
    given = {key: item for key, item in value.items() if item is not None}
    seconds = given.setdefault("setup_timeout_seconds", 600)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise _wrong_type("config.setup_timeout_seconds", "a number of seconds, or -1 for no limit", seconds)
    if not seconds > 0 and seconds != -1:
        raise ValueError(
            f"runtime_env['config']: setup_timeout_seconds must be above 0, or -1 for no limit, not {seconds!r}"
        )
    if not isinstance(given.setdefault("eager_install", True), bool):
        raise _wrong_type("config.eager_install", "True or False", given["eager_install"])
    if given.setdefault("log_files", None) is not None:
        raise ValueError(
            "runtime_env['config']: log_files is not supported here; what a task prints or logs comes to the program"
        )
    return given


#: By name: what checks it. ``plain_install`` and ``prepare`` say what becomes of them.
FIELDS: dict[str, Callable[[Any], Any]] = {
    "env_vars": _env_vars,
    "working_dir": _working_dir,
    "py_modules": _py_modules,
    "excludes": _excludes,
    "pip": _installer("pip", _PIP_FIELDS),
    "uv": _installer("uv", _UV_FIELDS),
    "worker_process_setup_hook": _hook,
    "config": checked_config,
}
