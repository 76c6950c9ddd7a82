"""Small copies of test images, as `data:` addresses, so that no file is needed next to the report.

Input: data/clean/test.parquet and the ids of rows -> id -> address.
"""

import base64
import io
from collections.abc import Iterable
from pathlib import Path

from baton.errors import UndecodableError
from baton.images import decoding

SIDE = 112  # pixels of the longer side; a smaller image is enlarged to about half of it
MOST_PIXELS = 500_000_000  # `preprocess` has decoded these images already, under a limit of its own
ROOM = 1_500_000  # characters of all addresses together
PNG_MOST = 6_000  # bytes; a larger image is a photograph, which JPEG stores smaller


def read(clean: Path, ids: Iterable[str], room: int = ROOM) -> dict[str, str]:
    """Return the images of `ids`, the first ones first, as far as there is room; none for other inputs."""
    import pyarrow.parquet as pq

    path, wanted = clean / "test.parquet", list(dict.fromkeys(ids))
    if not wanted or not path.is_file() or "image" not in pq.read_schema(path).names:
        return {}
    table = pq.read_table(path, columns=["id", "image"], filters=[("id", "in", wanted)])
    content = dict(zip(table["id"].to_pylist(), table["image"].to_pylist(), strict=True))
    found: dict[str, str] = {}
    for id_ in wanted:
        if id_ in content and (address := _address(content[id_])):
            room -= len(address)
            if room < 0:
                break
            found[id_] = address
    return found


def gallery(figures: Path, model: str) -> str:
    """Return the drawing of a model's mistakes with their attributions; empty if there is none."""
    path = figures / f"gallery_{model}.png"
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}" if path.is_file() else ""


def _address(content: bytes) -> str:
    """Return a small copy; nothing for an image that cannot be decoded any more."""
    from PIL import Image

    try:
        pixels = decoding.decode(content, MOST_PIXELS).pixels
    except UndecodableError:
        return ""
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    image.thumbnail((SIDE, SIDE))
    times = max(SIDE // 2 // max(image.size), 1)  # of a tiny image: whole squares for its pixels
    image = image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)
    for form, options in (("PNG", {}), ("JPEG", {"quality": 80})):
        target = io.BytesIO()
        image.save(target, form, **options)
        if form == "JPEG" or target.tell() <= PNG_MOST:
            break
    return f"data:image/{form.lower()};base64,{base64.b64encode(target.getvalue()).decode()}"
