"""A real browser for the tests: Chromium, told what to do by its own protocol through a pipe; nothing is installed."""

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--remote-debugging-pipe"),
]
PATIENCE = 60.0  # seconds


class Page:
    """One tab, and all that it complained about or asked the network for."""

    def __init__(self, to: int, back: int) -> None:
        self.to, self.back = to, back
        self.number, self.session, self.buffer = 0, "", b""
        self.complaints: list[str] = []
        self.requests: list[str] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == self.number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def receive(self) -> dict[str, Any]:
        """The next message; what it says of errors and requests is kept."""
        until = time.monotonic() + PATIENCE
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.back], [], [], max(0.0, until - time.monotonic()))
            assert ready, "the browser does not answer"
            part = os.read(self.back, 1 << 20)
            assert part, "the browser has ended"
            self.buffer += part
        text, _, self.buffer = self.buffer.partition(b"\0")
        message = json.loads(text)
        said, about = message.get("method"), message.get("params", {})
        if said == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(about["exceptionDetails"].get("exception", about))[:500])
        elif said == "Log.entryAdded" and about["entry"]["level"] in ("error", "warning"):
            self.complaints.append(about["entry"]["text"])
        elif said == "Runtime.consoleAPICalled" and about["type"] in ("error", "warning", "assert"):
            self.complaints.append(str(about["args"]))
        elif said == "Network.requestWillBeSent":
            self.requests.append(about["request"]["url"])
        return message

    def open(self, file: Path) -> None:
        self.send("Page.navigate", url=file.resolve().as_uri())
        self.until("document.readyState === 'complete' && document.querySelector('main h1') !== null")

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression; promises are waited for."""
        done = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in done, f"{script}: {done['exceptionDetails']}"
        return done["result"].get("value")

    def until(self, script: str) -> Any:
        """Wait until an expression is true; its value."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            value = self.run(script)
            if value:
                return value
            time.sleep(0.05)
        raise AssertionError(f"never true: {script}; {self.complaints}")

    def key(self, key: str, text: str = "") -> None:
        """Press a key where the focus is."""
        codes = {
            "ArrowLeft": 37,
            "ArrowRight": 39,
            "Enter": 13,
            "Tab": 9,
            "Escape": 27,
            "ArrowDown": 40,
            "Home": 36,
            " ": 32,
        }
        about = {
            "key": key,
            "code": key,
            "windowsVirtualKeyCode": codes.get(key, ord(key[0])),
        }
        self.send("Input.dispatchKeyEvent", type="keyDown", **about, text=text)
        self.send("Input.dispatchKeyEvent", type="keyUp", **about)

    def mouse(self, kind: str, x: float, y: float, clicks: int = 1) -> None:
        buttons = 0 if kind == "mouseReleased" else 1
        self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=buttons, clickCount=clicks)

    def middle(self, selector: str) -> tuple[float, float, float, float]:
        """The middle of an element, brought into view, and its width and height."""
        script = f"(() => {{ const e = document.querySelector({json.dumps(selector)}); "
        script += "e.scrollIntoView({block: 'center', behavior: 'instant'}); const b = e.getBoundingClientRect(); "
        x, y, width, height = self.run(
            script + "return [b.x + b.width / 2, b.y + b.height / 2, b.width, b.height]; })()"
        )
        return x, y, width, height

    def size(self, width: int, height: int = 900, density: float = 1) -> None:
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=density, mobile=False
        )

    def scheme(self, name: str) -> None:
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def picture(self, file: Path, whole: bool = True) -> None:
        file.write_bytes(
            base64.b64decode(self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"])
        )


def high(end: int) -> int:
    """The same end of a pipe under a number that is not 3 or 4."""
    copy = fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(end)
    return copy


@contextmanager
def browser(folder: Path) -> Iterator[Page]:
    """A browser of its own, with an empty profile in this folder."""
    assert CHROMIUM
    there, to, back, here = map(high, (*os.pipe(), *os.pipe()))
    command = ["bash", "-c", f'exec "$0" "$@" 3<&{there} 4>&{here}', CHROMIUM, *FLAGS]  # it reads 3 and writes 4
    process = subprocess.Popen(
        [*command, f"--user-data-dir={folder}"],
        pass_fds=(there, here),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(folder)},
        start_new_session=True,
    )
    os.close(there)
    os.close(here)
    try:
        page = Page(to, back)
        yield page
        page.session = ""
        page.send("Browser.close")
        process.wait(20)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(to)
        os.close(back)
