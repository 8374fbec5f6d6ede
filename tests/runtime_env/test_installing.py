"""Virtual environments for pip and uv, without a network: wheels that tests make, and a uv that is a script."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from tests.runtime_env.workers import WAIT_S, Place, wheel

WHERE = "import tinything, sys; result = [tinything.version, tinything.__file__, sys.executable]"


@pytest.fixture(autouse=True)
def offline(place: Place, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's pip configuration: nothing but a folder of wheels."""
    wheels = place.root / "wheels"
    wheel(wheels)
    wheel(wheels, version="2.0")
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_"))]:
        monkeypatch.delenv(name)
    configuration = place.root / "pip.conf"
    configuration.write_text(f"[global]\nno-index = true\nfind-links = {wheels}\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(configuration))
    return wheels


def environments(place: Place) -> list[str]:
    return sorted(name for name in os.listdir(place.cache) if name.startswith("venv-") and "." not in name)


def test_packages_are_installed_once_and_come_first(place: Place) -> None:
    code = WHERE + "\nimport importlib.metadata as m; result.append(m.version('tinything'))"
    payload = place.prepare({"pip": ["tinything==1.0"]}).payload()
    results = [worker.result() for worker in [place.worker(payload, code) for _ in range(4)]]
    assert results == [results[0]] * 4
    version, file, executable, metadata = results[0]
    assert (version, metadata) == ("1.0", "1.0")
    assert file.startswith(str(place.cache))
    assert executable.startswith(str(place.cache))
    assert len(environments(place)) == 1
    log = place.cache / environments(place)[0] / "install.log"
    written = log.stat().st_mtime_ns
    assert place.worker(payload, code).result() == results[0]
    assert log.stat().st_mtime_ns == written
    assert place.worker({"pip": ["tinything"]}, code).result()[0] == "2.0"
    assert len(environments(place)) == 2


def test_children_of_the_worker_have_them_too(place: Place, offline: Path) -> None:
    wheel(offline, "sayer")
    code = (
        "import subprocess\n"
        "run = lambda *args: subprocess.run(args, capture_output=True, text=True).stdout\n"
        "result = [run('sayer-say'), run(sys.executable, '-c', 'import sayer, msgspec; print(sayer.version)'),"
        " run('python', '-c', 'import sayer; print(1)')]"
    )
    assert place.worker({"pip": ["sayer"]}, code).result() == ["said\n", "1.0\n", "1\n"]


def test_what_the_program_has_counts_as_installed(place: Place, offline: Path) -> None:
    """Neither is msgspec in the folder of wheels, nor does an environment of its own get one."""
    wheel(offline, "needy", needs="msgspec")
    code = "import needy, msgspec; result = [needy.version, msgspec.__file__]"
    version, file = place.worker({"pip": {"packages": ["needy"], "pip_check": True}}, code).result()
    assert version == "1.0"
    assert not file.startswith(str(place.cache))


def test_a_requirements_file_a_local_path_and_options(
    place: Place, offline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")  # it is pip that must not, and what imports it neither
    requirements = place.root / "requirements.txt"
    requirements.write_text("./wheels/tinything-1.0-py3-none-any.whl\n")
    assert place.worker({"pip": str(requirements)}, WHERE).result()[0] == "1.0"
    options = {"packages": ["tinything"], "pip_install_options": ["--no-compile"]}
    *_, executable = place.worker({"pip": options}, WHERE).result()
    folder = Path(executable).parents[1]
    assert list(folder.rglob("tinything/__init__.py"))
    assert not list(folder.rglob("tinything/__pycache__/*.pyc"))


def test_requirements_may_name_files_of_the_working_dir(place: Place) -> None:
    """By our name for it, and by that which Ray's programs use."""
    project = place.folder("proj", {"a": "1"})
    wheel(project, "one")
    wheel(project, "other")
    names = {"one": "DISTPOOL", "other": "RAY"}
    lines = [f"${{{names[n]}_RUNTIME_ENV_CREATE_WORKING_DIR}}/{n}-1.0-py3-none-any.whl" for n in names]
    env = {"working_dir": str(project), "pip": lines}
    code = "import one, other; result = [one.version, other.version]"
    assert place.worker(env, code).result() == ["1.0", "1.0"]


def test_what_a_package_adds_by_a_pth_file_is_found(place: Place, offline: Path) -> None:
    """As one that was installed with -e does."""
    project = place.folder("proj", {"edited.py": "version = 'e'"})
    wheel(offline, "editable", more={"editable.pth": f"{project}\n"})
    code = "import edited, os; result = [edited.__file__, sys.path[0].startswith(os.environ['VIRTUAL_ENV'])]"
    assert place.worker({"pip": ["editable"]}, code).result() == [str(project / "edited.py"), True]


def test_an_install_that_fails_says_what_pip_said(place: Place) -> None:
    text = place.worker({"pip": ["tinything==3.0"]}).error()
    assert "pip install for runtime_env['pip'] ['tinything==3.0'] ended with status 1:" in text
    assert "No matching distribution found for tinything==3.0" in text
    assert environments(place) == []


def test_a_check_that_fails(place: Place, offline: Path) -> None:
    wheel(offline, "broken", needs="tinything>=5")
    env = {"packages": ["broken", "tinything"], "pip_install_options": ["--no-deps"], "pip_check": True}
    text = place.worker({"pip": env}).error()
    assert "pip check for runtime_env['pip']" in text
    assert "broken 1.0 has requirement tinything>=5" in text


def test_a_pip_of_another_version(place: Place, offline: Path) -> None:
    env = {"pip": {"packages": ["tinything"], "pip_version": "==0.0.1"}}
    text = place.worker(env).error()
    assert "pip install pip for runtime_env['pip']" in text
    assert "pip==0.0.1" in text


# -------------------------------------------------------------------------------------------- uv


def fake_uv(place: Place, script: str) -> dict[str, str]:
    """A uv that notes its arguments and runs a script; returns the environment in which it is found."""
    folder = place.root / "fake"
    folder.mkdir()
    path = folder / "uv"
    path.write_text(f'#!/bin/sh\necho "$@" >> {place.root}/calls\n{script}\n')
    path.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def site_of(place: Place) -> str:
    return "$(dirname $(dirname $4))/lib/python*/site-packages"


def test_uv_is_used_where_it_is(place: Place) -> None:
    environment = fake_uv(place, f"echo \"version = 'by uv'\" > $(echo {site_of(place)})/tinything.py")
    env = {"uv": {"packages": ["tinything"], "uv_check": True, "uv_pip_install_options": ["--quiet"]}}
    result = place.worker(env, WHERE, environment=environment).result()
    assert result[0] == "by uv"
    install, check = (place.root / "calls").read_text().splitlines()
    python = f"{result[2]}"
    assert install.startswith(f"pip install --python {python} -r ")
    assert install.endswith("requirements.txt --quiet")
    assert check == f"pip check --python {python}"


def test_pip_takes_the_place_of_uv(place: Place) -> None:
    if shutil.which("uv"):
        pytest.skip("there is a uv here")
    assert place.worker({"uv": ["tinything==1.0"]}, WHERE).result()[0] == "1.0"


def test_real_uv(place: Place, offline: Path) -> None:
    if not shutil.which("uv"):
        pytest.skip("no uv here")
    options = ["--no-index", "--find-links", str(offline), "--offline"]
    env: Any = {"uv": {"packages": ["tinything==1.0"], "uv_pip_install_options": options, "uv_check": True}}
    assert place.worker(env, WHERE).result()[0] == "1.0"
    env["uv"]["packages"] = ["tinything==7.0"]
    assert "tinything==7.0" in place.worker(env).error()


#: The time for a set-up runs out when the installer is known to run, however slow this machine is today.
OVER_WHEN_IT_RUNS = """
import os, subprocess, time
real = subprocess.Popen.wait
def wait(self, timeout=None):
    if timeout is None or not self.args[0].endswith("/uv"):
        return real(self, timeout)
    while not (os.path.exists({pid!r}) and os.path.getsize({pid!r})):
        time.sleep(0.01)
    return real(self, 0.01)
subprocess.Popen.wait = wait
"""


def test_an_installer_that_hangs_is_ended_with_its_children(place: Place) -> None:
    os.mkfifo(place.root / "gate")
    pid = str(place.root / "pid")
    environment = fake_uv(place, f"sh -c 'echo $$ > {pid}; cat {place.root}/gate'; true")
    env = {"uv": ["tinything"], "config": {"setup_timeout_seconds": 50}}
    before = OVER_WHEN_IT_RUNS.format(pid=pid)
    text = place.worker(env, environment=environment, before=before).error()
    assert "not ready within 50 s: uv pip install was ended" in text
    assert "setup_timeout_seconds" in text
    assert not _runs(int((place.root / "pid").read_text()))
    assert environments(place) == []


def test_an_installer_whose_worker_is_killed_is_waited_for(place: Place) -> None:
    """Else two of them would write to the same place. What it leaves is not used, since nobody knows how it ended."""
    os.mkfifo(place.root / "started")
    os.mkfifo(place.root / "gate")
    script = (
        f"site=$(echo {site_of(place)})\n"
        f"if [ ! -e {place.root}/second ]; then\n"
        f"  touch {place.root}/second; echo now > {place.root}/started; cat {place.root}/gate\n"
        "  touch $site/of_the_first\n"
        "fi\n"
        "ls $site > $site/seen.py; echo \"version = 'second'\" > $site/tinything.py\n"
    )
    environment = fake_uv(place, script)
    payload = place.prepare({"uv": ["tinything"]}).payload()
    first = place.worker(payload, environment=environment)
    assert (place.root / "started").read_text() == "now\n"
    first.process.kill()
    first.process.wait(WAIT_S)
    code = (
        WHERE
        + "\nimport os; result = [tinything.version, sorted(os.listdir(os.path.dirname(tinything.__file__)))]"
    )
    second = place.worker(payload, code, environment=environment)
    assert len((place.root / "calls").read_text().splitlines()) == 1  # the lock is the orphan's
    (place.root / "gate").write_text("go on\n")
    version, names = second.result()
    first.kill()
    assert version == "second"
    assert "of_the_first" not in names
    assert len((place.root / "calls").read_text().splitlines()) == 2


def _runs(pid: int) -> bool:
    """Whether a process runs; one that was just killed may take a moment to be gone."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            with open(f"/proc/{pid}/stat") as file:
                if file.read().rpartition(")")[2].split()[0] == "Z":
                    return False
        except OSError:
            return False
    return True
