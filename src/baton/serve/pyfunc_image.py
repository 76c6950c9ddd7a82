"""A classifier of images as an MLflow model, in one file that needs no baton: torch, timm, Pillow, pillow-heif and safetensors only.

MLflow copies this file and the model folder into the logged model ("models from code") and runs it when the model is loaded.

Input: images, each as encoded bytes (PNG, JPEG, HEIC, …), as a base64 string (bare or a `data:` URI) or as the path of a file; one of them,
a list, a Series, an array of objects, or a DataFrame whose first column is called `image`. Output: a DataFrame with one row an image:
`label`, the most probable class, and `probability_CLASS` for each class in the order of the labels: the softmax of
logits / temperature, with the temperature in `baton.json`. Params: `batch_size`.

    mlflow.pyfunc.load_model("models:/MODEL_ID").predict(["picture.png"])

`mlflow models serve` takes base64 strings in JSON and no paths, since a request must not read the server's files; where it may, set
SERVING_MODEL_CONFIG='{"serve_paths": true}'. `max_pixels` (of one picture) is the other such setting. Pictures are decoded and framed as
baton's `tokenize` and batches do it.
"""

import base64
import binascii
import io
import json
import math
import os
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mlflow.models
import mlflow.pyfunc
import numpy as np
import pandas as pd
import timm
import torch
from PIL import Image, UnidentifiedImageError
from pillow_heif import register_heif_opener
from safetensors.torch import load_file
from torch.nn import functional

BATCH_SIZE = 32
MAX_PIXELS = 100_000_000  # of one picture, unless model_config says `max_pixels`; a file that says it has more is not decoded
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "DIB", "TIFF", "WEBP", "AVIF", "HEIF", "JPEG2000", "PPM")
PNG_END = b"IEND\xaeB`\x82"  # Pillow does not miss it
ORIENTATION = 0x0112  # the EXIF tag
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
WHITE, BITS_16 = 255, 16
HUGE = 1e38  # of 32-bit floats, which end at 3.4e38: what measures nothing
WHITE_IS_ZERO, NO_DATA = (262, 0), 42113  # TIFF: a tag and its value; GDAL's tag
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
MOST_TEXT = 2**19  # bytes of a PNG's texts and colour profile, unpacked, that are kept
# Torch's way of enlarging for each of Pillow's resamplings; for what torch lacks, the nearest relative.
ENLARGING = {
    "nearest": "nearest-exact",
    "box": "nearest-exact",
    "bilinear": "bilinear",
    "hamming": "bilinear",
}
SHOWN = 60  # characters of an input that an error shows

Pixels = np.ndarray[Any, np.dtype[np.uint8]]  # (height, width, 1 or 3)


class ImageClassifier(mlflow.pyfunc.PythonModel):  # type: ignore[name-defined,misc]
    """A timm backbone with the head that `baton.json` in the model folder describes; on a GPU if there is one, in fp32."""

    def load_context(self, context: Any) -> None:
        """Read the model folder `context.artifacts["model"]`.

        Where `max_pixels` is beyond what Pillow opens, Pillow's limit is raised to it for the whole process.

        Raises:
            RuntimeError: the weights do not fit the config.
            ValueError: `max_pixels` in model_config is no number of pixels.
        """
        folder = Path(context.artifacts["model"])
        info = json.loads((folder / "baton.json").read_text(encoding="utf-8"))
        self.labels: list[str] = info["labels"]
        self.temperature: float = info["temperature"]
        self.frame, self.bits = Frame(info["input"]), info["input"].get("significant_bits", BITS_16)
        config = context.model_config or {}
        self.serve_paths, self.max_pixels = (
            bool(config.get("serve_paths")),
            config.get("max_pixels", MAX_PIXELS),
        )
        if not isinstance(self.max_pixels, int) or self.max_pixels <= 0:
            found = f"  got:      max_pixels {self.max_pixels!r}\n  expected: a number of pixels, 1 or more"
            raise ValueError(f"model_config is unusable\n{found}\n  next:     mend it, or leave it out")
        if Image.MAX_IMAGE_PIXELS is not None and self.max_pixels > 2 * Image.MAX_IMAGE_PIXELS:
            Image.MAX_IMAGE_PIXELS = (
                self.max_pixels
            )  # Pillow's own limit, of the whole process: it refuses above twice that
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        weights = load_file(folder / "model.safetensors")
        self.head = {
            name.removeprefix("head."): weights.pop(name).to(self.device)
            for name in list(weights)
            if name.startswith("head.")
        }
        self.backbone = timm.create_model(
            f"local-dir:{folder}", pretrained=False
        )  # as config.json says; it pools as the head wants
        self.backbone.load_state_dict(
            {name.removeprefix("backbone."): tensor for name, tensor in weights.items()}
        )
        self.backbone.to(self.device).eval()
        mean, std = (
            torch.tensor(info["input"][name], device=self.device).reshape(-1, 1, 1)
            for name in ("mean", "std")
        )
        self.shift, self.scale = WHITE * mean, WHITE * std  # (channels, 1, 1), of values from 0 to 255

    def predict(self, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Classify images; the result has the input's index if it had one.

        Raises:
            ValueError: the input is no column of images, or a row's image cannot be had: there is no such file, it is none, or enormous.
            TypeError: a row is neither bytes nor a string nor a path.
        """
        images, index = _images(model_input)
        probabilities = self._probabilities(
            images, int((params or {}).get("batch_size") or BATCH_SIZE)
        )  # (images, classes)
        frame = pd.DataFrame(
            probabilities, columns=[f"probability_{label}" for label in self.labels], index=index
        )
        frame.insert(0, "label", [self.labels[best] for best in probabilities.argmax(axis=1)])
        return frame

    @torch.no_grad()
    def _probabilities(self, images: list[Any], batch_size: int) -> np.ndarray[Any, np.dtype[np.float64]]:
        """(images, classes), in the order of the images; the pictures of one batch are in memory at a time, decoded by threads."""
        result = np.zeros((len(images), len(self.labels)))
        paths = self.serve_paths or os.environ.get("_MLFLOW_IS_IN_SERVING_ENVIRONMENT") != "true"
        with ThreadPoolExecutor(torch.get_num_threads()) as threads:
            for start in range(0, len(images), batch_size):
                rows = range(start, min(start + batch_size, len(images)))
                pixels = torch.stack(
                    list(threads.map(lambda row: self._framed(images[row], row, paths), rows))
                )
                logits = self._logits(pixels.to(self.device)).double()  # (batch, classes)
                result[start : start + batch_size] = (logits / self.temperature).softmax(dim=-1).cpu().numpy()
        return result

    def _framed(self, value: Any, row: int, paths: bool) -> torch.Tensor:
        """(channels, height, width) of a row's image."""
        return self.frame.framed(
            _decoded(_content(value, row, paths), value, row, self.max_pixels, self.bits)
        )

    def _logits(self, pixels: torch.Tensor) -> torch.Tensor:
        """(batch, channels, height, width) of 0 to 255 -> (batch, classes)."""
        pooled = self.backbone((pixels - self.shift) / self.scale)  # (batch, width)
        if "hidden.weight" in self.head:
            pooled = torch.tanh(
                functional.linear(pooled, self.head["hidden.weight"], self.head["hidden.bias"])
            )
        return functional.linear(pooled, self.head["output.weight"], self.head["output.bias"])


# ---- any accepted input -> encoded images ------------------------------------------------------------------------------------


def _images(data: Any) -> tuple[list[Any], Any]:
    """Any accepted input -> one value an image and, for pandas objects, their index."""
    index = data.index if isinstance(data, pd.Series | pd.DataFrame) else None
    if isinstance(data, pd.DataFrame):
        name = data.columns[0] if len(data.columns) else None
        # MLflow passes only the first column on, so a name of its own is the one sign that this may be the wrong one.
        if name not in ("image", "0", 0):
            hint = "rename it, or pass the images alone: model.predict(list(frame[COLUMN]))"
            raise ValueError(
                f"the input's first column is no column of images\n  got:      {name!r}\n  expected: 'image'\n  next:     {hint}"
            )
        data = data[name]
    if isinstance(data, str | bytes | bytearray | memoryview | os.PathLike):
        return [data], index
    return np.asarray(data, dtype=object).reshape(-1).tolist(), index


def _content(value: Any, row: int, paths: bool) -> bytes:
    """The encoded image that a value is, holds in base64, or names, if `paths` are taken."""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, os.PathLike) and paths:
        return _read(Path(value), row, "no such file")
    if not isinstance(value, str):
        expected = "bytes of a PNG, JPEG, …, the same as a base64 string" + (", or a path" if paths else "")
        raise TypeError(
            f"row {row} is no image\n  got:      {_shown(value)}\n  expected: {expected}\n  next:     fill or drop missing images"
        )
    uri = value[:5].lower() == "data:"
    content = _from_base64(value.partition(",")[2] if uri else value)
    if content is not None and (uri or _is_picture(content)):
        return content
    if uri or not paths:
        hint = "send the content of the file in base64"
        hint += (
            ""
            if uri
            else """; to let this server read its own files, start it with SERVING_MODEL_CONFIG='{"serve_paths": true}'"""
        )
        raise _refused(row, "is no image in base64", value, "the content of a PNG, JPEG, … in base64", hint)
    return _read(
        Path(value), row, "no such file" if "." in value else "neither a file nor an image in base64"
    )  # which has no dots


def _from_base64(text: str) -> bytes | None:
    """What a string in base64 (also the kind for URLs, with or without padding) stands for; None if it is none."""
    compact = "".join(text.split()).translate(str.maketrans("-_", "+/")).rstrip("=")
    try:
        return base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def _is_picture(content: bytes) -> bool:
    """Whether content begins as an image that Pillow knows does."""
    try:
        with _opened(content):
            return True
    except Image.DecompressionBombError:
        return True
    except Exception:  # noqa: BLE001  Pillow's readers raise whatever a malformed header leads them to
        return False


def _read(path: Path, row: int, problem: str) -> bytes:
    try:
        if path.is_file():  # no device or pipe, which may never end
            return path.read_bytes()
    except OSError as error:
        problem = f"file that cannot be read ({error.strerror})"
    hint = "see whether it is there; a relative path begins in the working directory"
    raise _refused(row, f"is {problem}", str(path), "the path of an image file", hint)


def _refused(row: int, problem: str, got: Any, expected: str, hint: str) -> ValueError:
    return ValueError(
        f"row {row} {problem}\n  got:      {_shown(got)}\n  expected: {expected}\n  next:     {hint}"
    )


def _shown(value: Any) -> str:
    text = repr(value[: 2 * SHOWN] if isinstance(value, str | bytes) else value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


# ---- encoded images -> pixels of 8 bits, as baton.images.decoding has it ---------------------------------------------------------


def _opened(content: bytes) -> Any:
    """The image as Pillow opens it, without the long texts and colour profiles for which Pillow would refuse a PNG."""
    if content.startswith(PNG_SIGNATURE):
        content = _without_long_texts(content)
    return Image.open(io.BytesIO(content), formats=FORMATS)


def _without_long_texts(content: bytes) -> bytes:
    kept, cut, room = [PNG_SIGNATURE], False, MOST_TEXT
    start = position = len(PNG_SIGNATURE)
    while position + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, position)
        end = position + 12 + length
        if kind in TEXTS:
            unpacked = _unpacked_size(kind, content[position + 8 : end - 4], room)
            if unpacked > room:
                kept.append(content[start:position])
                cut, start = True, end
            else:
                room -= unpacked
        position = end
    return b"".join([*kept, content[start:]]) if cut else content


def _unpacked_size(kind: bytes, chunk: bytes, room: int) -> int:
    """Bytes of a text as Pillow unpacks it, or more than `room`."""
    _, _, rest = chunk.partition(b"\0")  # the keyword
    if kind == b"iTXt":
        packed, rest = (
            rest[:1] == b"\1",
            rest[2:].partition(b"\0")[2].partition(b"\0")[2],
        )  # behind language and translated keyword
    else:
        packed, rest = kind != b"tEXt", rest[1:]
    if not packed or len(chunk) > room:
        return len(chunk)
    try:
        return max(len(chunk), len(zlib.decompressobj().decompress(rest, room + 1)))
    except zlib.error:  # Pillow leaves such a text out itself
        return len(chunk)


def _decoded(content: bytes, value: Any, row: int, most: int = MAX_PIXELS, bits: int = BITS_16) -> Pixels:
    """A picture's first frame, upright, on white; `value` is what an error shows, `bits` how many of 16 a PNG or TIFF uses."""
    hint = "mend or leave out this image"
    try:
        with _opened(content) as image:
            width, height = image.size
            if width * height > most:
                raise Image.DecompressionBombError(f"{width} x {height} pixels")
            if image.format == "PNG" and PNG_END not in content:
                raise ValueError("truncated: the end of the PNG is missing")
            getattr(image, "n_frames", 1)  # finds a broken animation
            return _pixels(image, bits)
    except Image.DecompressionBombError as error:
        larger = "make it smaller, or set max_pixels in model_config"
        raise _refused(
            row, f"is an enormous image ({error})", value, f"at most {most:,} pixels", larger
        ) from None
    except UnidentifiedImageError:
        layout = "grey or RGB (no TIFF of five bands or with colours in floats)"
        raise _refused(
            row, "is no image that can be read", value, f"one of {', '.join(FORMATS)}, {layout}", hint
        ) from None
    except Exception as error:  # noqa: BLE001  as above
        text = " ".join(str(error).split()) or type(error).__name__
        raise _refused(row, f"is a broken image ({text})", value, "a whole file", hint) from None


def _pixels(image: Any, bits: int) -> Pixels:
    """Pixels of an opened image; 1 channel where it is greyscale."""
    stored, kind = _stored(image), image.format  # both of which Pillow forgets
    image = _upright(image)
    mode = image.mode
    if mode in {"I", "F"} or mode.startswith("I;16"):
        return _deep(image, kind, stored, bits)
    if ";16" in stored and kind in {"PNG", "TIFF"}:
        image = _brightened(image, bits)
    if image.has_transparency_data:
        image = _on_white(image, kind)
    if mode not in {"1", "L", "LA", "La"} and not stored.startswith("LA;"):
        return np.asarray(image.convert("RGB"))
    plane = np.asarray(
        image if image.mode == "L" else image.convert("L") if image.mode == "1" else image.getchannel(0)
    )
    return plane[:, :, np.newaxis]


def _on_white(image: Any, kind: str) -> Any:
    """The image without its alpha: on white, or as it is where a BMP has zeros for its alpha and so means none."""
    straight = image.convert("LA" if image.mode == "La" else "RGBA").convert("RGBA")
    if kind in {"BMP", "DIB"} and straight.getextrema()[3][1] == 0:
        return straight.convert("RGB")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), straight)


def _brightened(image: Any, bits: int) -> Any:
    """Colours of 16 bits, of which Pillow keeps the upper 8, scaled from the white of `bits`."""
    white = (2**bits - 1) >> 8
    if not white:
        raise ValueError(f"colours of 16 bits that use only {bits}: save them with 8 bits")
    if white == WHITE:
        return image
    table = [min(round(value * WHITE / white), WHITE) for value in range(256)]
    return image.point(table * 3 + list(range(256)) * (len(image.getbands()) - 3))


def _stored(image: Any) -> str:
    """Pillow's name of the layout in the file, such as `RGB;16B`, which it forgets when the pixels are loaded."""
    arguments = image.tile[0].args if image.tile else ""
    stored = (
        arguments
        if isinstance(arguments, str)
        else next((part for part in arguments or () if isinstance(part, str)), "")
    )
    transparency = image.info.get("transparency")
    if ";16" in stored and isinstance(
        transparency, tuple
    ):  # colours lose half of their bits, but not their transparent one
        image.info["transparency"] = tuple(value >> 8 for value in transparency)
    return stored


def _upright(image: Any) -> Any:
    """The loaded image, turned as its EXIF orientation says; a TIFF is turned while it is loaded."""
    image.load()
    if image.format == "TIFF":
        return image
    try:
        orientation = image.getexif().get(ORIENTATION, 1)
    except Exception:  # noqa: BLE001  as above; the picture itself is whole
        orientation = 1
    return image.transpose(TURNS[orientation]) if orientation in TURNS else image


def _deep(image: Any, kind: str, stored: str, bits: int) -> Pixels:
    """Greyscale of 12, 16 or 32 bits, scaled to 8; what is without data becomes white."""
    values = np.asarray(image)
    values = (values.view(np.uint32) if stored == "I;32N" else values).astype(np.float64)
    missing = _no_data(image, values)
    if image.mode != "F" and (image.mode != "I" or kind == "PPM"):
        used = 12 if stored == "I;12" else bits if kind in {"PNG", "TIFF"} else BITS_16
        black, white = 0.0, 2.0**used - 1
    else:
        there = values[~missing]
        if not np.isfinite(there).all() or not there.size:
            raise ValueError("pixels are no finite numbers" if there.size else "all pixels are without data")
        shares = image.mode == "F" and there.min() >= 0 and there.max() <= 1
        black, white = (0.0, 1.0) if shares else (float(there.min()), float(there.max()))
    if _tag(image, WHITE_IS_ZERO[0]) == WHITE_IS_ZERO[1]:
        black, white = white, black
    with np.errstate(invalid="ignore"):  # what is without data is painted over
        shown = np.rint((values - black) * (WHITE / (white - black or 1.0))).clip(0, WHITE)
    return np.where(missing, WHITE, np.where(np.isnan(shown), 0, shown)).astype(np.uint8)[:, :, np.newaxis]


def _no_data(image: Any, values: Any) -> Any:
    """Where the picture has no value: its transparent one, GDAL's tag, and what is too large to be measured."""
    missing = np.zeros(values.shape, dtype=bool)
    if isinstance(image.info.get("transparency"), int):
        missing |= values == image.info["transparency"]
    if image.mode == "F":
        missing |= np.abs(values) >= HUGE
    if (tag := _tag(image, NO_DATA)) is not None:
        try:
            named = float(str(tag).strip("\0 "))
        except ValueError:
            return missing
        missing |= (
            np.isnan(values)
            if math.isnan(named)
            else values == np.float64(np.float32(named) if image.mode == "F" else named)
        )
    return missing


def _tag(image: Any, number: int) -> Any:
    return image.tag_v2.get(number) if image.format == "TIFF" else None


# ---- pixels of any size -> the model's input, as baton.images.framing and image_batches have it -----------------------------------


class Frame:
    """The geometry of a model's input; heights come before widths."""

    def __init__(self, described: dict[str, Any]) -> None:
        """`described` is the section `input` of baton.json."""
        self.size: tuple[int, ...] = tuple(described["size"])
        self.canvas = tuple(
            math.floor(side / described["crop_fraction"]) for side in self.size
        )  # with the margin that is cut off
        self.channels, self.interpolation, self.mode = (
            described[name] for name in ("channels", "interpolation", "crop_mode")
        )
        self.border = [round(WHITE * value) for value in described["mean"]]

    def framed(self, pixels: Pixels) -> torch.Tensor:
        """Any picture -> (channels, height, width) float32 of 0 to 255: brought down or enlarged to the canvas, without the margin."""
        stored = torch.from_numpy(self._stored(pixels)).permute(2, 0, 1).float()
        if tuple(stored.shape[1:]) != self.canvas:
            mode = ENLARGING.get(self.interpolation, "bicubic")
            smooth = {} if mode == "nearest-exact" else {"antialias": True}
            stored = functional.interpolate(stored[None], size=self.canvas, mode=mode, **smooth)[0].clamp(
                0, WHITE
            )
        top, left = (_centred(whole, part) for whole, part in zip(self.canvas, self.size, strict=True))
        return stored[:, top : top + self.size[0], left : left + self.size[1]]

    def _stored(self, pixels: Pixels) -> Pixels:
        """Bring down to the canvas, in the input's channels; a smaller picture keeps its resolution."""
        height, width = pixels.shape[:2]
        pixels = self._recoloured(pixels) if pixels.shape[2] > self.channels else pixels
        shape = self._resized(height, width)
        if shape != (height, width):
            picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
            pixels = np.asarray(
                picture.resize(shape[::-1], Image.Resampling[self.interpolation.upper()])
            ).reshape(*shape, -1)
        pixels, target = self._recoloured(pixels), self._target(height, width)
        if target == shape:
            return np.array(pixels)
        placed = np.full((*target, self.channels), self.border, dtype=np.uint8)
        (rows, from_rows), (columns, from_columns) = (
            self._place(shape[axis], target[axis], axis) for axis in (0, 1)
        )
        placed[rows, columns] = pixels[from_rows, from_columns]
        return placed

    def _recoloured(self, pixels: Pixels) -> Pixels:
        if pixels.shape[2] == self.channels:
            return pixels
        return (
            np.asarray(Image.fromarray(pixels).convert("L"))[..., np.newaxis]
            if self.channels == 1
            else np.repeat(pixels, 3, axis=2)
        )

    def _ratio(self, height: int, width: int) -> float:
        ratios: tuple[float, float] = height / self.canvas[0], width / self.canvas[1]
        return max(ratios) if self.mode == "border" else min(ratios)

    def _resized(self, height: int, width: int) -> tuple[int, int]:
        """Shape after resizing, before cropping or padding."""
        if self.mode == "squash":
            return min(height, self.canvas[0]), min(width, self.canvas[1])
        ratio = self._ratio(height, width)
        if ratio <= 1:
            return height, width
        if self.mode == "center" and self.canvas[0] == self.canvas[1]:
            side, shorter = self.canvas[0], min(height, width)
            return (
                (side, int(side * width / shorter))
                if height <= width
                else (int(side * height / shorter), side)
            )
        return max(round(height / ratio), 1), max(round(width / ratio), 1)

    def _target(self, height: int, width: int) -> tuple[int, ...]:
        """Shape after cropping or padding, never more than the canvas."""
        if self.mode == "squash":
            return self._resized(height, width)
        ratio = self._ratio(height, width)
        if ratio >= 1:
            return self.canvas
        aspect = [max(round(side * ratio), 1) for side in self.canvas]
        nearer = min if self.mode == "center" else max
        return nearer(height, aspect[0]), nearer(width, aspect[1])

    def _place(self, length: int, target: int, axis: int) -> tuple[slice, slice]:
        """Where along an axis a picture of `length` comes to lie on `target` pixels: there, and in the picture."""
        full = target == self.canvas[axis]
        size, margin = (
            (self.size[axis], _centred(self.canvas[axis], self.size[axis])) if full else (target, 0)
        )
        offset = (size - length) // 2 if length < size else -_centred(length, size)
        offset = min(max(offset + margin, min(0, target - length)), max(0, target - length))
        kept = min(length, target)
        return slice(max(offset, 0), max(offset, 0) + kept), slice(max(-offset, 0), max(-offset, 0) + kept)


def _centred(length: int, part: int) -> int:
    return round((length - part) / 2)  # halves to even


register_heif_opener(thumbnails=False)
mlflow.models.set_model(ImageClassifier())
