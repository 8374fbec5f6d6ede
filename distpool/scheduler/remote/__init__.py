"""Remote functions, objects and actors on the engine: what Ray's front doors stand on.

===================  ==========================================================================================
``refs.py``          ``ObjectRef``: a promise that has a value and a name, and how it travels
``following.py``     values that other processes make; ``serving.py``: values of ours that others wait for
``here.py``          what a process has of all this, beside its session; ``in_worker.py``: what its tasks cause
``plans.py``         how calls are made; ``shared_pools.py``: the workers of each shape
``submitting.py``    calls, and arguments that are references; ``outcomes.py``: several values, and retries
``putting.py``       values that are there already
``generators.py``    calls that yield their values; ``waiting.py``, ``awaiting.py``: for many, in event loops
``lineage.py``       values that are lost are made again; ``recovering.py``: another process's
``origins.py``       what is kept of calls for that
``actors.py``        an actor as a process knows it; ``actor_pools.py``: on the engine
``adopting.py``      detached actors that a worker creates
``placement.py``     placement groups; ``cluster_facts.py``: nodes and keys; ``records.py``: what has run here
===================  ==========================================================================================
"""
