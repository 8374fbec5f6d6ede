"""From plans to fragments, by the stages that are planned for sizes that are given."""

from __future__ import annotations

from dataclasses import dataclass, replace

import polars
import pytest

from distpool.dataframe.expressions import Column, Literal, call
from distpool.dataframe.fragments import splitting
from distpool.dataframe.fragments.limits import Limits
from distpool.dataframe.fragments.pieces import ByHash, ByRange, Fed, Fragment, Piece, fed
from distpool.dataframe.fragments.planner import Planner
from distpool.dataframe.fragments.sources import RowGroup, groups_of_files
from distpool.dataframe.plan import (
    Aggregate,
    Concat,
    Distinct,
    Filter,
    Join,
    Node,
    Project,
    RowNumber,
    SameColumns,
    Scan,
    Slice,
    Sort,
)

A, B, C, K = (Column(name) for name in "abck")
MIB = 1 << 20
LIMITS = Limits(fragment_bytes=MIB, broadcast_bytes=MIB, gather_bytes=MIB, pieces_max=4)
BIG = call("gt", A, Literal(1, "int64"))


def file(name, columns):
    return Scan("parquet", (name,), ((1, 1),), tuple(columns), ())


LEFT, RIGHT = file("left", "abk"), file("right", "cq")
PARTS = [Fragment(Slice(LEFT, at, 10), rows=10, bytes_=MIB) for at in (0, 10, 20)]
OTHERS = [Fragment(Slice(RIGHT, at, 10), rows=10, bytes_=MIB) for at in (0, 10)]
SOURCES = {LEFT.content_name: PARTS, RIGHT.content_name: OTHERS}


def pieces(fragment, rows, bytes_):
    return tuple(Piece(fragment.content_name, part, rows, bytes_) for part in range(fragment.count))


def planned(plan, *sizes, rows=10):
    """The stages, as lists of fragments. The pieces of stage n have so many bytes; those of the last stages, of 1."""
    steps, stages, made = Planner(plan, SOURCES, LIMITS).steps(), [], None
    while True:
        try:
            stage = steps.send(made)
        except StopIteration as end:
            return stages, end.value
        size = sizes[len(stages)] if len(stages) < len(sizes) else 1
        stages.append(list(stage.fragments))
        made = [pieces(fragment, rows, size) for fragment in stage.fragments]


def bodies(stage):
    return [fragment.body for fragment in stage]


def summed(below, how="sum", order="keys"):
    return Aggregate(below, (("k", K),), (("x", how, A, ()),), order)


def test_a_fragment_is_named_by_what_it_does_and_to_what():
    piece = Piece(b"maker", 0, 1, 1)
    one = fed(("a",), [piece])
    assert one == fed(("a",), [replace(piece, rows=2, bytes_=9, ref="elsewhere")])
    assert one != fed(("a",), [replace(piece, part=1)])
    assert one != fed(("a",), [replace(piece, maker=b"another")])
    assert one != replace(one, split=ByHash(("a",), 2))


def test_what_is_done_row_by_row_is_done_in_one_go():
    plan = Project(Filter(LEFT, BIG), (("x", B),))
    stages, _ = planned(plan)
    assert [bodies(stage) for stage in stages] == [
        [Project(Filter(part.body, BIG), (("x", B),)) for part in PARTS]
    ]


def test_parts_of_sums_are_made_before_anything_travels():
    stages, result = planned(summed(LEFT))
    first, last = stages
    assert bodies(first) == [
        Aggregate(part.body, (("k", K),), (("~0", "sum", A, ()),), "none") for part in PARTS
    ]
    whole = Aggregate(Fed(0, ("k", "~0")), (("k", K),), (("~0", "sum", Column("~0"), ()),), "keys")
    assert bodies(last) == [Project(whole, (("k", K), ("x", Column("~0"))))]
    assert [piece.maker for piece in last[0].inputs[0]] == [one.content_name for one in first]
    assert [piece.maker for piece in result] == [last[0].content_name]


def test_a_mean_is_made_of_sums_and_counts():
    stages, _ = planned(summed(LEFT, "mean"))
    assert [asked[1] for asked in stages[0][0].body.aggregates] == ["sum", "count"]
    assert stages[1][0].body.items[1] == ("x", call("truediv", Column("~0"), Column("~0n")))


def test_many_groups_are_shuffled_by_their_keys_and_then_sorted():
    stages, _ = planned(summed(LEFT), MIB)
    assert [one.split for one in stages[1]] == [ByHash(("k",), 3)] * 3
    assert [len(one.inputs[0]) for one in stages[2]] == [3, 3, 3]
    assert all(isinstance(body, Sort) and body.by == (K,) for body in bodies(stages[2]))
    assert len(bodies(stages[3])) == 1, "the sorted groups are few, and are put together"


def test_groups_in_the_order_of_their_first_rows_take_its_position_along():
    stages, _ = planned(summed(LEFT, order="first"), MIB)
    assert stages[0][1].body.aggregates[-1] == ("~at", "min", Column("~at"), ())
    assert stages[0][1].body.input == Project(
        RowNumber(PARTS[1].body, "~at"),
        (
            ("~at", call("add", Column("~at"), Literal(1 << 40, "int64"))),
            ("a", A),
            ("b", B),
            ("k", K),
        ),
    )
    assert stages[2][0].body.by == (Column("~at"),)


def test_a_median_needs_the_rows_of_a_group_and_only_the_columns():
    stages, _ = planned(summed(LEFT, "median"))
    assert bodies(stages[0]) == [Project(part.body, (("k", K), ("x", A))) for part in PARTS]
    assert [one.split for one in stages[0]] == [ByHash(("k",), 3)] * 3


JOIN = Join(LEFT, RIGHT, ("k",), ("q",), "inner", ordered=False)


def test_the_small_side_of_a_join_goes_to_every_fragment_of_the_other():
    stages, _ = planned(JOIN, MIB // 8)
    assert [one.split for one in stages[0]] == [ByHash(("q",), 3)] * 2, "it might have been big"
    assert bodies(stages[1]) == [
        Join(part.body, Fed(0, ("c", "q")), ("k",), ("q",), "inner", ordered=False) for part in PARTS
    ]
    assert [len(one.inputs[0]) for one in stages[1]] == [6, 6, 6]


def test_two_big_sides_are_both_shuffled():
    stages, _ = planned(JOIN, MIB, MIB)
    assert [[one.split for one in stage] for stage in stages[:2]] == [
        [ByHash(("q",), 3)] * 2,
        [ByHash(("k",), 3)] * 3,
    ]
    assert (
        bodies(stages[2])
        == [Join(Fed(0, ("a", "b", "k")), Fed(1, ("c", "q")), ("k",), ("q",), "inner", ordered=False)] * 3
    )
    for at, one in enumerate(stages[2]):
        assert [[piece.part for piece in pieces] for pieces in one.inputs] == [[at] * 3, [at] * 2]


def test_a_join_whose_order_is_seen_keeps_it_by_not_moving_the_left_rows():
    stages, _ = planned(replace(JOIN, ordered=True), 1)
    assert bodies(stages[0]) == [other.body for other in OTHERS]
    assert [body.left for body in bodies(stages[1])] == [part.body for part in PARTS]


def test_or_is_sorted_by_positions_where_both_move():
    stages, _ = planned(replace(JOIN, ordered=True), MIB, MIB, MIB, MIB)
    assert stages[3][0].body.by == (Column("~left"), Column("~right"))
    assert bodies(stages[-1])[0].columns == JOIN.columns


def test_a_left_join_never_gives_the_left_side_away():
    big_right = {**SOURCES, LEFT.content_name: PARTS[:1], RIGHT.content_name: OTHERS * 3}
    steps = Planner(replace(JOIN, how="left"), big_right, LIMITS).steps()
    assert {one.split for one in next(steps).fragments} == {ByHash(("q",), 4)}


def test_a_top_n_is_that_of_each_fragment_and_of_these():
    top = Slice(Sort(LEFT, (A, B), (True, False)), 0, 5)
    stages, _ = planned(top)
    assert bodies(stages[0]) == [Slice(Sort(part.body, (A, B), (True, False)), 0, 5) for part in PARTS]
    assert bodies(stages[1]) == [Slice(Sort(Fed(0, ("a", "b", "k")), (A, B), (True, False)), 0, 5)]


def test_a_big_sort_is_by_ranges_between_samples():
    sort = Sort(LEFT, (A,), (True,))
    stages, result = planned(sort, MIB, rows=1000)
    assert bodies(stages[0]) == [replace(sort, input=part.body) for part in PARTS], "runs"
    assert all(body.columns == ("key0",) for body in bodies(stages[1]) + bodies(stages[2])), "samples, bounds"
    assert {one.split for one in stages[3]} == {ByRange((A,), (True,), True, 1, 1001)}
    assert len(result) == 1001


def test_ties_that_pandas_lays_are_found_for_the_keys_alone():
    stages, _ = planned(Sort(LEFT, (A,), (False,), settled=False), MIB)
    assert bodies(stages[0]) == [part.body for part in PARTS]
    assert all(body.columns == ("key0",) for body in bodies(stages[1]))
    assert bodies(stages[2])[0].columns == ("~rank",)
    assert len(stages[2]) == 1


def test_the_first_rows_are_looked_for_in_the_first_fragments():
    stages, _ = planned(Slice(LEFT, 0, 5))
    assert [bodies(stage) for stage in stages[:1]] == [[Slice(PARTS[0].body, 0, 5)]]
    stages, _ = planned(Slice(Filter(LEFT, BIG), 0, 5), rows=1)
    assert [len(stage) for stage in stages] == [1, 1, 1]


def test_rows_that_are_known_in_number_are_counted_without_being_made():
    stages, _ = planned(RowNumber(LEFT, "n"))
    assert len(stages) == 1
    assert stages[0][2].body.items[0] == ("n", call("add", Column("n"), Literal(20, "int64")))
    stages, _ = planned(RowNumber(Filter(LEFT, BIG), "n"), rows=4)
    assert bodies(stages[0]) == [Filter(part.body, BIG) for part in PARTS]
    assert stages[1][2].body.items[0] == ("n", call("add", Column("n"), Literal(8, "int64")))


def test_duplicates_go_in_each_fragment_first():
    stages, _ = planned(Distinct(LEFT, ("k",), "last", ordered=False))
    assert bodies(stages[0]) == [Distinct(part.body, ("k",), "last", ordered=False) for part in PARTS]
    assert len(stages[1]) == 1


def test_what_two_read_is_made_once():
    shared = summed(Filter(LEFT, BIG))
    both = Concat((shared, Filter(shared, call("gt", Column("x"), Literal(0, "int64")))))
    stages, _ = planned(both)
    names = [one.content_name for stage in stages for one in stage]
    assert len(names) == len(set(names))
    assert sum(isinstance(body, Aggregate) for stage in stages for body in bodies(stage)) == 3


def test_a_step_that_nobody_knows_is_done_in_one_fragment():
    @dataclass(frozen=True, eq=False)
    class Odd(SameColumns):
        input: Node

    planner = Planner(Odd(LEFT), SOURCES, LIMITS)
    steps = planner.steps()
    first = next(steps)
    assert bodies(first.fragments) == [part.body for part in PARTS]
    last = steps.send([pieces(one, 10, 1) for one in first.fragments])
    assert len(last.fragments) == 1
    assert planner.in_one == ["Odd"]


def test_few_fragments_are_smaller_where_there_are_cpus_for_more():
    limits = Limits(fragment_bytes=64 * MIB, small_bytes=8 * MIB, pieces_max=64)
    assert [replace(limits, cpus=cpus).pieces_for(640 * MIB) for cpus in (1, 4, 16)] == [10, 10, 32]
    assert replace(limits, cpus=16).pieces_for(24 * MIB) == 3
    assert replace(limits, fragment_bytes=MIB).pieces_for(5 * MIB) == 5


GROUPS = [RowGroup(0, 0, 10, 400), RowGroup(0, 10, 10, 400), RowGroup(0, 20, 5, 200), RowGroup(1, 0, 5, 100)]
TWO = Scan("parquet", ("f", "g"), ((1, 1), (2, 2)), ("a", "b"), ())
F, G = (replace(TWO, paths=TWO.paths[at : at + 1], stamps=TWO.stamps[at : at + 1]) for at in (0, 1))


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (10_000, [(TWO, 30)]),
        (1000, [(F, 25), (G, 5)]),
        (800, [(Slice(F, 0, 20), 20), (Slice(F, 20, 5), 5), (G, 5)]),
        (1, [(Slice(F, 0, 10), 10), (Slice(F, 10, 10), 10), (Slice(F, 20, 5), 5), (G, 5)]),
    ],
)
def test_files_are_cut_between_row_groups(size, expected):
    made = groups_of_files(TWO, GROUPS, Limits(fragment_bytes=size))
    assert [(one.body, one.rows) for one in made] == expected


def test_a_predicate_of_a_file_comes_after_its_rows_are_counted():
    made = groups_of_files(replace(F, names=("b",), predicate=BIG), GROUPS[:3], Limits(fragment_bytes=800))
    part = Slice(replace(F, names=("b", "a")), 0, 20)
    assert made[0].body == Project(Filter(part, BIG), (("b", B),))
    assert made[0].rows is None


def test_rows_of_one_hash_keep_their_order():
    rows = polars.DataFrame({"k": [3, 1, None, 3, 1, 2, None], "n": range(7)})
    parts = splitting.split(rows, ByHash(("k",), 3))
    assert sorted(n for part in parts for n in part["n"]) == list(range(7))
    assert all(part["n"].is_sorted() for part in parts)
    for key in (1, 3, None):
        assert sum(part.filter(polars.col("k").eq_missing(key)).height > 0 for part in parts) == 1


@pytest.mark.parametrize("nulls_last", [True, False])
@pytest.mark.parametrize("descending", [True, False])
def test_ranges_have_equal_keys_on_one_side_of_a_bound(descending, nulls_last):
    rows = polars.DataFrame({"k": [5, 1, 3, None, 3, 3, 2, 9, 1, None]})
    options = {"descending": descending, "nulls_last": nulls_last}
    bounds = polars.DataFrame({"key0": [2, 3]}).sort("key0", **options)
    how = ByRange((K,), (descending,), nulls_last, 1, 3)
    parts = splitting.split(rows.sort("k", **options), how, bounds)
    found = [part["k"].to_list() for part in parts]
    assert [key for part in found for key in part] == rows.sort("k", **options)["k"].to_list()
    for at, bound in enumerate(bounds["key0"]):
        assert bound in found[at]
        assert not any(bound in part for part in found[at + 1 :])


def test_pieces_are_read_as_they_were_written():
    rows = polars.DataFrame(
        {
            "text": ["a", None, "ß→"],
            "time": polars.Series([1, None, 3], dtype=polars.Datetime("ns")),
            "small": polars.Series([1, 2, 3], dtype=polars.UInt8),
            "list": [[1], None, []],
        }
    )
    again = splitting.unpack([splitting.pack(rows), splitting.pack(rows.clear())])
    assert again.schema == rows.schema
    assert again.equals(rows)
