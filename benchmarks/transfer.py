"""Moving an object between two nodes, against what the same bytes cost a bare encrypted stream, in turns.

    python -m benchmarks.transfer [ROUNDS]        (needs pynacl, which is no part of distpool)

- stream: 256 MiB by ZeroMQ with CURVE over loopback, in messages of 1 MiB, with as much under way as a pull has.
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
from collections.abc import Callable
from typing import Any

import psutil
import zmq

SIZE = 256 << 20
PIECE = 1 << 20
WINDOW = 8  # pieces
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

    def run(self) -> None:
        asked, came, count = WINDOW, 0, SIZE // PIECE
        self._socket.send(str(WINDOW).encode())
        while came < count:
            self._socket.recv(copy=False)
            came += 1
            if asked < count and asked - came <= WINDOW // 2:
                more = min(WINDOW // 2, count - asked)
                self._socket.send(str(more).encode())
                asked += more

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


def main() -> None:
    """Print a line for each round, and the medians."""
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
    rates: list[tuple[float, float, float]] = []
    try:
        distpool.get(timed_get.remote([distpool.put(array[:PIECE])]))
        for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS):
            rates.append(_round(stream, encrypt, agents, lambda: distpool.put(array), timed_get))
            time.sleep(_LINGERS_S)
    finally:
        there.stop()
        stream.close()
    medians = [statistics.median(column) for column in zip(*rates, strict=True)]
    print(
        f"move: {medians[2]:.0f} MB/s, {medians[2] / medians[0]:.2f} of a stream,"
        f" {medians[2] / medians[1]:.2f} of crypto_box (medians)"
    )


def _round(
    stream: Stream,
    encrypt: Callable[[], None],
    agents: tuple[int, ...],
    put: Callable[[], Any],
    timed_get: Any,
) -> tuple[float, float, float]:
    import distpool

    sides = (os.getpid(), stream.server.pid or 0)
    times = []
    before_s = _processor_s(*sides)
    for what in (stream.run, encrypt):
        start_s = time.perf_counter()
        what()
        times.append(time.perf_counter() - start_s)
        if what == stream.run:
            stream_s = _processor_s(*sides) - before_s
    reference = put()
    before_s = _processor_s(*agents)
    times.append(distpool.get(timed_get.remote([reference])))
    agents_s = _processor_s(*agents) - before_s
    rates = [SIZE / 1e6 / each for each in times]
    print(
        "stream {:.0f}, crypto_box {:.0f}, move {:.0f} MB/s;".format(*rates),
        f"processors: stream {stream_s:.2f} s, agents {agents_s:.2f} s",
        flush=True,
    )
    return rates[0], rates[1], rates[2]


if __name__ == "__main__":
    main()
