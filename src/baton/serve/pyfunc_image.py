"""An image classifier as an MLflow model.

MLflow copies this file, the model folder and the modules of baton that are imported here into the logged model ("models from code") and
runs it when the model is loaded. The modules get a package name of their own there (`tracking.served_code`), so no baton needs to be
installed, and one that is does not matter.

Input: images, each as encoded bytes (PNG, JPEG, HEIC, …), as a base64 string (bare or a `data:` URI) or as the path of a file; one of them,
a list, a Series, an array of objects, or a DataFrame whose first column is called `image`. Output: a DataFrame with one row an image:
`label`, the most probable class, and `probability_CLASS` for each class in the order of the labels: the softmax of
logits / temperature, with the temperature in `baton.json`. Params: `batch_size`.

    mlflow.pyfunc.load_model("models:/MODEL_ID").predict(["picture.png"])

`mlflow models serve` takes base64 strings in JSON and no paths, since a request must not read the server's files; if it may, set
SERVING_MODEL_CONFIG='{"serve_paths": true}'. `max_pixels` (of one image) is the other such setting.
"""

import base64
import binascii
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mlflow.models
import mlflow.pyfunc
import numpy as np
import pandas as pd
import timm
import torch
from safetensors.torch import load_file
from torch.nn import functional

from baton.images import bit_depth, decoding, enlarging, framing, opening, pillow
from baton.tasks import answers

BATCH_SIZE = 32
MAX_PIXELS = 100_000_000  # of one image, unless model_config says `max_pixels`; larger files are not decoded
WHITE = 255
LONE = (str, bytes, bytearray, memoryview, os.PathLike)  # a single image


class ImageClassifier(mlflow.pyfunc.PythonModel):  # type: ignore[name-defined,misc]
    """A timm backbone with the head that `baton.json` in the model folder describes; on a GPU if there is one, in fp32."""

    def load_context(self, context: Any) -> None:
        """Read the model folder `context.artifacts["model"]`.

        Raises:
            RuntimeError: the weights do not fit the config.
            ValueError: `max_pixels` in model_config is no number of pixels.
        """
        folder = Path(context.artifacts["model"])
        info = json.loads((folder / "baton.json").read_text(encoding="utf-8"))
        self.labels: list[str] = info["labels"]
        self.temperature: float = info["temperature"]
        self.frame = framing.framing(info["input"])
        self.bits = info["input"].get("significant_bits", bit_depth.BITS_16)
        config = context.model_config or {}
        self.serve_paths, self.max_pixels = (
            bool(config.get("serve_paths")),
            config.get("max_pixels", MAX_PIXELS),
        )
        if not isinstance(self.max_pixels, int) or self.max_pixels <= 0:
            found = f"  got:      max_pixels {self.max_pixels!r}\n  expected: a number of pixels, 1 or more"
            raise ValueError(f"model_config is unusable\n{found}\n  next:     mend it, or leave it out")
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
        return answers.table(probabilities, self.labels, index)

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
        """Return (channels, height, width) of a row's image, 0 to 255 as float32."""
        content = _content(value, row, paths)
        try:
            pixels = decoding.decode(content, self.max_pixels, self.bits).pixels
        except decoding.UndecodableError as error:
            expected, hint = "a whole image file", "fix or leave out this image"
            if error.check == "enormous":
                expected = f"at most {self.max_pixels:,} pixels"
                hint = "make it smaller, or set max_pixels in model_config"
            raise answers.refused(ValueError, f"row {row}: {error}", value, expected, hint) from None
        stored = torch.from_numpy(np.array(self.frame.stored(pixels))).permute(
            2, 0, 1
        )  # (channels, height, width)
        return enlarging.framed(stored[None].float(), self.frame)[0]

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
    """Return one value per image of any accepted input and, for pandas objects, their index."""
    return answers.column(data, "image", LONE)


def _content(value: Any, row: int, paths: bool) -> bytes:
    """The encoded image that a value is, holds in base64, or names, if `paths` are taken."""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, os.PathLike) and paths:
        return _read(Path(value), row, "not a file that exists")
    if not isinstance(value, str):
        expected = "bytes of a PNG, JPEG, …, the same as a base64 string" + (", or a path" if paths else "")
        raise answers.refused(
            TypeError, f"row {row} is not an image", value, expected, "fill or drop missing images"
        )
    uri = value[:5].lower() == "data:"
    content = _from_base64(value.partition(",")[2] if uri else value)
    if content is not None and (uri or _is_image(content)):
        return content
    if uri or not paths:
        hint = "send the content of the file in base64"
        hint += (
            ""
            if uri
            else """; to let this server read its own files, start it with SERVING_MODEL_CONFIG='{"serve_paths": true}'"""
        )
        raise answers.refused(
            ValueError,
            f"row {row} is not an image in base64",
            value,
            "the content of a PNG, JPEG, … in base64",
            hint,
        )
    return _read(
        Path(value),
        row,
        "not a file that exists" if "." in value else "neither a file nor an image in base64",
    )  # which has no dots


def _from_base64(text: str) -> bytes | None:
    """What a string in base64 (also the kind for URLs, with or without padding) stands for; None if it is none."""
    compact = "".join(text.split()).translate(str.maketrans("-_", "+/")).rstrip("=")
    try:
        return base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def _is_image(content: bytes) -> bool:
    """Return whether content begins like an image that Pillow knows."""
    try:
        with pillow.listening(), opening.image(content, []):
            return True
    except Exception:  # noqa: BLE001  Pillow's readers raise whatever a malformed header leads them to
        return False


def _read(path: Path, row: int, problem: str) -> bytes:
    try:
        if path.is_file():  # no device or pipe, which may never end
            return path.read_bytes()
    except OSError as error:
        problem = f"a file that cannot be read ({error.strerror})"
    hint = "see whether it is there; a relative path begins in the working directory"
    raise answers.refused(ValueError, f"row {row} is {problem}", str(path), "the path of an image file", hint)


mlflow.models.set_model(ImageClassifier())
