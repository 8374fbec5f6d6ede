"""What the checkpoint tests have run, imported and as a script: its items leave a line each in a file."""

import os
import sys
import time

import distpool

ITEMS = 100


def work(item):
    """Every call leaves a trace, in one write."""
    note(item)
    time.sleep(0.01)
    return item * item


def note(item):
    fd = os.open(os.environ["CHECKPOINT_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(fd, b"%d\n" % item)
    os.close(fd)


def add(first, second=1):
    note(first)
    return first + second


def fail_at_three(item):
    note(item)
    if item == 3:
        raise ValueError(item)
    return -item


def sort_words(words):
    note(len(words))
    return sorted(words)


class Adder:
    def __init__(self, more):
        self.more = more

    def __call__(self, item):
        note(item)
        return item + self.more


if __name__ == "__main__":
    with distpool.Pool(2) as pool:
        print(sum(pool.map(work, range(ITEMS), checkpoint=sys.argv[1])))
