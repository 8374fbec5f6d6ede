"""What programs say to a cluster that starts and stops nodes by demand: ``sdk``. Stands in for ``ray.autoscaler``.

Not here: what that does (``scheduler.cores.autoscaling``), and who starts nodes (``providers``).
"""

from __future__ import annotations

from distpool.autoscaler import sdk

__all__ = ["sdk"]
