"""Headless Chromium, driven over its debugging pipe: pages as a person sees them, at any width.

The protocol is https://chromedevtools.github.io/devtools-protocol/: JSON documents, each ended by a zero byte, on the
descriptors 3 and 4.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PATIENCE = 240  # seconds for one answer, on a busy machine


class Page:
    """A tab. `problems` are the exceptions and errors that its scripts have met."""

    def __init__(self, to: int, back: int):
        self._to, self._back = to, back
        self._unread = b""
        self._number = 0
        self._session = ""
        self.problems: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """What the browser answers to a command of the protocol."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return dict(answer["result"])

    def open(self, path: Path, width: int, scripts: bool = True) -> None:
        """Show a file in a window so many CSS pixels wide; returns once it is loaded."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.call("Page.navigate", url=path.absolute().as_uri())
        self.wait_for("document.readyState === 'complete'" if scripts else "document.images.length")

    def evaluate(self, expression: str) -> Any:
        """The value of an expression of JavaScript; a promise is awaited."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_for(self, expression: str) -> None:
        """Until the expression is true."""
        begun = time.monotonic()
        while not self.evaluate(expression):
            assert time.monotonic() - begun < PATIENCE, f"{expression} never came true; {self.problems}"
            time.sleep(0.1)

    def picture(self, path: Path, clip: dict[str, float] | None = None) -> None:
        """The whole page as PNG, or a part of it."""
        more = {"clip": {**clip, "scale": 1}} if clip else {}
        data = self.call("Page.captureScreenshot", captureBeyondViewport=True, **more)["data"]
        path.write_bytes(base64.b64decode(data))

    def pdf(self) -> bytes:
        """The page as it is printed."""
        return base64.b64decode(self.call("Page.printToPDF", printBackground=True)["data"])

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._unread:
            assert select.select([self._back], [], [], PATIENCE)[0], "Chromium does not answer"
            part = os.read(self._back, 1 << 20)
            assert part, "Chromium has ended"
            self._unread += part
        text, _, self._unread = self._unread.partition(b"\0")
        message = dict(json.loads(text))
        if message.get("method") == "Runtime.exceptionThrown":
            self.problems.append(message["params"]["exceptionDetails"]["exception"].get("description", "?"))
        elif message.get("method") == "Log.entryAdded" and message["params"]["entry"]["level"] == "error":
            self.problems.append(message["params"]["entry"]["text"])
        elif message.get("method") == "Runtime.consoleAPICalled" and message["params"]["type"] == "error":
            self.problems.append(
                str([each.get("description", each.get("value")) for each in message["params"]["args"]])
            )
        return message


@contextmanager
def chromium(folder: Path) -> Iterator[Page]:
    """A tab of a Chromium that ends with the block; `folder` takes its profile. scripts/browser installs it."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert program, "there is no Chromium: run scripts/browser"
    read_here, write_there = os.pipe()
    read_there, write_here = os.pipe()
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]
    pipes = f'exec "$0" "$@" 3<&{read_there} 4>&{write_there}'  # dash knows no descriptors of two digits
    process = subprocess.Popen(
        ["bash", "-c", pipes, program, *options, "--remote-debugging-pipe", f"--user-data-dir={folder}"],
        pass_fds=(read_there, write_there), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(read_there)
    os.close(write_there)
    try:
        yield Page(write_here, read_here)
    finally:
        process.kill()
        process.wait()
        os.close(write_here)
        os.close(read_here)
