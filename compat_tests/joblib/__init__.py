"""joblib's own tests of `Parallel`, on distpool in loky's place.

plugin     in the test process: the swap, the guard, a verdict for each test
running    test processes, one after the other, until each test has a verdict
__main__   the command line: baseline, run, count
programs/  whole programs that use joblib, plainly and under `distpool run`
"""
