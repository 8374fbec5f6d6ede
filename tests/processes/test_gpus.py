"""GPUs as workers see them: CUDA_VISIBLE_DEVICES, which is set before any code of the user's. (None is needed.)"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.processes.harness import ROOT
from tests.processes.scene import run

HEAD = """
import os
import distpool

def seen(*_):
    return os.environ.get("CUDA_VISIBLE_DEVICES")

@distpool.remote
class Holder:
    def __init__(self):
        self.at_start = seen()

    def seen(self):
        return self.at_start, seen(), distpool.get_gpu_ids()

def held(*amounts):
    holders = [Holder.options(num_gpus=amount).remote() for amount in amounts]
    return holders, distpool.get([holder.seen.remote() for holder in holders], timeout=60)

if __name__ == "__main__":
"""


def tell(body: str, **env: str) -> str:
    lines = "".join(f"    {line}\n" for line in body.strip().splitlines())
    return run(HEAD + lines, env={"CUDA_VISIBLE_DEVICES": "", **env})


def test_shares_and_whole_ones() -> None:
    assert tell("""
distpool.init(num_cpus=4, num_gpus=3)
holders, told = held(0.5, 0.5, 2)
print(told)
""") == "[('0', '0', [0]), ('0', '0', [0]), ('1,2', '1,2', [1, 2])]\n"  # fmt: skip


def test_the_drivers_own_names_are_passed_on() -> None:
    told = tell("distpool.init(num_cpus=4)\nprint(held(1, 1)[1])", CUDA_VISIBLE_DEVICES="4,GPU-ab,7")
    assert told == "[('4', '4', [4]), ('GPU-ab', 'GPU-ab', ['GPU-ab'])]\n"


def test_a_device_is_given_back_with_its_worker() -> None:
    assert tell("""
distpool.init(num_cpus=4, num_gpus=1)
for _ in range(3):
    (holder,), told = held(1)
    print(told)
    distpool.kill(holder)
""") == "[('0', '0', [0])]\n" * 3  # fmt: skip


def test_a_task_without_gpus_sees_none_of_those_that_there_are() -> None:
    assert tell("""
distpool.init(num_cpus=2, num_gpus=2)
print(repr(distpool.get(distpool.remote(seen).remote(), timeout=60)), held(0)[1])
""", CUDA_VISIBLE_DEVICES="2,3") == "'' [('', '', [])]\n"  # fmt: skip


def test_where_there_are_none_nothing_is_touched() -> None:
    told = tell("print(distpool.get(distpool.remote(seen).remote(), timeout=60))", CUDA_VISIBLE_DEVICES="-1")
    assert told == "-1\n"


@pytest.mark.parametrize(("resources", "told"), [("{'GPU': 1}", "{'2', '3'}"), ("None", "{'2,3'}")])
def test_a_pool(resources: str, told: str) -> None:
    """Its workers have those that they ask for; without a word of GPUs they see what their parent sees."""
    code = f"""
with distpool.Pool(2, resources={resources}) as pool:
    found = set()
    while len(found) < len({told}):
        found |= set(pool.map(seen, range(16), chunksize=1))
    print(found == {told})
"""
    assert tell(code, CUDA_VISIBLE_DEVICES="2,3") == "True\n"


def test_a_runtime_env_may_still_say_otherwise() -> None:
    assert tell("""
distpool.init(num_cpus=2, num_gpus=1)
env = {"env_vars": {"CUDA_VISIBLE_DEVICES": "9"}}
print(distpool.get(distpool.remote(seen).options(num_gpus=1, runtime_env=env).remote(), timeout=60))
""") == "9\n"  # fmt: skip


def test_whatever_runs_first_sees_them(tmp_path: Path) -> None:
    """A module that a worker imports for its initializer, its task or its actor; and what these do first."""
    (tmp_path / "early.py").write_text("""
import os
SEEN = [os.environ.get("CUDA_VISIBLE_DEVICES")]

def initialize():
    SEEN.append(os.environ.get("CUDA_VISIBLE_DEVICES"))

def told(*_):
    return SEEN

class Holder:
    def __init__(self):
        initialize()
    def told(self):
        return SEEN
""")
    assert tell("""
import early
from distpool.futures import ProcessPoolExecutor

def say(seen):
    print(len(seen), "times", set(seen) in ({"7"}, {"8"}))

gpu = {"resources": {"GPU": 1}}
with distpool.Pool(1, early.initialize, **gpu) as pool:
    say(pool.apply(early.told))
with ProcessPoolExecutor(1, initializer=early.initialize, **gpu) as executor:
    say(executor.submit(early.told).result())
say(distpool.get(distpool.remote(num_gpus=1)(early.told).remote(), timeout=60))
holder = distpool.remote(num_gpus=1)(early.Holder).remote()
say(distpool.get(holder.told.remote(), timeout=60))
hook = {"worker_process_setup_hook": early.initialize}
say(distpool.get(distpool.remote(num_gpus=1, runtime_env=hook)(early.told).remote(), timeout=60))
""", CUDA_VISIBLE_DEVICES="7,8", PYTHONPATH=os.pathsep.join([str(tmp_path), ROOT])) == (
        "2 times True\n" * 2 + "1 times True\n" + "2 times True\n" * 2
    )  # fmt: skip
