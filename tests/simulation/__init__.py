"""Whole clusters in one thread: the real cores over a simulated network, clock, nursery and workers, under a seed.

::

    plan.py       what a seed means: nodes, owners, pools, tasks, faults
    loop.py       the event heap and the simulated clock
    network.py    links: FIFO, reliable until cut; every message really encoded and decoded
    machine.py    a node: agent shell around NodeCore, nursery, slots, mailboxes; the head's shell
    worker.py     a worker process: deque, recall, held results, mailbox, interrupt, nested owner
    owner.py      an owner's shell around OwnerCore
    program.py    the user's program: opens, submits, cancels, resizes, closes, terminates
    ledger.py     what happened to each task, and the oracles that judge it
    groups.py     placement groups, and whether head, agents and workers agree about them
    crowds.py     small tasks that keep coming, and groups that need a node which is never empty
    keys.py       what programs keep at the head, and whether it is there, once, when that has died
    faults.py     the safety phase: kills, crashes, cuts, jumps
    world.py      one run: safety phase, liveness phase, final account
    mutations.py  planted bugs, each of which an oracle must catch

``python -m tests.simulation --seed N --trace`` tells the story of one run. It is not a model of speed: times only
have to be plausible, so that every order of events can happen.
"""
