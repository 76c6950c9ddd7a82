"""A budget of pixels that all threads of a process share while they decode images."""

import contextlib
import threading
from collections.abc import Iterator


class PixelBudget:
    """Lets threads decode only as many pixels together as fit; the others wait, in no particular order."""

    def __init__(self, pixels: int) -> None:
        """Take how many pixels may be decoded at once."""
        self.pixels = pixels
        self._free = pixels
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def taken(self, pixels: int) -> Iterator[None]:
        """Wait until `pixels` are free, and hold them; an image above the whole budget takes all of it."""
        own = min(pixels, self.pixels)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= own)
            self._free -= own
        try:
            yield
        finally:
            with self._changed:
                self._free += own
                self._changed.notify_all()
