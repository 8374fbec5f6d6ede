"""Real programs from the package index, unmodified, on plain Python and under ``distpool run``.

    catalogue  the programs: what to install, what to run, what may differ
    inputs/    the scripts and folders that they work on
    running    one program both ways, each in the same fresh folder
    __main__   all of them, and the table

A program passes if its exit status, its output and every file that it wrote are the same both ways, and if it really
used distpool: a session's directory was there while it ran.
"""
