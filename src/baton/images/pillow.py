"""An image that Pillow opened -> upright pixels of 8 bits, with notes of what had to be done; and Pillow's warnings, thread by thread."""

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
KINDS = {"1": "1 bit", "P": "palette", "PA": "palette", "CMYK": "CMYK"}  # Pillow's mode -> what is noted
NO_ALPHA = {"BMP", "DIB"}  # formats whose fourth byte is often written as 0 where no alpha is meant


def frames(image: Any, notes: list[str]) -> int:
    """Number of frames of an animation, or of pages; 1 for a photograph that comes with previews or other views of the same (MPO, HEIF)."""
    count = int(getattr(image, "n_frames", 1))
    if count > 1 and image.format in {"MPO", "HEIF"}:
        notes.append(f"{'first' if image.format == 'MPO' else 'main'} picture of several ({image.format})")
        return 1
    if count > 1:
        notes.append("first frame of several")
    return count


def pixels(image: Any, bits: int, notes: list[str]) -> tuple[NDArray[np.uint8], int]:
    """Pixels (height, width, channels) of an opened image, 1 channel where it is greyscale, else 3; and its greatest value of 16 bits.

    Args:
        image: not yet loaded.
        bits: how many of 16 are used in a PNG or TIFF.
        notes: what had to be done goes here.

    Returns:
        Pixels of 8 bits, and the greatest value of a PNG or TIFF that stores 16 bits, which tells how many of them are used; else 0.

    Raises:
        Exception: whatever Pillow's reader of the format raises on a malformed file.
    """
    stored, kind = _stored(image, notes), image.format  # both of which Pillow forgets
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
    """Pixels (height, width, channels) of an image of 8 bits."""
    if image.has_transparency_data:
        image = _on_white(image, kind, notes)
    if not grey:
        return np.asarray(image.convert("RGB"))
    plane = np.asarray(
        image if image.mode == "L" else image.convert("L") if image.mode == "1" else image.getchannel(0)
    )
    return plane[:, :, np.newaxis]


def _stored(image: Any, notes: list[str]) -> str:
    """Pillow's name of the layout in the file, such as `RGB;16B`, which it forgets when the pixels are loaded."""
    arguments = image.tile[0].args if image.tile else ""
    stored = (
        arguments
        if isinstance(arguments, str)
        else next((part for part in arguments or () if isinstance(part, str)), "")
    )
    if ";16" in stored:
        notes.append("16 bits")
        transparency = image.info.get("transparency")
        if isinstance(
            transparency, tuple
        ):  # colours keep the upper half of their bits, but their transparent one keeps all
            image.info["transparency"] = tuple(value >> 8 for value in transparency)
    return stored


def _brightened(image: Any, bits: int) -> Any:
    """Colours of 16 bits, of which Pillow keeps the upper 8, scaled from the white of `bits`."""
    white = (2**bits - 1) >> 8
    if not white:
        raise ValueError(f"colours of 16 bits that use only {bits}: save them with 8 bits")
    if white == bit_depth.WHITE:
        return image
    table = [min(round(value * bit_depth.WHITE / white), bit_depth.WHITE) for value in range(256)]
    return image.point(table * 3 + list(range(256)) * (len(image.getbands()) - 3))


def _upright(image: Any, notes: list[str]) -> Any:
    """The loaded image, turned as its EXIF orientation says."""
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
    turned_by_load = image.format == "TIFF"  # so it must be asked before
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
    except Exception:  # noqa: BLE001  Pillow raises whatever malformed EXIF leads it to; the picture itself is whole
        notes.append("unreadable EXIF")
        return 1


def _on_white(image: Any, kind: str, notes: list[str]) -> Any:
    """The image without its alpha: on white, or as it is where a BMP has zeros for its alpha and so means none."""
    from PIL import Image

    straight = image.convert("LA" if image.mode == "La" else "RGBA").convert("RGBA")
    clear = straight.getextrema()[3][1] == 0
    if clear and kind in NO_ALPHA:
        notes.append("alpha of zeros left out")
        return straight.convert("RGB")
    notes += ["alpha on white", *([bit_depth.TRANSPARENT] if clear else [])]
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), straight)


# ---- warnings ----------------------------------------------------------------------------------------------------------------

_lock = threading.Lock()
_listeners = 0
_undo = contextlib.ExitStack()
_heard = threading.local()


@contextlib.contextmanager
def listening() -> Iterator[list[str]]:
    """Give the list that takes what Pillow warns of in this thread meanwhile; and no limit of Pillow's own stands beside the caller's.

    Filters and limit are the process's: the first thread that comes sets them, the last that goes puts them back.
    """
    global _listeners  # noqa: PLW0603  as above
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
    logger, handler = (
        logging.getLogger("PIL"),
        logging.NullHandler(),
    )  # what it logs is also in what it raises
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
