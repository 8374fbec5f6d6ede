"""Importable homes for the classes that `test._test_multiprocessing` builds for each start method.

That file holds only templates; a function in it fills a module with the real classes. CPython does this in
modules that most builds leave out, hence these. They must be importable by name, because workers find the
tests' functions by module and name.
"""
