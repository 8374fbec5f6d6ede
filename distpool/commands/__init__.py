"""Commands for a cluster, or a program, that runs: what it does, why it waits, where it is, what it has printed.

::

    distpool top · why · stack · logs · timeline · memory
          │
          ▼  finding: whom to ask (--address, DISTPOOL_ADDRESS, a node or a program of this machine)
        Asker ── one survey by its topic ──► Surveyed, with who has not answered ──► text

One module for each; ``finding`` is what they have in common. None of them is a part of what it looks at: nothing is
stopped, changed or kept there, and every wait has an end. Starting and ending nodes is ``distpool.cluster_commands``.
"""
