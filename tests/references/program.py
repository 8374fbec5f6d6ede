"""What the processes of a world do with references: as tasks, drivers and actors would, and with the same functions.

A value is a blob as pickling makes it, with a label in place of a pickle. ``values`` says what each object must turn
out to be: its label and the names of the references in it; None: the call that makes it has failed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pickle import PickleBuffer
from typing import TYPE_CHECKING, Any

from distpool.errors import Failure
from distpool.scheduler.remote import refs
from distpool.scheduler.remote.refs import ObjectRef
from distpool.scheduler.remote.serving import name_of
from distpool.scheduler.serialize import carried, stored
from distpool.scheduler.serialize.carried import Pending
from distpool.scheduler.serialize.kept import Kept
from tests.simulation.loop import Violation

if TYPE_CHECKING:
    from .process import Process
    from .world import Name, World

ACTIONS_MAX = 4
VARIABLES_MAX = 12


@dataclass(eq=False)
class Made:
    """A call, as its caller sees it."""

    number: int
    worker: str
    result: ObjectRef
    blob: bytes
    keep: list[Any]
    needed: list[ObjectRef]
    labels: list[bytes] = field(default_factory=list)


@dataclass(eq=False)
class Call:
    """A call, as its worker sees it."""

    number: int
    caller: str
    name: Name
    variables: list[ObjectRef]
    left: int
    answer: Any = None
    keep: Any = None
    waits: list[Any] = field(default_factory=list)
    checked: bool = False  # whether ``begin_safe`` was asked


class Program:
    """Of all processes."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.rng = world.rng
        self.values: dict[Name, tuple[bytes, list[Name]] | None] = {}
        self.count = 0
        self.looked = 0
        self.lost = 0
        self.forgotten = 0  # see ``world``

    # ------------------------------------------------------------------------------------- values

    def _value(self, name: Name, inner: list[ObjectRef], keep: list[Any], holder: int = 0) -> bytes:
        self.count += 1
        label = b"v%d" % self.count
        self.values[name] = label, [name_of(ref) for ref in inner]
        return self._blob(label, inner, keep, holder)

    def _blob(self, label: bytes, inner: list[ObjectRef], keep: list[Any], holder: int = 0) -> bytes:
        for ref in inner:
            refs.prepare_to_travel(ref)
        buffers = [PickleBuffer(b"data")] if self.rng.random() < 0.4 else []
        return stored.pack([b"\x80" + label], buffers, keep, holder=holder, carried=inner)

    @staticmethod
    def _label(blob: bytes) -> bytes:
        if blob[0] == carried.REFS_MARK:
            blob = blob[carried.inner_start(blob) :]
        if blob[0] == stored.MARK:
            blob = blob[stored.inner_start(blob) :]
        return bytes(blob[1:])

    def look(self, process: Process, ref: ObjectRef) -> list[ObjectRef]:
        """Load a value that is there; returns the references in it."""
        name, value = name_of(ref), ref.value
        if isinstance(value, Failure):
            self._check_loss(name, value)
            return []
        self.looked += 1
        blob = value.blob if type(value) is Kept else value
        expected = self.values[name]
        inner = list(value.refs or ()) if type(value) is Kept else []
        if expected is None or (self._label(blob), [name_of(each) for each in inner]) != expected:
            raise Violation("right_value", f"{process.name} has {blob!r} for {name}, which is {expected}")
        for number in stored.ids_of(blob):
            if not self.world.ledger.objects.get(number, {}).get((process.index, 0)):
                raise Violation("data_held", f"{process.name} has {name} without its object {number}")
        return inner

    def _check_loss(self, name: Name, failure: Failure) -> None:
        if self.values.get(name, ()) is None:
            return
        had = self.world.had.get(name, set()) | {name[0].removeprefix("base-")}
        if had & self.world.crashed:
            self.lost += 1
        elif name in self.world.forgotten and self.world.excuses:
            self.forgotten += 1
        else:
            raise Violation("nothing_lost", f"{name}: {failure.reason}")

    def check_values(self, process: Process) -> None:
        """At rest."""
        for made in process.called.values():
            raise Violation("calls_end", f"{process.name} waits for {name_of(made.result)}")
        for ref in process.variables:
            if not ref.settled:
                raise Violation("references_end", f"{process.name} waits for {name_of(ref)}")
            self.look(process, ref)

    # -------------------------------------------------------------------------------------- steps

    def can_go_on(self) -> bool:
        """Whether a call could do something towards its answer."""
        return any(
            call.answer is None or all(wait.settled for wait in call.waits)
            for process in self.world.living()
            for call in process.calls
        )

    def may_leave(self, process: Process) -> bool:
        return not (
            process.calls
            or process.called
            or process.is_busy
            or process.following.owes
            or self._is_called(process)
        )

    def _is_called(self, process: Process) -> bool:
        return any(
            made.worker == process.name for other in self.world.living() for made in other.called.values()
        )

    def go_on(self, process: Process) -> None:
        """Something that a program does."""
        with process.active():
            call = self.rng.choice([*process.calls, *((None,) if not self.world.settling else ())] or [None])
            if call is None:
                if not self.world.settling:
                    self._act(process, process.variables)
            elif call.answer is not None:
                self._go_on_answering(process, call)
            elif call.left and not self.world.settling:
                call.left -= 1
                self._act(process, call.variables)
            else:
                self._answer(process, call)

    def _some(self, variables: list[ObjectRef], most: int) -> list[ObjectRef]:
        return self.rng.sample(variables, min(len(variables), self.rng.randint(0, most)))

    def _act(self, process: Process, variables: list[ObjectRef]) -> None:
        what = self.rng.choice(("put", "call", "call", "look", "look", "keep", "drop", "drop"))
        if len(variables) > VARIABLES_MAX:
            what = "drop"
        if what == "put":
            variables.append(self._put(self._some(variables, 2)))
        elif what == "call":
            self._call(process, variables)
        elif variables and what == "drop":
            variables.pop(self.rng.randrange(len(variables)))
        elif variables:
            ref = self.rng.choice(variables)
            if what == "keep":
                process.variables.append(ref)
            elif ref.settled:
                variables += [inner for inner in self.look(process, ref) if inner not in variables]

    def _put(self, inner: list[ObjectRef]) -> ObjectRef:
        ref, keep = ObjectRef(), list[Any]()
        blob = self._value(name_of(ref), inner, keep)
        ref.value = Kept(blob, keep, inner) if keep else blob
        ref.settle()
        return ref

    # -------------------------------------------------------------------------------------- calls

    def _call(self, process: Process, variables: list[ObjectRef]) -> None:
        workers = [other for other in self.world.living() if other is not process]
        if not workers:
            return
        self.count += 1
        keep: list[Any] = []
        result = ObjectRef()
        nested, needed = self._some(variables, 3), self._some(variables, 1)
        blob = self._blob(b"arguments", nested, keep)
        made = Made(self.count, self.rng.choice(workers).name, result, blob, keep, needed)
        process.called[made.number] = made
        variables.append(result)
        self.world.trace(f"{process.name} calls {made.worker} for {name_of(result)}: {nested} {needed}")
        for ref in needed:  # as ``submitting`` does: the last to be there offers the task
            ref.watch(lambda _: self._offer(process, made))
        if not needed:
            self._offer(process, made)

    def _offer(self, process: Process, made: Made) -> None:
        if made.number not in process.called or not all(ref.settled for ref in made.needed):
            return
        values: list[Any] = []
        for ref in made.needed:
            if isinstance(ref.value, Failure):
                self._check_loss(name_of(ref), ref.value)
                self._fail(process, made, ref.value)
                return
            values.append(refs.passed_on(ref.value, []) if type(ref.value) is Kept else ref.value)
        labels = [self.values[name_of(ref)] for ref in made.needed]
        if not self.world.processes[made.worker].alive:
            self._fail(process, made, Failure(reason="died"))
            return
        name = name_of(made.result)
        self.world.put_on(
            process.name,
            made.worker,
            "calls",
            lambda worker: self._begin(worker, made.number, process.name, name, made.blob, values, labels),
        )

    def _fail(self, process: Process, made: Made, failure: Failure) -> None:
        self.values[name_of(made.result)] = None
        process.called.pop(made.number, None)
        made.result.reject(0, failure)

    def _begin(
        self,
        worker: Process,
        number: int,
        caller: str,
        name: Name,
        blob: bytes,
        values: list[Any],
        labels: list[Any],
    ) -> None:
        variables = carried.arrive(blob) if blob[0] == carried.REFS_MARK else []
        for value, label in zip(values, labels, strict=True):
            there = carried.arrive(value) if value[0] == carried.REFS_MARK else []
            if (self._label(value), [name_of(ref) for ref in there]) != label:
                raise Violation("right_value", f"{worker.name} is called with {value!r} instead of {label}")
            for object_number in stored.ids_of(value):
                if object_number not in self.world.ledger.objects and caller not in self.world.crashed:
                    raise Violation("data_held", f"{worker.name} is called with {label}, which is gone")
            variables += there
        worker.calls.append(Call(number, caller, name, variables, self.rng.randint(0, ACTIONS_MAX)))

    def _answer(self, worker: Process, call: Call) -> None:
        call.keep = []
        caller = self.world.processes[call.caller]
        pending = [ref for ref in call.variables if not ref.settled]  # the most can go wrong with these
        inner = self._some(pending or call.variables, 3)
        call.answer = self._value(call.name, inner, call.keep, caller.index)
        pending = [ref for kept in call.keep if type(kept) is Pending for ref in kept.refs]
        if pending:
            call.waits.append(worker.following.begin_hand_over(pending, caller.contact))

    def _go_on_answering(self, worker: Process, call: Call) -> None:
        if not all(wait.settled for wait in call.waits):
            return
        if not call.checked:
            call.checked = True
            safe = worker.following.begin_safe()
            if safe is not None:
                call.waits.append(safe)
                return
        answer, number, index = call.answer, call.number, worker.index
        worker.calls.remove(call)
        self.world.trace(f"{worker.name} answers {call.caller}: {call.name} is {answer!r}")
        self.world.put_on(
            worker.name, call.caller, "calls", lambda caller: self._end(caller, number, answer, index)
        )

    def _end(self, caller: Process, number: int, answer: bytes, worker: int) -> None:
        """In a step of the caller's: what it claims it claims at once."""
        made = caller.called.get(number)
        ids = stored.ids_of(answer)
        value: Any = Kept(answer, caller.store.claim(ids, worker), None) if ids else answer
        if made is not None:
            caller.shell.deliveries.append(lambda: self._fulfil(caller, made, value))

    @staticmethod
    def _fulfil(caller: Process, made: Made, value: Any) -> None:
        caller.called.pop(made.number, None)
        made.result.fulfil(0, value)

    def lose(self, process: Process, name: str) -> None:
        """In a step: a process that has called it, or was called by it, is gone."""
        process.calls = [call for call in process.calls if call.caller != name]
        gone = [made for made in process.called.values() if made.worker == name]

        def fail() -> None:
            for made in gone:
                if made.number in process.called:
                    self._fail(process, made, Failure(reason=f"{name} died"))
            process.store.forget_transit(self.world.processes[name].index)
            process.store.forget_handed(self.world.processes[name].index)  # answers for it

        process.shell.deliveries.append(fail)
