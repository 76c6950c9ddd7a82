"""What `finetune` and `distill` share: the place where arrays, model, loss and tracking meet."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from baton import console, params, storage
from baton.data import text
from baton.data.batches import TrainingBatches
from baton.evaluate import metrics, tables
from baton.models import build
from baton.predict import predict
from baton.runtime import Runtime
from baton.tracking import Run
from baton.train import loop, losses

ARRAYS, PREDICTIONS = Path("data/arrays"), Path("data/predictions")
CURVE = ("model", "step", "epoch", "loss", "learning_rate", "gradient_norm", "val_loss", "val_accuracy", "val_macro_f1")


@dataclass(frozen=True)
class Data:
    """The arrays of all splits and what they say of themselves."""

    splits: dict[str, text.TextArrays]
    labels: list[str]
    pad: int
    max_length: int


def open_data() -> Data:
    """Memory-map data/arrays."""
    meta = storage.read_json(ARRAYS / "meta.json")
    splits = {split: text.open_arrays(ARRAYS, split) for split in text.SPLITS}
    return Data(splits, meta["labels"], meta["pad"], meta["max_length"])


def class_weights(settings: params.Training, data: Data, runtime: Runtime) -> torch.Tensor | None:
    """Weights per class (classes,) where params ask for them."""
    if settings.class_weights == "none":
        return None
    return losses.balanced_weights(np.asarray(data.splits["train"].labels), len(data.labels)).to(runtime.device)


def fit(
    name: str, model: build.Classifier, loss_fn: losses.Loss, settings: params.Training, data: Data, runtime: Runtime, run: Run
) -> tuple[list[dict[str, object]], dict[str, object]]:
    """Train `model` in place under the name `name`; return its curve (rows of `CURVE`) and its validation figures."""
    batches = TrainingBatches(data.splits["train"], settings.batch_size, settings.accumulation, settings.seed, data.pad)
    validation = data.splits["val"]

    def validate() -> dict[str, float]:
        logits = predict(model, validation, data.pad, runtime, 2 * settings.batch_size)
        scores = metrics.scores(logits, np.asarray(validation.labels))
        return {"loss": scores["log_loss"], "accuracy": scores["accuracy"], "macro_f1": scores["macro_f1"]}

    curve: list[dict[str, object]] = []
    figures: dict[str, object] = {"parameters": sum(parameter.numel() for parameter in model.parameters())}
    total = settings.epochs * len(data.splits["train"])
    with console.progress(f"train {name}", total, "samples") as advance:
        for point in loop.train(model, batches, loss_fn, validate, settings, runtime):
            if isinstance(point, loop.TrainPoint):
                advance(point.samples)
                shown = {"loss": point.loss, "learning_rate": point.learning_rate, "gradient_norm": point.gradient_norm}
                run.metrics(_prefixed(name, shown | {"samples_per_second": point.samples_per_second}), point.step)
                curve.append({"model": name, "step": point.step, "epoch": round(point.epoch, 4)} | shown)
                figures["steps"] = point.step
            else:
                shown = {f"val_{key}": value for key, value in point.scores.items()}
                run.metrics(_prefixed(name, shown), point.step)
                curve.append({"model": name, "step": point.step, "epoch": round(point.epoch, 4)} | shown)
                mark = " (best so far)" if point.best else ""
                console.say(f"{name}: epoch {point.epoch:.2f}, " + ", ".join(f"{key} {value:.4f}" for key, value in shown.items()) + mark)
                if point.best:
                    figures |= shown | {"best_step": point.step}
    return curve, figures


def write_predictions(name: str, model: build.Classifier, data: Data, runtime: Runtime, batch_size: int) -> None:
    """Logits of all three splits to data/predictions/`name`."""
    total = sum(map(len, data.splits.values()))
    with storage.atomic_folder(PREDICTIONS / name) as folder, console.progress(f"predict {name}", total, "samples") as advance:
        for split, arrays in data.splits.items():
            logits = predict(model, arrays, data.pad, runtime, batch_size, advance)
            tables.write_predictions(folder / f"{split}.parquet", text.read_ids(ARRAYS, split), logits)


def write_curve(path: Path, rows: list[dict[str, object]]) -> None:
    """Rows of `CURVE` as CSV."""
    with storage.atomic_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, CURVE, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def example(data: Data, tokenizer: Path, count: int = 2) -> list[str]:
    """A few validation documents as text, decoded from their tokens: the input example of a logged model."""
    arrays, decoder = data.splits["val"], text.open_tokenizer(tokenizer, data.max_length)
    documents: list[NDArray[np.int32]] = [arrays.tokens[arrays.offsets[i] : arrays.offsets[i + 1]] for i in range(min(count, len(arrays)))]
    return [decoder.decode(document.tolist()) for document in documents]


def _prefixed(name: str, values: dict[str, float]) -> dict[str, float]:
    return {f"{name}/{key}": value for key, value in values.items()}
