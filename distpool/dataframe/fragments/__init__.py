"""Plans in fragments, on the engine: for what does not fit one machine, or is spread over several.

::

 plan ──► planner.py ── Stage: fragments ──────► executor.py ── run_fragment ──► worker.py: Polars
  │        pure: a generator   ◄── pieces, with  a call of the engine for each    rows in and out as Arrow,
  │                                their sizes   fragment; refs are the pieces    in the object stores
  └ sources.py: how files and frames can be cut

``pieces.py``       the vocabulary: a fragment is a plan whose leaves are files or pieces that others have made
``aggregates.py``   which aggregates can be made of parts, and how
``planner.py``      from a plan to fragments, step by step: sizes that were measured decide what comes next
``ordering.py``     the steps that have to do with the order of rows: sorts, slices, positions
``splitting.py``    rows into pieces, by hash or range
``executor.py``     runs the stages, with a bound on how many fragments are under way

Where a fragment is run does not matter: it is a value, named by its content, and gives the same pieces again. So what
a node takes with it is made anew from what it was made of, by the engine's lineage.
"""
