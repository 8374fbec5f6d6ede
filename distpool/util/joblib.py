"""Ray's module of this name: ``register_ray()``, and joblib's backend "ray" is ``distpool.joblib``'s."""

from __future__ import annotations

__all__ = ["register_ray"]


def register_ray() -> None:
    """Make joblib's ``parallel_backend("ray")`` this library (``ray.util.joblib.register_ray``).

    Raises:
        ImportError: there is no joblib.
    """
    from joblib.parallel import register_parallel_backend

    from distpool.joblib import DistpoolBackend

    register_parallel_backend("ray", DistpoolBackend)
