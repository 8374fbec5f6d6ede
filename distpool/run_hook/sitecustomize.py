"""What Python's `site` runs, before the user's program, in an interpreter that `distpool run` started.

`site` imports whatever `sitecustomize` it finds first, and that is this one for as long as its folder leads
PYTHONPATH. It takes the folder away, installs distpool's stand-ins, and makes way for the `sitecustomize` that would
have been found without it. Where there is none, the ImportError is what `site` expects.
"""

import os
import sys

# The program's own sys.path may not lead to the package (it ran from a source tree) or may lead to another one.
sys.path.insert(0, os.environ["DISTPOOL_RUN_PACKAGE_PARENT"])
try:
    from distpool.run import take_over
finally:
    del sys.path[0]
take_over()

del sys.modules["sitecustomize"]
import sitecustomize  # type: ignore[import-not-found]  # noqa: E402, F401
