"""``JobConfig``: what a program says of itself, in one object, for ``init(job_config=...)``.

Ray's module of this name. What it says of Java and of where code lies is kept, and means nothing here: the program's
own modules come to its workers by themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["JobConfig"]

LIFETIMES = ("detached", "non_detached")


class JobConfig:
    """Stands in for ``ray.job_config.JobConfig``.

    Args:
        jvm_options, code_search_path: kept, without meaning.
        runtime_env: as ``init`` takes it.
        metadata: any facts, by name.
        ray_namespace: where actors get their names and are looked up.
        default_actor_lifetime: of actors that say nothing of it: "non_detached" or "detached".

    Raises:
        TypeError, ValueError: one that cannot be so.
    """

    def __init__(
        self,
        jvm_options: Sequence[str] | None = None,
        code_search_path: Sequence[str] | None = None,
        runtime_env: Mapping[str, Any] | None = None,
        _client_job: bool = False,
        metadata: Mapping[str, str] | None = None,
        ray_namespace: str | None = None,
        default_actor_lifetime: str = "non_detached",
        _disable_job_level_lineage_reconstruction: bool = False,
        _py_driver_sys_path: Sequence[str] | None = None,
    ) -> None:
        if code_search_path is not None and not isinstance(code_search_path, (list, tuple)):
            raise TypeError(
                f"code_search_path is a list of directories, not a {type(code_search_path).__name__}"
            )
        self.jvm_options = list(jvm_options or ())
        self.code_search_path = list(code_search_path or ())
        self.metadata = dict(metadata or {})
        self.ray_namespace: str | None = None
        self.set_ray_namespace(ray_namespace)
        self.set_runtime_env(runtime_env)
        self.set_default_actor_lifetime(default_actor_lifetime)

    def set_metadata(self, key: str, value: str) -> None:
        """Add a fact."""
        self.metadata[key] = value

    def set_runtime_env(self, runtime_env: Mapping[str, Any] | None, validate: bool = False) -> None:
        """Take another ``runtime_env``; None for none."""
        self.runtime_env = dict(runtime_env) if runtime_env else {}

    def set_ray_namespace(self, ray_namespace: str | None) -> None:
        """Take another namespace; None for one of the program's own."""
        self.ray_namespace = ray_namespace

    def set_default_actor_lifetime(self, default_actor_lifetime: str) -> None:
        """Take another lifetime, "detached" or "non_detached"."""
        if default_actor_lifetime not in LIFETIMES:
            raise TypeError(
                f'default_actor_lifetime is "detached" or "non_detached", not {default_actor_lifetime!r}'
            )
        self.default_actor_lifetime = default_actor_lifetime

    @classmethod
    def from_json(cls, job_config_json: Mapping[str, Any]) -> JobConfig:
        """One of a mapping, such as is read from JSON; what it does not say is as it is without."""
        known = ("jvm_options", "code_search_path", "runtime_env", "metadata", "ray_namespace")
        return cls(**{name: job_config_json[name] for name in known if name in job_config_json})
