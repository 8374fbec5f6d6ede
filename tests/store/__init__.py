"""The object store: its rules one by one, against a naive model, torn at each write, and as a world under a seed.

::

    test_blocks.py    the block map, rule by rule, and against a naive one
    test_ledger.py    the ledger, rule by rule
    test_model.py     the ledger against a naive model, by any sequence of operations
    test_crashes.py   each operation, cut off after each single write: what the next one finds is repaired
    crashing.py       a ledger whose user dies after so many writes

    schedule.py       the simulator: processes as threads of which one runs at a time; chance says which
    machine.py        a node: fake memory and disk, the lock, what is mapped and written at this moment
    oracles.py        what must hold after each change, and in the end
    owners.py         who submits tasks: puts, claims, discards, forgets what is in transit
    workers.py        who runs them: maps, keeps views, puts results, owns tasks itself; the agent, who mends
    world.py          one run: safety phase, liveness phase, final account
    mutations.py      planted bugs, each of which an oracle must catch

What is simulated is the kernel: memory, files, the lock, death. ``ObjectStore``, ``Keeper`` and ``Ledger`` are the real
ones. ``python -m tests.store --seed N --trace`` tells the story of one run.
"""
