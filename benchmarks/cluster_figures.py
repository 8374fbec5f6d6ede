"""A cluster's figures, measured and written down: ``python -m benchmarks.cluster_figures [--rounds N]``, as root.

Short for ``python -m benchmarks --rows cluster --peers cluster --results benchmarks/RESULTS.md``. A round takes two
minutes, and what is measured once another five. Needs numpy and pynacl in this interpreter (else no row of transfers).
"""

from __future__ import annotations

import sys

from benchmarks.cli import main

if __name__ == "__main__":
    words = ["--rows", "cluster", "--peers", "cluster", "--results", "benchmarks/RESULTS.md", *sys.argv[1:]]
    sys.exit(main(words))
