"""`python -m compat_tests`: see `compat_tests.cli`."""

import sys

from compat_tests.cli import main

if __name__ == "__main__":
    sys.exit(main())
