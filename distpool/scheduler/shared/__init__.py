"""What processes of a node share besides objects: memory, locks and what is built on them, with no message.

::

    segment     sparse memory files, places in them, and how another process finds them
       │
    semaphores  the C library's semaphores, lying in such a place
       │
    mutex       one semaphore that knows its holder, and survives its death       identity: who is who, and dead
       │
    monitor     a mutex, words of state, and processes that wait for them to change
       │
    units, rounds                      what semaphores and barriers are of that
    things, remote, sync_server        how all of these travel, and are used from another node

Nothing here needs a session: a lock made when a module is imported starts no process. Front doors are
``distpool.synchronize``, ``distpool.sharedctypes`` and ``distpool.queues``.
"""
