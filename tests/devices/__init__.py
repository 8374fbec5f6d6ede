"""Arrays of a GPU, with a stand-in for CuPy where there is none.

::

    stand_in/cupy      enough of CuPy for distpool; its devices are files, seen by all processes of a test
    ground.py          one test's devices: what is allocated, what is mapped, what was done that CUDA forbids
    world.py           tickets under a seed: exporters, importers, deaths; ``mutations.py`` the bugs planted there
    test_reducing.py   in one process: what is exported, what goes over the host, what is copied when
    test_tickets.py    that world
    test_workers.py    real workers: pools, references, deaths, retirement
    test_elsewhere.py  another node, another device, no permission, no room

``tests/gpu`` does the like with a real GPU, where there is one.
"""
