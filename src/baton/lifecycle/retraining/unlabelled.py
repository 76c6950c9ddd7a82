"""New rows without labels, as they come in: a table of texts, or a folder of pictures -> whether they drift.

    baton drift FILE_OR_FOLDER [--predict]

A table is read as params.preprocess says (`format`, `text_column`), or as Parquet if that is its suffix; other columns, also that of
labels, may be there or not.
"""

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

from baton import console, params
from baton.errors import DataError, ModelError, ParamsError
from baton.images import decoding
from baton.images.bit_depth import BITS_16
from baton.lifecycle import registry
from baton.lifecycle.retraining import drift, predicted_drift
from baton.lifecycle.retraining.drift import Sample
from baton.sources import image_folders
from baton.tables import checks
from baton.tables import readers as raw_tables
from baton.tables.columns import Columns

SHOWN = 3  # files or rows that are named


@dataclass(frozen=True)
class Judged:
    """What was found of new rows without labels."""

    beyond: bool
    text: str


def judge(own: registry.Registry, settings: params.Params, path: Path, predict: bool) -> Judged:
    """Whether rows without labels differ from what the champion was trained on, by lengths and words, or by brightness.

    With `predict` also by the labels that the champion predicts.

    Raises:
        ModelError: there is no champion, or it does not tell what it was trained on.
        DataError: the rows cannot be read, or the champion's profile is of an earlier layout.
        ParamsError: there are no limits.
    """
    limits = settings.retrain.drift
    if limits is None:
        raise ParamsError(
            "there are no limits",
            got="retrain.drift: null",
            expected="limits of distances",
            hint="see recipes/",
        )
    champion = own.alias(registry.CHAMPION)
    known, kept = (
        (own.training_rows(champion), own.read(champion, registry.PROFILE)) if champion else (None, None)
    )
    if champion is None or known is None or kept is None:
        got = f"version {registry.number(champion)} without its profile" if champion else "no champion"
        hint = "run `baton register` and `baton promote --mode enabled`"
        raise ModelError(
            "there is nothing to compare with",
            got=got,
            expected=f"a champion of {own.name} with its profile",
            hint=hint,
        )
    profile = json.loads(kept)
    sample = read(path, settings.preprocess, profile.get(drift.BITS, BITS_16))
    places, uri = drift.unseen(sample, known), own.uri(champion)
    by_model = (
        predicted_drift.distance(uri, registry.CLEAN / "val.parquet", known, sample, places)
        if predict
        else None
    )
    found = drift.measure_unlabelled(sample, places, profile, by_model)
    lines = [
        f"{found.rows:,} rows of {path} are not among those that version {registry.number(champion)} of {own.name} was trained on"
    ]
    names = {
        "labels": "predicted labels",
        "lengths": "brightness" if found.kind == "images" else "words of a text",
        "unknown": "share of unknown words",
    }
    lines += [
        f"- {names[key]}: distance {distance.value:.3f}, of which chance makes {distance.chance:.3f} (p = {distance.p:.2g})"
        for key, distance in found.distances.items()
    ]
    if predict and places and by_model is None:
        lines.append(
            f"- predicted labels: not judged, as {registry.CLEAN}/val.parquet is not that version's own (`dvc checkout` its commit)"
        )
    beyond = found.beyond(limits)
    verdict = (
        f"beyond the limits of retrain.drift: {'; '.join(beyond)}"
        if beyond
        else "within the limits of retrain.drift"
    )
    return Judged(bool(beyond), "\n".join([*lines, verdict]))


def read(path: Path, settings: params.Preprocess, bits: int = BITS_16) -> Sample:
    """The rows of a file or folder; what cannot be read is named and left out. `bits` are those of 16 that the champion's pictures used.

    Raises:
        DataError: it is not there, of another kind than params.preprocess says, or holds nothing that can be read.
    """
    if not path.exists():
        raise DataError(
            f"{path} is not there", got="no such file or folder", expected="new rows", hint="check the path"
        )
    match settings:
        case params.TextPreprocess():
            return _texts(path, settings)
        case params.ImagePreprocess():
            return _images(path, settings, bits)


def _texts(path: Path, settings: params.TextPreprocess) -> Sample:
    if path.is_dir():
        hint = "give one file; join several first"
        raise DataError(
            f"{path} is a folder",
            got="a folder",
            expected="a table of texts, as params.preprocess.kind is text",
            hint=hint,
        )
    form = params.ParquetFormat(kind="parquet") if path.suffix == ".parquet" else settings.format
    columns = Columns(settings.text_column, "")
    # A text stands for the label too, which is not asked for.
    table = raw_tables.read(path, "new", form, replace(columns, label=columns.texts[0]))
    texts = [checks.SURROGATE.sub("\ufffd", row.text) for row in table.rows if row.text.strip()]
    _tell(path, [f"row {id_.partition(':')[2]} ({reason})" for id_, reason in table.malformed.items()])
    if not texts:
        raise DataError(
            f"{path} has no text",
            got=f"{table.count} rows",
            expected="rows of text",
            hint="check preprocess.text_column",
        )
    return Sample("text", texts, None)


def _images(path: Path, settings: params.ImagePreprocess, bits: int) -> Sample:
    if not path.is_dir():
        hint = "put the pictures into one folder; folders in it are gone through too"
        raise DataError(
            f"{path} is a file",
            got="a file",
            expected="a folder, as params.preprocess.kind is images",
            hint=hint,
        )
    digests, brightness, files, problems = [], [], [], []
    for file in sorted(image_folders.files_of(path), key=os.fsencode):
        found = image_folders.read_file(file, file.relative_to(path).as_posix(), None)
        if found.image is None:
            problems.append(f"{found.name} ({found.problem})")
            continue
        try:
            pixels = decoding.decode(found.image, settings.max_pixels, bits).pixels
        except decoding.UndecodableError as error:
            problems.append(f"{found.name} ({error.args[0]})")
            continue
        files.append(file)
        digests.append(decoding.digest(pixels))
        brightness.append(float(pixels.mean()) / 255)
    _tell(path, problems)
    if not digests:
        raise DataError(
            f"{path} holds no picture",
            got=f"{len(problems)} files",
            expected="pictures",
            hint="check the path",
        )
    return Sample("images", digests, None, brightness=brightness, files=files)


def _tell(path: Path, problems: list[str]) -> None:
    if problems:
        more = f" and {len(problems) - SHOWN:,} more" if len(problems) > SHOWN else ""
        console.warn("drift", f"left out of {path}: {', '.join(problems[:SHOWN])}{more}")
