"""More than fits into the store's memory, more than fits at all, and full disks."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.big import namespaces, programs
from tests.big.programs import MB, heard, run
from tests.processes.scene import SOAK, count

pytestmark = pytest.mark.timeout(3600 if SOAK else 120)


def test_many_puts_through_a_small_store_read_back_equal() -> None:
    """At most half of it lives at a time; the whole is ten times the store's memory."""
    total, memory, size = count(600, 5120), count(64, 512), count(5, 24)
    text = run(
        "more_than_memory",
        total * MB,
        size * MB + 1,
        total * MB // 2,
        within_s=count(60, 1800),
        store_memory=f"{memory}MB",
        spill_limit=f"{total * 2}MB",
    )
    said = heard(text)
    assert said["memory_max"] <= (memory + 1) * MB, "the limit holds"
    assert said["spills"] > 0


def test_results_and_waiting_arguments_beyond_memory() -> None:
    assert heard(run("results_beyond_memory", 24, 4 * MB, store_memory="32MB", spill_limit="400MB"))["done"]


def test_an_array_of_three_gigabytes() -> None:
    """A tenth of that by default."""
    size = count(300 * MB, 3 << 30)
    assert (
        heard(run("one_huge", size, within_s=count(60, 1200), store_memory=f"{3 * size // MB}MB"))["size"]
        == size
    )


def test_an_array_larger_than_the_stores_memory() -> None:
    assert run("one_huge", 50 * MB, store_memory="20MB", spill_limit="400MB")


# ------------------------------------------------------------------------------------ full stores


def test_a_full_store_fails_that_call_by_name_and_nothing_else() -> None:
    assert heard(run("full_store", 40 * MB, store_memory="16MB", spill_limit="16MB"))["done"]


def test_a_store_full_of_smaller_things() -> None:
    assert heard(run("full_of_small_things", 3 * MB, store_memory="16MB", spill_limit="16MB"))["done"]


def test_a_size_that_is_none() -> None:
    text = heard(run("complaint", store_memory="5 apples"))["text"]
    assert "DISTPOOL_STORE_MEMORY" in text
    assert "'5 apples'" in text


def test_a_spill_directory_that_is_none(tmp_path: Path) -> None:
    text = heard(run("complaint", spill_dir=str(tmp_path / "nowhere")))["text"]
    assert "DISTPOOL_SPILL_DIR" in text
    assert "nowhere" in text


def test_a_full_disk_fails_that_call_by_name(tmp_path: Path) -> None:
    spill = tmp_path / "disk"
    spill.mkdir()
    with namespaces.driver(
        f"mount -t tmpfs -o size=8m none {spill}",
        programs.source("full_disk", 3 * MB),
        env=programs.settings(store_memory="16MB", spill_limit="1GB", spill_dir=spill),
    ) as it:
        text = it.finish(60.0)
        assert it.process.returncode == 0, text
        assert heard(text)["done"]
        it.expect_nothing_left()


# -------------------------------------------------------------------------------------- containers

SIZE = 70 * MB

# A /dev without shm: of other devices only those that programs need.
_WITHOUT = (
    "mount -t tmpfs none /mnt"
    " && for name in null zero full random urandom tty; do touch /mnt/$name; mount --bind /dev/$name /mnt/$name; done"
    " && ln -s /proc/self/fd /mnt/fd && mount --rbind /mnt /dev && test ! -e /dev/shm"
)
PLACES = {"64 MB": "mount -t tmpfs -o size=64m none /dev/shm", "none": _WITHOUT}


@pytest.fixture(scope="module")
def on_this_machine() -> list[str]:
    return heard(run("there_and_back", SIZE))["digests"]  # type: ignore[no-any-return]


@pytest.mark.parametrize("place", PLACES)
def test_the_same_result_with_little_or_no_dev_shm(place: str, on_this_machine: list[str]) -> None:
    with namespaces.driver(PLACES[place], programs.source("there_and_back", SIZE)) as it:
        text = it.finish(60.0)
        assert it.process.returncode == 0, text
        assert heard(text)["digests"] == on_this_machine
        it.expect_nothing_left()


def test_mounts_of_the_tests_stay_in_their_namespace() -> None:
    def ours(mounts: str) -> list[str]:
        return [line for line in mounts.splitlines() if "/dev/shm" in line]

    before = ours(Path("/proc/self/mounts").read_text())
    with namespaces.driver(PLACES["64 MB"], "print(open('/proc/self/mounts').read())") as it:
        inside = ours(it.finish())
    assert "size=65536k" in inside[-1]
    assert inside != before
    assert ours(Path("/proc/self/mounts").read_text()) == before
