"""Headless Chromium by its DevTools protocol, through a pipe: no driver, no package and no port.

It shows a page as a person sees it: for the tests of the report, and for README's pictures. Debian's package
is `chromium`.
"""

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
SECONDS = 120.0  # for one answer; a busy machine draws a large page slowly
OPTIONS = (
    "--headless",
    "--remote-debugging-pipe",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--no-first-run",
    "--font-render-hinting=none",
    "--force-color-profile=srgb",
)
KEYS = {"Tab": (9, ""), "Enter": (13, "\r")}  # key -> its code, and the text that it enters


def find() -> str | None:
    """Return the path of Chromium, if this machine has one."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@dataclass
class Page:
    """One page in its window."""

    to: int  # file descriptors of the pipe
    back: int
    session: str = ""
    requests: list[str] = field(default_factory=list)  # addresses of everything that was asked for
    _left: bytes = b""
    _count: int = 0
    _loaded: int = 0

    def send(self, method: str, **values: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result.

        Raises:
            RuntimeError: Chromium says that it failed.
        """
        self._count += 1
        call = {"id": self._count, "method": method, "params": values}
        call |= {"sessionId": self.session} if self.session else {}
        self._write(call)
        while True:
            answer = self._read()
            if answer.get("id") == self._count:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                result: dict[str, Any] = answer["result"]
                return result

    def open(self, path: Path, width: int, height: int = 900, dark: bool = False, media: str = "") -> None:
        """Show a file in a window of this size; `media` is print, or empty."""
        self.look(width, height, dark, media)
        before = self._loaded
        self.send("Page.navigate", url=path.resolve().as_uri())
        while self._loaded == before:
            self._read()

    def look(self, width: int, height: int = 900, dark: bool = False, media: str = "") -> None:
        """Change the window's size, its colours and its medium."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        self.send("Emulation.setEmulatedMedia", media=media, features=[scheme])

    def value(self, expression: str) -> Any:
        """Return what JavaScript in the page gives, awaited; a value that JSON can hold.

        Raises:
            RuntimeError: it throws.
        """
        found = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"]["exception"]["description"])
        return found["result"].get("value")

    def press(self, key: str) -> None:
        """Press and release a key of `KEYS`."""
        code, text = KEYS[key]
        own = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.send("Input.dispatchKeyEvent", type="keyDown", text=text, **own)
        self.send("Input.dispatchKeyEvent", type="keyUp", **own)

    def click(self, x: float, y: float) -> None:
        """Press and release the mouse at a place of the window."""
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def picture(self, path: Path, whole: bool = False) -> None:
        """Write what the window shows, or the whole page, as PNG."""
        found = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))

    def _write(self, call: dict[str, Any]) -> None:
        left = memoryview(json.dumps(call).encode() + b"\0")
        while left:
            left = left[os.write(self.to, left) :]

    def _read(self) -> dict[str, Any]:
        """Return the next message; events are noted."""
        end = time.monotonic() + SECONDS
        while b"\0" not in self._left:
            ready, _, _ = select.select([self.back], [], [], max(end - time.monotonic(), 0))
            if not ready:
                raise RuntimeError(f"Chromium has not answered for {SECONDS:g} s")
            part = os.read(self.back, 1 << 20)
            if not part:
                raise RuntimeError("Chromium ended")
            self._left += part
        one, _, self._left = self._left.partition(b"\0")
        message: dict[str, Any] = json.loads(one)
        match message.get("method"):
            case "Page.loadEventFired":
                self._loaded += 1
            case "Network.requestWillBeSent":
                self.requests.append(message["params"]["request"]["url"])
        return message


@contextlib.contextmanager
def page() -> Iterator[Page]:
    """Start Chromium with an empty page, and end it afterwards.

    Raises:
        FileNotFoundError: this machine has no Chromium.
    """
    program = find()
    if program is None:
        raise FileNotFoundError(f"none of {', '.join(NAMES)} is on PATH; Debian's package is chromium")
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        command = [program, *OPTIONS, f"--user-data-dir={folder}", "about:blank"]
        if os.geteuid() == 0:
            command.insert(1, "--no-sandbox")  # it does not start otherwise
        child, to, back = _start(command)
        stack.callback(os.waitpid, child, 0)
        stack.callback(os.kill, child, signal.SIGKILL)  # its other processes end with it
        for one in (to, back):
            stack.callback(os.close, one)
        yield _attached(Page(to, back))


def _start(command: Sequence[str]) -> tuple[int, int, int]:
    """Start Chromium; return its process, and the ends of its pipe to write to and to read from."""
    (of_child, to), (back, from_child) = os.pipe(), os.pipe()
    # It reads from descriptor 3 and writes to 4, which may be taken by these very pipes.
    ends = [fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, 10) for one in (of_child, from_child)]
    actions: list[tuple[Any, ...]] = [
        (os.POSIX_SPAWN_OPEN, one, os.devnull, os.O_RDWR, 0) for one in range(3)
    ]
    actions += [(os.POSIX_SPAWN_DUP2, own, one) for own, one in zip(ends, (3, 4), strict=True)]
    try:
        return os.posix_spawn(command[0], command, os.environ, file_actions=actions), to, back
    finally:
        for one in (of_child, from_child, *ends):
            os.close(one)


def _attached(window: Page) -> Page:
    target = window.send("Target.createTarget", url="about:blank")["targetId"]
    window.session = window.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
    for domain in ("Page", "Network", "Runtime"):
        window.send(f"{domain}.enable")
    return window
