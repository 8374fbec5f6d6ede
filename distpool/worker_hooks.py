"""What front doors want done when a pool is opened: in its owner, and in every worker before the initializer runs.

``distpool run`` lets the standard library's names stand on distpool in this process, and so in its workers too.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:  # a program under ``distpool run`` that makes no pool must not pay for this import
    from collections.abc import Callable
    from typing import Any

#: Importable functions without arguments; what is here when a pool is opened runs in each of its workers.
HOOKS: list[Callable[[], None]] = []

#: Functions without arguments; they run in this process when a pool is opened, before anything is pickled for it.
OWNER_HOOKS: list[Callable[[], None]] = []

#: Called with each pool (``engines.protocol.EnginePool``) that this process has opened on its session.
POOL_HOOKS: list[Callable[[Any], None]] = []

#: In a worker: how many more items than calls it has worked off since it began; chunks of a map add to it.
more_items = 0

#: Whether this process has got references that their owner may not know it to have; see ``remote.following``.
unsafe = False
#: In a worker that has such references: called before a task is answered, whatever it may have kept of them.
make_safe: Callable[[], None] | None = None
#: In a worker: cancels the remote calls that this attempt has made and that are not done.
cancel_calls: Callable[[int], None] | None = None
#: In a worker that was told to retire: returns when nothing that it has called goes on without its being waited for.
linger: Callable[[], None] | None = None
#: In a worker: the latest attempt that was interrupted.
interrupted = 0
#: Called with what an answer holds, before it goes to this owner: (name, address, node, process number).
hand_over: Callable[[list[Any], tuple[str, str, str, int]], None] | None = None
#: What references this process has, encoded, for whoever asks about the cluster; see ``remote.records``.
tell_objects: Callable[[], bytes] | None = None
#: What a program that is no worker has counted and measured, encoded, for whoever asks; see ``util.metrics_sharing``.
tell_metrics: Callable[[], bytes] | None = None
