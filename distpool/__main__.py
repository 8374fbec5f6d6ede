"""`python -m distpool`: the command line."""

import sys

from distpool.cli import main

if __name__ == "__main__":
    sys.exit(main())
