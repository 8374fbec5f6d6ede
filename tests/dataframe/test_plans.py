"""The optimizer's rules, by the plans that they make."""

from distpool.dataframe.expressions import Column, Literal, call
from distpool.dataframe.optimizer import merge_projects, optimize, prune_columns, push_predicates, relax_order
from distpool.dataframe.plan import (
    Aggregate,
    Filter,
    Join,
    Memory,
    Project,
    RowNumber,
    Scan,
    Slice,
    Sort,
    Window,
)

A, B, C, K = (Column(name) for name in "abck")
LEFT = Memory(1, ("a", "b", "k"), None)
RIGHT = Memory(2, ("c", "q"), None)
FILE = Scan("parquet", ("f",), ((1, 1),), ("a", "b", "c"), ())
BIG = call("gt", A, Literal(1, "int64"))
JOIN = Join(LEFT, RIGHT, ("k",), ("q",), "inner")


def summed(below, value=A, order="keys"):
    return Aggregate(below, (("key", K),), (("sum", "sum", value, ()),), order)


def test_plans_are_named_by_their_content():
    assert Filter(LEFT, BIG) == Filter(LEFT, call("gt", Column("a"), Literal(1, "int64")))
    assert Filter(LEFT, BIG) != Filter(LEFT, call("gt", A, Literal(True, "int64")))
    assert Filter(LEFT, BIG) != Filter(Memory(3, LEFT.names, None), BIG)


def test_only_columns_that_are_read_are_made():
    assert prune_columns(Project(FILE, (("x", A),))).input == Scan("parquet", ("f",), ((1, 1),), ("a",), ())


def test_an_index_that_nobody_reads_is_not_made():
    numbered = Filter(RowNumber(FILE, "index"), BIG)
    assert RowNumber(FILE, "index") not in (optimize(Project(numbered, (("x", B),))),)
    kept = optimize(Project(numbered, (("x", B), ("i", Column("index")))))
    assert "RowNumber" in repr(kept)
    assert "RowNumber" not in repr(optimize(Project(numbered, (("x", B),))))


def test_a_join_below_a_group_by_need_not_keep_its_order():
    relaxed = relax_order(summed(JOIN))
    assert relaxed == summed(Join(LEFT, RIGHT, ("k",), ("q",), "inner", ordered=False))
    assert relax_order(JOIN) == JOIN


def test_an_aggregate_that_sees_the_order_keeps_it():
    first = Aggregate(JOIN, (("key", K),), (("x", "first", A, ()),), "keys")
    assert relax_order(first) == first


def test_a_sort_that_nobody_sees_is_not_done():
    assert relax_order(summed(Sort(LEFT, (A,), (False,)))) == summed(LEFT)
    ten = summed(Slice(Sort(LEFT, (A,), (False,)), 0, 10))
    assert relax_order(ten) == ten


def test_predicates_go_to_the_side_of_the_join_that_they_are_about():
    right = call("eq", C, Literal("x", "str"))
    pushed = push_predicates(Filter(JOIN, call("and", call("is_true", BIG), right)))
    assert pushed == Join(Filter(LEFT, BIG), Filter(RIGHT, right), ("k",), ("q",), "inner")


def test_the_optional_side_of_a_left_join_is_not_filtered_early():
    join = Join(LEFT, RIGHT, ("k",), ("q",), "left")
    plan = Filter(join, call("is_null", C))
    assert push_predicates(plan) == plan


def test_neither_side_of_a_full_join_is_filtered_early():
    for column in (A, C):
        plan = Filter(Join(LEFT, RIGHT, ("k",), ("q",), "full"), call("is_null", column))
        assert push_predicates(plan) == plan


def test_a_window_sees_the_order_and_all_rows_and_goes_if_nobody_reads_it():
    window = Window(Sort(LEFT, (A,), (False,)), (("w", "shift", B, (1,), (K,)),))
    assert relax_order(summed(window, Column("w"))) == summed(window, Column("w"))
    assert push_predicates(Filter(window, BIG)) == Filter(window, BIG)
    assert prune_columns(Project(window, (("x", A),))).input == Sort(Memory(1, ("a",), None), (A,), (False,))
    kept = prune_columns(Project(window, (("x", Column("w")),))).input
    assert kept.columns == ("a", "b", "k", "w")


def test_predicates_go_into_files_and_through_new_columns():
    plan = Filter(
        Project(FILE, (("x", A), ("y", call("add", A, B)))), call("gt", Column("y"), Literal(0, "int64"))
    )
    predicate = call("gt", call("add", A, B), Literal(0, "int64"))
    file = Scan("parquet", ("f",), ((1, 1),), ("a", "b", "c"), (), predicate)
    assert push_predicates(plan) == Project(file, (("x", A), ("y", call("add", A, B))))


def test_predicates_stop_where_rows_are_counted():
    for below in (Slice(LEFT, 0, 3), RowNumber(LEFT, "index")):
        assert push_predicates(Filter(below, BIG)) == Filter(below, BIG)


def test_a_condition_on_keys_goes_below_the_group_by_and_one_on_sums_does_not():
    on_key = call("eq", Column("key"), Literal(1, "int64"))
    on_sum = call("gt", Column("sum"), Literal(1, "int64"))
    pushed = push_predicates(Filter(summed(LEFT), call("and", on_key, on_sum)))
    assert pushed == Filter(summed(Filter(LEFT, call("eq", K, Literal(1, "int64")))), on_sum)


def test_what_two_read_stays_one():
    shared = summed(JOIN)
    both = Join(shared, Project(Filter(shared, BIG), (("q", A),)), ("key",), ("q",), "inner")
    made = push_predicates(both)
    assert made.left == shared
    assert made.right.input == Filter(shared, BIG)


def test_projects_are_merged_unless_that_computes_twice():
    inner = Project(LEFT, (("x", call("add", A, B)),))
    once = Project(inner, (("y", call("neg", Column("x"))),))
    assert merge_projects(once) == Project(LEFT, (("y", call("neg", call("add", A, B))),))
    twice = Project(inner, (("y", call("neg", Column("x"))), ("z", Column("x"))))
    assert merge_projects(twice) == twice
