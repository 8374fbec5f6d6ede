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
)
