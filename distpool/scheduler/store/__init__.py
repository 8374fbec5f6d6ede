"""A node's store of big objects: arguments, results and captured values of at least 64 KiB, shared instead of sent.

===============  ========================================================================================
``ledger.py``    pure: which objects there are, where they lie, who holds them; ``blocks.py``: what is free
``lock.py``      the one lock around every change of the ledger
``files.py``     the files of a store: ledger, memory, disk
``tier.py``      writing to, and mapping from, one of them; ``mapping.py``, ``copying.py``: how
``store.py``     ``ObjectStore``: what a process does with all that: put, map, hold, let go
``slabs.py``     payloads of some kilobytes, side by side in one object
``pristine.py``  whether a reader has written to its mapping
``keeper.py``    what the agent does: mend after deaths, give unused pages back, report
===============  ========================================================================================
"""
