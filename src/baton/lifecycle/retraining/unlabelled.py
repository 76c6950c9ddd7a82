"""Check whether new rows without labels, a table of texts or a folder of images or clips, have drifted.

    baton drift FILE_OR_FOLDER [--predict]

A table, or a folder of texts or tables, is read as params.preprocess specifies (`format`, `text_column`,
`text_pair_column`), or as Parquet if it has that suffix; other columns, also one of labels, are optional. The
text may be a list of tokens where words have tags.
For images with texts see `images_with_texts`.
"""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from baton import console, params
from baton.contracts import text_pairs
from baton.errors import DataError, ModelError, ParamsError, UndecodableError
from baton.images import decoding
from baton.images.bit_depth import BITS_16
from baton.lifecycle import registry, verified
from baton.lifecycle.retraining import drift, images_with_texts, predicted_drift, samples, sound_levels
from baton.lifecycle.retraining.samples import Sample
from baton.sounds import audio_decoding
from baton.sources import image_folders, local_files
from baton.tables import checks, target_cells
from baton.tables import readers as raw_tables
from baton.tables.columns import Columns
from baton.tables.target_cells import TargetCells

SHOWN = 3  # the number of files or rows that a message names


@dataclass(frozen=True)
class Judged:
    """The findings on new rows without labels."""

    beyond: bool
    text: str


def judge(own: registry.Registry, settings: params.Params, path: Path, predict: bool) -> Judged:
    """Compare rows without labels with the champion's training data, by their measures (see `drift`).

    With `predict`, also compare the labels that the champion predicts.

    Raises:
        ModelError: there is no champion, or its training data is unknown.
        DataError: the rows cannot be read, or the champion's profile has an earlier layout.
        ParamsError: there are no limits.
    """
    limits = settings.retrain.drift
    if limits is None:
        raise ParamsError(
            "there are no limits",
            got="retrain.drift: null",
            expected="limits of distances",
            hint="see recipes/ for examples",
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
    bits = profile.get(drift.BITS, BITS_16)
    sample = read(path, settings.preprocess, settings.task, bits, settings.source)
    places, uri = samples.unseen(sample, known), own.uri(champion)
    by_model = (
        predicted_drift.distance(
            uri,
            lambda: verified.load(own, champion),
            registry.CLEAN / "val.parquet",
            known,
            sample,
            places,
        )
        if predict
        else None
    )
    found = drift.measure_unlabelled(sample, places, profile, by_model)
    lines = [
        (
            f"{found.rows:,} rows of {path} are not in the training data of version "
            f"{registry.number(champion)} of {own.name}"
        )
    ]
    names = {
        "labels": "predicted labels",
        "lengths": {"images": "brightness", "audio": "seconds"}.get(found.kind, "words per text"),
        "loudness": "loudness",
        "brightness": "brightness",
        "unknown": "share of unknown words",
    }
    lines += [
        (
            f"- {names[key]}: distance {distance.value:.3f}, of which chance accounts for "
            f"{distance.chance:.3f} (p = {distance.p:.2g})"
        )
        for key, distance in found.distances.items()
    ]
    if predict and places and by_model is None:
        lines.append(
            f"- predicted labels: not judged, because {registry.CLEAN}/val.parquet is not that "
            "version's own (`dvc checkout` its commit)"
        )
    beyond = found.beyond(limits)
    verdict = (
        f"beyond the limits of retrain.drift: {'; '.join(beyond)}"
        if beyond
        else "within the limits of retrain.drift"
    )
    return Judged(bool(beyond), "\n".join([*lines, verdict]))


def read(
    path: Path,
    settings: params.Preprocess,
    task: params.Task,
    bits: int = BITS_16,
    source: params.Source | None = None,
) -> Sample:
    """Read the rows of a file or folder; name and skip what cannot be read.

    `bits` is the number of 16 bits that the champion's images used. `source` says how images with texts are
    read that are no Parquet table of both.

    Raises:
        DataError: it does not exist, is of another kind than params.preprocess specifies, or holds nothing
            readable.
    """
    if not path.exists():
        raise DataError(
            f"{path} does not exist", got="no such file or folder", expected="new rows", hint="check the path"
        )
    match settings:
        case params.TextPreprocess():
            return _texts(path, settings, target_cells.of(task, settings.label_column))
        case params.ImagePreprocess():
            return _images(path, settings, bits)
        case params.AudioPreprocess():
            return _clips(path, settings)
        case params.ImageTextPreprocess():
            return _images_with_texts(path, settings, bits, images_with_texts.reader(path, settings, source))


def _texts(path: Path, settings: params.TextPreprocess, cells: TargetCells) -> Sample:
    form = params.ParquetFormat(kind="parquet") if path.suffix == ".parquet" else settings.format
    columns = Columns(settings.text_column, "", pair=settings.text_pair_column)
    # The text also serves as the label, which is not needed.
    whole = cells.joined
    joined = None if whole is None else lambda text, _, pair: whole(text, None, pair)
    table = raw_tables.read(path, "new", form, replace(columns, label=columns.texts[0]), joined=joined)
    kept = [row for row in table.rows if all(text.strip() for text in row.sides.values())]
    sides = [[checks.SURROGATE.sub("\ufffd", text) for text in row.sides.values()] for row in kept]
    faults = table.malformed | (checks.empty(table.rows) if columns.pair else {})
    _tell(path, [f"row {id_.partition(':')[2]} ({reason})" for id_, reason in faults.items()])
    if not sides:
        raise DataError(
            f"{path} has no text",
            got=f"{table.count} rows",
            expected="rows of text",
            hint="check preprocess.text_column",
        )
    keys = [text_pairs.whole(*both) if len(both) == 2 else both[0] for both in sides]
    pairs = [(both[0], both[1]) for both in sides] if columns.pair else None
    contexts = [context for _, context in pairs] if pairs and cells.contexts else ()
    return Sample("text", keys, None, pairs=pairs, contexts=contexts)


def _images(path: Path, settings: params.ImagePreprocess, bits: int) -> Sample:
    digests, brightness = [], []

    def look(content: bytes) -> None:
        pixels = decoding.decode(content, settings.max_pixels, bits).pixels
        digests.append(decoding.digest(pixels))
        brightness.append(float(pixels.mean()) / 255)

    files = _decodable(path, "images", settings, look)
    return Sample("images", digests, None, brightness=brightness, files=files)


def _clips(path: Path, settings: params.AudioPreprocess) -> Sample:
    digests, levels = [], []

    def look(content: bytes) -> None:
        clip = audio_decoding.decode(content, settings.max_seconds)
        digests.append(audio_decoding.digest(clip))
        levels.append(sound_levels.of(clip))

    files = _decodable(path, "clips", settings, look)
    return Sample("audio", digests, None, levels=levels, files=files)


def _decodable(
    path: Path,
    noun: str,
    settings: params.FilesPreprocess,
    look: Callable[[bytes], None],
) -> list[Path]:
    """Show the content of each file of a folder to `look`; return those that it can decode."""
    if not path.is_dir():
        hint = f"put the {noun} into one folder; its subfolders are read too"
        raise DataError(
            f"{path} is a file",
            got="a file",
            expected=f"a folder, as params.preprocess.kind is {settings.kind}",
            hint=hint,
        )
    files, problems = [], []
    for file in sorted(local_files.files_of(path), key=os.fsencode):
        found = image_folders.read_file(file, file.relative_to(path).as_posix(), None)
        if found.image is None:
            problems.append(f"{found.name} ({found.problem})")
            continue
        try:
            look(found.image)
        except UndecodableError as error:
            problems.append(f"{found.name} ({error.args[0]})")
            continue
        files.append(file)
    _tell(path, problems)
    if not files:
        raise DataError(
            f"{path} holds no {noun}",
            got=f"{len(problems)} files",
            expected=noun,
            hint="check the path",
        )
    return files


def _images_with_texts(
    path: Path, settings: params.ImageTextPreprocess, bits: int, pairs: images_with_texts.Reader
) -> Sample:
    keys, captions, brightness, kept, problems = [], [], [], set[int](), []
    for number, one in enumerate(pairs(), start=1):
        try:
            if one.problem or not one.image or not (text := one.text or "").strip():
                raise DataError(one.problem or ("no text" if one.image else "no image"))
            pixels = decoding.decode(one.image, settings.max_pixels, bits).pixels
        except DataError as error:
            problems.append(f"row {number} ({error.args[0]})")
            continue
        keys.append(text_pairs.whole(decoding.digest(pixels), text))
        captions.append(text)
        brightness.append(float(pixels.mean()) / 255)
        kept.add(number)
    _tell(path, problems)
    if not keys:
        got = f"{len(problems)} rows" + (f", {problems[0]}" if problems else "")
        raise DataError(
            f"{path} holds no images with texts",
            got=got,
            expected="both in a row",
            hint="check the images and the texts, and their columns in params",
        )

    def again() -> Iterator[dict[str, Any]]:
        rows = (one for number, one in enumerate(pairs(), start=1) if number in kept)
        return ({"image": one.image, "text": one.text} for one in rows)

    return Sample("image_text", keys, None, brightness=brightness, captions=captions, again=again)


def _tell(path: Path, problems: list[str]) -> None:
    if problems:
        more = f" and {len(problems) - SHOWN:,} more" if len(problems) > SHOWN else ""
        console.warn("drift", f"left out of {path}: {', '.join(problems[:SHOWN])}{more}")
