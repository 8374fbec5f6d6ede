"""Who starts and stops a cluster's machines: ``protocol`` says what one must be, and each other module is one.

A provider is named by its ``type``: "local", "ssh", or "package.module:Class" for somebody's own. Not here: when a node
is started or stopped (``scheduler.cores.autoscaling``), and the process in which providers live (``process``).
"""

from __future__ import annotations

import importlib

from distpool.providers.protocol import ClusterAccess, NodeProvider, ProviderError

__all__ = ["ClusterAccess", "NodeProvider", "ProviderError", "make_provider"]

#: Our own, by the ``type`` under ``provider:`` in a cluster's description.
TYPES = {
    "local": "distpool.providers.local:LocalProvider",
    "ssh": "distpool.providers.ssh:SshProvider",
}


def make_provider(kind: str, options: dict[str, object], cluster: ClusterAccess) -> NodeProvider:
    """A provider of this ``type``. Raises ProviderError: there is no such type, or it does not want these options."""
    module, _, name = TYPES.get(kind, kind).partition(":")
    if not name:
        raise ProviderError(
            f"there is no provider of type {kind!r}: there are {', '.join(TYPES)}, and 'package.module:Class'"
        )
    try:
        provider: NodeProvider = getattr(importlib.import_module(module), name)(options, cluster)
    except (ImportError, AttributeError) as error:
        raise ProviderError(f"the provider {kind!r} cannot be loaded: {error}") from error
    return provider
