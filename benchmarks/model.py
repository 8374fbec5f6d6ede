"""The words of the benchmarks: peer, adapter, row, metric, target, outcome. Data only; nothing runs here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

Better = Literal["higher", "lower"]


class Adapter(Protocol):
    """One opened pool or cluster of one library: the only way in which rows drive it.

    A library without an operation raises `NotOffered` from it; the table then shows a dash.
    """

    def submit(self, function: Callable[[Any], Any], argument: Any) -> Any:
        """Hand in one task; return the library's own handle."""

    def collect(self, handles: list[Any]) -> list[Any]:
        """Wait for all handles, in order; return the results."""

    def call(self, function: Callable[[Any], Any], argument: Any) -> Any:
        """One round trip: the library's natural way to run one task and wait for it."""

    def map(self, function: Callable[[Any], Any], items: Iterable[Any], chunksize: int | None) -> list[Any]:
        """Results in order; `chunksize=None` is the library's default."""

    def imap(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """Results in order, one by one, as they come; one item a chunk."""

    def imap_unordered(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """Results as they come, in any order; one item a chunk."""

    def put(self, value: Any) -> Any:
        """Store a value once, for many tasks; return the library's own reference to it."""

    def get(self, reference: Any) -> Any:
        """The value that was put."""

    def submit_put(self, function: Callable[[Any], Any], reference: Any) -> Any:
        """Hand in one task whose argument is a value that was put; return the library's own handle."""

    def warm_store(self) -> None:
        """Write once to all memory that the library takes values from, where it does not reuse pages by itself."""

    def close(self) -> None:
        """Stop the workers and everything that was started with them."""


class NotOffered(Exception):
    """The library has no such operation. Not a failure: the cell stays empty."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A library's front door, and how to open it.

    `module` is imported before the clock of a row starts; `distribution` is the name under which the library
    is installed (None: nothing to install). `isolated` peers run only in a network namespace that holds nothing
    but loopback. `count_share` makes slow peers run that share of a row's tasks, since rates are compared and
    not totals. `environment` holds variables that must be set before the import. Where `initializers` is true,
    `open` takes `initializer=` and `initargs=` too. A peer without an `open` is no library but a reference,
    which takes part only in rows that say how it is measured (`Row.instead`).
    """

    name: str
    title: str
    family: str
    module: str
    open: Callable[..., Adapter] | None
    distribution: str | None = None
    initializers: bool = False
    isolated: bool = False
    count_share: float = 1.0
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Target:
    """What a metric must reach: a ratio to the best of `against`, or with nobody named, a value of its own.

    `at_least=1.8, against=("stdlib-pool-fork",)` asks for 1.8 times as good, whichever direction is better.
    With `percent` the ratio is shown as a percentage.
    """

    text: str
    against: tuple[str, ...] = ()
    at_least: float | None = None
    at_most: float | None = None
    percent: bool = False

    def __post_init__(self) -> None:
        assert (self.at_least is None) != (self.at_most is None), "a target has exactly one bound"


@dataclass(frozen=True, slots=True)
class Metric:
    """One number that a row gives. `limit` says, from a profile, why a target is out of reach."""

    key: str
    title: str
    unit: str
    better: Better
    targets: tuple[Target, ...] = ()
    limit: str = ""


class Session(Protocol):
    """What a row's measurement gets: one peer, not yet opened, in a fresh process."""

    @property
    def count(self) -> int:
        """How many tasks to run (already scaled for quick runs and slow peers)."""

    @property
    def workers(self) -> int:
        """How many workers to open the peer with."""

    def open(self) -> Adapter:
        """Open the peer; it is closed for the row after the numbers were sent."""

    def another(
        self, initializer: Callable[..., object] | None = None, initargs: tuple[Any, ...] = ()
    ) -> AbstractContextManager[Adapter]:
        """Open the peer once more, for the length of a `with`; its library is at work already."""

    def open_warm(self) -> Adapter:
        """Open the peer and let every worker run a few tasks."""


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that is measured, for distpool (`ours`) and for `peers`, and the metrics that come of it.

    `rounds_max` keeps slow and steady measurements (memory) from being repeated. `needs` are the libraries, by
    the names under which they are installed, that driver and workers import in this row. `shares` overrides
    the peers' `count_share`. `instead` measures the peers that it names in another way.
    """

    key: str
    metrics: tuple[Metric, ...]
    ours: str
    peers: tuple[str, ...]
    count: int
    measure: Callable[[Session], Mapping[str, float]]
    workers: int = 2
    timeout_s: float = 120.0
    rounds_max: int | None = None
    quick_share: float = 0.1
    needs: tuple[str, ...] = ()
    shares: Mapping[str, float] = field(default_factory=dict)
    instead: Mapping[str, Callable[[Session], Mapping[str, float]]] = field(default_factory=dict)

    def share_of(self, peer: Peer) -> float:
        """The share of the row's tasks that a peer runs."""
        return self.shares.get(peer.name, peer.count_share)

    @property
    def lineup(self) -> tuple[str, ...]:
        """Everybody who is measured, distpool first."""
        return (self.ours, *self.peers)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one measurement gave: values by metric, or the reason why there are none."""

    peer: str
    row: str
    values: Mapping[str, float] = field(default_factory=dict)
    failure: str = ""
    not_offered: bool = False
    note: str = ""
