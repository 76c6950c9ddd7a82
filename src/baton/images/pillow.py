"""An image opened by Pillow -> upright 8-bit pixels and notes on the conversions.

`listening` collects Pillow's warnings per thread.
"""

import contextlib
import logging
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from baton.images import bit_depth

ORIENTATION = 0x0112  # the EXIF tag
KINDS = {"1": "1 bit", "P": "palette", "PA": "palette", "CMYK": "CMYK"}  # Pillow's mode -> note
NO_ALPHA = {"BMP", "DIB"}  # formats whose fourth byte is often 0 although no alpha is meant


def frames(image: Any, notes: list[str]) -> int:
    """Return the number of frames or pages; 1 for a photo with previews or other views of it (MPO, HEIF)."""
    count = int(getattr(image, "n_frames", 1))
    if count > 1 and image.format in {"MPO", "HEIF"}:
        notes.append(f"{'first' if image.format == 'MPO' else 'main'} picture of several ({image.format})")
        return 1
    if count > 1:
        notes.append("first frame of several")
    return count


def pixels(image: Any, bits: int, notes: list[str]) -> tuple[NDArray[np.uint8], int]:
    """Return the pixels, (height, width, channels), of an opened image, and its greatest 16-bit value.

    There is 1 channel if the image is greyscale, else 3.

    Args:
        image: The image, not yet loaded.
        bits: How many of 16 bits are used in a PNG or TIFF.
        notes: Receives notes on the conversions applied.

    Returns:
        8-bit pixels, and the greatest value of a PNG or TIFF that stores 16 bits, which shows how many of
        them are used; 0 for other files.

    Raises:
        Exception: Anything that Pillow's reader of the format raises on a malformed file.
    """
    stored, kind = _stored(image, notes), image.format  # loading discards both
    image = _upright(image, notes)
    mode = image.mode
    grey = mode in {"1", "L", "LA", "La", "I", "F"} or mode.startswith("I;16") or stored.startswith("LA;")
    notes += ["greyscale"] if grey else []
    if mode in {"I", "F"} or mode.startswith("I;16"):
        return bit_depth.grey(image, bit_depth.Stored(kind, stored, bits), notes)
    notes += [KINDS[mode]] if mode in KINDS else []
    if ";16" not in stored or kind not in bit_depth.UNTOLD:
        return _shallow(image, kind, grey, notes), 0
    greatest = 256 * max(most for _, most in image.convert("RGB").getextrema()) + 255
    return _shallow(_brightened(image, bits), kind, grey, notes), greatest


def _shallow(image: Any, kind: str, grey: bool, notes: list[str]) -> NDArray[np.uint8]:
    """Return the pixels, (height, width, channels), of an 8-bit image."""
    whiten = image.has_transparency_data and _whitened(image, kind, notes)
    (width, height), channels = image.size, 1 if grey else 3
    result = np.empty((height, width, channels), dtype=np.uint8)
    for first, last in bit_depth.strips(
        height, width
    ):  # conversions of the whole would take its memory again
        strip = image.crop((0, first, width, last))
        if image.has_transparency_data:
            strip = _on_white(strip, whiten)
        if grey:
            plane = strip if strip.mode == "L" else strip.convert("L") if strip.mode == "1" else None
            result[first:last, :, 0] = np.asarray(strip.getchannel(0) if plane is None else plane)
        else:
            result[first:last] = np.asarray(strip.convert("RGB"))
    return result


def _stored(image: Any, notes: list[str]) -> str:
    """Return Pillow's name of the file's layout, such as `RGB;16B`, which loading the pixels discards."""
    arguments = image.tile[0].args if image.tile else ""
    stored = (
        arguments
        if isinstance(arguments, str)
        else next((part for part in arguments or () if isinstance(part, str)), "")
    )
    if ";16" in stored:
        notes.append("16 bits")
        transparency = image.info.get("transparency")
        # Pillow keeps the upper half of the bits of colours, but all bits of the transparent colour.
        if isinstance(transparency, tuple):
            image.info["transparency"] = tuple(value >> 8 for value in transparency)
    return stored


def _brightened(image: Any, bits: int) -> Any:
    """Scale 16-bit colours, of which Pillow keeps the upper 8 bits, from the white level of `bits`."""
    white = (2**bits - 1) >> 8
    if not white:
        raise ValueError(f"colours of 16 bits that use only {bits}: save them with 8 bits")
    if white == bit_depth.WHITE:
        return image
    table = [min(round(value * bit_depth.WHITE / white), bit_depth.WHITE) for value in range(256)]
    return image.point(table * 3 + list(range(256)) * (len(image.getbands()) - 3))


def _upright(image: Any, notes: list[str]) -> Any:
    """Return the loaded image, turned according to its EXIF orientation."""
    from PIL import Image

    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    turned_by_load = image.format == "TIFF"  # so the orientation must be read before
    orientation = _orientation(image, notes) if turned_by_load else 1
    image.load()
    if not turned_by_load:
        orientation = _orientation(image, notes)
    if orientation not in turns:
        return image
    notes.append("turned (EXIF)")
    return image if turned_by_load else image.transpose(turns[orientation])


def _orientation(image: Any, notes: list[str]) -> Any:
    try:
        return image.getexif().get(ORIENTATION, 1)
    except Exception:  # noqa: BLE001  malformed EXIF can raise anything; the image itself is intact
        notes.append("unreadable EXIF")
        return 1


def _whitened(image: Any, kind: str, notes: list[str]) -> bool:
    """Return whether an image with alpha is put on white: not a BMP whose alpha is all zeros (not meant)."""
    width, height = image.size
    parts = bit_depth.strips(height, width)
    tops = (_straight(image.crop((0, first, width, last))).getextrema()[3][1] for first, last in parts)
    clear = not any(tops)
    if clear and kind in NO_ALPHA:
        notes.append("alpha of zeros left out")
        return False
    notes += ["alpha on white", *([bit_depth.TRANSPARENT] if clear else [])]
    return True


def _straight(image: Any) -> Any:
    return image.convert("LA" if image.mode == "La" else "RGBA").convert("RGBA")


def _on_white(strip: Any, whiten: bool) -> Any:
    """Return a strip of an image without alpha: on white, or as it is."""
    from PIL import Image

    straight = _straight(strip)
    if not whiten:
        return straight.convert("RGB")
    return Image.alpha_composite(Image.new("RGBA", strip.size, "white"), straight)


# ---- warnings ----

_lock = threading.Lock()
_listeners = 0
_undo = contextlib.ExitStack()
_heard = threading.local()


@contextlib.contextmanager
def listening() -> Iterator[list[str]]:
    """Yield a list that collects Pillow's warnings in this thread, and suspend Pillow's own limit on pixels.

    Filters and limit are process-wide: the first thread to enter sets them, the last to leave restores them.
    """
    global _listeners  # noqa: PLW0603  shared by all threads, as described above
    with _lock:
        _listeners += 1
        if _listeners == 1:
            _begin(_undo)
    outer, _heard.messages = getattr(_heard, "messages", None), []
    try:
        yield _heard.messages
    finally:
        _heard.messages = outer
        with _lock:
            _listeners -= 1
            if _listeners == 0:
                _undo.close()


def _begin(undo: contextlib.ExitStack) -> None:
    from PIL import Image

    undo.callback(setattr, Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
    Image.MAX_IMAGE_PIXELS = None
    logger, handler = logging.getLogger("PIL"), logging.NullHandler()  # its exceptions say what it logs
    logger.addHandler(handler)
    undo.callback(logger.removeHandler, handler)
    undo.enter_context(warnings.catch_warnings())
    shown, package = warnings.showwarning, Path(Image.__file__).parent
    warnings.filterwarnings("always", module=r"PIL\.")

    def hear(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        messages = getattr(_heard, "messages", None)
        if messages is not None and Path(filename).parent == package:
            messages.append(" ".join(str(message).split()))
        else:
            shown(message, category, filename, lineno, file, line)

    warnings.showwarning = hear
