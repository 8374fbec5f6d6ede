"""Takes the pictures of docs/dashboard.md: ``python -m tests.dashboard.pictures`` (``make pictures``).

A cluster of two nodes on this machine's own loopback, the program ``busy``, a dashboard, and Chromium. What is taken is
to be looked at by somebody before it is committed.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.dashboard.chromium import Browser
from tests.dashboard.conftest import serving

DOCS = Path(__file__).resolve().parents[2] / "docs" / "dashboard"
SECONDS = 110
#: Name, address, height of the window, dark.
PICTURES = (
    ("overview", "#/", 1180, False),
    ("overview-dark", "#/", 1180, True),
    ("tasks", "#/tasks", 900, False),
    ("workers", "#/workers", 760, False),
    ("memory", "#/memory", 900, False),
)


def main() -> None:
    DOCS.mkdir(exist_ok=True)
    environment = {**os.environ, "DISTPOOL_SECRET": secrets.token_urlsafe(24)}
    distpool = [sys.executable, "-m", "distpool"]
    with tempfile.TemporaryDirectory() as folder:
        environment |= {"TMPDIR": folder, "XDG_STATE_HOME": folder}
        head = [
            *distpool,
            "start",
            "--head",
            "--host",
            "127.0.0.1",
            "--port",
            "9447",
            "--name",
            "alpha",
            "--num-cpus",
            "4",
        ]
        joins = [*distpool, "start", "--address", "127.0.0.1:9447", "--host", "127.0.0.1", "--name", "beta"]
        joins += ["--num-cpus", "3", "--num-gpus", "1"]
        for command in (head, joins):
            subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        environment["DISTPOOL_ADDRESS"] = "127.0.0.1:9447"
        os.environ |= environment
        program = subprocess.Popen(
            [sys.executable, "-m", "tests.dashboard.busy", str(SECONDS)], env=environment
        )
        try:
            with serving() as dashboard:
                take(dashboard.url, Path(folder))
        finally:
            program.terminate()
            program.wait()
            subprocess.run([*distpool, "stop"], env=environment, check=False, stdout=subprocess.DEVNULL)


def take(url: str, folder: Path) -> None:
    for dark in (False, True):
        browser = Browser(folder / f"chromium-{dark}", dark=dark)
        try:
            browser.open(url)
            browser.until("document.querySelectorAll('.tile').length > 7")
            time.sleep(30 if not dark else 4)  # for something to be seen in the charts
            for name, address, height, is_dark in PICTURES:
                if is_dark == dark:
                    browser.resize(1360, height)
                    browser.run(f"location.hash = {address!r}")
                    time.sleep(4)
                    browser.picture(DOCS / f"{name}.png")
            if not dark:
                browser.run("location.hash = '#/errors'")
                browser.until("!!document.querySelector('tbody tr td:nth-child(3) a')")
                browser.run("document.querySelector('tbody tr td:nth-child(3) a').click()")
                browser.until("document.querySelector('pre').textContent.length > 20")
                browser.resize(1360, 760)
                time.sleep(1)
                browser.picture(DOCS / "error.png")
                browser.run("location.hash = '#/logs'")
                time.sleep(3)
                browser.picture(Path(tempfile.gettempdir()) / "dashboard-logs.png")
        finally:
            browser.close()


if __name__ == "__main__":
    main()
