"""A node's store of big objects: arguments, results and captured values of at least 64 KiB, shared instead of sent.

===============  ========================================================================================
``ledger.py``    pure: which objects there are, where they lie, who holds them; built upon ``ledger_table.py``,
                 ``ledger_holds.py`` and ``ledger_places.py``; ``blocks.py``: what is free
``lock.py``      the one lock around every change of the ledger
``files.py``     the files of a store: ledger, memory, disk
``tier.py``      writing to, and mapping from, one of them; ``mapping.py``, ``copying.py``: how
``store.py``     ``ObjectStore``: what a process does with all that: put, map, hold, let go
``access.py``    what the parts of an ``ObjectStore`` share: ledger, tiers, lock, and what is to be let go
``putting.py``   writing objects, and making room for them
``views.py``     what a process sees of objects, and mappings that serve again
``pristine.py``  whether a reader has written to its mapping
``forks.py``     children that inherit mappings
``slabs.py``     payloads of some kilobytes, side by side in one object
``keeper.py``    what the agent does: mend after deaths, give unused pages back, report
===============  ========================================================================================
"""
