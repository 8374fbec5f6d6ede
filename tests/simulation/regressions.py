"""Seeds that once failed, one line each: the seed, the oracle that was hurt, and what was wrong.

A seed means a world only as long as the simulator draws as it did; so this list is a net, and the bug itself has its
own core test or scenario.
"""

REGRESSIONS = (
    (
        2,
        "no_idle_worker_beside_work",
        "the head of the queue was cancelled, and of another carefulness than the next",
    ),
    (15, "check", "the deadline of a lost owner outlived its worker"),
    (118, "pools_go", "DropPool was said while the agent's link was down, and never again"),
    (314, "check", "a closed pool with nothing but cancelled tasks in its queue"),
    (13, "nothing_left", "a pool that broke while closing was remembered for ever"),
    (466, "everything_ends", "a lost lease was among those held, so its worker was never killed"),
    (1230, "pools_go", "WantLeases was said after DropPool, for a shared pool whose answers came in late"),
    (
        22,
        "everything_ends",
        "an idle shared worker waited for recalled work that had gone to another, and kept its CPU",
    ),
    (
        770,
        "retire_in_time",
        "a shared pool that was dropped wanted a worker for one that had rested for long enough",
    ),
    (586, "everything_ends", "a closing pool kept an idle shared worker, whose CPU nested tasks waited for"),
    (4335, "views_are_heard", "the head, and a node with it, are away for a moment between two samples"),
    (
        7013,
        "everything_ends",
        "no engine's fault: a task that began on a slow node stayed slow for ever, 600 s of it",
    ),
    (
        1391,
        "workers_replaced",
        "a node counted who worked off what it had, and the level of its pool there did not",
    ),
    (8243, "workers_replaced", "the same, with a task that ran out of its time"),
    (
        5432,
        "workers_are_used",
        "an owner was sent to and fro between a node that drains and its home, whose head was away",
    ),
    (
        6619,
        "writes_are_kept",
        "a head forgot with a node's link what owners there had been told, and did it again",
    ),
    (
        1055,
        "size_respected",
        "no engine's fault: one that had just come was told to go, and had not heard of it",
    ),
)
