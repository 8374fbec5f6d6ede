"""The three programs for Ray: what they print is right, and but for one line they know nothing of distpool."""

import ast
import importlib.util
import random
from pathlib import Path

import pytest

from tests.run.programs import ROOT, plain

EXAMPLES = ROOT / "examples"
PROGRAMS = ("parameter_server", "streaming_pipeline", "tree_search")


def run(name, *words, cwd):
    """Run a program; it must end well, and say nothing else."""
    outcome = plain(str(EXAMPLES / f"{name}.py"), *words, cwd=cwd, options=["-W", "error"])
    assert (outcome.status, outcome.err) == (0, "")
    return outcome.out.splitlines()


def loaded(name):
    """The program as a module, for its functions."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", PROGRAMS)
def test_one_line_is_all_that_differs_from_a_program_for_ray(name):
    source = (EXAMPLES / f"{name}.py").read_text()
    assert source.count("\nimport distpool as ray\n") == 1
    nodes = list(ast.walk(ast.parse(source)))
    imports = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    assert imports.count("distpool") == 1
    assert not [node for node in nodes if isinstance(node, ast.ImportFrom)]
    assert not [node for node in nodes if isinstance(node, ast.Name) and node.id == "distpool"]


@pytest.mark.parametrize("name", PROGRAMS)
def test_each_tells_what_it_takes(name, tmp_path):
    assert run(name, "--help", cwd=tmp_path)[0].startswith(f"usage: {name}.py [-h]")
    assert f"`{name}.py`" in (EXAMPLES / "README.md").read_text()


@pytest.mark.parametrize(
    ("name", "words", "complaint"),
    [
        ("parameter_server", ["--workers", "3", "--rows", "2"], "a point for each of them"),
        ("streaming_pipeline", ["--unread", "0"], "one must be allowed to lie unread"),
        ("tree_search", ["--playouts", "0"], "there must be a playout"),
        ("tree_search", ["1111111"], "move 7 of 1111111, 1, is not possible"),
        ("tree_search", ["1525354"], "the game is over after 1525354"),
        ("tree_search", ["15253541"], "move 8 of 15253541, 1, is not possible"),
    ],
)
def test_what_cannot_be_is_an_error_of_one_line(name, words, complaint, tmp_path):
    outcome = plain(str(EXAMPLES / f"{name}.py"), *words, cwd=tmp_path)
    assert (outcome.status, outcome.out) == (2, "")
    assert complaint in outcome.err.splitlines()[-1]


def test_the_parameter_server_learns_what_one_process_would(tmp_path):
    program = loaded("parameter_server")
    numpy = program.np
    shares = [program.make_data(1_000, seed=number) for number in range(2)]
    weights = numpy.zeros(program.FEATURES)
    for _ in range(12):
        slopes = [
            points.T @ (program.sigmoid(points @ weights) - labels) / len(labels) for points, labels in shares
        ]
        weights -= sum(slopes) / len(slopes)
    points, labels = program.make_data(5_000, seed=10**6)
    right = (points @ weights > 0) == labels

    printed = run("parameter_server", "--workers", "2", "--rows", "2000", "--steps", "12", cwd=tmp_path)
    assert len(printed) == 12
    assert printed[-1].startswith("step   12 of 12: loss ")
    assert printed[-1].endswith(f", {right.mean():.1%} of the test points right")
    assert right.mean() > 0.85


def expected_of(program, blocks):
    """What the pipeline prints of so many blocks, by one process and without a pipeline."""
    numpy = program.np
    nonsense, kept = 0, []
    for number in range(blocks):
        readings = numpy.random.default_rng(number).normal(20, 5, program.BLOCK)
        readings[number::1_000] = 9_999
        good = numpy.sort(readings[readings < 100])
        nonsense += len(readings) - len(good)
        kept.append(good[len(good) // 100 : -(len(good) // 100)])
    mean = numpy.concatenate(kept).mean()
    return f"{blocks} blocks, {nonsense} readings were nonsense, mean of the others {mean:.6f}"


def test_the_pipeline_cleans_all_and_lets_little_lie_unread(tmp_path):
    program = EXAMPLES / "streaming_pipeline.py"
    outcome = plain(str(program), "--blocks", "20", "--unread", "2", "--progress", cwd=tmp_path)
    assert outcome.status == 0
    assert outcome.out.splitlines() == [
        expected_of(loaded("streaming_pipeline"), 20),
        "of 20 MB never more than 3 MB lay unread",
    ]
    assert outcome.err.endswith(f"[{'#' * 40}] 20/20 blocks\n")
    assert outcome.err.count("/20 blocks") == 20


def test_the_pipeline_sees_what_lies_unread(tmp_path):
    """The same program without back-pressure, and a reader that does not begin before all is made."""
    source = (EXAMPLES / "streaming_pipeline.py").read_text()
    limit, begin = "_generator_backpressure_num_objects=options.unread", "made, taken, cleaning ="
    assert source.count(limit) == source.count(begin) == 1
    source = source.replace(limit, "_generator_backpressure_num_objects=-1")
    source = source.replace(begin, f"ray.get(reader.completed())\n    {begin}")
    Path(tmp_path / "unbounded.py").write_text(source)
    outcome = plain("unbounded.py", "--blocks", "12", cwd=tmp_path)
    assert outcome.status == 1
    assert outcome.out.splitlines()[-1] == "12 blocks lay unread at some time, and it was to be 5 at most"


def test_how_many_lie_unread_is_told_by_the_clock():
    most_ahead = loaded("streaming_pipeline").most_ahead
    assert most_ahead([1, 2, 3, 4], [2.5, 3.5, 5, 6]) == 2
    assert most_ahead([1, 2, 3, 4], [5, 6, 7, 8]) == 4
    assert most_ahead([1, 2, 3], [1.5, 2.5, 3.5]) == 1


def test_the_search_wins_where_it_can(tmp_path):
    printed = run("tree_search", "152535", "--playouts", "300", cwd=tmp_path)
    assert printed[:2] == ["column  worth", "     4  1.000"]
    assert len(printed) == 9
    assert printed[-1].startswith("best move: column 4, found by ")


def test_the_search_prevents_what_would_lose(tmp_path):
    assert "best move: column 4, " in run("tree_search", "17273", "--playouts", "1500", cwd=tmp_path)[-1]


def test_the_search_finds_the_same_whoever_is_quicker(tmp_path):
    """Two open stones in the lowest row: a third makes a line that is open on both sides."""
    first, second = (run("tree_search", "4455", "--playouts", "500", cwd=tmp_path) for _ in range(2))
    assert first == second
    assert int(first[-1].split()[-2]) > 100
    assert first[1].split()[0] in "36"


def test_lines_of_four_are_found_wherever_they_are():
    program = loaded("tree_search")
    dice = random.Random(0)
    found = 0
    for _ in range(2_000):
        places = {(column, row) for column in range(7) for row in range(6) if dice.random() < 0.35}
        stones = sum(1 << 7 * column + row for column, row in places)
        line = any(
            {(column + step * across, row + step * up) for step in range(4)} <= places
            for column, row in places
            for across, up in ((0, 1), (1, 0), (1, 1), (1, -1))
        )
        assert program.has_won(stones) == line
        found += line
    assert 500 < found < 1_500


def test_stones_fall_onto_each_other_until_the_column_is_full():
    program = loaded("tree_search")
    taken = 0
    for row in range(6):
        assert 3 in program.moves(taken)
        stone = program.drop(taken, 3)
        assert stone == 1 << 21 + row
        taken |= stone
    assert program.moves(taken) == [0, 1, 2, 4, 5, 6]
    assert program.moves(program.FULL) == []
