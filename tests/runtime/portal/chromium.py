"""A real browser: Chromium without a window, driven over its DevTools protocol.

with Chromium(folder) as browser, browser.tab(width=360, is_dark=True) as tab:
    tab.open("http://127.0.0.1:5000/ui/")
    tab.run("document.title")
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import websocket

LOAD_S = 60.0
COMMAND = "chromium"


def is_there() -> bool:
    """Whether this machine has it."""
    return shutil.which(COMMAND) is not None


class Chromium:
    """One process; ``folder`` is new and its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    COMMAND,
                    "--headless=new",
                    "--no-sandbox",
                    "--disable-gpu",
                    "--disable-dev-shm-usage",
                    "--disable-background-networking",
                    "--disable-component-update",
                    "--no-first-run",
                    "--hide-scrollbars",
                    "--remote-debugging-port=0",
                    "--remote-allow-origins=*",
                    f"--user-data-dir={self._folder / 'profile'}",
                    "about:blank",
                ],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._port = self._wait()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder / "profile", ignore_errors=True)

    def _wait(self) -> int:
        file = self._folder / "profile" / "DevToolsActivePort"
        deadline = time.monotonic() + LOAD_S
        while time.monotonic() < deadline:
            if file.exists() and (lines := file.read_text().splitlines()):
                return int(lines[0])
            assert self._process is not None
            if self._process.poll() is not None:
                break
            time.sleep(0.05)
        raise AssertionError(f"no browser: {(self._folder / 'log').read_text()[-2000:]}")

    @contextmanager
    def tab(self, *, width: int = 1280, height: int = 900, is_dark: bool = False) -> Iterator[Tab]:
        """A tab without cookies of others."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._port}/json/new?about:blank", method="PUT"
        )
        with urllib.request.urlopen(request, timeout=LOAD_S) as answer:
            made = json.load(answer)
        link = websocket.create_connection(made["webSocketDebuggerUrl"], timeout=LOAD_S)
        try:
            tab = Tab(link)
            tab.shape(width, height, is_dark=is_dark)
            yield tab
        finally:
            link.close()
            close = f"http://127.0.0.1:{self._port}/json/close/{made['id']}"
            with urllib.request.urlopen(close, timeout=LOAD_S):
                pass


class Tab:
    """Whatever happens is kept in ``troubles``: lines of the console, and what the policy of a page
    refused."""

    def __init__(self, link: websocket.WebSocket) -> None:
        self._link = link
        self._number = 0
        self._events: list[dict[str, Any]] = []
        self.troubles: list[str] = []
        self.dialogs = 0
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.say(f"{domain}.enable")

    def shape(self, width: int, height: int, *, is_dark: bool) -> None:
        """How large the page is, and which colours its reader likes."""
        self.say(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 500,
        )
        scheme = "dark" if is_dark else "light"
        self.say(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": scheme}],
        )

    def open(self, url: str) -> None:
        """Go there, and wait until it is loaded."""
        self._events.clear()
        self.say("Page.navigate", url=url)
        self.wait_for("Page.loadEventFired")

    def run(self, expression: str) -> Any:
        """What an expression is worth; a promise is waited for. Raises AssertionError for one that
        throws."""
        answer = self.say(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, expression: str, timeout_s: float = LOAD_S) -> None:
        """Wait until it is true; of a page that is just being left it is not."""
        deadline = time.monotonic() + timeout_s
        while not self._is_true(expression):
            assert time.monotonic() < deadline, f"never: {expression}"
            time.sleep(0.05)

    def _is_true(self, expression: str) -> bool:
        try:
            return bool(self.run(expression))
        except AssertionError:
            return False

    def press(self, key: str, code: int = 0, text: str = "") -> None:
        """One key."""
        for kind in ("keyDown", "keyUp"):
            self.say(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=code,
                **({"text": text} if text and kind == "keyDown" else {}),
            )

    def picture(self, *, is_whole: bool = False) -> bytes:
        """A PNG of what is seen, or of the whole page."""
        answer = self.say("Page.captureScreenshot", format="png", captureBeyondViewport=is_whole)
        return base64.b64decode(answer["data"])

    def say(self, method: str, **arguments: Any) -> dict[str, Any]:
        """A command of the protocol, and its answer."""
        self._number += 1
        self._link.send(json.dumps({"id": self._number, "method": method, "params": arguments}))
        while True:
            message = self._next()
            if message.get("id") == self._number:
                assert "error" not in message, message
                result: dict[str, Any] = message["result"]
                return result

    def wait_for(self, event: str) -> None:
        """Until it has happened since the last ``open``."""
        while not any(each.get("method") == event for each in self._events):
            self._next()

    def _next(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._link.recv())
        method = message.get("method", "")
        if method:
            self._events.append(message)
        if method == "Log.entryAdded" and message["params"]["entry"]["level"] == "error":
            self.troubles.append(str(message["params"]["entry"]["text"]))
        if method == "Page.javascriptDialogOpening":
            self.dialogs += 1
        if method == "Runtime.exceptionThrown":
            self.troubles.append(str(message["params"]["exceptionDetails"]))
        return message
