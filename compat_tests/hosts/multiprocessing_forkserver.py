"""The classes of `test._test_multiprocessing` under the start method "forkserver"."""

from test import _test_multiprocessing  # type: ignore[import-not-found]

_test_multiprocessing.install_tests_in_module_dict(globals(), "forkserver")
