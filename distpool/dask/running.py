"""One computation: the graph's state inside, the engine outside.

::

    Graph.take ─► call_of ─► pickled, the values of its inputs beside it ─► Task ─► engine
        ▲                                                                             │
        └── Graph.finish ◄── a value, undecoded, kept in ``values`` ◄── Completions ◄─┘
                 └─► what nobody needs any more is let go of; the store's copy goes with it

The thread that calls ``run`` does all of this, and drives the engine while it waits. Values stay as they came: what is
big lies in the store of the node where it was made, and only what is asked for is ever loaded here.

Only so many calls are under way as keep the workers busy, so the order of the graph is that of its running, and few
values are alive at a time.

What it is not: an engine. Retries of dead workers, cancelling, stealing and sending are the engine's.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from multiprocessing.pool import RemoteTraceback  # type: ignore[attr-defined]
from typing import Any

from dask._task_spec import Alias, DataNode, GraphNode

from distpool import objects
from distpool.dask.annotations import PLAIN, Options
from distpool.dask.callbacks import Told
from distpool.dask.calls import call_of, evaluate
from distpool.dask.chains import find_chains
from distpool.dask.graph import Graph
from distpool.dask.persisted import Persisted
from distpool.dask.plans import Plans
from distpool.dask.stores import Here
from distpool.dask.takers import Apart, find_takers, part_of
from distpool.errors import CannotUnpickle, Failure, StoreError
from distpool.scheduler.cores.tasks import Task
from distpool.scheduler.native_pool import NativePool
from distpool.scheduler.remote import refs, submitting
from distpool.scheduler.remote.completions import Completion, Completions
from distpool.scheduler.remote.here import here
from distpool.scheduler.remote.putting import put
from distpool.scheduler.remote.refs import ObjectRef
from distpool.scheduler.serialize.kept import Kept

__all__ = ["Computation"]

#: Calls that are made ready before the engine gets to send them.
BATCH_CALLS = 2048
#: Of short calls, so many times what the workers have is under way, so that the engine can send batches.
SLACK = 2


class Computation:
    """The values of some keys of a graph.

    Args:
        nodes: all that is needed, by key, in the order of running.
        wanted: the keys whose values are kept.
        options: of those keys that have any.
        told: the callbacks.
        limit: how many calls may be under way; None: as many as keep the cluster busy.
        reruns: whether a task that raises is run again here, for a debugger.
    """

    def __init__(
        self,
        nodes: Mapping[Any, GraphNode],
        wanted: Sequence[Any],
        options: Mapping[Any, Options],
        told: Told,
        limit: int | None = None,
        reruns: bool = False,
    ) -> None:
        self._told = told
        self._limit = limit
        self._reruns = reruns
        self._options = options
        self._plans = Plans()
        self._completions = Completions()
        self._tries: dict[int, int] = {}  # what is left of the retries of those that have raised
        keys = list(nodes)
        numbers = {key: number for number, key in enumerate(keys)}
        keep = set(wanted)
        inputs = [[numbers[needed] for needed in node.dependencies] for node in nodes.values()]
        local = [type(node) in (DataNode, Alias, Persisted, Here) for node in nodes.values()]

        def may_join(before: int, after: int) -> bool:
            if told.of_tasks or local[before] or local[after] or keys[before] in keep:
                return False  # each task is to be told of when it runs; it does not run there; its value is wanted
            first, second = options.get(keys[before], PLAIN), options.get(keys[after], PLAIN)
            return first == second and first.retries is None

        parts = [part_of(node) for node in nodes.values()]
        apart = find_takers(inputs, parts, may_join)
        for number in itertools.chain.from_iterable(each.places for each in apart.values()):
            local[number] = True  # its value comes with those of the call that makes the whole

        groups = find_chains(inputs, may_join)
        group_of = {number: place for place, group in enumerate(groups) for number in group}
        self._nodes = [[nodes[keys[number]] for number in group] for group in groups]
        asked = [options.get(keys[group[0]], PLAIN).resources for group in groups]
        shapes = sorted({each for group, each in zip(groups, asked, strict=True) if not local[group[0]]})
        lane_of = {resources: lane for lane, resources in enumerate(shapes, 1)}
        lanes = [0 if local[group[0]] else lane_of[each] for group, each in zip(groups, asked, strict=True)]
        self._under_way: list[dict[int, Task]] = [
            {} for _ in range(len(lane_of) + 1)
        ]  # by lane: calls by task number
        self._pools: list[Any] = [None] * (len(lane_of) + 1)  # lane 0 is what is done here
        #: task number -> what is taken of its value, by the call itself; and of those that take, which place they have
        self._apart: dict[int, Apart] = {}
        self._part: dict[int, int] = {}
        for whole, (items, places) in apart.items():
            places = {group_of[taker]: place for taker, place in places.items()}
            self._apart[group_of[whole]] = Apart(items, places)
            self._part.update(places)
        self._keys = [keys[group[-1]] for group in groups]  # what a node has for its own name may be another
        self._place = {key: place for place, key in enumerate(self._keys)}
        self._graph = Graph(
            [[group_of[needed] for needed in inputs[group[0]]] for group in groups],
            [group_of[numbers[key]] for key in keep],
            lanes,
        )
        #: task number -> its value, undecoded; a DataNode where it has not been needed by a call yet
        self._values: dict[int, ObjectRef | DataNode] = {}

    # ---------------------------------------------------------------------------------- the loop

    def run(self) -> None:
        """Until all that is wanted is there. Raises what a task, a callback or pickling raises."""
        graph = self._graph
        try:
            while True:
                self._start_some()
                if not graph.unfinished:
                    return
                for completion in self._completions.next():
                    self._ended(completion)
        except BaseException as error:
            self._give_up(running=not isinstance(error, Exception))
            raise

    def _start_some(self) -> None:
        """Do what can be done here, and hand over as many calls as may be under way."""
        graph = self._graph
        while (number := graph.take(0)) is not None:
            self._finish_here(number)
        for lane in range(1, len(self._pools)):
            under_way = self._under_way[lane]
            room = min(BATCH_CALLS, self._plans.room(self._pools[lane], self._limit, SLACK) - len(under_way))
            tasks = []
            while room > 0 and (number := graph.take(lane)) is not None:
                self._pools[lane], task = self._call(number)
                tasks.append(task)
                room -= 1
            if tasks:
                for task in tasks:
                    under_way[task.token.index] = task
                self._completions.submit(self._pools[lane], tasks)

    def _give_up(self, running: bool) -> None:
        """Nobody wants the rest: what has not started never will; with ``running`` what runs is interrupted."""
        for pool, under_way in zip(self._pools, self._under_way, strict=True):
            if under_way:
                pool.cancel(list(under_way.values()), running=running)
        self._values.clear()

    # ----------------------------------------------------------------------------------- one task

    def _finish_here(self, number: int) -> None:
        """A task that needs no worker: data, another name for something, a value that is there already."""
        (node,) = self._nodes[number]
        if type(node) is DataNode:
            self._settle(number, node)
            return
        self._told_before(number)
        value: ObjectRef | DataNode
        if number in self._part:
            parts = self._values[self._graph.inputs[number][0]].value
            value = _reference_to(parts[1 + self._part[number]])
        elif type(node) is Persisted:
            reference = node.reference
            objects.wait([reference])
            if not reference.settled or reference.failure is not None or objects.is_of_the_past(reference):
                objects.value_of(reference)  # raises why there is none
            value = reference
        elif type(node) is Here:
            try:
                value = DataNode(node.key, self._evaluated(number))
            except Exception as error:
                if self._made_again(number, error):
                    return
                error.add_note(f"raised by the Dask task {self._keys[number]!r}")
                raise
        else:
            value = self._values[self._graph.inputs[number][0]]
        self._settle(number, value)
        if self._told.of_tasks:
            self._told.after(self._keys[number], lambda: load(value), None)

    def _call(self, number: int) -> tuple[NativePool, Task]:
        """The call that makes a task's value, and the line that it waits in. Raises what pickling it raises."""
        self._told_before(number)
        nodes = self._nodes[number]
        tells = self._told.of_tasks
        items = self._items(number)
        call = call_of(nodes, tells=tells, items=items)
        key = self._keys[number]
        plan, pool = self._plans.of(self._options.get(key, PLAIN), nodes[-1])
        try:
            function, blob, keep = self._plans.function(call.function)
            kept = [keep]
            payload: Any = call.args
            if call.kwargs or not submitting.all_plain(call.args):
                payload = self._plans.dumps((tuple(call.args), call.kwargs), kept, brief=not call.inputs)
        except Exception as error:
            error.add_note(f"in the Dask task {key!r}")
            raise
        size = len(payload) if type(payload) is bytes else 64
        where = pool.number
        results = 2 if tells else len(items) + 1 if items else 0
        if call.places or results:
            payload = {"a": payload}
            if results:
                payload["n"] = results  # its result is so many values
        if call.places:
            inputs = [self._reference(self._place[needed]) for needed in call.inputs]
            values = [
                refs.passed_on(ref.value, []) if type(ref.value) is Kept else ref.value for ref in inputs
            ]
            size += sum([len(value) for value in values if type(value) is bytes])
            payload["p"], payload["v"] = call.places, values
            kept += inputs
            where = self._plans.near(pool, inputs)
        token = Completion(self._completions, number, plan)
        task = Task(where, token, submitting.made_by(), function, blob, payload, size, plan.retries, kept)
        return pool, task

    def _items(self, number: int) -> tuple[Any, ...]:
        """What its call takes of its value."""
        apart = self._apart.get(number)
        return apart.items if apart is not None else ()

    def _reference(self, number: int) -> ObjectRef:
        """The value of an input, undecoded. Data of the graph itself is put into the store when it is first needed."""
        value = self._values[number]
        if isinstance(value, ObjectRef):
            return value
        ref = self._values[number] = put(value.value)
        return ref

    def _settle(self, number: int, value: ObjectRef | DataNode) -> None:
        values = self._values
        values[number] = value
        for freed in self._graph.finish(number):
            del values[freed]

    # --------------------------------------------------------------------------------- how it ended

    def _ended(self, completion: Completion) -> None:
        number = completion.index
        del self._under_way[self._graph.lanes[number]][number]
        failure = completion.failure
        if failure is not None:
            self._failed(number, failure)
            return
        told = self._told
        if not told.of_tasks:
            self._settle(number, self._whole(number, completion) if number in self._apart else completion)
            return
        worker, value = completion.value
        made = _reference_to(value)
        self._settle(number, made)
        told.after(self._keys[number], made.load, worker)

    def _whole(self, number: int, completion: Completion) -> ObjectRef:
        """What those that take something of it find. If its call has left it whole, they are calls like any others."""
        is_apart, first, *_ = completion.value
        if is_apart:
            return completion
        for taker in self._apart.pop(number).places:
            del self._part[taker]
            self._graph.move(taker, self._graph.lanes[number])
        return _reference_to(first)

    def _failed(self, number: int, failure: Failure) -> None:
        """Make it again what it could not read; try again what may be; raise the rest."""
        error = self._error(number, failure)
        if self._made_again(number, error):
            return
        if failure.error is None or not self._may_try_again(number):
            if self._reruns and failure.error is not None:
                self._rerun(number)
            raise error
        self._put_back(number)

    def _made_again(self, number: int, error: BaseException) -> bool:
        """Whether it has failed since it could not read what is lost, which is made again now, and it after that."""
        lost = self._lost_inputs(number) if isinstance(error, (CannotUnpickle, StoreError)) else []
        for needed in lost:
            for again in self._graph.lose(needed):
                self._values.pop(again, None)
                if self._told.of_tasks:
                    self._told.lost(self._keys[again])
        if lost:
            self._put_back(number)
        return bool(lost)

    def _put_back(self, number: int) -> None:
        self._graph.put_back(number)
        if self._told.of_tasks:
            self._told.back(self._keys[number])

    def _may_try_again(self, number: int) -> bool:
        retries = self._options.get(self._keys[number], PLAIN).retries
        left = self._tries.get(number, retries or 0)
        self._tries[number] = left - 1
        return left > 0

    def _lost_inputs(self, number: int) -> list[int]:
        """Those whose data is gone from the store, or from where workers look for it."""
        lineage = here().lineage
        inputs = [(needed, self._values.get(needed)) for needed in self._graph.inputs[number]]
        return [
            needed
            for needed, ref in inputs
            if isinstance(ref, ObjectRef) and lineage.is_out_of_reach(ref.value)
        ]

    def _error(self, number: int, failure: Failure) -> BaseException:
        key = self._keys[number]
        error = failure.to_exception(RemoteTraceback)
        if failure.error is not None:
            error.add_note(f"raised by the Dask task {key!r}")
        return error

    def _rerun(self, number: int) -> None:
        """Here, for a debugger: what it raises goes up as it is."""
        value = self._evaluated(number)
        for item in self._items(number):
            value[item]

    def _evaluated(self, number: int) -> Any:
        nodes = self._nodes[number]
        keys = list(nodes[0].dependencies)
        return evaluate(nodes, keys, *[load(self._values[self._place[key]]) for key in keys])

    def value(self, key: Any) -> Any:
        """What was wanted, loaded, for the caller alone."""
        return load(self._values[self._place[key]])

    def reference(self, key: Any) -> ObjectRef:
        """What was wanted, as a reference of its own."""
        value = self._reference(self._place[key])
        if type(value) is ObjectRef:
            return value
        return _reference_to(value.value)

    def _told_before(self, number: int) -> None:
        if self._told.of_tasks:
            self._told.before(self._keys[number])


def _reference_to(value: Any) -> ObjectRef:
    """A reference of its own to a value, undecoded."""
    reference = ObjectRef()
    reference.fulfil(0, value)
    return reference


def load(value: ObjectRef | DataNode) -> Any:
    """A value, for the caller alone. Raises CannotUnpickle."""
    if isinstance(value, DataNode):
        return value.value
    try:
        return value.load()
    except Exception as error:
        raise CannotUnpickle.explained("the result", error) from error
