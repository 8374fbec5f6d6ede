"""``python -m tests.copies SEED``: tell the story of one world."""

import sys

from .world import run

if __name__ == "__main__":
    print(run(int(sys.argv[1]), print).counts)
