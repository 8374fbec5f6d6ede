"""Which GPUs there are to give out, what workers call them, and of what kind they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from distpool.scheduler.shells import node_resources
from distpool.scheduler.shells.gpu_inventory import Gpu, Inventory, counted, inventory, kind_of, named

A, B, C = (Gpu(f"GPU-{name}", "NVIDIA A100-SXM4-40GB") for name in ("aa11", "ab22", "cc33"))
DIVIDED = Gpu("GPU-dd44", "NVIDIA A100-SXM4-40GB", parts=(Gpu("MIG-1", "m"), Gpu("MIG-22", "m")))
EMPTY = Gpu("GPU-ee55", "NVIDIA A100-SXM4-40GB", parts=())


def uuids(found: Inventory) -> list[str]:
    return [device.uuid.partition("-")[2] for device in found.devices]


@pytest.mark.parametrize(
    ("visible", "names", "which"),
    [
        (None, ["0", "1", "2"], ["aa11", "ab22", "cc33"]),
        ("", [], []),
        ("-1", [], []),
        ("NoDevFiles", [], []),
        ("2,0", ["2", "0"], ["cc33", "aa11"]),
        (" 1 , GPU-cc33", ["1", "GPU-cc33"], ["ab22", "cc33"]),
        ("GPU-aa,GPU-ab2", ["GPU-aa", "GPU-ab2"], ["aa11", "ab22"]),  # the beginning of one is enough
        ("0,GPU-a,1", ["0"], ["aa11"]),  # but of one only
        ("0,3,1", ["0"], ["aa11"]),  # and CUDA stops where there is none
        ("1,GPU-zz,0", ["1"], ["ab22"]),
        ("1,-1,0", ["1"], ["ab22"]),
        ("0,GPU-aa11,1,0", ["0", "1"], ["aa11", "ab22"]),  # twice the same is once
    ],
)  # fmt: skip
def test_what_is_visible(visible: str | None, names: list[str], which: list[str]) -> None:
    found = inventory([A, B, C], visible)
    assert (found.names, uuids(found), found.count) == (names, which, len(names))


@pytest.mark.parametrize(
    ("visible", "names", "which"),
    [
        (None, ["GPU-aa11", "MIG-1", "MIG-22"], ["aa11", "1", "22"]),  # by UUID, all of them
        ("MIG-22,MIG-1", ["MIG-22", "MIG-1"], ["22", "1"]),
        ("MIG-2", ["MIG-2"], ["22"]),
        ("MIG-3", [], []),
        ("1", ["1"], ["1"]),  # of a divided one, CUDA takes the first
        ("GPU-dd44,0", ["GPU-dd44", "0"], ["1", "aa11"]),
        ("2,0", [], []),  # divided into nothing
    ],
)
def test_divided_gpus(visible: str | None, names: list[str], which: list[str]) -> None:
    found = inventory([A, DIVIDED, EMPTY], visible)
    assert (found.names, uuids(found)) == (names, which)


def test_what_does_not_say_who_it_is_cannot_be_used() -> None:
    assert inventory([A, Gpu(""), C], None).names == ["0", "1"]


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA A100-SXM4-40GB", "A100"),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", "A100"),
        ("Tesla V100-SXM2-16GB", "V100"),
        ("Tesla T4", "T4"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA GH200 480GB", "GH200"),
        ("Quadro RTX 6000", "RTX-6000"),
        ("NVIDIA RTX A6000", "RTX-A6000"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "RTX-PRO-6000"),
        ("NVIDIA GeForce RTX 5090", "GeForce-RTX-5090"),
        ("NVIDIA TITAN V", "TITAN-V"),
        ("GeForce GTX 1080 Ti", "GTX-1080"),
        ("NVIDIA Graphics Device", "Graphics-Device"),
        ("NVIDIA", ""),
        ("", ""),
    ],
)
def test_what_kind_a_model_is(model: str, kind: str) -> None:
    assert kind_of(model) == kind


def test_the_kind_is_that_of_all() -> None:
    other = Gpu("GPU-ff66", "Tesla T4")
    assert inventory([A, B], None).kind == "A100"
    assert inventory([A, other], None).kind == ""
    assert inventory([A, other], "1").kind == "T4"
    assert inventory([], None).kind == ""


def test_a_node_with_gpus_of_one_kind_says_so() -> None:
    found = inventory([A, B], None)

    def total(**said: float) -> dict[str, float]:
        whole = node_resources.total(said, "n", "ipc:///x", None, found, holds_head=False)
        return {name: amount for name, amount in whole.items() if "GPU" in name or "accel" in name}

    assert total() == {"GPU": 2.0, "accelerator_type:A100": 1.0}
    assert total(GPU=1.0) == {"GPU": 1.0, "accelerator_type:A100": 1.0}
    assert total(GPU=0.0) == {}, "nobody is to have them"
    assert node_resources.labels({}, "n", found)["ray.io/accelerator-type"] == "A100"
    said = {"ray.io/accelerator-type": "mine"}
    assert node_resources.labels(said, "n", found)["ray.io/accelerator-type"] == "mine"
    assert "ray.io/accelerator-type" not in node_resources.labels({}, "n")


@pytest.fixture
def proc(tmp_path: Path) -> str:
    """As the driver shows it: two of a kind."""
    for bus in ("0000:65:00.0", "0000:17:00.0"):
        (tmp_path / bus).mkdir()
        (tmp_path / bus / "information").write_text(
            "Model: \t\t NVIDIA H100 PCIe\nIRQ:   \t\t 31\nDevice Minor: \t 0\n"
        )
    return str(tmp_path)


def test_without_nvml_the_driver_counts_them(proc: str) -> None:
    found = counted(None, proc)
    assert (found.names, found.count, found.kind) == (["0", "1"], 2, "H100")
    assert (counted("1", proc).names, counted("1", proc).kind) == (["1"], "H100")
    assert (counted("", proc).count, counted("", proc).kind) == (0, "")
    (Path(proc) / "0000:65:00.0" / "information").write_text("Model: \t\t Tesla T4\n")
    assert (counted("1", proc).count, counted("1", proc).kind) == (1, ""), (
        "which of them that is, it does not tell"
    )


def test_without_a_driver_there_are_those_that_are_named(tmp_path: Path) -> None:
    nothing = str(tmp_path / "none")
    assert counted(None, nothing).count == 0
    assert counted("4,GPU-ab,7", nothing).names == ["4", "GPU-ab", "7"]


@pytest.mark.parametrize(
    ("visible", "names"),
    [("", []), ("0", ["0"]), ("0,1", ["0", "1"]), ("3, GPU-5ad1", ["3", "GPU-5ad1"]), ("-1", []), ("0,-1,1", ["0"]),
     ("NoDevFiles", []), ("1,1", ["1"])],
)  # fmt: skip
def test_what_is_named(visible: str, names: list[str]) -> None:
    assert named(visible) == names
