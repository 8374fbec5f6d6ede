"""Find the best move in Connect Four by a Monte-Carlo tree search whose tasks start tasks.

    python tree_search.py                    the first move
    python tree_search.py 4455               after four moves, named by their columns 1 to 7
    python tree_search.py 4455 --playouts 50000 --depth 3

A node of the tree is a task. It gives each of its moves, as a task of its own, the same number of playouts; the
worse half of the moves drops out, the others get the next round's playouts, until one is left ("sequential halving").
The nodes at the given depth play random games to their ends. Every node has random numbers of its own, drawn from its
place in the tree: so the answer is the same on one core and on a hundred.

A program for Ray: with `import ray` in place of `import distpool as ray` it runs there.
"""

import argparse
import random

import distpool as ray

COLUMNS, ROWS = 7, 6
# A board is two numbers, one bit a stone. Each column has 7 bits, the top one always empty, so that lines of four are
# found by shifts: up, along, and both diagonals.
SHIFTS = (1, 7, 6, 8)
FULL = sum(((1 << ROWS) - 1) << 7 * column for column in range(COLUMNS))


def has_won(stones):
    """Whether these stones have four in a line."""
    for shift in SHIFTS:
        pairs = stones & (stones >> shift)
        if pairs & (pairs >> 2 * shift):
            return True
    return False


def moves(taken):
    """The columns that are not full."""
    return [column for column in range(COLUMNS) if not taken >> 7 * column + ROWS - 1 & 1]


def drop(taken, column):
    """The stone that falls into a column: the lowest bit that is free there."""
    return (taken + (1 << 7 * column)) & ~taken & FULL


def play_out(mine, theirs, dice):
    """Play at random to the end: 1 if `mine`, whose turn it is, win, 0 if they lose, 0.5 for a draw."""
    result = 1.0
    while columns := moves(mine | theirs):
        mine |= drop(mine | theirs, dice.choice(columns))
        if has_won(mine):
            return result
        mine, theirs, result = theirs, mine, 1.0 - result
    return 0.5


@ray.remote
def search(mine, theirs, playouts, depth, place):
    """Look for the best move of those who own `mine`, and are to move.

    Returns what the position is worth to them, from 0 to 1; the number of tasks that it took; and each column with
    what a move there is worth, those that dropped out last first.
    """
    columns = moves(mine | theirs)
    if has_won(theirs) or not columns:
        return (0.0 if has_won(theirs) else 0.5), 1, []
    if depth == 0:
        dice = random.Random(place)
        return sum(play_out(mine, theirs, dice) for _ in range(playouts)) / playouts, 1, []

    points, games = dict.fromkeys(columns, 0.0), dict.fromkeys(columns, 0)
    tasks, ranking = 1, []
    rounds = max((len(columns) - 1).bit_length(), 1)
    for number in range(rounds):
        share = max(playouts // (rounds * len(columns)), 1)
        refs = [
            search.remote(
                theirs, mine | drop(mine | theirs, column), share, depth - 1, f"{place}/{column}.{number}"
            )
            for column in columns
        ]
        for column, (worth_to_them, below, _) in zip(columns, ray.get(refs), strict=True):
            points[column] += share * (1.0 - worth_to_them)
            games[column] += share
            tasks += below
        columns.sort(key=lambda column: (-points[column] / games[column], abs(column - COLUMNS // 2)))
        kept = (len(columns) + 1) // 2
        ranking[:0] = columns[kept:]
        columns = columns[:kept]
    ranking[:0] = columns
    best = ranking[0]
    return points[best] / games[best], tasks, [(column, points[column] / games[column]) for column in ranking]


def position_after(text):
    """The stones of those whose turn it is, and of the others, after moves like "4455"."""
    mine = theirs = 0
    for place, letter in enumerate(text, start=1):
        column = "1234567".find(letter)
        if column not in moves(mine | theirs) or has_won(theirs):
            raise ValueError(f"move {place} of {text}, {letter}, is not possible")
        mine, theirs = theirs, mine | drop(mine | theirs, column)
    if has_won(theirs):
        raise ValueError(f"the game is over after {text}")
    return mine, theirs


def main():
    """Search, and print the moves with what they are worth."""
    parser = argparse.ArgumentParser(description="Search for the best move in Connect Four.")
    parser.add_argument("moves", nargs="?", default="", help='moves so far, such as "4455" (default: none)')
    parser.add_argument("--playouts", type=int, default=3_000, help="random games in all (default: 3,000)")
    parser.add_argument("--depth", type=int, default=2, help="levels of the tree that are tasks (default: 2)")
    options = parser.parse_args()
    if min(options.playouts, options.depth) < 1:
        parser.error("there must be a playout, and a level of the tree")
    try:
        mine, theirs = position_after(options.moves)
    except ValueError as error:
        parser.error(str(error))
    if not moves(mine | theirs):
        parser.error("the board is full")

    _, tasks, ranking = ray.get(search.remote(mine, theirs, options.playouts, options.depth, options.moves))
    ray.shutdown()
    print("column  worth")
    for column, worth in ranking:
        print(f"{column + 1:6}  {worth:.3f}")
    print(f"best move: column {ranking[0][0] + 1}, found by {tasks} tasks")


if __name__ == "__main__":
    main()
