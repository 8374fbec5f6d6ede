"""A cluster's figures. Each row measures what it compares with in the same run, in turns, and gives the ratio too.

Hosts are network namespaces of this machine, so a node's processors are everybody's: what moves is encrypted and
decrypted by the same cores, and the rates are no network's.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping

from benchmarks.model import Better, Metric, Row, Session, Target

TITLE = "Clusters"


def _by(name: str) -> Callable[[Session], Mapping[str, float]]:
    """What a module of ``benchmarks.cluster`` measures. It is imported then: libraries' own interpreters lack zmq."""

    def measure(session: Session) -> Mapping[str, float]:
        return importlib.import_module(f"benchmarks.cluster.{name}").measure(session)  # type: ignore[no-any-return]

    return measure


def _metric(
    key: str,
    title: str,
    unit: str,
    better: Better = "higher",
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    limit: str = "",
) -> Metric:
    targets: tuple[Target, ...] = ()
    if at_least is not None:
        targets = (Target(f"≥ {at_least:g} {unit}", at_least=at_least),)
    elif at_most is not None:
        targets = (Target(f"≤ {at_most:g} {unit}", at_most=at_most),)
    return Metric(key, title, unit, better, targets, limit)


def _row(
    key: str,
    measure: Callable[[Session], Mapping[str, float]],
    *metrics: Metric,
    count: int = 1,
    timeout_s: float = 120.0,
    rounds_max: int | None = None,
    needs: tuple[str, ...] = (),
) -> Row:
    return Row(
        key=f"cluster-{key}",
        metrics=metrics,
        ours="cluster",
        peers=(),
        count=count,
        measure=measure,
        timeout_s=timeout_s,
        rounds_max=rounds_max,
        needs=needs,
    )


ROWS = (
    _row(
        "tasks",
        _by("remote_tasks"),
        _metric("there", "empty tasks on another node", "tasks/s"),
        _metric("here", "empty tasks on the driver's node", "tasks/s"),
        _metric("ratio", "rate on another node, of that on its own", "x", at_least=0.5),
        _metric("there_one", "empty tasks on another node, one at a time", "tasks/s"),
        _metric("here_one", "empty tasks on the driver's node, one at a time", "tasks/s"),
        count=30_000,
    ),
    _row(
        "transfer",
        _by("transfer"),
        _metric("move", "an object of 256 MiB to another node", "MB/s"),
        _metric("stream", "a bare CURVE stream of 1 MiB messages, dropped", "MB/s"),
        _metric("kept", "the same stream, written to fresh shared memory", "MB/s"),
        _metric("box", "crypto_box of libsodium, one core", "MB/s"),
        _metric("of_stream", "object, of the stream that is dropped", "%", at_least=80),
        _metric("of_kept", "object, of the stream that is kept", "%"),
        _metric("of_box", "object, of crypto_box", "%", at_least=60),
        _metric("of_stream_cpu", "processor time of the stream, of that of both agents", "%"),
        count=5,
        needs=("numpy", "pynacl"),
    ),
    _row(
        "broadcast",
        _by("broadcast"),
        _metric("one", "1 GiB to one node by a link of 50 MiB/s", "s", "lower"),
        _metric("all", "1 GiB to eight nodes by such links", "s", "lower"),
        _metric("ratio", "eight nodes, of one", "x", "lower", at_most=2.5),
        count=1024,
        timeout_s=400.0,
        rounds_max=1,
    ),
    _row(
        "losses",
        _by("losses"),
        _metric("worker_here", "a killed worker is noticed, on the driver's node", "s", "lower", at_most=0.1),
        _metric("worker_there", "a killed worker is noticed, on another node", "s", "lower", at_most=0.1),
        _metric("agent", "a killed agent is noticed", "s", "lower", at_most=1.0),
        _metric("silent", "a stopped node is noticed", "s", "lower", at_most=10.0),
        rounds_max=1,
    ),
    _row(
        "head-restart",
        _by("head_restart"),
        _metric("first", "killed head: its first answer", "s", "lower"),
        _metric(
            "full",
            "killed head: 1,000 names looked up, 1,000 actors called, one more made",
            "s",
            "lower",
            at_most=3.0,
        ),
        count=1000,
        timeout_s=300.0,
        rounds_max=1,
    ),
    _row(
        "joining",
        _by("joining"),
        _metric("command", "`distpool start --address`: the command has ended", "s", "lower"),
        _metric(
            "usable", "`distpool start --address`: a worker of the node has worked", "s", "lower", at_most=1.0
        ),
    ),
    _row(
        "idle",
        _by("idle"),
        _metric("embedded", "idle agent of a program's own session", "% of a core", "lower", at_most=0.5),
        _metric(
            "head", "idle agent and head of a cluster of three nodes", "% of a core", "lower", at_most=0.5
        ),
        _metric("node", "idle agent of a node that has joined", "% of a core", "lower", at_most=0.5),
        rounds_max=1,
    ),
)
