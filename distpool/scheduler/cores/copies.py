"""Copies: which objects of other nodes processes of this node need, and which of them have come.

::

              first need             pull ──► the shell           Copied
    (nothing) ──────────► FAR ──────────────────────────► COMING ────────► HERE ── unused for a while ──► (nothing)
                           │ ▲                              │
                           │ └────── nobody waits for it ───┤ the source does not have it, or is gone
                           ▼                                ▼
                        (nothing)                          LOST ── nobody refers to it ──► (nothing)

A process **refers** to an object of another node by messages to its own agent, as it does by the ledger to one of its
own node. While somebody refers to one, the source is asked to keep it (``SourceTake``): once for the whole node,
whoever needs it, and though a copy may be here, since others ask the source for what the number says is there. So an
object is moved once for each node, and goes when nobody anywhere needs it. When the source has lost it, a copy is still
good. Where a node is about to go, those that need what it has get their copies at once.

What lies at a node of which we have yet to hear is waited for, up to ``node_silent_s`` (``copies_sources``).

What is passed from one process to another is *in transit*: counted for the pair of them, up by who hands it over, down
by who claims it. The two words may come in either order, so the count may be below zero for a moment.

Its parts are the nodes where objects lie (``copies_sources``) and what is pulled now (``copies_pulls``); what it and
its shell say to each other is in ``copies_messages``. Pure, as all cores are. Not here: how the bytes travel
(``shells.mover``), and copies' own life once a process has its hold on one, which is the ledger's affair.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from distpool.scheduler.cores.copies_messages import (
    Copied,
    CopyFailed,
    Discard,
    Lend,
    Process,
    ProcessGone,
    StartPull,
    Stores,
)
from distpool.scheduler.cores.copies_pulls import Pulls
from distpool.scheduler.cores.copies_sources import Sources
from distpool.scheduler.cores.deadlines import Deadlines
from distpool.scheduler.limits import Limits
from distpool.scheduler.messages import (
    NODES,
    FarClaim,
    FarDrop,
    FarForget,
    FarHand,
    FarHold,
    FarLook,
    FarLooked,
    Fetch,
    Fetched,
    Message,
    SourceForget,
    SourceGone,
    SourceRelease,
    SourceTake,
    SourceTaken,
    Tick,
    WakeAt,
)
from distpool.scheduler.store.ledger_table import store_of

Output = list[tuple[str, Message]]


@dataclass(slots=True)
class _Request:
    process: Process
    number: int
    ids: tuple[int, ...]
    missing: set[int]


@dataclass(slots=True)
class _Object:
    number: int
    refs: Counter[Process] = field(default_factory=Counter)
    transit: Counter[tuple[Process, Process]] = field(default_factory=Counter)  # (to, via)
    waiting: list[_Request] = field(default_factory=list)
    is_held: bool = False  # the source keeps it for us
    is_coming: bool = False  # the shell has been told to pull it, or will be
    copy: int = 0
    lost: str = ""  # why the source does not have it

    @property
    def is_needed(self) -> bool:
        """Whether somebody refers to it, or may be about to."""
        return bool(self.refs) or any(count > 0 for count in self.transit.values())


class Copies:
    """The state machine of one node's copies.

    ``is_used`` says whether any process of the node has a copy, by its own number, in its hands.
    """

    def __init__(self, limits: Limits, is_used: Callable[[int], bool]) -> None:
        self.objects: dict[int, _Object] = {}
        self.pulls = Pulls(limits.pulls_max)
        self.sources = Sources()
        self._limits = limits
        self._is_used = is_used
        self.requests: dict[tuple[Process, int], _Request] = {}
        self._dead: set[Process] = set()  # workers of which some last words may still come
        self.deadlines: Deadlines[tuple[str, int, Process, Process]] = Deadlines()  # what, number, to, via
        self._out: Output = []

    def receive(self, sender: str, message: Message, now: float) -> Output:
        """Take in one message and return what it causes, in order. ``sender``: "process:...", "store:N" or "shell"."""
        kind, _, name = sender.partition(":")
        if kind == "process":
            self._from_process(int(name) if name.isdecimal() else name, message, now)
        elif kind == "store":
            self._from_store(int(name), message, now)
        else:
            self._from_shell(message, now)
        for number in self.pulls.start(self.sources.is_unheard):
            self._out.append(("shell", StartPull(number)))
        if (at_s := self.deadlines.wake()) is not None:
            self._out.append(("timer", WakeAt(at_s)))
        out, self._out = self._out, []
        return out

    def copy_of(self, number: int) -> int:
        """The number of the copy that is here of another node's object; 0: there is none."""
        known = self.objects.get(number)
        return 0 if known is None else known.copy

    def held(self, store: int) -> tuple[int, ...]:
        """What the node with this store is to keep for us."""
        return tuple([n for n, known in self.objects.items() if known.is_held and store_of(n) == store])

    def unheard(self, store: int) -> list[Message]:
        """What that node may not have heard, though it was said, and is to hear after ``held`` on a new link."""
        takes = self.sources.takes(store)
        numbers = dict.fromkeys(number for take in takes for number in take.ids)
        left = tuple(n for n in numbers if (known := self.objects.get(n)) is None or not known.is_held)
        return [*takes, *([SourceRelease(left)] if left else [])]

    # ------------------------------------------------------------------------------- processes

    def _from_process(self, process: Process, message: Message, now: float) -> None:
        if process in self._dead and type(message) is not FarHand:
            return  # what it had handed on, somebody else may claim
        match message:
            case Fetch(request=request, ids=ids):
                self._fetch(process, request, ids, now)
            case FarLook(request=request, ids=ids):
                lost = tuple(number for number in ids if self.is_lost(number))
                only_here = tuple(number for number in ids if self.is_only_here(number))
                self._out.append((f"process:{process}", FarLooked(request, lost, only_here)))
            case FarHold(ids=ids):
                for known in self._each(ids):
                    known.refs[process] += 1
                    self._settle(known, now)
            case FarDrop(ids=ids):
                for known in self._each(ids):
                    if known.refs[process] > 0:  # else it was told to an agent before us
                        _count(known.refs, process, -1)
                    else:
                        del known.refs[process]
                    self._settle(known, now)
            case FarClaim():
                self._claim(process, message, now)
            case FarHand(ids=ids, holder=holder, back=back):
                for known in self._each(ids):
                    self._pass(known, holder, process, -1 if back else 1, now)
                    self._settle(known, now)
            case FarForget(via=via, store=store):
                if store in self.sources.stores:
                    self._out.append((f"store:{store}", SourceForget(via)))
            case _:
                raise AssertionError(f"a process does not say {message} of far objects")

    def _claim(self, process: Process, message: FarClaim, now: float) -> None:
        for known in self._each(message.ids):
            known.refs[process] += 1
            if not message.store:
                self._pass(known, process, message.via, -1, now)
            elif message.store == store_of(known.number) and not self.sources.is_gone(message.store):
                self._tell_source(known, self.sources.take(known.number, message.via))
                known.is_held = True
            if message.soon and not known.copy and not known.lost:
                self._want(known)
            self._settle(known, now)
            self._bring_here(known, now)

    def _fetch(self, process: Process, request: int, ids: tuple[int, ...], now: float) -> None:
        asked = _Request(process, request, ids, set())
        for known in self._each(dict.fromkeys(ids)):
            if not known.copy and self._note_loss(known):
                self._out.append((f"process:{process}", Fetched(request, (), known.lost, True)))
                for other in self._each(dict.fromkeys(ids)):
                    self._settle(other, now)
                return
            if not known.copy:
                asked.missing.add(known.number)
        if not asked.missing:
            self._answer(asked, now)
            return
        self.requests[process, request] = asked
        for known in self._each(dict.fromkeys(ids)):
            known.waiting.append(asked)  # also what is here: it is to stay until all is
            if not known.copy:
                self._want(known)
            self._settle(known, now)

    def _answer(self, asked: _Request, now: float) -> None:
        """All that was asked for is here."""
        self.requests.pop((asked.process, asked.number), None)
        copies = tuple(self.objects[number].copy for number in asked.ids)
        self._out += [("shell", Lend(copy, asked.process)) for copy in copies]
        self._out.append((f"process:{asked.process}", Fetched(asked.number, copies)))
        self._forget_request(asked, now)

    def _refuse(self, asked: _Request, reason: str, lost: bool, now: float) -> None:
        if self.requests.pop((asked.process, asked.number), None) is not None:
            self._out.append((f"process:{asked.process}", Fetched(asked.number, (), reason, lost)))
        self._forget_request(asked, now)

    def _forget_request(self, asked: _Request, now: float) -> None:
        for number in dict.fromkeys(asked.ids):
            if (known := self.objects.get(number)) is not None and asked in known.waiting:
                known.waiting.remove(asked)
                self._settle(known, now)

    # ----------------------------------------------------------------------- other nodes, the shell

    def _from_store(self, store: int, message: Message, now: float) -> None:
        match message:
            case SourceGone(ids=ids):
                for known in [self.objects[number] for number in ids if number in self.objects]:
                    self._lose(known, "it is gone there", now)
            case SourceTaken(serial=serial):
                self.sources.acknowledged(store, serial)
            case SourceForget(via=via):
                for known in list(self.objects.values()):
                    if (holder := NODES | store, via) in known.transit:
                        self._expire(known, holder, via, now + self._limits.copy_linger_s)
            case _:
                raise AssertionError(f"another node does not say {message} of far objects")

    def _from_shell(self, message: Message, now: float) -> None:
        match message:
            case Copied(number=number, local=local):
                self.pulls.coming -= 1
                known = self.objects[number]
                known.is_coming, known.copy = False, local
                for asked in list(known.waiting):
                    asked.missing.discard(number)
                    if not asked.missing:
                        self._answer(asked, now)
                self._settle(known, now)
                self._bring_here(known, now)
            case CopyFailed(number=number, reason=reason, lost=lost):
                self.pulls.coming -= 1
                known = self.objects[number]
                known.is_coming = False
                if lost:
                    self._lose(known, reason, now)
                for asked in list(known.waiting):
                    self._refuse(asked, reason, lost, now)
                self._settle(known, now)
            case ProcessGone(process=process):
                self._process_gone(process, now)
            case Stores():
                self.sources.see(message)
                for known in list(self.objects.values()):
                    if self._note_loss(known):
                        self._settle(known, now)
                    self._bring_here(known, now)
            case Tick():
                self._tick(now)
            case _:
                raise AssertionError(f"a shell does not say {message}")

    def _process_gone(self, process: Process, now: float) -> None:
        if isinstance(process, int):  # programs may come again by the same name
            self._dead.add(process)
            self.deadlines.set(("dead", process, 0, 0), now + self._limits.transit_s)
        for asked in [asked for (who, _), asked in self.requests.items() if who == process]:
            del self.requests[process, asked.number]
            self._forget_request(asked, now)
        for known in list(self.objects.values()):
            known.refs.pop(process, None)
            for (to, via), count in list(known.transit.items()):
                if to == process or (via == process and count < 0):
                    del known.transit[to, via]
                elif via == process:
                    self._expire(known, to, via, now + self._limits.transit_s)
            self._settle(known, now)

    def _tick(self, now: float) -> None:
        for kind, number, to, via in self.deadlines.due(now):
            if kind == "dead":
                self._dead.discard(number)
                continue
            if kind == "store":
                self.sources.wait_no_more(number)
                for waiting in list(self.objects.values()):
                    if self._note_loss(waiting):
                        self._settle(waiting, now)
                continue
            known = self.objects.get(number)
            if known is None:
                continue
            if kind == "transit":
                known.transit.pop((to, via), None)
                self._settle(known, now)
            elif known.copy and not (known.refs or known.transit or known.waiting):
                if self._is_used(known.copy):
                    self._linger(known, now)
                else:
                    self._out.append(("shell", Discard(known.copy)))
                    del self.objects[number]

    # ---------------------------------------------------------------------------------- details

    def _each(self, ids: Iterable[int]) -> list[_Object]:
        return [
            self.objects.get(number) or self.objects.setdefault(number, _Object(number)) for number in ids
        ]

    def _pass(self, known: _Object, to: Process, via: Process, by: int, now: float) -> None:
        """So many more are in transit from ``via`` to ``to``.

        Nobody says when a node has taken over what it was handed; and who dies may not have said what it had handed.
        """
        if to in self._dead:
            return
        count = _count(known.transit, (to, via), by)
        if count < 0 or (count and (via in self._dead or (isinstance(to, int) and to >= NODES))):
            if by > 0 or count < 0:
                self._expire(known, to, via, now + self._limits.transit_s)
        else:
            self.deadlines.clear(("transit", known.number, to, via))

    def _expire(self, known: _Object, to: Process, via: Process, at_s: float) -> None:
        self.deadlines.set(("transit", known.number, to, via), at_s)

    def _linger(self, known: _Object, now: float) -> None:
        self.deadlines.set(("linger", known.number, 0, 0), now + self._limits.copy_linger_s)

    def _want(self, known: _Object) -> None:
        if not known.is_coming:
            known.is_coming = True
            self.pulls.queue.append(known.number)

    def is_dead(self, process: Process) -> bool:
        """Whether it has ended, and so it hears no answer."""
        return process in self._dead

    def is_lost(self, number: int) -> bool:
        """Whether an object of another node cannot be had any more."""
        known = self.objects.get(number)
        if known is not None and (known.copy or known.is_coming):
            return False
        return (known is not None and bool(known.lost)) or self.sources.is_gone(store_of(number))

    def is_only_here(self, number: int) -> bool:
        """Whether the node does not have it where it was, and others look for it; but there is a copy here."""
        known = self.objects.get(number)
        if known is None or not known.copy:
            return False
        return bool(known.lost) or self.sources.is_gone(store_of(number))

    def _note_loss(self, known: _Object) -> bool:
        if not known.lost and self.sources.is_gone(store_of(known.number)):
            known.lost = "the node where it was is gone"
            known.is_held = False
        return bool(known.lost)

    def _lose(self, known: _Object, reason: str, now: float) -> None:
        """The source does not have it. One that is coming may come from another node, and its pull tells."""
        known.lost, known.is_held = reason, False
        self._settle(known, now)

    def _tell_source(self, known: _Object, message: Message) -> None:
        self._out.append((f"store:{store_of(known.number)}", message))

    def _settle(self, known: _Object, now: float) -> None:
        """After a change: the source keeps what is needed and not here, and what nobody needs is forgotten."""
        if self.objects.get(known.number) is not known:
            return
        if (
            self.sources.is_unheard(store := store_of(known.number))
            and ("store", store, 0, 0) not in self.deadlines.at_s
        ):
            self.deadlines.set(("store", store, 0, 0), now + self._limits.node_silent_s)
        needed = known.is_needed and not known.lost
        if needed and not known.is_held and not self._note_loss(known):
            known.is_held = True
            self._tell_source(known, SourceTake((known.number,)))
            self._bring_here(known, now)
        elif known.is_held and not needed:
            known.is_held = False
            self._tell_source(known, SourceRelease((known.number,)))
        if known.refs or known.transit or known.waiting or known.is_coming:
            return
        if known.copy:
            self._linger(known, now)
        else:
            del self.objects[known.number]

    def _bring_here(self, known: _Object, now: float) -> None:
        """Where its node is about to go, what is needed here is copied now; then that node need not keep it."""
        if not known.is_held or store_of(known.number) not in self.sources.leaving:
            return
        if known.copy:
            known.lost = "the node where it was is gone"
            self._settle(known, now)
        else:
            self._want(known)

    def check(self) -> None:
        """Assert every invariant; for tests."""
        from distpool.scheduler.cores.copies_check import check_copies

        check_copies(self)


def _count(counter: Counter[Any], key: Any, by: int) -> int:
    counter[key] += by
    count = counter[key]
    if not count:
        del counter[key]
    return count
