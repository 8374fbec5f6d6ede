"""Ray's module of this name: ``register_ray()``, and joblib's backend "ray" is ``distpool.joblib``'s.

::

    register_ray()
    parallel_config(backend="ray", ray_remote_args={"num_gpus": 1})      what each worker takes of its node

Stands in for ``ray.util.joblib``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distpool import remote_options

__all__ = ["register_ray"]


def register_ray() -> None:
    """Make joblib's ``parallel_backend("ray")`` this library (``ray.util.joblib.register_ray``).

    Raises:
        ImportError: there is no joblib.
    """
    from joblib.parallel import register_parallel_backend

    from distpool.joblib import DistpoolBackend

    def backend(*, ray_remote_args: Mapping[str, Any] | None = None, **options: Any) -> DistpoolBackend:
        if ray_remote_args:
            asked = remote_options.check(remote_options.TASK, ray_remote_args, "ray_remote_args")
            options["resources"] = remote_options.resources_of(asked, 0.0)
        return DistpoolBackend(**options)

    register_parallel_backend("ray", backend)
