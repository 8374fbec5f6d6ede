"""Other machines by the user's own OpenSSH client: what is done to one host, and to all hosts of a cluster.

::

    cluster_file ──► HostSpec ──► Machine (``machine``) ── Connection (``connection``) ── ssh ──► ``on_host``, a script

Not here: what a node is and does (``scheduler``), which hosts there are (``distpool.cluster_file``).
"""
