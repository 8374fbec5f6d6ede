"""All hosts of a cluster at one time: ``bring_up`` and ``take_down``.

::

    host 1  look ─ set up ─ start --head ─┐                         (a thread for each host)
    host 2  look ─ set up ─ ──────────────┴► start --address ──► ok
    host 3  look ─ no answer ────────────────────────────────► failed: why           the others go on

Both may be said again, and do what is left to be done. The secret goes to a host by SSH, on the standard input of what
starts its node; if this machine has none, that of a running head is taken. Not here: what is done to one host
(``machine``), files (``distpool.cluster_file``), and printing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from distpool.errors import ClusterError
from distpool.ssh.connection import SshError, private_folder
from distpool.ssh.machine import Machine, Seen
from distpool.ssh.spec import HostSpec
from distpool.ssh.wheel import this_digest

__all__ = ["Outcome", "Plan", "bring_up", "node_words", "take_down"]

#: So many hosts are spoken to at one time.
AT_ONCE_MAX = 64
#: Called with the name of a host and what is being done there.
Say = Callable[[str, str], None]


@dataclass(frozen=True)
class Plan:
    """A cluster as it should be: the first of the ``hosts`` has the head, which listens at ``port``.

    ``secret`` is called with that of the cluster, if it runs already, and returns the one to start with; it keeps it.
    """

    hosts: tuple[HostSpec, ...]
    port: int
    packages: tuple[str, ...]
    secret: Callable[[str], str]
    head_words: tuple[str, ...] = ()


@dataclass
class Outcome:
    """What has become of a host: ``failure`` says why it is not as it should be, ``changed`` if anything was done."""

    name: str
    address: str = ""
    changed: bool = False
    failure: str = ""
    remarks: list[str] = field(default_factory=list)


def bring_up(plan: Plan, say: Say) -> list[Outcome]:
    """Set up and start whatever is not. Returns what has become of each host, in the order of the plan."""
    head: Future[tuple[str, str]] = Future()  # where it is, and the cluster's secret
    return _on_all(plan.hosts, lambda machine, outcome: _bring_up(plan, machine, outcome, head, say), head)


def _bring_up(
    plan: Plan, machine: Machine, outcome: Outcome, head: Future[tuple[str, str]], say: Say
) -> None:
    spec, first = machine.spec, machine.spec is plan.hosts[0]
    seen = machine.look()
    node = seen.node(spec.name)
    if node is None and machine.lacks(seen, plan.packages):
        say(spec.name, "installs distpool" if seen.digest != this_digest() else "installs packages")
        machine.set_up(plan.packages)
        outcome.changed = True
        if first:
            seen = machine.look()
    address = spec.address or seen.reached_at or "127.0.0.1"
    if first:
        place = f"{address}:{plan.port}" if node is None else str(node["at"])
        secret = plan.secret(seen.secret if node is not None else "")
    else:
        place, secret = head.result()
    if node is None:
        say(spec.name, "starts its node")
        role = ["--head", "--port", str(plan.port), *plan.head_words] if first else ["--address", place]
        if spec.node_port and not first:
            role += ["--port", str(spec.node_port)]
        machine.start([*role, *node_words(spec, spec.name, address)], secret)
        outcome.changed = True
    else:
        _compare(node, place, seen, spec, outcome)
    outcome.address = place if first else address
    if first:
        head.set_result((place, secret))
    say(spec.name, "is up" if outcome.changed else "is up, and nothing was to be done")


def _compare(node: dict[str, object], place: str, seen: Seen, spec: HostSpec, outcome: Outcome) -> None:
    """Look at a node that runs already. Raises SshError if it belongs to another cluster."""
    if node["cluster"] != place:
        raise SshError(
            f"a node named {spec.name} runs there, in the cluster of {node['cluster']}: end it there "
            f"(`distpool stop {spec.name}`), or give this one another name"
        )
    if seen.digest != this_digest():
        outcome.remarks.append("runs another distpool than this machine's: `distpool down` and `up` renew it")


def node_words(spec: HostSpec, name: str, address: str) -> list[str]:
    """What ``distpool start`` is told of a host's node, whether it has the head or joins."""
    words = ["--name", name, "--host", address]
    for option, value in (("--num-cpus", spec.num_cpus), ("--num-gpus", spec.num_gpus)):
        if value is not None:
            words += [option, f"{value:g}"]
    if spec.resources:
        words += ["--resources", json.dumps(spec.resources)]
    if spec.labels:
        words += ["--labels", json.dumps({key: str(value) for key, value in spec.labels.items()})]
    return words


def take_down(hosts: Sequence[HostSpec], place: str, say: Say) -> list[Outcome]:
    """End the nodes of these hosts: first those that have joined, which end what they run, and then the head.

    Last come nodes that were started by demand: so that none is started in another's place. ``place``: where the head
    is, as far as that is known; what belongs to another cluster stays.
    """

    def work(machine: Machine, outcome: Outcome) -> None:
        _take_down(machine, place, outcome, say)

    by_demand = [spec for spec in hosts if spec.on_demand]
    joined = [spec for spec in hosts[1:] if not spec.on_demand]
    done = [outcome for some in (joined, hosts[:1], by_demand) for outcome in _on_all(some, work)]
    order = [spec.name for spec in hosts]
    return sorted(done, key=lambda outcome: order.index(outcome.name))


def _take_down(machine: Machine, place: str, outcome: Outcome, say: Say) -> None:
    spec, seen = machine.spec, machine.look()
    names = [node["node"] for node in seen.nodes if place and node["cluster"] == place and spec.on_demand]
    if seen.node(spec.name) is not None and not spec.on_demand:
        names = [spec.name]
    if not names:
        say(spec.name, "no node runs there")
        return
    say(spec.name, "ends its node")
    for name in names:
        machine.stop(name)
    outcome.changed = True
    say(spec.name, "has ended")


def _on_all(
    hosts: Sequence[HostSpec],
    work: Callable[[Machine, Outcome], None],
    head: Future[tuple[str, str]] | None = None,
) -> list[Outcome]:
    """Do this on all of them at one time. If the first fails, so does whoever waits for ``head``."""
    if not hosts:
        return []
    outcomes = [Outcome(spec.name) for spec in hosts]
    with private_folder() as folder, ThreadPoolExecutor(min(len(hosts), AT_ONCE_MAX)) as threads:

        def on_one(spec: HostSpec, outcome: Outcome) -> None:
            try:
                with Machine(spec, folder) as machine:
                    work(machine, outcome)
            except (ClusterError, ValueError, OSError) as error:
                outcome.failure = str(error)
            finally:
                if head is not None and spec is hosts[0] and not head.done():
                    head.set_exception(
                        SshError(f"nothing was started, since the head, {spec.name}, is not up")
                    )

        list(threads.map(on_one, hosts, outcomes))
    return outcomes
