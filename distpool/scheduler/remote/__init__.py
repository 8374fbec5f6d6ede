"""Remote functions, objects and actors on the engine: what Ray's front doors stand on.

===================  ==========================================================================================
``refs.py``          ``ObjectRef``: a promise that has a value and a name, and how it travels
``following.py``     values that other processes make, and values of ours that others wait for
``submitting.py``    calls: shapes of workers, arguments that are references, retries
``waiting.py``       waiting for many
``actor_pools.py``   an actor in its creator's process, and one that another process has created
===================  ==========================================================================================
"""
