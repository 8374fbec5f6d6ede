"""Every limit of the engine, in one frozen struct: nothing waits, queues or retries without one of these.

Units are last in the names. The cores take a ``Limits`` at construction; tests and the simulator shrink it.
"""

from __future__ import annotations

import msgspec


class Limits(msgspec.Struct, frozen=True):
    """Defaults suit a laptop and a cluster alike; each line says what happens at the limit."""

    # How much work lies ahead on a leased worker.
    ahead_s: float = 0.02  # an owner offers about this much measured work to a worker ...
    ahead_tasks_max: int = 4096  # ... but never more tasks than this,
    ahead_bytes_max: int = 4 << 20  # nor more argument bytes, beyond one task,
    ahead_tasks_unknown: int = 2  # and only this many before anything was measured.
    silent_s: float = 0.005  # a worker silent for this long, or for
    silent_factor: float = 4.0  # this many mean task lengths, is asked for what it has not started.

    # Batching in the worker.
    hold_results_s: float = 0.003  # finished results wait at most this long for company, ...
    hold_results_bytes_max: int = 256 << 10  # or until they weigh this much.

    # Waiting for an answer that has lately come quickly: look for it this long before sleeping. Each look gives
    # the core away, so this takes time from nobody who has work; it saves waking a sleeping core, twice a round trip.
    spin_s: float = 1e-4

    # Cancelling and closing.
    cancel_grace_s: float = 1.0  # KeyboardInterrupt first, SIGKILL after this.
    retire_grace_s: float = 5.0  # a retired worker's exit handlers may take this long, then SIGKILL.
    farewell_s: float = 1.0  # a closing process waits this long for its messages to leave.

    # Starting.
    start_s: float = 30.0  # an embedded cluster that is not up by then is an error.
    worker_start_s: float = 30.0  # a forked worker that has not said hello by then is killed.
    start_failures_max: int = (
        3  # after so many workers in a row that die before hello, forks for that pool ...
    )
    start_backoff_s: float = 0.1  # ... wait this long, doubling ...
    start_backoff_s_max: float = 5.0  # ... up to this.
    workers_max: int = 4096  # worker processes on one node: each has a slot in a mapping of fixed size.
    agent_restarts_max: int = 3  # embedded agents that may die within
    agent_restarts_window_s: float = 60.0  # this window, until pools are declared broken.

    # Shared workers.
    linger_s: float = 1.0  # one without work is kept for this long, ...
    linger_pressed_s: float = 0.005  # ... and for this long where others wait for what it holds.

    turn_s: float = 1.0  # one that has work is given back after this long where others wait for it.

    # What the head keeps for others.
    keys_bytes_max: int = 256 << 20  # keys and their values, together; what is put then is refused.

    # Placement groups.
    group_patience_s: float = 1.0  # one that finds no room for so long has nodes make room for it, ...
    group_wait_s: float = 10.0  # ... which they do for so long, doubling with each time in vain ...
    group_wait_s_max: float = 600.0  # ... up to this. In between it rests as long as it has waited.

    # Watching.
    heartbeat_s: float = 2.0
    node_silent_s: float = 9.5  # a node silent for this long is dead, and everybody knows it after 10 s.
    join_patience_s: float = 8.0  # what no node has is waited for so long where another one may join.
    drain_s: float = 30.0  # what runs on a node that was told to go has so long to end.
    head_redial_s: float = 0.3  # a node whose head is away tries to reach it so often, ...
    head_away_s: float = 600.0  # ... and leaves after so long.
    reckoned_s: float = (
        2.0  # what a node has sent to another one is counted there for this long, or until it is seen.
    )
    wait_spilled_s: float = 1.0  # what was sent to a node to wait there goes on to one with room after this.
    report_s: float = 0.1  # a node reports changed free resources at most this often, ...
    view_s: float = 0.5  # ... and the head spreads them at most this often.
    lost_owner_s: float = 60.0  # deaths of a lost owner's workers are kept this long for its return.
    survey_s: float = 1.0  # who has not answered the head's question by then is left out.
    nested_workers_per_cpu_max: int = 256  # replacements for workers that wait for their own children, ...
    memory_lend_min: float = 0.15  # ... and no more of them while less than this share of the memory is left.

    # Memory. A node whose available memory is less than this share of what it has ends the worker with most.
    memory_free_min: float = 0.05
    memory_look_s: float = 0.25  # so often it looks while it has leases.
    memory_rest_s: float = 0.1  # a task that is to be repeated rests for this long, doubling.

    # Objects of other nodes.
    pulls_max: int = 4  # so many are pulled to a node at one time, ...
    pull_window_bytes: int = 16 << 20  # each with so much under way.
    chunk_bytes: int = 1 << 20
    near_s: float = 0.25  # a call waits this long for a worker where its data is, then for one anywhere.
    copy_linger_s: float = 2.0  # a copy that nobody uses is kept for so long.
    transit_s: float = 60.0  # what a dead process had passed on is kept for so long until it is claimed.
    pull_silent_s: float = 60.0  # a node from which nothing comes for so long does not have it.
    redial_s: float = 0.1  # a link to another node that was lost is made anew after so long.
    fan_out: int = 2  # a node sends one object to so many at a time; others get it from those.

    # What workers print where the program cannot see it: the rest is withheld, and stays in their logs.
    prints_burst_bytes: int = 4 << 20  # one may have so much shown at once, ...
    prints_bytes_s: int = 1 << 20  # ... and then so much a second.

    # Lost values.
    lineage_bytes_max: int = 64 << 20  # of calls whose results lie in the store, so much is remembered.


DEFAULTS = Limits()
