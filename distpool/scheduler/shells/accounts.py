"""What each of an owner's workers has done: kept by the shell that hears them, a few additions for each frame.

::

    first frame of a link ──► open ──► Account ◄── add: Results (busy_s, tasks), SetupDone
    frames to a worker ──────────────────┘  ▲
    WorkerDied ── peak memory ──────────────┘         WorkerUp ──► the pool takes it, and has it after the end, too

Time is split by what messages say anyway: when a worker came, when its set-up was done, how long its tasks took; what
is left of its life it waited. Bytes are those of messages: what lies in shared memory is not moved, so it is not
counted.

Not here: how it is shown (``distpool.insight``). Nothing is decided by any of this.
"""

from __future__ import annotations

import time
from typing import Any

from distpool.engines.protocol import WorkerAccount
from distpool.scheduler.messages import Death, Results, SetupDone

__all__ = ["Account", "Accounts", "PoolAccounts", "sum_of"]


#: Accounts that no pool has taken: of workers that came too late, and were turned away.
UNTAKEN_MAX = 1024
#: Workers that a pool keeps the accounts of one by one.
KEPT_MAX = 256


class Account:
    """One worker's. Times are of this process's monotonic clock; 0: not yet."""

    __slots__ = (
        "bytes_in",
        "bytes_out",
        "gone_s",
        "items",
        "peak_bytes",
        "ready_s",
        "tasks",
        "up_s",
        "work_s",
    )

    def __init__(self) -> None:
        self.up_s = time.monotonic()  # its first word
        self.ready_s = 0.0  # its set-up was done
        self.gone_s = 0.0  # it was reaped
        self.work_s = 0.0  # in tasks that have been answered
        self.tasks = 0
        self.items = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.peak_bytes = 0

    def add(self, message: Any) -> None:
        """Take in one of its messages."""
        if type(message) is Results:
            tasks = len(message.attempts) + len(message.failed)
            self.tasks += tasks
            self.items += tasks + message.more_items
            self.work_s += message.busy_s
        elif type(message) is SetupDone:
            self.ready_s = time.monotonic()


class Accounts:
    """Those of all workers that have a link to this owner, by the routing ids of their links."""

    def __init__(self) -> None:
        self.of_link: dict[bytes, Account] = {}
        self._of_lease: dict[str, Account] = {}  # until the pool takes them

    def open(self, identity: bytes, lease: str) -> None:
        """A link has come up."""
        account = self.of_link.get(b"d:" + lease.encode())  # its data link comes first
        if account is None:
            account = self._of_lease[lease] = Account()
        self.of_link[identity] = account

    def take(self, lease: str) -> Account:
        """The account of a worker that belongs to the one who asks."""
        return self._of_lease.pop(lease, None) or Account()

    def done_on(self, lease: str) -> int:
        """How many tasks this worker has answered."""
        account = self.of_link.get(b"d:" + lease.encode())
        return 0 if account is None else account.tasks

    def died(self, lease: str, death: Death) -> None:
        """How much memory it has had is known at its end."""
        account = self.of_link.get(b"d:" + lease.encode())
        if account is not None:
            account.peak_bytes = death.peak_rss_bytes

    def forget(self, lease: str) -> None:
        """Its links are gone. The pool may still be about to hear that it had come."""
        self.of_link.pop(b"d:" + lease.encode(), None)
        self.of_link.pop(b"c:" + lease.encode(), None)
        if len(self._of_lease) > UNTAKEN_MAX:
            self._of_lease.pop(lease, None)


class PoolAccounts:
    """A pool's workers and what they have done, in the order of their coming, past their end and the pool's.

    Of a pool whose workers are replaced all the time only the latest are kept one by one.
    """

    def __init__(self) -> None:
        self._asked_s = time.monotonic()  # when the latest worker was wanted that was not there
        self._kept: dict[str, _Known] = {}
        self._earlier: list[WorkerAccount] = []  # of those that are kept no more, in one

    def asked(self) -> None:
        """From now on there ought to be another worker."""
        self._asked_s = time.monotonic()

    def up(self, lease: str, pid: int, node: str, account: Account) -> None:
        """A worker has come."""
        self._kept[lease] = _Known(pid, node, max(0.0, account.up_s - self._asked_s), account)

    def gone(self, lease: str) -> None:
        """A worker was reaped; another may be wanted in its place."""
        self.asked()
        known = self._kept.get(lease)
        if known is None:
            return
        known.account.gone_s = self._asked_s
        if len(self._kept) > KEPT_MAX:
            oldest = next((lease for lease, known in self._kept.items() if known.account.gone_s), lease)
            self._earlier = [sum_of([*self._earlier, self._kept.pop(oldest).now()])]

    def workers(self, here: str) -> list[WorkerAccount]:
        """One for each worker; those on this node (``here``) are asked for their peak memory."""
        accounts = [known.now(here) for known in list(self._kept.values())]
        return [*self._earlier, *accounts]


class _Known:
    """A worker of a pool."""

    __slots__ = ("account", "node", "pid", "start_s")

    def __init__(self, pid: int, node: str, start_s: float, account: Account) -> None:
        self.pid = pid
        self.node = node
        self.start_s = start_s
        self.account = account

    def now(self, here: str = "") -> WorkerAccount:
        """What it has done up to now."""
        account = self.account
        until_s = account.gone_s or time.monotonic()
        ready_s = account.ready_s or until_s
        peak_bytes = account.peak_bytes
        if not peak_bytes and not account.gone_s and self.node == here:
            peak_bytes = peak_bytes_of(self.pid)
        return WorkerAccount(
            pid=self.pid,
            node=self.node,
            start_s=self.start_s,
            setup_s=ready_s - account.up_s,
            wait_s=max(0.0, until_s - ready_s - account.work_s),
            work_s=account.work_s,
            tasks=account.tasks,
            items=account.items,
            bytes_in=account.bytes_in,
            bytes_out=account.bytes_out,
            peak_bytes=peak_bytes,
            gone=bool(account.gone_s),
        )


def sum_of(accounts: list[WorkerAccount]) -> WorkerAccount:
    """All of them in one, with pid 0: sums, and the highest of the peaks."""
    return WorkerAccount(
        pid=0,
        node="",
        start_s=sum(account.start_s for account in accounts),
        setup_s=sum(account.setup_s for account in accounts),
        wait_s=sum(account.wait_s for account in accounts),
        work_s=sum(account.work_s for account in accounts),
        tasks=sum(account.tasks for account in accounts),
        items=sum(account.items for account in accounts),
        bytes_in=sum(account.bytes_in for account in accounts),
        bytes_out=sum(account.bytes_out for account in accounts),
        peak_bytes=max((account.peak_bytes for account in accounts), default=0),
        gone=all(account.gone for account in accounts),
    )


def peak_bytes_of(pid: int) -> int:
    """The most memory that a living process has had; 0 where that is not to be known."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            for line in file:
                if line.startswith(b"VmHWM:"):
                    return int(line.split()[1]) << 10
    except OSError:
        pass
    return 0
