"""A small image file of every supported kind, and some files that are not images."""

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image
from pillow_heif import register_heif_opener

from tests import image_files

RANDOM = np.random.default_rng(0)
COLOURS = RANDOM.integers(0, 256, (9, 12, 3), dtype=np.uint8)
ALPHA = RANDOM.integers(0, 256, (9, 12), dtype=np.uint8)
DEEP = RANDOM.integers(0, 65536, (9, 12)).astype(np.uint16)


def encoded(pixels: Any, format: str = "PNG", mode: str | None = None, **options: Any) -> bytes:  # noqa: A002
    """Encode pixels or a Pillow image, after converting it to `mode`."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    target = io.BytesIO()
    (image if mode is None else image.convert(mode)).save(target, format, **options)
    return target.getvalue()


def kinds() -> dict[str, bytes]:
    """Return a dict from name to image file."""
    rgb, grey = Image.fromarray(COLOURS), Image.fromarray(COLOURS[..., 0])
    rgba = Image.fromarray(np.dstack([COLOURS, ALPHA]))
    indexed, exif = rgb.convert("P"), Image.Exif()
    index = indexed.getpixel((2, 3))
    found = {
        "png rgb": encoded(rgb),
        "png grey": encoded(grey),
        "png grey alpha": encoded(Image.fromarray(np.dstack([COLOURS[..., 0], ALPHA]), "LA")),
        "png alpha": encoded(rgba),
        "png palette": encoded(rgb, mode="P"),
        "png palette transparent": encoded(indexed, transparency=index),
        "png palette alpha": encoded(rgb.quantize(4), transparency=bytes([0, 90, 200, 255])),
        "png transparent colour": encoded(rgb, transparency=tuple(COLOURS[2, 3].tolist())),
        "png transparent grey": encoded(grey, transparency=int(COLOURS[2, 3, 0])),
        "png bilevel": encoded(grey, mode="1"),
        "png 16 bits": encoded(Image.fromarray(DEEP)),
        "png 16 bits transparent": encoded(Image.fromarray(DEEP), transparency=int(DEEP[1, 1])),
        "png rgb 16 bits": deep_png(2, 3),
        "png rgb 16 bits transparent": deep_png(2, 3, transparent=True),
        "png grey alpha 16 bits": deep_png(4, 2),
        "png alpha 16 bits": deep_png(6, 4),
        "png animated": encoded(rgb, save_all=True, append_images=[rgb.rotate(180)]),
        "jpeg": encoded(rgb, "JPEG"),
        "jpeg grey": encoded(grey, "JPEG"),
        "jpeg cmyk": encoded(rgb, "JPEG", mode="CMYK"),
        "jpeg progressive": encoded(rgb, "JPEG", progressive=True),
        "mpo": encoded(rgb, "MPO", save_all=True, append_images=[rgb.rotate(180)]),
        "tiff": encoded(rgb, "TIFF"),
        "tiff cmyk": encoded(rgb, "TIFF", mode="CMYK"),
        "tiff lab": encoded(Image.fromarray(COLOURS, "LAB"), "TIFF"),
        "tiff 16 bits": encoded(Image.fromarray(DEEP), "TIFF"),
        "tiff 32 bits": encoded(Image.fromarray(DEEP.astype(np.int32) * 3), "TIFF"),
        "tiff float": encoded(Image.fromarray((DEEP / 65535).astype(np.float32)), "TIFF"),
        "tiff float beyond 1": encoded(Image.fromarray((DEEP - 9.5).astype(np.float32)), "TIFF"),
        "tiff alpha": encoded(rgba, "TIFF"),
        "gif": encoded(rgb, "GIF"),
        "gif animated": encoded(rgb, "GIF", save_all=True, append_images=[rgb.rotate(180)]),
        "gif transparent": encoded(indexed, "GIF", transparency=index),
        "bmp": encoded(rgb, "BMP"),
        "bmp bilevel": encoded(grey, "BMP", mode="1"),
        "ppm": encoded(rgb, "PPM"),
        "pgm 16 bits": b"P5 3 2 65535\n" + DEEP[:2, :3].astype(">u2").tobytes(),
        "pgm 10 bits": b"P5 3 2 1023\n" + (DEEP[:2, :3] % 1024).astype(">u2").tobytes(),
        "webp": encoded(rgb, "WEBP"),
        "webp alpha": encoded(rgba, "WEBP", lossless=True),
        "webp animated": encoded(rgb, "WEBP", save_all=True, append_images=[rgb.rotate(180)]),
        "jpeg 2000": encoded(rgb, "JPEG2000"),
        "avif": encoded(rgb, "AVIF"),
        **odd(),
    }
    for orientation in range(1, 10):  # 9 is not an orientation
        exif[0x0112] = orientation
        for kind, options in (
            ("JPEG", {"exif": exif}),
            ("PNG", {"exif": exif}),
            ("TIFF", {"tiffinfo": {0x0112: orientation}}),
        ):
            found[f"{kind.lower()} turned {orientation}"] = encoded(rgb, kind, **options)
    return found


def odd() -> dict[str, bytes]:
    """Return intact images of unusual layouts."""
    register_heif_opener()
    rgb, measured = Image.fromarray(COLOURS), DEEP.astype(np.float32) - 30000
    clear, gap, turned = np.dstack([COLOURS, np.zeros_like(ALPHA)]), measured.copy(), Image.Exif()
    gap[2, 3] = np.finfo(np.float32).min
    turned[0x0112] = 6
    texts = {}
    for kind, head in (("zTXt", b"prompt\0\0"), ("iTXt", b"prompt\0\1\0\0\0"), ("iCCP", b"profile\0\0")):
        content = kind.encode() + head + zlib.compress(bytes(3 * 2**20))
        chunk = struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))
        texts[f"png long {kind}"] = (whole := encoded(rgb))[:33] + chunk + whole[33:]
    return texts | {
        "heic": encoded(rgb, "HEIF"),
        "heic grey": encoded(Image.fromarray(COLOURS[..., 0]), "HEIF"),
        "heic alpha": encoded(Image.fromarray(np.dstack([COLOURS, ALPHA])), "HEIF"),
        "heic turned": encoded(rgb, "HEIF", exif=turned.tobytes()),
        "png clear": encoded(clear),
        "bmp alpha 0": image_files.bmp(COLOURS, 0),
        "bmp alpha 100": image_files.bmp(COLOURS, 100),
        "png 16 bits turned": encoded(Image.fromarray(DEEP // 16), exif=turned),
        "tiff 12 bits": image_files.tiff(DEEP // 16, bits=12),
        "tiff 16 bits white is zero": image_files.tiff(DEEP, photometric=0),
        "tiff float white is zero": image_files.tiff(measured, photometric=0),
        "tiff unsigned 32 bits": image_files.tiff(DEEP.astype(np.uint32) << 16),
        "tiff signed 16 bits": image_files.tiff(DEEP.astype(np.int16)),
        "tiff no data": image_files.tiff(gap),
        "tiff no data named": image_files.tiff(measured, nodata=(42113, 2, f"{measured[2, 3]}\0".encode())),
        "tiff rgb 16 bits": image_files.tiff(np.dstack([DEEP, DEEP // 2, DEEP // 3])),
        "tiff four bands": image_files.tiff(clear),
        "tiff two bands": image_files.tiff(np.dstack([COLOURS[..., 0], ALPHA])),
    }


def broken() -> dict[str, bytes]:
    """Return a dict from name to a file that is not an image, or not an intact one."""
    register_heif_opener()
    photo = encoded(RANDOM.integers(0, 256, (60, 60, 3), dtype=np.uint8), "JPEG")
    picture = encoded(COLOURS)
    return {
        "empty": b"",
        "text": b"this is not an image",
        "header only": photo[:20],
        "half a jpeg": photo[: len(photo) // 2],
        "half a png": picture[: len(picture) // 2],
        "png without its end": picture[:-12],
        "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        "five bands": image_files.tiff(np.zeros((9, 12, 5), np.float32)),
        "float colours": image_files.tiff(np.zeros((9, 12, 3), np.float32)),
        "no data at all": image_files.tiff(np.full((9, 12), -3.4e38, np.float32)),
        "half a heic": encoded(COLOURS, "HEIF")[:-20],
        "not finite": encoded(Image.fromarray(np.full((4, 4), np.nan, dtype=np.float32)), "TIFF"),
    }


def deep_png(kind: int, channels: int, transparent: bool = False) -> bytes:
    """Return a PNG of 16 bits per channel, of a colour type that Pillow does not write."""
    values = np.random.default_rng(kind).integers(0, 65536, (9, 12, channels)).astype(">u2")
    header = struct.pack(">IIBBBBB", 12, 9, 16, kind, 0, 0, 0)
    lines = b"".join(b"\0" + line.tobytes() for line in values)
    clear = [(b"tRNS", values[2, 3].tobytes())] if transparent else []
    chunks = [(b"IHDR", header), *clear, (b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    parts = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def enormous() -> bytes:
    """Return a PNG whose header claims 20000 x 20000 pixels."""
    picture = encoded(COLOURS)
    header = b"IHDR" + struct.pack(">II", 20000, 20000) + picture[24:29]
    return picture[:12] + header + struct.pack(">I", zlib.crc32(header)) + picture[33:]
