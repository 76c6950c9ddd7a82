"""Checks of base models: what a model folder must have, and what it may have.

Input: a folder -> the first problem, as a SourceError that names the model.
"""

import json
from pathlib import Path
from typing import Any

from baton.contracts import trained_tokenizer
from baton.contracts.input_spec import ENCODERS
from baton.errors import SourceError

REQUIRED = {
    "config.json": "its architecture",
    "model.safetensors": "its weights",
    "tokenizer.json": "its fast tokenizer",
}
SOUND = {"whisper"}  # families of transformers' that read sound
# Files that a model folder may contain. All others are code, or a format whose reader runs code (pickle).
HARMLESS = {".json", ".safetensors", ".txt", ".model"}


def check(folder: Path, origin: str, drawn: bool) -> None:
    """Check each encoder in a model folder; `drawn` means that its weights are initialised at random.

    Raises:
        SourceError: a file is missing or damaged.
    """
    for name in encoders(folder) or [""]:
        _check_base(folder / name, f"{origin}, {name}" if name else origin, drawn)


def encoders(folder: Path) -> list[str]:
    """Return the folders of the encoders in a model folder that has several."""
    return [name for name in ENCODERS if (folder / name / "config.json").is_file()]


def _check_base(folder: Path, origin: str, drawn: bool) -> None:
    """Check what every base model needs."""
    missing = [
        f"{name} ({what})"
        for name, what in _required(folder, origin, drawn).items()
        if not (folder / name).is_file()
    ]
    if missing:
        there = ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"
        hint = (
            "name it in base.files or put it into the folder; "
            "`AutoTokenizer.from_pretrained(…).save_pretrained(…)` writes tokenizer.json"
        )
        raise SourceError(
            f"base model {origin} lacks {', '.join(missing)}",
            got=there,
            expected=", ".join(REQUIRED),
            hint=hint,
        )
    for name in ("config.json", "tokenizer.json"):
        if (folder / name).is_file():
            read_object(folder / name, origin)
    if not drawn:
        check_weights(folder / "model.safetensors", origin)


def _required(folder: Path, origin: str, drawn: bool) -> dict[str, str]:
    """Return the required files.

    A config in timm's layout has an `architecture` key; models of images or sound need no tokenizer, and that
    of a new encoder-decoder is trained later.
    """
    path = folder / "config.json"
    config = read_object(path, origin) if path.is_file() else {}
    trained = (folder / trained_tokenizer.PLAN).is_file()
    textless = "architecture" in config or config.get("model_type") in SOUND or trained
    unneeded = {"tokenizer.json"} if textless else set()
    return {
        name: what
        for name, what in REQUIRED.items()
        if name not in unneeded | ({"model.safetensors"} if drawn else set())
    }


def read_object(path: Path, origin: str) -> dict[str, Any]:
    """Return the JSON object in a file of the base model `origin`.

    Raises:
        SourceError: it is none.
    """
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise SourceError(
            f"base model {origin}: {path.name} is not valid JSON",
            got=error,
            expected="JSON",
            hint="fetch it again",
        ) from None
    if not isinstance(content, dict):
        raise SourceError(
            f"base model {origin}: {path.name} is not a JSON object",
            got=type(content).__name__,
            expected="an object",
            hint="fetch it again",
        )
    return content


def check_weights(path: Path, origin: str) -> None:
    """Check that a file of weights is complete, by its header.

    Raises:
        SourceError: it is damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy"):  # reads the header and checks the file's length against it
            pass
    except SafetensorError as error:
        hint = "copy or fetch the file again; if it is only a git-lfs pointer, run `git lfs pull`"
        raise SourceError(
            f"base model {origin}: {path.name} is damaged",
            got=error,
            expected="a complete safetensors file",
            hint=hint,
        ) from None
