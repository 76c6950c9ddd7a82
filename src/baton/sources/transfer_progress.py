"""Show how far a transfer is by the size of the folder that it fills."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

from baton import console

POLL_SECONDS = 0.5


@contextlib.contextmanager
def watched(scratch: Path, title: str, total: float | None) -> Iterator[None]:
    """Show a progress bar while a library fills `scratch`, based on the size of the folder.

    The size is the one measure that works for all libraries. `total` is in bytes.
    """
    megabyte = 1e6
    stop = threading.Event()
    with console.progress(title, total / megabyte if total else None, "MB") as advance:

        def poll() -> None:
            shown = 0.0
            while True:
                last = stop.wait(POLL_SECONDS)
                now = min(_bytes(scratch), total or float("inf"))
                advance(max(0.0, now - shown) / megabyte)
                shown = max(shown, now)
                if last:
                    return

        thread = threading.Thread(target=poll, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def _bytes(scratch: Path) -> int:
    size = 0
    for path in scratch.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # renamed in the meantime
            size += path.stat().st_size if path.is_file() else 0
    return size
