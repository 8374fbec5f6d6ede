"""How calls are made: a plan for each set of options, and the shape of the workers that they need.

A **shape** is what makes workers of one call fit for another: resources, environment, strategy, how many calls until
they are replaced. What a plan has beside it is between caller and call: how often it is tried again and when, how many
values it gives, what it is called.

Not here: the workers of a shape (``shared_pools``), and the calls (``submitting``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from distpool.errors import Failure
from distpool.scheduler.messages import Strategy
from distpool.scheduler.native_pool import NativePool
from distpool.scheduler.remote.records import About

__all__ = ["ENDLESS", "Plan", "Shape", "about"]

#: Stands for "without end" among retries.
ENDLESS = 1 << 40


@dataclass(frozen=True)
class Shape:
    """What workers must be like. Equal shapes share their workers."""

    resources: tuple[tuple[str, float], ...] = (("CPU", 1.0),)
    max_calls: int = 0
    environment: str = ""  # the key of ``Plan.setup``
    strategy: Strategy = Strategy()  # noqa: RUF009  # it is frozen
    linger_s: float = 0.0  # see ``PoolSpec``


@dataclass(eq=False)
class Plan:
    """How calls of a remote function are made; one for each set of options.

    ``setup``, with its arguments, runs once on each worker of the shape. ``retry_on`` says whether what a call has
    raised may be tried again. ``returns``: how many values a call gives, 1 unless it is split. ``yields``: it yields
    its values one by one, and this many may lie unread (0: any number).
    """

    name: str = ""
    label: str = ""  # what the call was named, if it was: the worker is to know
    shape: Shape = field(default_factory=Shape)
    retries: int = 3
    retry_on: Callable[[Failure], bool] | None = None
    returns: int = 1
    yields: int | None = None
    gathers: bool = False  # what it yields is handed out together, when it has ended
    setup: tuple[Callable[..., Any], Any] | None = None
    kept: Any = None  # what must live as long as workers of the shape may start
    version: int = 0  # of the driver's own modules, when it was made
    link: Any = None  # of an actor's method: ``actors.Link``
    pool: NativePool | None = None  # the last one used

    def __post_init__(self) -> None:
        self.about = about(self)
        self.simple = self.returns == 1 and self.yields is None and self.retry_on is None and not self.label


def about(plan: Plan) -> About:
    """What is told of its calls to who asks."""
    link = plan.link
    if link is None:
        function = plan.name.rpartition(".")[2]  # without what it is defined in
        return About(plan.label or function, function, resources=dict(plan.shape.resources))
    return About(plan.name, plan.name, link.actor_id, side_by_side=link.side_by_side)
