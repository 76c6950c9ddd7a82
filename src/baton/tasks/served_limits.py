"""What a served model accepts: its settings in MLflow's model_config, and the param `batch_size`.

`max_rows`, `max_characters` and `max_bytes` bound one request, `max_batch_size` the rows that are computed
together, `max_pixels_at_once` the pixels that all threads decode together. They hold in a server (`baton
serve`, `mlflow models serve`): elsewhere the caller has the whole input in memory already. `max_pixels`,
`max_seconds`, `serve_paths` and `accept_empty` hold everywhere.

    SERVING_MODEL_CONFIG='{"max_rows": 50}' .venv/bin/baton serve models:/NAME@champion
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import numpy as np

from baton.tasks import answers

Kind = Literal["text", "images", "audio", "image_text"]

_TEXT = ("max_rows", "max_batch_size", "max_characters", "accept_empty")
_FILES = ("serve_paths", "max_rows", "max_batch_size", "max_bytes")
_IMAGES = (*_FILES, "max_pixels", "max_pixels_at_once")
NAMES: dict[Kind, tuple[str, ...]] = {
    "text": _TEXT,
    "images": _IMAGES,
    "audio": (*_FILES, "max_seconds"),
    "image_text": (*_IMAGES, "max_characters", "accept_empty"),
}
UNITS = {
    "max_rows": "rows",
    "max_batch_size": "rows",
    "max_characters": "characters",
    "max_bytes": "bytes",
    "max_pixels": "pixels",
    "max_pixels_at_once": "pixels",
    "max_seconds": "seconds",
}


@dataclass(frozen=True)
class Limits:
    """The settings of a served model; each kind of input has some of them (`NAMES`)."""

    serve_paths: bool = False  # whether strings may be paths of files on the machine of the model
    max_rows: int = 1000  # of a request
    max_batch_size: int = 128
    max_characters: int = 200_000  # of all texts of a request; a token takes about 200 bytes
    max_bytes: int = 10_000_000  # of all files of a request, as sent: base64 takes a third more than the file
    max_pixels: int = 100_000_000  # of one image; larger ones are not decoded
    max_pixels_at_once: int = 12_500_000  # a photograph of 12 megapixels; each takes about 12 bytes
    max_seconds: float = 600.0  # of one clip; longer ones are not decoded
    # Whether a text may be empty; so it is written if `preprocess` kept empty texts for training.
    accept_empty: bool = False

    def check_rows(self, count: int) -> None:
        """Refuse a request with too many rows.

        Raises:
            ValueError: It has more than `max_rows`, and this is a server.
        """
        if serving() and count > self.max_rows:
            raise _beyond("the request has too many rows", count, self.max_rows, "max_rows")

    def check_texts(self, *columns: Iterable[str]) -> None:
        """Refuse a request with too much text.

        Raises:
            ValueError: It has more than `max_characters`, and this is a server.
        """
        count = sum(len(text) for texts in columns for text in texts)
        if serving() and count > self.max_characters:
            raise _beyond("the request has too much text", count, self.max_characters, "max_characters")

    def check_files(self, values: Iterable[Any]) -> None:
        """Refuse a request whose files are too large.

        Raises:
            ValueError: They have more than `max_bytes`, as sent, and this is a server.
        """
        count = sum(len(own) for own in values if isinstance(own, str | bytes | bytearray | memoryview))
        if serving() and count > self.max_bytes:
            raise _beyond("the request's files are too large", count, self.max_bytes, "max_bytes")

    def batch_size(self, params: Mapping[str, Any] | None, default: int) -> int:
        """Return the batch size that a request asks for, or the default.

        Raises:
            ValueError: It is not a positive integer, or above `max_batch_size` in a server.
        """
        value = (params or {}).get("batch_size", default)
        most = f" up to {self.max_batch_size:,}" if serving() else ""
        whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if not whole or value < 1 or (serving() and value > self.max_batch_size):
            hint = "set params.batch_size to such a number, or leave it out"
            raise answers.refused(
                ValueError, "the param batch_size is invalid", value, f"a positive integer{most}", hint
            )
        return int(value)


def read(config: Mapping[str, Any] | None, kind: Kind) -> Limits:
    """Return the settings in a model_config, with Baton's for those that it lacks.

    Raises:
        ValueError: A setting is unknown, or has another type than the default or is not positive.
    """
    for name, value in (config or {}).items():
        if name not in NAMES[kind]:
            raise _invalid(f"{name} {value!r}", f"only {', '.join(NAMES[kind])}", f"leave out {name}")
        if name in {"serve_paths", "accept_empty"}:
            good, expected = isinstance(value, bool), "true or false"
        else:
            number = int | float if name == "max_seconds" else int
            good = isinstance(value, number) and not isinstance(value, bool) and value > 0
            expected = f"a positive number of {UNITS[name]}"
        if not good:
            raise _invalid(f"{name} {value!r}", expected, f"fix {name}, or leave it out")
    return Limits(**dict(config or {}))


def written(kind: Kind, **known: Any) -> dict[str, Any]:
    """Return the model_config of a logged model: every setting that may be changed on loading or serving."""
    assert {*known} <= {field.name for field in fields(Limits)}, "a setting of another name"
    values = asdict(Limits(**known))
    return {name: values[name] for name in NAMES[kind]}


def serving() -> bool:
    """Return whether a server runs the model; MLflow's scoring server says so."""
    return os.environ.get("_MLFLOW_IS_IN_SERVING_ENVIRONMENT") == "true"


def _beyond(problem: str, got: int, most: int, name: str) -> Exception:
    unit = UNITS[name]
    hint = f"send less at once, or start the server with another {name} in SERVING_MODEL_CONFIG"
    return answers.refused(ValueError, problem, f"{got:,} {unit}", f"at most {most:,} {unit}", hint)


def _invalid(got: str, expected: str, hint: str) -> ValueError:
    return ValueError(
        f"model_config is invalid\n  got:      {got}\n  expected: {expected}\n  next:     {hint}"
    )
