"""What a task leaves in the memory of its device, as caching allocators do: it goes with its worker; and when."""

from __future__ import annotations

from .ground import Ground

HEAD = """
kept = []

def leaves(mib=64):
    "What was in use before, by others."
    before = used()
    kept.append(array(1.0, mib << 17))
    return before

whole = distpool.remote(num_gpus=1)

def back(within_s):
    wait(lambda: used() == 0, "the device's memory is what it was before", within_s)
"""


def test_it_goes_soon_after_the_last_call(ground: Ground) -> None:
    """A worker without work is kept for a second. (The bound is wider: the machine may be busy.)"""
    told = ground.tell("""
task = whole(leaves)
print(distpool.get(task.remote(), timeout=60), used() >> 20)
back(10)
print(distpool.get(task.remote(), timeout=60))
""", HEAD)  # fmt: skip
    assert told == "0 64\n0\n"


def test_who_gets_the_gpu_next_has_all_of_it(ground: Ground) -> None:
    """The worker before is dead by then, whether it wanted to or not: nobody waits for its second."""
    told = ground.tell("""
others = distpool.remote(num_gpus=1, num_cpus=0.5)
for turn in range(4):
    print(distpool.get((whole, others)[turn % 2](leaves).remote(), timeout=60))
""", HEAD)  # fmt: skip
    assert told == "0\n" * 4


def test_a_call_that_is_the_last_of_its_worker_leaves_nothing_for_the_next(ground: Ground) -> None:
    told = ground.tell("""
once = distpool.remote(num_gpus=1, max_calls=1)(leaves)
print(distpool.get([once.remote() for _ in range(3)], timeout=60))
back(10)
""", HEAD)  # fmt: skip
    assert told == "[0, 0, 0]\n"


def test_of_a_killed_worker_nothing_stays(ground: Ground) -> None:
    told = ground.tell("""
def dies():
    leaves()
    os.kill(os.getpid(), signal.SIGKILL)
try:
    distpool.get(distpool.remote(num_gpus=1, max_retries=0)(dies).remote(), timeout=60)
except distpool.exceptions.WorkerCrashedError:
    print(distpool.get(whole(leaves).remote(), timeout=60))
back(10)
""", HEAD)  # fmt: skip
    assert told == "0\n"


def test_a_pool_keeps_its_own_until_it_is_closed(ground: Ground) -> None:
    """As workers of multiprocessing do: what they have loaded is there for the next call."""
    told = ground.tell("""
with distpool.Pool(1, resources={"GPU": 1}) as pool:
    print(pool.apply(leaves), used() >> 20)
back(10)
print(used())
""", HEAD)  # fmt: skip
    assert told == "0 64\n0\n"
