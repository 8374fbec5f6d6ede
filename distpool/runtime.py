"""Starting and ending what remote calls run on: ``init``, ``shutdown``, ``is_initialized``.

::

    init(num_cpus=4) ─► Settings ─► the session, with a node like that ─► Context (a ``with`` block ends it)
    (nothing)        ─► the first remote call, put or Pool starts one with what this machine has
    shutdown()       ─► everything that it runs ends; what was put and not read is gone

There is one session in a process, for every front door: a Pool and a remote function share it.
Stands in for ``ray.init``, ``ray.shutdown``, ``ray.is_initialized``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from distpool.cluster import node_id_of
from distpool.errors import ClusterError
from distpool.remote_plans import job
from distpool.runtime_envs import prepare
from distpool.scheduler import client
from distpool.scheduler.remote import refs
from distpool.scheduler.remote.here import here
from distpool.scheduler.shells import worker_start
from distpool.scheduler.shells.embedded import EmbeddedCluster

TYPE_CHECKING = False
if TYPE_CHECKING:
    from distpool.scheduler.shells.attached import AttachedCluster
    from distpool.scheduler.shells.bridged import BridgedCluster

__all__ = ["Context", "init", "is_initialized", "shutdown"]

#: Arguments of ``ray.init`` that say how its own parts are started; here there are no such parts.
_WITHOUT_MEANING = {
    "_metrics_export_port",
    "_node_ip_address",
    "_plasma_directory",
    "_redis_password",
    "_redis_username",
    "_system_config",
    "_temp_dir",
    "_tracing_startup_hook",
    "allow_multiple",
    "cgroup_path",
    "enable_resource_isolation",
    "proxy_server_url",
    "system_reserved_cpu",
    "system_reserved_memory",
}


def current_namespace() -> str:
    """Where names of actors are given and looked for, unless another is named."""
    return job.facts[0]


class Context:
    """What ``init`` returns: facts about the session; as a context manager it ends the session.

    Stands in for ``ray._private.worker.RayContext``.
    """

    def __init__(self, address_info: dict[str, Any]) -> None:
        self.address_info = address_info
        self.dashboard_url = ""

    def __getitem__(self, name: str) -> Any:
        return self.address_info[name]

    def get(self, name: str, default: Any = None) -> Any:
        """One of the facts."""
        return self.address_info.get(name, default)

    def disconnect(self) -> None:
        """End the session."""
        shutdown()

    def __enter__(self) -> Context:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        shutdown()

    def __repr__(self) -> str:
        return f"<distpool session on node {self.address_info.get('node_id')}>"


def init(
    address: str | None = None,
    *,
    num_cpus: int | None = None,
    num_gpus: int | None = None,
    resources: Mapping[str, float] | None = None,
    labels: Mapping[str, str] | None = None,
    object_store_memory: int | None = None,
    local_mode: bool = False,
    ignore_reinit_error: bool = False,
    dashboard: bool | int | str | None = None,
    include_dashboard: bool | None = None,
    dashboard_host: str = "127.0.0.1",
    dashboard_port: int | None = None,
    job_config: Any = None,
    configure_logging: bool = True,
    logging_level: Any = "info",
    logging_format: str | None = None,
    logging_config: Any = None,
    log_to_driver: bool = True,
    namespace: str | None = None,
    runtime_env: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> Context:
    """Start the session, with what its node is to have.

    Args:
        address: None or "local": on this machine, by itself; "HOST:PORT" of any node of a cluster that `distpool
            start` has started, or "auto" for one with a node on this machine; "ray:auto", "ray://HOST:10001" or
            "dask://HOST:8786": a cluster of Ray's or Dask's, on which workers are started as there is work for them.
            DISTPOOL_ADDRESS takes the place of None.
        num_cpus, num_gpus, resources: what calls may ask for in all, in place of what is found.
        labels: what calls may choose the node by.
        object_store_memory: size of the object store, in bytes.
        ignore_reinit_error: a session that is there already is no error; its settings stay.
        namespace: where the actors that are named by this program are found.
        job_config: a ``JobConfig``: namespace, runtime_env and the lifetime of actors in one; arguments of these names
            come before.
        runtime_env: what the workers of all calls are to have; see ``RuntimeEnv``.
        dashboard: serve a page that shows what the session does, for as long as it lasts, and print its address: True,
            a port, or "HOST:PORT" (also for programs elsewhere: who has the address, which has a token, sees all).
            ``include_dashboard``, ``dashboard_host`` and ``dashboard_port`` are Ray's words for it.
        log_to_driver: False: what workers print is not shown here; `distpool logs` has it. The same as
            DISTPOOL_PRINTS=off.

    The other arguments of ``ray.init`` are accepted and mean nothing here.

    Raises:
        RuntimeError: there is a session already, which ``shutdown`` would end; an argument that there is not; the
            dashboard did not start, and why.
        ConnectionError: nobody answers at the address, or will not have us, and why.
        ValueError: an amount that cannot be, or an address.
    """
    unknown = [
        name
        for name in kwargs
        if name not in _WITHOUT_MEANING
        and name not in ("_memory", "_node_name", "_object_spilling_directory")
    ]
    if unknown:
        raise RuntimeError(_no_such_argument(unknown))
    if namespace is not None and not isinstance(namespace, str):
        raise TypeError(f"a namespace is a string, not a {type(namespace).__name__}")
    if namespace == "":
        raise ValueError(
            "a namespace is a string that is not empty; leave it out for one of this program's own"
        )
    if is_initialized():
        if ignore_reinit_error:
            return _context()
        raise RuntimeError(
            "init was called twice: this program has a session; end it first with shutdown(), or pass "
            "ignore_reinit_error=True to go on with it as it is"
        )
    joins = address not in (None, "", "local") or (address is None and os.environ.get("DISTPOOL_ADDRESS"))
    own = {"num_cpus": num_cpus, "num_gpus": num_gpus, "resources": resources, "labels": labels}
    if joins and (said := [name for name, amount in own.items() if amount is not None]):
        raise ValueError(
            f"{said[0]} is for a session of this program's own; a cluster has what its nodes were started with: "
            "leave it out, or leave out address"
        )
    if local_mode:
        raise RuntimeError(
            "there is no local_mode: workers are cheap, and what they print and raise arrives as if local"
        )
    amounts = _amounts(num_cpus, num_gpus, resources, kwargs.get("_memory"))
    environment = dict(os.environ)
    if object_store_memory is not None:
        environment["DISTPOOL_STORE_MEMORY"] = str(int(object_store_memory))
    if spill := kwargs.get("_object_spilling_directory"):
        environment["DISTPOOL_SPILL_DIR"] = str(spill)
    if joins:
        cluster: Any = _attached(address)
    else:
        cluster = EmbeddedCluster(resources=amounts, labels=dict(labels or {}), environment=environment)
    if not log_to_driver:
        cluster.prints = "off"
    client.start(cluster)
    here()
    job.forget()
    job.namespace = namespace or getattr(job_config, "ray_namespace", None) or ""
    job.detaches = getattr(job_config, "default_actor_lifetime", None) == "detached"
    runtime_env = runtime_env or getattr(job_config, "runtime_env", None)
    if runtime_env:
        session = client.session()
        session.contact  # noqa: B018  # its cluster is up then, and has a directory
        try:
            job.runtime_env = prepare(runtime_env, session.cluster.directory).env
        except BaseException:
            client.shutdown()
            raise
    return _context(_dashboard(dashboard, include_dashboard, dashboard_host, dashboard_port))


def _dashboard(dashboard: bool | int | str | None, include: bool | None, host: str, port: int | None) -> str:
    """Serve the page, if it is wanted; its address, "" if not."""
    if dashboard is None and include:
        anywhere = port is None and host == "127.0.0.1"
        dashboard = True if anywhere else f"{host}:{port or 0}"
    if dashboard is None or dashboard is False:
        return ""
    from distpool.dashboards import open_dashboard

    try:
        return open_dashboard(dashboard)
    except BaseException:
        client.shutdown()
        raise


def _attached(address: str | None) -> AttachedCluster | BridgedCluster:
    """The cluster that is meant by an address, "auto" for one that is known here."""
    address = address or os.environ.get("DISTPOOL_ADDRESS")
    if client.is_elsewhere(address):
        try:
            return client.elsewhere(str(address))
        except ClusterError as error:
            raise ConnectionError(str(error)) from error
    from distpool.cluster_commands import found_cluster
    from distpool.scheduler.shells.attached import AttachedCluster

    try:
        return AttachedCluster(*found_cluster(address))
    except ClusterError as error:
        raise ConnectionError(str(error)) from error


def _amounts(
    num_cpus: float | None,
    num_gpus: float | None,
    resources: Mapping[str, float] | None,
    memory: float | None,
) -> dict[str, float]:
    given = {"CPU": num_cpus, "GPU": num_gpus, "memory": memory, **(resources or {})}
    amounts = {name: float(amount) for name, amount in given.items() if amount is not None}
    for name, amount in amounts.items():
        if amount < 0:
            raise ValueError(f"a node cannot have {amount:g} of {name}: an amount is zero or more")
    return amounts


def _no_such_argument(names: list[str]) -> str:
    import difflib
    import inspect

    known = [name for name in inspect.signature(init).parameters if name != "kwargs"]
    parts = []
    for name in names:
        near = difflib.get_close_matches(name, known, 1)
        parts.append(f"{name} (did you mean {near[0]}?)" if near else name)
    return f"init has no argument {', '.join(parts)}"


def _context(dashboard_url: str = "") -> Context:
    session = client.session()
    context = Context(
        {
            "node_id": node_id_of(session.cluster.node),
            "node_ip_address": "127.0.0.1",
            "session_name": session.core.owner,
            "address": f"local:{session.core.owner}",
            "gcs_address": f"local:{session.core.owner}",
            "object_store_address": "",
            "raylet_ip_address": "127.0.0.1",
            "webui_url": dashboard_url,
        }
    )
    context.dashboard_url = dashboard_url
    return context


def is_initialized() -> bool:
    """Whether remote calls have a session: from ``init`` or the first of them until ``shutdown``; in a worker, yes."""
    if worker_start.this_worker is not None:
        return True
    session = client.current()
    return session is not None and session.remote is not None


def shutdown(*, wait_for_processes: bool = False, _exiting_interpreter: bool = False) -> None:
    """End the session and everything that runs in it. Does nothing where there is none, and in workers.

    Args:
        wait_for_processes: they are waited for in any case.
    """
    if worker_start.this_worker is not None:
        return
    job.forget()
    if (dashboards := sys.modules.get("distpool.dashboards")) is not None:
        dashboards.close_dashboard()
    if client.current() is not None:
        client.shutdown()
        refs.session_ended()
