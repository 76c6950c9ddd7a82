"""What a student is taught: the rows that it reads, its soft targets, and which rows' labels count.

Inputs: the settings of `distill`, its job, the teacher's predictions -> `Rows`, and soft targets. Those
without labels (`contracts.transfer_set`) are taught by soft targets alone.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from baton import console, params, storage
from baton.batches import array_splits, subset
from baton.contracts import predictions, row_attributes, soft_labels, text_pairs
from baton.contracts.knowledge import FOLDER, LIST, MEAN
from baton.contracts.transfer_set import TABLE, TRANSFER
from baton.distill import knowledge
from baton.distill.knowledge import Logits, Source
from baton.errors import DataError
from baton.fitting import jobs
from baton.fitting.seed_choice import ARRAYS, PREDICTIONS
from baton.runtime import distributed

CLEAN = Path("data/clean")
SOFT, KNOWN = CLEAN / soft_labels.TABLE, PREDICTIONS / FOLDER
Rest = Callable[[subset.Part], NDArray[np.float32]]  # the teacher's logits of rows without labels


class Rows(NamedTuple):
    """The rows that a student reads; tensors are on the device, in the order of the rows of `job.whole`."""

    job: jobs.Job
    labelled: torch.Tensor | None  # (rows,) 1 if the row's label counts, else 0; None: all count
    weights: torch.Tensor | None  # of the rows, (rows,)


def needed(settings: params.Distill, data: jobs.Data) -> bool:
    """Return whether the student is taught more than the teacher's logits of train."""
    return TRANSFER in data.splits or settings.knowledge is not None or settings.confidence is not None


def lesson(
    settings: params.Distill, job: jobs.Job, best: NDArray[np.float32], rest: Rest
) -> tuple[Rows, torch.Tensor]:
    """Return the rows that the student reads, and their soft targets, (rows of `job.whole`, classes) float32.

    Args:
        settings: of `distill`.
        job: whose splits are for the student's tokenizer.
        best: the teacher's logits of train, (rows, classes).
        rest: see `Rest`.

    Raises:
        DataError: a source of knowledge lacks the answers that it needs.
    """
    whole = TRANSFER if TRANSFER in job.data.splits else "train"
    split = job.data.splits[whole]
    labelled = array_splits.labelled(ARRAYS, whole)
    sources = _sources(settings, job, best, rest, whole)
    val = job.data.splits["val"].targets.all
    calibrated = [source.calibrated(val) for source in sources]
    known = soft = knowledge.mean(calibrated, whole)
    if settings.knowledge is None:
        soft = sources[0].answers[whole]  # as trained
    unknown = np.isnan(soft).any(axis=1)
    own = labelled & unknown
    soft[own] = knowledge.of_labels(split.targets.all[own], job.data.task.width)
    left = ~labelled & (unknown | _doubtful(known, settings.confidence))
    soft[left] = 0.0
    _say(labelled, left, settings.confidence)
    rows = rows_alone(job, np.flatnonzero(~left) if left.any() else None)
    if job.runtime.is_main:
        counts = {"rows": len(rows.job.data.splits["train"]), "labelled": int(labelled.sum())}
        _write(settings, calibrated, counts)
    return rows, torch.from_numpy(soft.astype(np.float32)).to(job.runtime.device)


def rows_alone(job: jobs.Job, chosen: NDArray[np.int64] | None = None) -> Rows:
    """Return the rows of train and those without labels, or the `chosen` ones of them, (rows,)."""
    whole = TRANSFER if TRANSFER in job.data.splits else "train"
    split, device = job.data.splits[whole], job.runtime.device
    labelled = array_splits.labelled(ARRAYS, whole)
    weights = row_attributes.weights(ARRAYS, whole, len(split))
    train = split if chosen is None else subset.Part(split, chosen)
    data = dataclasses.replace(job.data, splits={**job.data.splits, "train": train})
    return Rows(
        dataclasses.replace(job, data=data, whole=whole),
        None if labelled.all() else torch.from_numpy(labelled.astype(np.float32)).to(device),
        None if weights is None else torch.from_numpy(weights).to(device),
    )


def _sources(
    settings: params.Distill,
    job: jobs.Job,
    best: NDArray[np.float32],
    rest: Rest,
    whole: str,
) -> list[Source]:
    """Return the sources of knowledge, with their answers for val, test and the rows that are taught."""
    found = []
    for own in settings.knowledge or (params.TeacherKnowledge(kind="teacher", seeds="best", weight=1.0),):
        match own:
            case params.TeacherKnowledge(seeds="best"):
                found.append(Source("teacher", own.weight, _best(best, rest, whole)))
            case params.TeacherKnowledge():
                labels = job.data.splits["val"].targets.all
                found.append(Source("teacher", own.weight, _over_seeds(whole, labels)))
            case params.TfidfKnowledge():
                made = distributed.once_arrays(lambda own=own: _tfidf(own, job, whole).answers)  # type: ignore[misc]
                found.append(Source("tfidf", own.weight, made))
            case params.FileKnowledge():
                found.append(Source("file", own.weight, {whole: _of_file(whole, job.data.task.width)}))
    return found


def _best(best: NDArray[np.float32], rest: Rest, whole: str) -> dict[str, Logits]:
    answers = {split: _read(PREDICTIONS / "teacher" / f"{split}.parquet") for split in ("val", "test")}
    answers[whole] = best.astype(np.float64)
    if whole == TRANSFER:
        split = jobs.open_data(None, ARRAYS).splits[TRANSFER]
        more = rest(subset.Part(split, np.arange(len(best), len(split))))
        answers[whole] = np.concatenate([answers[whole], more.astype(np.float64)])
    return answers


def _over_seeds(whole: str, labels: NDArray[np.int64]) -> dict[str, Logits]:
    """Return the mean over all seeds of the teacher, each calibrated on val's `labels`."""
    folder = PREDICTIONS / "seeds" / "teacher"
    seeds = sorted(path.name.partition(".")[0] for path in folder.glob(f"*.{whole}.parquet"))
    if not seeds:
        raise DataError(
            f"distill.knowledge asks for all seeds of the teacher, but {folder} lacks their answers",
            got="those of the best seed",
            expected=f"SEED.{whole}.parquet of each seed",
            hint="set finetune.keep to all and run `dvc repro`",
        )
    each = []
    for seed in seeds:
        answers = {split: _read(folder / f"{seed}.{split}.parquet") for split in (whole, "val")}
        answers["test"] = _read(folder / f"{seed}.parquet")
        each.append(Source(seed, 1.0, answers).calibrated(labels))
    return {split: knowledge.mean(each, split) for split in (whole, "val", "test")}


def _tfidf(own: params.TfidfKnowledge, job: jobs.Job, whole: str) -> Source:
    texts = {split: _texts(CLEAN / f"{split}.parquet") for split in array_splits.SPLITS}
    labels = {split: job.data.splits[split].targets.all for split in ("train", "val")}
    units = row_attributes.units(ARRAYS, len(labels["train"]))
    folds = subset.folds(labels["train"], units, own.folds, 0)
    if whole == TRANSFER:
        texts["rest"] = _texts(CLEAN / TABLE)
    made = knowledge.tfidf(own, texts, labels, folds, job.data.task.width)
    answers = dict(made.answers)
    if whole == TRANSFER:
        answers[whole] = np.concatenate([answers["train"], answers.pop("rest")])
    return dataclasses.replace(made, answers=answers)


def _of_file(whole: str, classes: int) -> Logits:
    """Return the soft labels of the file, (rows, classes); NaN for rows that it does not have."""
    if not SOFT.is_file():
        raise DataError(
            f"distill.knowledge asks for a file of soft labels, but {SOFT} is missing",
            expected="a file written by `preprocess`",
            hint="name your file in source.soft_labels, or remove `kind: file`",
        )
    ids, logits = predictions.read_predictions(SOFT)
    assert isinstance(logits, np.ndarray), "preprocess writes one row of logits per text"
    place = {name: row for row, name in enumerate(array_splits.read_ids(ARRAYS, whole))}
    found = np.full((len(place), classes), np.nan)
    found[[place[name] for name in ids]] = logits
    return found


def _texts(path: Path) -> list[str] | list[text_pairs.Pair]:
    first, *second = text_pairs.sides(pq.read_table(path, columns=text_pairs.columns(path)))
    return list(zip(first, *second, strict=True)) if second else first


def _read(path: Path) -> Logits:
    _, logits = predictions.read_predictions(path)
    assert isinstance(logits, np.ndarray), "params refuse knowledge for other tasks"
    return logits.astype(np.float64)


def _doubtful(soft: Logits, confidence: float | None) -> NDArray[np.bool_]:
    """Return the rows, (rows,), whose most probable class is below `confidence`."""
    if confidence is None:
        return np.zeros(len(soft), np.bool_)
    highest = soft.max(axis=1, keepdims=True)
    return np.asarray(1 / np.exp(soft - highest).sum(axis=1) < confidence)


def _say(labelled: NDArray[np.bool_], left: NDArray[np.bool_], confidence: float | None) -> None:
    rest = int((~labelled).sum())
    if not rest:
        return
    out = f"; {int(left.sum()):,} of them are left out" if left.any() else ""
    floor = f" (confidence below {confidence})" if left.any() and confidence is not None else ""
    console.say(
        f"the student learns from {int(labelled.sum()):,} rows with labels and {rest:,} without{out}{floor}"
    )


def _write(settings: params.Distill, sources: list[Source], counts: dict[str, int]) -> None:
    """Write what the sources say of val and test, so that `evaluate` can measure them, and their mean."""
    wanted = sources if settings.knowledge else []
    with storage.atomic_folder(KNOWN) as folder:
        storage.write_json(folder / LIST, {**counts, "sources": [own.name for own in wanted]})
        for split in ("val", "test"):
            known = [own for own in wanted if split in own.answers]
            tables = {own.name: own.answers[split] for own in known}
            tables |= {MEAN: knowledge.mean(known, split)} if known else {}
            ids = array_splits.read_ids(ARRAYS, split)
            for name, logits in tables.items():
                path = folder / f"{name}.{split}.parquet"
                predictions.write_predictions(path, ids, logits.astype(np.float32))


def write_nothing() -> None:
    """Write that the student was taught by its teacher alone, on the rows of train."""
    with storage.atomic_folder(KNOWN) as folder:
        storage.write_json(folder / LIST, {"sources": []})
