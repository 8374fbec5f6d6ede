"""Where an array cannot be read on its device: another node, another device, no permission, no room, no handles."""

from __future__ import annotations

import pytest

from .ground import Ground
from .test_workers import HEAD

#: Ten times there and back; what has come is right.
ROUNDS = """
with distpool.Pool(1, resources={RESOURCES}) as pool:
    for value in range(1, 6):
        mine = array(float(value))
        assert mean(pool.apply(double, (mine,))) == 2 * value
        OWN[0] -= mine.data.mem.size
        del mine
    back()
print("right")
"""


def rounds(ground: Ground, resources: str = "None", **env: str) -> None:
    assert ground.tell(ROUNDS.replace("{RESOURCES}", resources), HEAD, **env) == "right\n"


def test_as_it_should_be(ground: Ground) -> None:
    rounds(ground)
    assert (ground.opened, ground.notes()["device to host"]) == (10, 0)


def test_where_there_can_be_no_handles_it_is_tried_once(ground: Ground) -> None:
    rounds(ground, STAND_IN_HANDLES="0")
    notes = ground.notes()
    assert (notes["opened"], notes["device to host"], notes["host to device"]) == (0, 10, 10)
    assert notes["device to device"] == 0
    assert notes["no handle"] == 2, "one process each way"


def test_where_nobody_may_open_a_handle_no_more_are_made(ground: Ground) -> None:
    """As in a container without the permission to look into others' memory."""
    rounds(ground, STAND_IN_OPEN="0")
    notes = ground.notes()
    assert (notes["not permitted"], notes["device to host"], notes["host to device"]) == (2, 10, 10)
    assert notes["device to device"] == 2


def test_it_can_be_switched_off(ground: Ground) -> None:
    rounds(ground, DISTPOOL_DEVICE_IPC="0")
    notes = ground.notes()
    assert (notes["device to host"], notes["host to device"], notes["device to device"]) == (10, 10, 0)


def test_over_the_host_it_goes_in_pieces_through_two_pinned_buffers(ground: Ground) -> None:
    told = ground.tell("""
import cupy, numpy
mine = cupy.arange(5 * 16 * MIB + 3, dtype=float)
with distpool.Pool(1) as pool:
    result = pool.apply(double, (mine,))
    print((result.host == 2 * numpy.arange(5 * 16 * MIB + 3)).all())
""", HEAD, DISTPOOL_DEVICE_IPC="0")  # fmt: skip
    assert told == "True\n"
    notes = ground.notes()
    assert (notes["device to host"], notes["host to device"], notes["pinned"]) == (12, 12, 8)
    assert max(pinned_bytes(ground)) == 16 << 20


def pinned_bytes(ground: Ground) -> list[int]:
    lines = (ground.place / "notes").read_text().splitlines()
    return [int(line.split()[-1]) for line in lines if "pinned" in line]


def test_a_worker_on_another_device(ground: Ground) -> None:
    """It does not see the program's, nor that the worker's: by way of the host, both ways."""
    told = ground.tell("""
with distpool.Pool(2, resources={"GPU": 1}) as pool:
    for _ in range(3):
        assert [mean(x) for x in pool.map(double, [array(1.0), array(2.0)], chunksize=1)] == [2.0, 4.0]
    seen = set()
    while len(seen) < 2:
        seen |= set(pool.map(sees, range(4), chunksize=1))
print(sorted(seen))
""", HEAD + "\ndef sees(_):\n    return os.environ['CUDA_VISIBLE_DEVICES']\n", CUDA_VISIBLE_DEVICES="0,1")  # fmt: skip
    assert told == "['0', '1']\n"
    notes = ground.notes()
    assert notes["not permitted"] == 0
    assert notes["device to host"] > 0


def test_a_device_has_another_number_elsewhere(ground: Ground) -> None:
    """It is known by what it is; arrays come to the device that they were on, whatever that is called."""
    told = ground.tell("""
import cupy
with distpool.Pool(1, resources={"GPU": 1}) as pool, cupy.cuda.Device(1):
    mine = array(3.0)
    result = pool.apply(double, (mine,))
    print(mean(result), mine.device.id, result.device.id, pool.apply(sees, (0,)))
""", HEAD + "\ndef sees(_):\n    return os.environ['CUDA_VISIBLE_DEVICES']\n", CUDA_VISIBLE_DEVICES="1,0")  # fmt: skip
    assert told == "6.0 1 0 1\n"
    assert ground.opened == 1, (
        "the worker has device 1, which this program calls 0: its result alone is read there"
    )


def test_where_the_device_has_no_room_for_a_copy(ground: Ground) -> None:
    told = ground.tell("""
mine, other = array(1.0, 10 * MIB), array(2.0, 10 * MIB)
ref = distpool.put(mine)
del other
print(distpool.get(gpu(mean).remote(ref)))
""", HEAD, STAND_IN_BYTES=str(25 << 20))  # fmt: skip
    assert told == "1.0\n"
    notes = ground.notes()
    assert (notes["opened"], notes["device to host"]) == (0, 1)
    assert notes["freed all"] == 1, "what CuPy's pool keeps was given back first"


def test_where_the_store_has_no_room_either(ground: Ground) -> None:
    """The call fails, alone; what could not be brought to the host is there still for who can read the device."""
    told = ground.tell("""
from distpool.errors import CannotUnpickle
ref = distpool.put(array(1.0, 4 * MIB))
with distpool.Pool(1) as pool:
    try:
        pool.apply(mean, (array(2.0, 4 * MIB),))
    except CannotUnpickle as error:
        print("StoreFull: an array of a GPU" in str(error))
print(mean(distpool.get(ref)))
""", HEAD, STAND_IN_OPEN="0", DISTPOOL_STORE_MEMORY="1MB", DISTPOOL_SPILL_LIMIT="1MB")  # fmt: skip
    assert told == "True\n1.0\n"


def test_in_a_session_without_a_program_of_its_own_cupy_is_not_imported(ground: Ground) -> None:
    told = ground.tell("""
with distpool.Pool(1) as pool:
    pool.map(len, [[1], [2]])
    print("cupy" in sys.modules, pool.apply(eval, ("'cupy' in __import__('sys').modules",)))
""")  # fmt: skip
    assert told == "False False\n"


@pytest.mark.parametrize("way", ["argument", "result", "reference"])
def test_another_node(ground: Ground, way: str) -> None:
    """Its processes see neither this node's store nor, as far as anybody knows, its devices."""
    told = ground.tell(f"""
from distpool.scheduler import client
from distpool.scheduler.shells.joining import JoiningAgent
distpool.get(distpool.remote(os.getpid).remote())
session = client.session()
b = JoiningAgent(session.cluster.address("agent"), "b")
there = {{"GPU": 0.1, "node:b": 0.01}}
{BY_WAY[way]}
back()
""", HEAD)  # fmt: skip
    assert told == "6.0\n"
    assert ground.notes()["host to device"] == 1, "not between two calls of that node"


BY_WAY = {
    "argument": """
with distpool.Pool(1, resources=there) as pool:
    mine = array(6.0)
    print(pool.apply(mean, (mine,)))
""",
    "result": """
with distpool.Pool(1, resources=there) as pool:
    print(mean(pool.apply(make, (6.0,))))
""",
    "reference": """
ref = gpu(make).options(resources={"node:b": 0.01}).remote(3.0)
twice = gpu(double).options(resources={"node:b": 0.01}).remote(ref)
print(distpool.get(gpu(mean).remote(twice)))
del ref, twice
""",
}
