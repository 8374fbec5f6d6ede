"""A real browser without a window: Debian's Chromium, driven by its DevTools protocol over two pipes.

::

    Browser(...) ── {"id": 1, "method": "Page.navigate", ...} NUL ──► fd 3    chromium --headless
                 ◄── {"id": 1, "result": ...} NUL, events ─────────── fd 4

What it is not: a test tool of the ecosystem. Those bring a driver of the browser's exact version, or a browser, along;
what is needed here is to open a page, run JavaScript in it, press keys and take pictures.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

#: None where there is no browser.
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
    "--no-proxy-server",
    "--disable-extensions",
    "--mute-audio",
]
ANSWER_S = 60.0


class Browser:
    """One page. ``said`` are the errors that it has reported; ``asked_for`` the addresses that it has loaded."""

    def __init__(self, folder: Path, width: int = 1440, height: int = 900, *, dark: bool = False) -> None:
        assert CHROMIUM is not None
        self.said: list[str] = []
        self.asked_for: list[str] = []
        self._number = 0
        self._buffer = b""
        self._events: list[dict[str, Any]] = []
        hears, self._tell = os.pipe()
        self._hear, says = os.pipe()
        # The two must be 3 and 4 over there: a shell puts them there, and becomes the browser.
        command = f'exec "$0" "$@" 3<&{hears} 4>&{says}'
        self.process = subprocess.Popen(
            ["/bin/bash", "-c", command, CHROMIUM, *FLAGS, f"--user-data-dir={folder}", "about:blank"],
            pass_fds=(hears, says),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": str(folder), "TZ": "UTC"},
            start_new_session=True,
        )
        os.close(hears)
        os.close(says)
        self._session = ""
        target = next(
            each for each in self.tell("Target.getTargets")["targetInfos"] if each["type"] == "page"
        )
        self._session = self.tell("Target.attachToTarget", targetId=target["targetId"], flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.tell(f"{domain}.enable")
        self.resize(width, height)
        if dark:
            self.tell(
                "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}]
            )

    def close(self) -> None:
        """End it, and all its processes."""
        os.close(self._tell)  # it ends by itself when nobody speaks to it any more
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, 9)
            self.process.wait()
        os.close(self._hear)

    # ------------------------------------------------------------------------------------- the protocol

    def tell(self, method: str, **parameters: Any) -> Any:
        """A command, and its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._tell, json.dumps(message).encode() + b"\0")
        until_s = time.monotonic() + ANSWER_S
        while True:
            answer = self._receive(until_s)
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self._heard(answer)

    def _receive(self, until_s: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._hear], [], [], max(0.0, until_s - time.monotonic()))
            assert ready, f"the browser has not answered within {ANSWER_S:g} s"
            more = os.read(self._hear, 1 << 20)
            assert more, "the browser has ended"
            self._buffer += more
        line, _, self._buffer = self._buffer.partition(b"\0")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _heard(self, event: dict[str, Any]) -> None:
        told = event.get("params", {})
        match event.get("method"):
            case "Runtime.exceptionThrown":
                detail = told["exceptionDetails"]
                self.said.append(detail.get("exception", {}).get("description", detail["text"]))
            case "Runtime.consoleAPICalled" if told["type"] in ("error", "assert"):
                self.said.append(str(told["args"]))
            case "Log.entryAdded" if told["entry"]["level"] == "error":
                self.said.append(told["entry"]["text"])
            case "Network.requestWillBeSent":
                self.asked_for.append(told["request"]["url"])

    # ------------------------------------------------------------------------------------------- a page

    def open(self, url: str) -> None:
        """Go there."""
        self.tell("Page.navigate", url=url)
        self.until("document.readyState === 'complete'")

    def run(self, expression: str) -> Any:
        """The value of an expression of JavaScript, awaited if it is a promise."""
        result = self.tell("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, f"{expression}: {result['exceptionDetails']}"
        return result["result"].get("value")

    def until(self, expression: str, within_s: float = 30.0) -> Any:
        """Wait until it is true."""
        until_s = time.monotonic() + within_s
        while not (value := self.run(expression)):
            assert time.monotonic() < until_s, (
                f"not within {within_s:g} s: {expression}; the page has {self.text()[:3000]!r}, and said {self.said}"
            )
            time.sleep(0.05)
        return value

    def text(self) -> str:
        """All that can be read."""
        return str(self.run("document.body.innerText"))

    def press(self, key: str) -> None:
        """A key: a letter, or the name of one."""
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        code = {"Enter": 13, "Tab": 9, "ArrowDown": 40, "ArrowUp": 38}.get(key, 0)
        more: dict[str, Any] = {"text": text} if text else {}
        self.tell(
            "Input.dispatchKeyEvent", type="keyDown", key=key, code=key, windowsVirtualKeyCode=code, **more
        )
        self.tell("Input.dispatchKeyEvent", type="keyUp", key=key, code=key, windowsVirtualKeyCode=code)

    def resize(self, width: int, height: int, scale: float = 1) -> None:
        """The size of the page's window."""
        self.tell(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=False,
        )

    def picture(self, path: Path) -> None:
        """What is to be seen, as a PNG."""
        path.write_bytes(base64.b64decode(self.tell("Page.captureScreenshot", format="png")["data"]))
