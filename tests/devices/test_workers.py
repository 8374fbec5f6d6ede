"""Arrays of a GPU between a program and its workers, with real processes and signals. (None is needed.)"""

from __future__ import annotations

from .ground import Ground

HEAD = """
MIB = 1 << 17  # of floats: as many numbers as go into 1 MiB

def double(x):
    x += x
    return x

def mean(x):
    return x.sum() / x.size

def make(value, mib=2):
    return array(value, mib * MIB, own=False)

gpu = distpool.remote(num_gpus=0.1)

@gpu
def made(value):
    return make(value), os.getpid()

def end(pid):
    os.kill(pid, signal.SIGKILL)
    wait(lambda: not ground().lives(pid), "its end")

def back():
    wait(lambda: used() == 0, "the device's memory is what it was before")
"""


def test_there_and_back_without_leaving_the_device(ground: Ground) -> None:
    told = ground.tell("""
with distpool.Pool(1) as pool:
    mine = array(1.5)
    result = pool.apply(double, (mine,))
    print(type(result).__module__, mean(result), mean(mine))
    del result
    back()
""", HEAD)  # fmt: skip
    assert told == "cupy 3.0 1.5\n"
    notes = ground.notes()
    assert (notes["opened"], notes["device to host"], notes["host to device"], notes["pinned"]) == (
        2,
        0,
        0,
        0,
    )
    assert notes["device to device"] == 4, "two copies each way"


def test_what_is_written_afterwards_is_nobody_elses(ground: Ground) -> None:
    """A submit copies, before it returns; and each task has an array of its own."""
    told = ground.tell("""
with distpool.Pool(2) as pool:
    mine = array(1.0)
    first = pool.apply_async(mean, (mine,))
    mine += 1
    second = pool.apply_async(mean, (mine,))
    mine += 1
    print(first.get(), second.get())
ref = distpool.put(array(1.0))
print([mean(x) for x in distpool.get([gpu(double).remote(ref) for _ in range(3)])])
a, b = distpool.get([ref, ref])
a += 1
print(mean(a), mean(b))
""", HEAD)  # fmt: skip
    assert told == "1.0 2.0\n[2.0, 2.0, 2.0]\n2.0 1.0\n"


def test_shapes_orders_and_slices_come_as_they_are(ground: Ground) -> None:
    told = ground.tell("""
import cupy, numpy
square = cupy.array(numpy.arange(600 * 500.0).reshape(600, 500))
whole = {"c": square, "f": square.T, "slice": square[::2, 1:], "small": square[0]}
with distpool.Pool(1) as pool:
    for name, there in whole.items():
        here = pool.apply(same, (there,))
        flags = here.flags
        print(name, (here.host == there.host).all(), here.shape, here.dtype, flags.c_contiguous, flags.f_contiguous)
""", HEAD + "\ndef same(x):\n    return x\n")  # fmt: skip
    assert told == (
        "c True (600, 500) float64 True False\n"
        "f True (500, 600) float64 False True\n"
        "slice True (300, 499) float64 True False\n"
        "small True (500,) float64 True True\n"
    )
    assert ground.opened == 6, "what is small goes over the host"


def test_in_one_map_an_array_is_copied_once(ground: Ground) -> None:
    told = ground.tell("""
mine, other = array(1.0), array(2.0)
with distpool.Pool(2) as pool:
    print(sum(pool.map(mean, [mine, other] * 8, chunksize=1)))
""", HEAD)  # fmt: skip
    assert told == "24.0\n"
    assert ground.notes()["device to device"] - ground.opened == 2, "one export for each array"


def test_a_captured_array_is_exported_once_for_all_workers(ground: Ground) -> None:
    told = ground.tell("""
mine = array(3.0)
def use(x):
    return x * mean(mine)
with distpool.Pool(2) as pool:
    print(sum(pool.map(use, range(8), chunksize=1)))
""", HEAD)  # fmt: skip
    assert told == "84.0\n"
    assert ground.notes()["device to device"] - ground.opened == 1


def test_a_result_outlives_its_worker_that_retires(ground: Ground) -> None:
    """Who ends brings what others need to the host."""
    told = ground.tell("""
ref, worker = made.options(num_returns=2).remote(4.0)
worker = distpool.get(worker)
wait(lambda: not ground().lives(worker), "it is idle for long enough")
print(mean(distpool.get(ref)))
del ref
back()
""", HEAD)  # fmt: skip
    assert told == "4.0\n"
    assert ground.opened == 0
    assert ground.notes()["device to host"] == 1


def test_a_worker_is_killed_that_has_exported_and_the_call_is_run_again(ground: Ground) -> None:
    told = ground.tell("""
ref, worker = made.options(num_returns=2).remote(5.0)
first = distpool.get(worker)
end(first)
print(mean(distpool.get(ref)), first != os.getpid())
del ref
back()
""", HEAD)  # fmt: skip
    assert told == "5.0 True\n"


def test_an_importer_is_killed_while_it_has_the_array_mapped(ground: Ground) -> None:
    """Its mapping ends with it; the task is run by another, on an array that is what it was."""
    told = ground.tell("""
pool = distpool.Pool(1)
mine = array(6.0)
result = pool.apply_async(double, (mine,))
print(mean(result.get(timeout=30)))
pool.terminate()
del result
back()
""", HEAD, STAND_IN_DIE="when opened")  # fmt: skip
    assert told == "12.0\n"


def test_an_exporter_is_killed_and_nobody_can_make_it_again(ground: Ground) -> None:
    """An actor's results cannot: whoever wants them hears so at once."""
    told = ground.tell("""
@gpu
class Maker:
    def make(self, value):
        return make(value), os.getpid()
maker = Maker.remote()
ref, worker = maker.make.options(num_returns=2).remote(5.0)
pid = distpool.get(worker)
end(pid)
try:
    distpool.get(ref, timeout=20)
except distpool.exceptions.ObjectLostError as error:
    print(type(error).__name__)
""", HEAD)  # fmt: skip
    assert told == "ObjectLostError\n"


def test_results_that_wait_take_a_part_of_the_device_and_then_go_to_the_host(ground: Ground) -> None:
    told = ground.tell("""
@gpu
class Maker:
    def make(self, value):
        return make(value)
maker = Maker.remote()
refs = [maker.make.remote(float(n)) for n in range(12)]
distpool.wait(refs, num_returns=12)
assert used() <= 8 << 20, used()
print([mean(distpool.get(ref)) for ref in refs])
del refs
back()
""", HEAD, STAND_IN_BYTES=str(32 << 20))  # fmt: skip
    assert told == f"{[float(n) for n in range(12)]}\n"
    assert ground.notes()["device to host"] >= 8


def test_a_forked_child_leaves_the_device_alone(ground: Ground) -> None:
    told = ground.tell("""
ref = distpool.put(array(1.0))
child = os.fork()
if not child:
    import gc
    del ref
    gc.collect()
    os._exit(0)
print(os.waitpid(child, 0)[1], mean(distpool.get(ref)))
""", HEAD)  # fmt: skip
    assert told == "0 1.0\n"
