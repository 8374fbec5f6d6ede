"""A program that wants more than there is. Prints, as JSON, where its calls ran and how long the first one took."""

from __future__ import annotations

import json
import sys
import time

import distpool
from distpool.autoscaler.sdk import request_resources
from distpool.scheduler.node_identity import current_node


@distpool.remote(num_cpus=2)
def where(for_s: float) -> str:
    time.sleep(for_s)
    return current_node()


def main(calls: int, for_s: float) -> None:
    distpool.init()
    if not calls:  # it only wants room, before there is work
        request_resources(num_cpus=3)
        sys.stdin.read()
        return
    began_s = time.monotonic()
    refs = [where.remote(for_s) for _ in range(calls)]
    distpool.wait(refs)
    first_s = time.monotonic() - began_s - for_s
    print(json.dumps({"nodes": sorted(distpool.get(refs)), "first_s": round(first_s, 2)}))
    distpool.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
