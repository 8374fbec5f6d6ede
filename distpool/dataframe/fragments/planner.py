"""From a plan to fragments, step by step. Pure: it yields stages and is sent the pieces that they made.

    Project, Filter           are added to the fragments below: nothing is exchanged
    RowNumber, Slice          need how many rows the fragments before have
    Aggregate, Distinct       parts first; these together where they are small, else shuffled by the keys
    Join                      the small side to every fragment of the other, else both shuffled by the keys
    Sort                      runs; together where they are small, else ranges by samples. A top-n of each fragment
    Concat                    the fragments of all
    anything else             in one fragment, which gets everything

What comes next hangs on sizes that were measured, so a join knows how much its filters left. An estimate is only used
where it spares a pass: it says at most too much.

Absent on purpose: skew (a key that most rows have makes a big piece), and choosing the order of joins.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from distpool.dataframe.expressions import Column
from distpool.dataframe.fragments import aggregates, ordering
from distpool.dataframe.fragments.limits import Limits
from distpool.dataframe.fragments.pieces import (
    ByHash,
    ByRange,
    Fed,
    Fragment,
    Piece,
    Spread,
    Stage,
    fed,
)
from distpool.dataframe.plan import (
    Aggregate,
    Concat,
    Distinct,
    Filter,
    Join,
    Memory,
    Node,
    Project,
    RowNumber,
    Scan,
    Slice,
    Sort,
    walk,
)

T = TypeVar("T")
Made = list[tuple[Piece, ...]]
Steps = Generator[Stage, Made, T]

# Joins that can be done piece by piece when both sides are shuffled by their keys.
_JOINS = frozenset(("inner", "left", "semi", "anti"))


class Planner:
    """The steps of one plan. `sources` has the fragments of each leaf, by its name."""

    def __init__(self, root: Node, sources: Mapping[bytes, Sequence[Fragment]], limits: Limits) -> None:
        self._root = root
        self._sources = sources
        self._limits = limits
        self._left = Counter(below.content_name for node in walk(root) for below in node.inputs)
        self._shared = {name for name, readers in self._left.items() if readers > 1}
        self._memo: dict[bytes, Spread] = {}
        # What had to be done in one fragment, and why: told to who asks.
        self.in_one: list[str] = []

    def steps(self) -> Steps[list[Piece]]:
        """Yield the stages; return the pieces that are the result, in order."""
        spread = yield from self._spread(self._root)
        columns = self._root.columns
        spread = [
            one if one.body.columns == columns else one.then(_selected(columns), rows=one.rows)
            for one in spread
        ]
        spread = yield from self._made(spread)
        return [piece for one in spread for piece in one.inputs[0]]

    def _spread(self, node: Node) -> Steps[Spread]:
        """Give a node's fragments; those that several read are made once."""
        name = node.content_name
        spread = self._memo.get(name)
        if spread is None:
            spread = yield from self._of(node)
            if name in self._shared and not isinstance(node, Scan):
                spread = yield from self._made(spread)
                self._memo[name] = spread
        self._left[name] -= 1
        if self._left[name] <= 0:
            self._memo.pop(name, None)
        return list(spread)

    def _of(self, node: Node) -> Steps[Spread]:
        match node:
            case Memory():
                return (yield from self._made(list(self._sources[node.content_name])))
            case Project(below, items):
                spread = yield from self._spread(below)
                return [one.then(lambda body: Project(body, items), rows=one.rows) for one in spread]
            case Filter(below, predicate):
                spread = yield from self._spread(below)
                return [one.then(lambda body: Filter(body, predicate)) for one in spread]
            case RowNumber(below, name):
                spread = yield from self._counted((yield from self._spread(below)))
                return ordering.counted(spread, name)
            case Slice(Sort(below, settled=True) as sort, offset, int(length)) if (
                offset >= 0 and offset + length <= self._limits.top_rows_max
            ):
                if node.input.content_name not in self._shared:
                    return (yield from self._top((yield from self._spread(below)), sort, node))
                return (yield from self._slice((yield from self._spread(sort)), offset, length))
            case Slice(below, offset, length):
                return (yield from self._slice((yield from self._spread(below)), offset, length))
            case Sort(below):
                return (yield from self._sort((yield from self._spread(below)), node))
            case Distinct(below):
                return (yield from self._distinct((yield from self._spread(below)), node))
            case Aggregate(below):
                return (yield from self._aggregate((yield from self._spread(below)), node))
            case Join(how=how) if how in _JOINS:
                return (yield from self._join(node))
            case Join(how="full"):
                return (yield from self._full_join(node))
            case Join(left, right, how="cross"):
                rows = yield from self._spread(left)
                return (
                    yield from self._broadcast(node, rows, (yield from self._spread(right)), to_left=True)
                )
            case Concat(parts):
                columns, made = parts[0].columns, []
                for part in parts:
                    spread = yield from self._spread(part)
                    made += [one.then(_selected(columns), rows=one.rows) for one in spread]
                return made
            case _ if node.content_name in self._sources:
                return list(self._sources[node.content_name])
            case _:
                return (yield from self._in_one(node))

    # --- making what is planned ------------------------------------------------------------------------------------

    def _made(self, spread: Spread) -> Steps[Spread]:
        """Have fragments made that are not; each then gives what it is fed, and knows its rows."""
        todo = [at for at, one in enumerate(spread) if not one.is_made]
        if not todo:
            return spread
        names = [one.body.columns for one in spread]
        stage = Stage([spread[at] for at in todo])
        made: list[Fragment | None] = list(spread)
        spread.clear()
        for at in todo:
            made[at] = None
        for at, pieces in zip(todo, (yield stage), strict=True):
            made[at] = fed(names[at], pieces)
        return [one for one in made if one is not None]

    def _counted(self, spread: Spread) -> Steps[Spread]:
        """Have it known how many rows each fragment gives; the last one's need not be."""
        if all(one.rows is not None for one in spread[:-1]):
            return spread
        return (yield from self._made(spread))

    def _gathered(self, spread: Spread) -> Steps[Fragment]:
        """Bring all rows to one fragment, in their order."""
        if len(spread) == 1:
            return spread[0]
        spread = yield from self._made(spread)
        return fed(spread[0].body.columns, [piece for one in spread for piece in one.inputs[0]])

    def _shuffled(self, spread: Spread, keys: tuple[str, ...], count: int) -> Steps[Spread]:
        """Bring rows with equal keys together, in their order: as many fragments as asked."""
        columns = spread[0].body.columns
        stage = Stage([replace(one, split=ByHash(keys, count)) for one in spread])
        spread.clear()
        made = yield stage
        return [fed(columns, [pieces[at] for pieces in made]) for at in range(count)]

    def _in_one(self, node: Node) -> Steps[Spread]:
        """Do a step of which nothing else is known where all of its rows are."""
        whole = Fragment(node)
        below = []
        for each in node.inputs:
            spread = yield from self._spread(each)
            many = len(spread) > 1
            one = yield from self._gathered(spread)
            if not one.is_made:
                [one] = yield from self._made([one])
            whole, source = whole.beside(each.columns, one.inputs[0])
            below.append(_as_columns(source, one.body.columns, each.columns))
            if many:
                self.in_one.append(type(node).__name__)
        return [whole.then(lambda body: body.with_inputs(tuple(below)))]

    # --- rows and their order --------------------------------------------------------------------------------------

    def _slice(self, spread: Spread, offset: int, length: int | None) -> Steps[Spread]:
        if len(spread) == 1:
            return [spread[0].then(lambda body: Slice(body, offset, length))]
        if offset < 0 or length is None:
            return ordering.cut((yield from self._made(spread)), offset, length)
        # The first rows are in the first fragments: no more of them are made than it takes.
        end, rows = offset + length, 0
        made: Spread = []
        while spread and (rows < end or not made):
            some = max(1, len(made))
            now = [
                one.then(lambda body: Slice(body, 0, end), rows=_at_most(one.rows, end))
                for one in spread[:some]
            ]
            spread = spread[some:]
            made += yield from self._made(now)
            rows = sum(one.rows or 0 for one in made)
        return ordering.cut(made, offset, length)

    def _top(self, spread: Spread, sort: Sort, node: Slice) -> Steps[Spread]:
        """The first rows of a sort: those of each fragment, and of these again."""
        assert node.length is not None
        end = node.offset + node.length
        if len(spread) > 1:
            spread = [one.then(lambda body: Slice(replace(sort, input=body), 0, end)) for one in spread]
        one = yield from self._gathered(spread)
        return [one.then(lambda body: Slice(replace(sort, input=body), node.offset, node.length))]

    def _sort(self, spread: Spread, sort: Sort) -> Steps[Spread]:
        if len(spread) == 1:
            return [spread[0].then(lambda body: replace(sort, input=body), rows=spread[0].rows)]
        spread = _taken(spread)
        if sort.settled:
            # Made as runs in any case: sorted ones are quicker to sort again.
            spread = [one.then(lambda body: replace(sort, input=body), rows=one.rows) for one in spread]
        spread = yield from self._made(spread)
        size = sum(one.bytes_ for one in spread)
        if size <= self._limits.gather_bytes:
            one = yield from self._gathered(spread)
            return [one.then(lambda body: replace(sort, input=body), rows=one.rows)]
        if not sort.settled:
            return (yield from self._sort_as_pandas(spread, sort))
        return (yield from self._ranges(spread, sort, size))

    def _ranges(self, runs: Spread, sort: Sort, size: int) -> Steps[Spread]:
        """Sorted runs to sorted ranges: bounds from samples, and what lies between two of them to one fragment."""
        columns, count = runs[0].body.columns, self._limits.pieces_for(size)
        samples = self._limits.samples
        sampled = yield from self._gathered(
            [
                one.then(
                    lambda body, rows=one.rows: ordering.evenly(
                        ordering.key_columns(sort, body), samples, rows
                    )  # type: ignore[misc]
                )
                for one in runs
            ]
        )
        rows = sampled.rows or sum(min(samples, one.rows or 0) for one in runs)
        [bounds] = yield from self._made(
            [sampled.then(lambda body: ordering.evenly(ordering.by_key_columns(sort, body), count - 1, rows))]
            if count > 1
            else [sampled.then(lambda body: Slice(body, 0, 0))]
        )
        split = []
        for one in runs:
            whole, source = one.beside(bounds.body.columns, bounds.inputs[0])
            split.append(
                replace(
                    whole,
                    split=ByRange(sort.by, sort.descending, sort.nulls_last, source.number, bounds.rows + 1),  # type: ignore[operator]
                )
            )
        ranges = (bounds.rows or 0) + 1
        runs.clear()
        made = yield Stage(split)
        parts = [fed(columns, [pieces[at] for pieces in made]) for at in range(ranges)]
        return [one.then(lambda body: replace(sort, input=body), rows=one.rows) for one in parts]

    def _sort_as_pandas(self, spread: Spread, sort: Sort) -> Steps[Spread]:
        """A sort whose ties are pandas': its order is found for the keys of all rows, in one fragment."""
        columns = spread[0].body.columns
        row, rank = ordering.fresh("~row", columns), ordering.fresh("~rank", columns)
        keys = [one.then(lambda body: ordering.key_columns(sort, body), rows=one.rows) for one in spread]
        one = yield from self._gathered(keys)
        [ranks] = yield from self._made(
            [one.then(lambda body: ordering.ranks(sort, body, rank), rows=one.rows)]
        )
        made, offset = [], 0
        for each in spread:
            made.append(ordering.with_ranks(each, ranks, row, rank, offset))
            offset += each.rows or 0
        del one, ranks
        spread.clear()
        ordered = yield from self._sort(made, Sort(made[0].body, (Column(rank),), (False,)))
        return [one.then(_selected(columns), rows=one.rows) for one in ordered]

    # --- groups ----------------------------------------------------------------------------------------------------

    def _distinct(self, spread: Spread, node: Distinct) -> Steps[Spread]:
        if len(spread) == 1:
            return [spread[0].then(lambda body: replace(node, input=body))]
        columns, place = spread[0].body.columns, ""
        if node.ordered:
            place = ordering.fresh("~at", columns)
            spread = ordering.placed(spread, place)
        spread = yield from self._made([one.then(lambda body: replace(node, input=body)) for one in spread])
        size = sum(one.bytes_ for one in spread)
        if size <= self._limits.gather_bytes:
            one = yield from self._gathered(spread)
            return [one.then(lambda body: ordering.kept(replace(node, input=body), columns))]
        spread = yield from self._shuffled(spread, node.subset, self._limits.pieces_for(size))
        spread = [one.then(lambda body: replace(node, input=body, ordered=False)) for one in spread]
        if node.ordered:
            spread = yield from self._sort(spread, Sort(spread[0].body, (Column(place),), (False,)))
        return [one.then(_selected(columns), rows=one.rows) for one in spread]

    def _aggregate(self, spread: Spread, node: Aggregate) -> Steps[Spread]:
        if len(spread) == 1:
            return [spread[0].then(lambda body: replace(node, input=body))]
        place = None
        if node.order == "first":
            place = ordering.fresh("~at", (*node.columns, *spread[0].body.columns))
            spread = ordering.placed(spread, place)
        parts = aggregates.in_parts(node)
        estimate = sum(one.bytes_ for one in spread)
        if parts is not None:
            spread = yield from self._made(
                [one.then(lambda body: aggregates.partial_step(node, parts, body, place)) for one in spread]
            )
            estimate = sum(one.bytes_ for one in spread)
        else:
            spread = [one.then(lambda body: aggregates.columns_of(node, body, place)) for one in spread]

        def last(body: Node, order: str, position: str | None) -> Node:
            if parts is None:
                return aggregates.whole_step(node, body, order, position)
            return aggregates.final_step(node, parts, body, order, position)

        if not node.keys or estimate <= self._limits.gather_bytes:
            one = yield from self._gathered(spread)
            return [one.then(lambda body: last(body, node.order, None))]
        keys = tuple(name for name, _ in node.keys)
        spread = yield from self._shuffled(spread, keys, self._limits.pieces_for(estimate))
        spread = [one.then(lambda body: last(body, "none", place)) for one in spread]
        if node.order == "none":
            return spread
        by = keys if place is None else (place,)
        sort = Sort(spread[0].body, tuple(Column(name) for name in by), (False,) * len(by))
        spread = yield from self._sort(spread, sort)
        return [one.then(_selected(node.columns), rows=one.rows) for one in spread]

    # --- joins -----------------------------------------------------------------------------------------------------

    def _join(self, node: Join) -> Steps[Spread]:
        left = yield from self._spread(node.left)
        right = yield from self._spread(node.right)
        if not node.ordered:
            return (yield from self._join_any(node, left, right))
        if len(right) > 1 and sum(one.bytes_ for one in right) <= 8 * self._limits.broadcast_bytes:
            right = yield from self._made(right)
        if sum(one.bytes_ for one in right) <= self._limits.broadcast_bytes:
            return (yield from self._broadcast(node, left, right, to_left=True))
        # The order is the left's, then the right's.
        columns = node.columns
        mine = ordering.fresh("~left", (*node.left.columns, *node.right.columns))
        theirs = ordering.fresh("~right", (*node.left.columns, *node.right.columns))
        by = (mine, theirs) if node.how in ("inner", "left") else (mine,)
        left, right = ordering.placed(left, mine), ordering.placed(right, theirs)
        spread = yield from self._join_any(replace(node, ordered=False), left, right)
        sort = Sort(spread[0].body, tuple(Column(name) for name in by), (False,) * len(by))
        spread = yield from self._sort(spread, sort)
        return [one.then(_selected(columns), rows=one.rows) for one in spread]

    def _join_any(self, node: Join, left: Spread, right: Spread) -> Steps[Spread]:
        """A join whose order nobody sees: the side that may be the smaller one is made first, and measured."""
        limits = self._limits
        sizes = [sum(one.bytes_ for one in side) for side in (left, right)]
        right_first = node.how != "inner" or sizes[1] <= sizes[0]
        small, big = (right, left) if right_first else (left, right)
        if min(sizes) > limits.broadcast_bytes or (node.how != "inner" and sizes[1] > limits.broadcast_bytes):
            count = limits.pieces_for(max(sizes))
            small_keys, big_keys = node.right_on, node.left_on
            if not right_first:
                small_keys, big_keys = big_keys, small_keys
            small = yield from self._shuffled(small, small_keys, count)
            if sum(one.bytes_ for one in small) > limits.broadcast_bytes:
                big = yield from self._shuffled(big, big_keys, count)
                left, right = (big, small) if right_first else (small, big)
                return [_beside(node, one, two) for one, two in zip(left, right, strict=True)]
        left, right = (big, small) if right_first else (small, big)
        return (yield from self._broadcast(node, left, right, to_left=right_first))

    def _full_join(self, node: Join) -> Steps[Spread]:
        """Every row without a partner must be found once: both sides are shuffled, be they small or not."""
        left = yield from self._spread(node.left)
        right = yield from self._spread(node.right)
        count = self._limits.pieces_for(max(sum(one.bytes_ for one in side) for side in (left, right)))
        left = yield from self._shuffled(left, node.left_on, count)
        right = yield from self._shuffled(right, node.right_on, count)
        return [_beside(node, one, two) for one, two in zip(left, right, strict=True)]

    def _broadcast(self, node: Join, left: Spread, right: Spread, *, to_left: bool) -> Steps[Spread]:
        """Give the rows of one side to every fragment of the other."""
        small = yield from self._gathered(right if to_left else left)
        if not small.is_made:
            [small] = yield from self._made([small])
        pieces, names = small.inputs[0], small.body.columns
        made = []
        for one in left if to_left else right:
            whole, source = one.beside(names, pieces)
            sides = (whole.body, source) if to_left else (source, whole.body)
            made.append(replace(whole, body=replace(node, left=sides[0], right=sides[1]), rows=None))
        return made


def _taken(spread: Spread) -> Spread:
    """Take the fragments out of a list, so that who passed it on does not keep what they are fed."""
    taken = list(spread)
    spread.clear()
    return taken


def _beside(node: Join, left: Fragment, right: Fragment) -> Fragment:
    """Join two fragments of shuffled rows."""
    whole, source = left.beside(right.body.columns, right.inputs[0])
    return whole.then(lambda body: replace(node, left=body, right=source))


def _selected(columns: tuple[str, ...]) -> Callable[[Node], Node]:
    return lambda body: body if body.columns == columns else ordering.kept(body, columns)


def _as_columns(source: Fed, have: tuple[str, ...], columns: tuple[str, ...]) -> Node:
    made = replace(source, names=have)
    return made if have == columns else ordering.kept(made, columns)


def _at_most(rows: int | None, end: int) -> int | None:
    return None if rows is None else min(rows, end)
