"""Moving an object between two nodes, against what the same bytes cost a bare encrypted stream, in turns.

    python -m benchmarks.cluster.transfer [ROUNDS]        (needs pynacl, which is no part of distpool)

- stream: 256 MiB by ZeroMQ with CURVE over loopback, in messages of 1 MiB, with as much under way as a pull has.
- kept: the same, and each message is written to shared memory that has no pages yet, as a copy has to be.
- crypto_box: libsodium encrypts the same on one core.
- move: `distpool.get` in a task on a second node, of what `distpool.put` has put at home; both listen on loopback.

Beside the rates stands what the two sides of the stream, and the two agents, took of the processors' time: on a
machine that has less to give than all of these want, the rates tell how that is shared, and the seconds what it costs.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import psutil
import zmq

from benchmarks.model import Session

SIZE = 256 << 20
PIECE = 1 << 20
WINDOW = 16  # pieces
ROUNDS = 5
_LINGERS_S = 2.5  # a copy is kept for a while


def _serve(ready: Any, public: bytes, secret: bytes) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.ROUTER)
    socket.curve_server, socket.curve_publickey, socket.curve_secretkey = True, public, secret
    socket.setsockopt(zmq.SNDHWM, 0)
    ready.put(socket.bind_to_random_port("tcp://127.0.0.1"))
    data = os.urandom(PIECE)
    while True:
        peer, count = socket.recv_multipart()
        if not int(count):
            return
        for _ in range(int(count)):
            socket.send_multipart([peer, data], copy=False)


class Stream:
    """The other side is a process of its own."""

    def __init__(self) -> None:
        public, secret = zmq.curve_keypair()
        ready: Any = multiprocessing.Queue()
        self.server = multiprocessing.Process(target=_serve, args=(ready, public, secret))
        self.server.start()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.curve_publickey, self._socket.curve_secretkey = zmq.curve_keypair()
        self._socket.curve_serverkey = public
        self._socket.setsockopt(zmq.RCVHWM, 0)
        self._socket.connect(f"tcp://127.0.0.1:{ready.get()}")

    def run(self, keep: int | None = None) -> None:
        """``keep``: a file that all of it is written to."""
        asked, came, count = WINDOW, 0, SIZE // PIECE
        self._socket.send(str(WINDOW).encode())
        while came < count:
            piece = self._socket.recv(copy=False)
            if keep is not None:
                os.pwrite(keep, piece.buffer, came * PIECE)
            came += 1
            if asked < count and asked - came <= WINDOW // 2:
                more = min(WINDOW // 2, count - asked)
                self._socket.send(str(more).encode())
                asked += more

    def run_kept(self) -> None:
        """The memory is new each time."""
        file = os.memfd_create("kept")
        try:
            self.run(file)
        finally:
            os.close(file)

    def close(self) -> None:
        self._socket.send(b"0")
        self.server.join()
        self._context.destroy(linger=0)


def _boxes() -> Callable[[], None]:
    from nacl.public import Box, PrivateKey

    box, data = Box(PrivateKey.generate(), PrivateKey.generate().public_key), os.urandom(PIECE)

    def encrypt() -> None:
        for number in range(SIZE // PIECE):
            box.encrypt(data, number.to_bytes(Box.NONCE_SIZE, "big"))

    return encrypt


def _processor_s(*pids: int) -> float:
    ticks = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _timed_get(references: list[Any]) -> float:
    import distpool

    start_s = time.perf_counter()
    distpool.get(references[0])
    return time.perf_counter() - start_s


def measure(session: Session) -> Mapping[str, float]:
    """As a row: medians of ``count`` rounds."""
    return _medians(_rounds(session.count))


def main() -> None:
    """Print a line for each round, and the medians."""
    medians = _medians(_rounds(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS))
    print("medians: " + ", ".join(f"{key} {value:.0f}" for key, value in medians.items()))


def _medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    found = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
    return {
        **{key: found[key] for key in ("move", "stream", "kept", "box")},
        "of_stream": 100.0 * found["move"] / found["stream"],
        "of_kept": 100.0 * found["move"] / found["kept"],
        "of_box": 100.0 * found["move"] / found["box"],
        "of_stream_cpu": 100.0 * found["stream_s"] / found["agents_s"],
    }


def _rounds(count: int) -> list[dict[str, float]]:
    stream, encrypt = Stream(), _boxes()

    import numpy as np

    import distpool
    from distpool.scheduler import client
    from distpool.scheduler.shells.embedded import EmbeddedCluster
    from distpool.scheduler.shells.joining import JoiningAgent

    secret = os.urandom(16).hex()
    client.start(EmbeddedCluster(listen="127.0.0.1:0", secret=secret))
    with distpool.Pool(1) as pool:
        pool.apply(abs, (1,))
    cluster: Any = client.session().cluster
    there = JoiningAgent(cluster.port_address, "there", {"CPU": 1.0}, listen="127.0.0.1:0", secret=secret)
    timed_get = distpool.remote(_timed_get).options(num_cpus=0, resources={"node:there": 0.001})
    array = np.frombuffer(os.urandom(SIZE), np.uint8)
    agents = tuple(
        child.pid
        for child in psutil.Process().children()
        if child.pid == there.pid or "distpool.scheduler.shells.agent" in child.cmdline()
    )
    rounds: list[dict[str, float]] = []
    try:
        distpool.get(timed_get.remote([distpool.put(array[:PIECE])]))
        for _ in range(count):
            rounds.append(_round(stream, encrypt, agents, lambda: distpool.put(array), timed_get))
            time.sleep(_LINGERS_S)
    finally:
        there.stop()
        stream.close()
    return rounds


def _round(
    stream: Stream,
    encrypt: Callable[[], None],
    agents: tuple[int, ...],
    put: Callable[[], Any],
    timed_get: Any,
) -> dict[str, float]:
    import distpool

    sides = (os.getpid(), stream.server.pid or 0)
    rates: dict[str, float] = {}
    before_s = _processor_s(*sides)
    for key, what in (("stream", stream.run), ("kept", stream.run_kept), ("box", encrypt)):
        start_s = time.perf_counter()
        what()
        rates[key] = SIZE / 1e6 / (time.perf_counter() - start_s)
        if key == "stream":
            stream_s = _processor_s(*sides) - before_s
    reference = put()
    before_s = _processor_s(*agents)
    rates["move"] = SIZE / 1e6 / distpool.get(timed_get.remote([reference]))
    agents_s = _processor_s(*agents) - before_s
    print(
        ", ".join(f"{key} {rate:.0f}" for key, rate in rates.items()),
        f"MB/s; processors: stream {stream_s:.2f} s, agents {agents_s:.2f} s",
        flush=True,
    )
    return {**rates, "stream_s": stream_s, "agents_s": agents_s}


if __name__ == "__main__":
    main()
