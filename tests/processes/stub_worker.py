"""What a worker of these tests runs: it says hello on its data link, then does what its owner tells it, literally."""

from __future__ import annotations

import os
import subprocess

import zmq

from distpool.scheduler.messages import LeaseHello, Results, WorkerHello, encode
from distpool.scheduler.shells.frames import frame
from distpool.scheduler.shells.links import dealer
from distpool.scheduler.shells.worker_start import WorkerStart


def main(start: WorkerStart) -> int:
    attach = start.attach
    assert attach is not None
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    agent = dealer(context, f"ipc://{start.directory}/agent", b"w:%d" % start.worker)
    agent.send(encode(WorkerHello(start.worker, os.getpid())))
    data = dealer(context, attach.address, f"d:{attach.lease}".encode())
    data.send(encode(LeaseHello(attach.lease, attach.pool, start.node, start.host, os.getpid())))
    while True:
        word, *rest = data.recv().decode().split()
        match word:
            case "slot":
                start.slot[0], start.slot[1] = int(rest[0]), int(rest[1])
                data.send(b"done")
            case "read-slot":
                data.send(f"{start.slot[0]} {start.slot[1]}".encode())
            case "answers":
                with open(f"{start.directory}/worker-{start.worker}.answers", "wb") as file:
                    file.write(
                        frame(encode(Results([7], ["seven"]))) + frame(encode(Results([8], ["eight"])))[:-2]
                    )
                data.send(b"done")
            case "fault":
                with open(f"{start.directory}/worker-{start.worker}.fault", "w") as file:
                    file.write("\n".join(f"line {n}" for n in range(100)))
                data.send(b"done")
            case "spawn":
                child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
                data.send(str(child.pid).encode())
            case "exit":
                return int(rest[0])
            case "raise":
                raise LookupError("no such thing")


def unclean(start: WorkerStart) -> int:
    """Never reached: see ``two_threaded``."""
    raise AssertionError(f"forked worker {start.worker} from an unclean nursery")
