"""The parts of `evaluate` that need models.

These are baselines on images and features, speed, robustness, attributions and the sheet of augmented
samples.

Inputs: the models, the base model and the arrays -> figures and matrices that `baton.evaluate` reads. Slow
results are cached outside the stage's outputs, keyed by everything that they depend on.
"""

import functools
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import baton
from baton import console, params, predict, storage
from baton.batches import array_splits, sampler
from baton.batches.subset import folds
from baton.contracts import row_attributes
from baton.evaluate import baselines, robustness, task_reports
from baton.evaluate.baselines import Outputs
from baton.evaluate.inputs import Rows
from baton.evaluate.report import image_galleries
from baton.evaluate.task_reports import TaskReports
from baton.measure import explain, features, result_cache
from baton.measure import speed as speeds
from baton.models import model_folder
from baton.runtime import resolve

ARRAYS, BASE = Path("data/arrays"), Path("data/base")
MODELS = {name: Path("models", name) for name in ("teacher", "student", "control")}
EXPLAINED = ("teacher", "student")
# The code that measurements run: packages of baton, and single modules of other packages.
PACKAGES = ("arrays", "batches", "contracts", "images", "measure", "models", "runtime", "tasks", "texts")
MODULES = (
    "predict.py",
    "storage.py",
    "streams.py",
    "evaluate/baselines.py",
    "evaluate/class_baselines.py",
    "evaluate/label_baselines.py",
    "evaluate/label_outputs.py",
    "evaluate/timing.py",
)
SHEET_SAMPLES, SHEET_EPOCHS = 8, 7


@dataclass(frozen=True)
class Subject:
    """What is measured, how and where."""

    settings: params.Evaluate
    finetune: params.Finetune  # how the base model became the teacher
    machine: resolve.Runtime

    @cached_property
    def meta(self) -> array_splits.Meta:
        """The description of the arrays."""
        return array_splits.read_meta(ARRAYS)

    @cached_property
    def task(self) -> TaskReports:
        """The task of the models."""
        return task_reports.of(self.meta.task)

    @cached_property
    def splits(self) -> dict[str, sampler.Split]:
        """The arrays; training batches are augmented as the teacher's were."""
        return array_splits.open_splits(ARRAYS, self.finetune.augmentation)

    @cached_property
    def features(self) -> dict[str, NDArray[np.float32]]:
        """The base model's features of each split, (samples, width), pooled as in the teacher's head."""
        width, described = self.task.spec.width, self.meta.input
        encoder: Any = model_folder.create(
            BASE, self.finetune.head, width, self.finetune, self.machine.attention, described
        )
        encoder.head = torch.nn.Identity()
        encoder.to(self.machine.device).eval()
        return {split: self.logits(encoder, samples) for split, samples in self.splits.items()}

    def pixels(self, side: int) -> dict[str, NDArray[np.float32]]:
        """Return the pixels of each split's images, (samples, values); see `features.pixels`."""
        return {
            split: features.pixels(samples, side, self.settings.speed.batch_size)
            for split, samples in self.splits.items()
        }

    def load(self, name: str) -> Any:
        """Load a model onto the device."""
        return model_folder.load(MODELS[name], self.machine.attention)[0].to(self.machine.device)

    def logits(self, model: torch.nn.Module, split: sampler.Split) -> NDArray[np.float32]:
        """Return a model's logits for every sample, (samples, width)."""
        return predict.predict(model, split, self.machine, self.settings.speed.batch_size)

    def known(self, *folders: Path, **own: Any) -> dict[str, Any]:
        """Return what a measurement with these folders depends on; `own` are its params."""
        for folder in (ARRAYS, *folders):
            if folder not in self._digests:
                self._digests[folder] = storage.sha256_tree(folder)
        return {
            "digests": {str(folder): self._digests[folder] for folder in (ARRAYS, *folders)},
            "code": self._code,
        } | own

    @cached_property
    def _digests(self) -> dict[Path, str]:
        return {}

    @cached_property
    def _code(self) -> list[str]:
        """Digests of the code that measurements run."""
        package = Path(baton.__path__[0])
        modules = [path for name in PACKAGES for path in sorted((package / name).rglob("*.py"))]
        return [
            storage.sha256(path)
            for path in (*modules, *(package / name for name in MODULES), Path("requirements.lock"))
        ]


def answer(subject: Subject, baseline: params.Baseline, rows: Mapping[str, Rows]) -> dict[str, Any]:
    """Fit a baseline on train and return its outputs on val and test.

    Baselines fitted on images take minutes, so their results are cached.
    """
    settings = {"baseline": baseline.model_dump()}
    match baseline:
        case params.PixelsBaseline():
            made = result_cache.arrays(
                "baselines", subject.known(**settings), lambda: _fitted(subject, baseline, rows)
            )
        case params.FeaturesBaseline():
            settings |= {"head": subject.finetune.head.model_dump(), "runtime": subject.machine.reasons}
            made = result_cache.arrays(
                "baselines", subject.known(BASE, **settings), lambda: _fitted(subject, baseline, rows)
            )
        case _:
            made = _fitted(subject, baseline, rows)
    chosen = float(made.pop("C")) if "C" in made else None
    return {
        split: subject.task.baselines.of_arrays(
            {
                name.removeprefix(f"{split}."): values
                for name, values in made.items()
                if name.startswith(f"{split}.")
            },
            chosen,
        )
        for split in ("val", "test")
    }


def cross_validated(
    subject: Subject, baseline: params.Baseline, rows: Mapping[str, Rows], count: int
) -> NDArray[np.float64]:
    """Return a baseline's score on each row of train, when each of `count` folds is left out, (rows,).

    The folds are those by which the teacher's training was chosen. C is chosen on val, as is the checkpoint
    of each fold's fine-tuning.
    """
    inputs, targets = _inputs(subject, baseline, rows), rows["train"].targets
    whole: Any = inputs["train"]
    weights = row_attributes.weights(ARRAYS, "train", len(targets))
    scores = np.zeros(len(targets))
    for fitted, scored in folds(
        targets, row_attributes.units(ARRAYS, len(targets)), count, subject.finetune.seed
    ):
        own, others = (
            [whole[row] for row in part] if isinstance(whole, list) else whole[part]
            for part in (fitted, scored)
        )
        fewer = baseline.model_copy(
            update={"neighbours": min(baseline.neighbours, len(fitted))}
            if baseline.kind == "features"
            else {}
        )
        of_rows = None if weights is None else weights[fitted]
        model = subject.task.baselines.fit(
            fewer, own, targets[fitted], (inputs["val"], rows["val"].targets), of_rows
        )
        scores[scored] = subject.task.score(targets[scored], model.outputs(others))
    return scores


def speed(subject: Subject) -> dict[str, Any]:
    """Measure the speeds of the models on test, on this machine."""
    settings, machine = subject.settings.speed, subject.machine
    if settings.repeats == 0:
        return {"models": {}}

    def measure() -> dict[str, Any]:
        console.say(
            f"speed: at least {settings.repeats} rounds over {settings.samples} test rows, "
            "models taking turns at each batch"
        )
        measured = speeds.measure(MODELS, subject.splits["test"], settings, machine)
        return measured | {"runtime": machine.reasons, "speed": settings.model_dump()}

    own = {
        "speed": settings.model_dump(),
        "runtime": machine.reasons,
        "machine": f"{platform.node()} {platform.platform()}",
    }
    return result_cache.figures("speed", subject.known(*MODELS.values(), **own), measure)


def robust(subject: Subject) -> robustness.Robustness | None:
    """Measure the accuracy of the models on corrupted test images; None unless params ask for it."""
    wanted = subject.settings.robustness
    if wanted is None or _unavailable(subject, "robustness"):
        return None
    from baton.batches.image_batches import ImageSplit
    from baton.measure import corruptions  # needs torchvision, which text does not

    test = subject.splits["test"]
    assert isinstance(test, ImageSplit), "params refuse robustness for text"
    places = corruptions.draw(len(test), wanted.samples)
    strengths = {kind: list(values[: wanted.severities]) for kind, values in corruptions.STRENGTHS.items()}

    def measure() -> result_cache.Arrays:
        made: result_cache.Arrays = dict(corruptions.examples(test, places[0], strengths))
        for name in MODELS:
            console.say(
                f"robustness of the {name}: {len(strengths)} kinds, {wanted.severities} severities, "
                f"{len(places):,} test rows"
            )
            found = corruptions.hits(
                functools.partial(subject.logits, subject.load(name)), test, places, strengths
            )
            made |= {f"{kind}.{name}": hits for kind, hits in found.items()}
        return made

    known = subject.known(*MODELS.values(), robustness=wanted.model_dump(), runtime=subject.machine.reasons)
    made = result_cache.arrays("robustness", known, measure)
    hits = {kind: {name: made[f"{kind}.{name}"] for name in MODELS} for kind in strengths}
    measured = robustness.Measured(strengths, hits, {kind: made[kind] for kind in strengths})
    return robustness.Robustness(measured, subject.settings.bootstrap)


def galleries(
    subject: Subject, test: Rows, outputs: Mapping[str, Outputs]
) -> dict[str, image_galleries.Gallery]:
    """Return the most confident mistakes of teacher and student, explained.

    Empty unless params ask for them.
    """
    wanted = subject.settings.gallery
    if wanted and _unavailable(subject, "gallery"):
        return {}
    return (
        {name: _gallery(subject, wanted, name, test, outputs[name]) for name in EXPLAINED} if wanted else {}
    )


def sheet(subject: Subject) -> image_galleries.Sheet | None:
    """Return some train images as the teacher's training saw them; None without augmentation."""
    if subject.finetune.augmentation is None:
        return None
    from baton.batches.image_batches import ImageSplit

    train = subject.splits["train"]
    assert isinstance(train, ImageSplit), "params refuse augmentation for text"
    own, names = train.targets.pairs
    places = image_galleries.examples(names, len(names))  # a row with several targets has several places
    rows = np.array([*dict.fromkeys(own[places].tolist())][:SHEET_SAMPLES])
    texts = subject.task.figures.texts(train.targets.take(rows))
    return image_galleries.Sheet(texts, train.sheet(rows, subject.finetune.seed, range(SHEET_EPOCHS)))


def _unavailable(subject: Subject, section: str) -> bool:
    """Return whether the task has no such measurement, and say so."""
    if subject.task.explains:
        return False
    kind = subject.task.spec.kind
    console.say(f"evaluate.{section} is left out: it asks whether an answer is right, which `{kind}` has no")
    return True


def _inputs(
    subject: Subject, baseline: params.Baseline, rows: Mapping[str, Rows]
) -> Mapping[str, baselines.Inputs]:
    """Return what a baseline reads of each split."""
    match baseline:
        case params.PixelsBaseline(side=side):
            return subject.pixels(side)
        case params.FeaturesBaseline():
            return subject.features
        case _:
            return {split: own.texts for split, own in rows.items()}


def _fitted(subject: Subject, baseline: params.Baseline, rows: Mapping[str, Rows]) -> result_cache.Arrays:
    (name,), train, inputs = baselines.names([baseline]), rows["train"], _inputs(subject, baseline, rows)
    console.say(f"fitting baseline {name} on {len(train.targets):,} train rows")
    validation = (inputs["val"], rows["val"].targets)
    weights = row_attributes.weights(ARRAYS, "train", len(train.targets))
    fitted = subject.task.baselines.fit(baseline, inputs["train"], train.targets, validation, weights)
    made = {
        f"{split}.{part}": values
        for split in ("val", "test")
        for part, values in subject.task.baselines.arrays(fitted.outputs(inputs[split])).items()
    }
    return made if fitted.C is None else made | {"C": np.array(fitted.C)}


def _gallery(
    subject: Subject, wanted: params.Gallery, name: str, test: Rows, outputs: Outputs
) -> image_galleries.Gallery:
    places = image_galleries.mistakes(test, outputs)[0][: wanted.errors]
    if not len(places):
        return image_galleries.Gallery(
            [], np.empty((0, 1, 1, 1), np.uint8), np.empty((0, 1, 1), np.float32), 0, len(test.targets)
        )
    inputs = subject.splits["test"].batch(places).inputs[0]  # (shown, channels, height, width)
    predicted, actual = outputs.predicted[places], test.targets[places]

    def measure() -> result_cache.Arrays:
        console.say(f"computing attributions of the {name}'s {len(places)} most confident mistakes")
        classes, rivals = torch.from_numpy(predicted), torch.from_numpy(actual)
        return {"attributions": explain.attribute(subject.load(name), inputs, classes, rivals, wanted.steps)}

    own = {"rows": [test.ids[row] for row in places], "predicted": predicted.tolist(), "steps": wanted.steps}
    known = subject.known(MODELS[name], **own, runtime=subject.machine.reasons)
    attributions = result_cache.arrays("attributions", known, measure)["attributions"]
    shown = inputs.round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return image_galleries.gallery(places, test, outputs, subject.task.spec.names, shown, attributions)
