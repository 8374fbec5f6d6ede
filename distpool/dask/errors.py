"""What is wrong with a graph: one line each, with the remedy."""

from __future__ import annotations

__all__ = ["AnnotationError", "CycleError", "GraphError", "MissingKeyError"]


class GraphError(ValueError):
    """A graph that cannot be computed. As with Dask's own schedulers, a ValueError."""


class CycleError(GraphError, RuntimeError):
    """Tasks that need each other's results. With Dask's own schedulers it is a RuntimeError."""


class MissingKeyError(GraphError, KeyError):
    """A key that the graph does not have, and that nothing persistent stands for."""

    def __str__(self) -> str:  # a KeyError shows its argument's repr
        return ValueError.__str__(self)


class AnnotationError(GraphError):
    """An annotation that distpool does not know, or that cannot have its value."""
