"""Other people's test suites, run against distpool.

`python -m compat_tests` runs CPython's own tests of multiprocessing and of executors, from the `test` packages of the
interpreters on this machine, with distpool swapped in for the standard library's names. README.md
says how it counts.

Two sides, which meet in one environment variable and one file of JSON lines:

    the runner (any supported Python)              the test process (the interpreter under test, in a venv)

    cli ── interpreters: find, make the venv       hook      swaps, borrows, watches (by a .pth file, so in
     │                                              │        *every* Python that a test starts)
     ├── plan/baseline: what the stdlib passes     child     lists the tests, or runs one of them
     ├── jobs ── processes: one test, one process ──┘         suites/  which tests, which names are swapped
     │            its time-out, its left-overs               hosts/   importable homes of the test classes
     └── score, report: the table, the floors

It is not a place for tests of our own (those are in `tests/`), and nothing here edits or patches a test.
"""
