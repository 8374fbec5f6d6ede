"""The benchmarks: distpool and the libraries it stands in for, compared in one interleaved run.

::

    python -m benchmarks                 cli.py         what to run, and where the table goes
        environment.py                                  which interpreter has which peer; makes the peers' own
        interleave.py                                   for each row: for each round: for each peer
            lane.py                                     one measurement = one fresh process with a time-out
               | JSON over a pipe
            measure.py                                  the far end: opens the peer, runs the row
                peers/*.py  rows/*.py  bodies.py        how a library is driven; what is measured; the task
                bodies
                bouts.py  remote_bodies.py              rates of calls of remote functions and actors
                memcpy.py  memory_watch.py  captured.py what rows about data compare with, or are made of
        verdict.py                                      best of the rounds against the targets
        report.py                                       the table for the terminal, and RESULTS.md

A new row is a `Row` in a file of `rows/`; a new library is a file of `peers/`. Nothing else needs to know.
"""
