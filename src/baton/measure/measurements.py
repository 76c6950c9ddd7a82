"""The parts of `evaluate` that need models.

These are baselines and speed; `image_measurements` has robustness, attributions and the sheet of augmented
samples.

Inputs: the models, the base model and the arrays -> figures and matrices that `baton.evaluate` reads. Slow
results are cached outside the stage's outputs, keyed by everything that they depend on.
"""

import platform
from collections.abc import Mapping
from dataclasses import dataclass, replace
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
from baton.evaluate import baselines, task_reports
from baton.evaluate.inputs import Rows
from baton.evaluate.task_reports import TaskReports
from baton.measure import features, result_cache
from baton.measure import speed as speeds
from baton.models import model_folder
from baton.runtime import resolve
from baton.tasks import task_figures

ARRAYS, BASE, CLEAN = Path("data/arrays"), Path("data/base"), Path("data/clean")
MODELS = {name: Path("models", name) for name in ("teacher", "student", "control")}
# The code that measurements run: packages of baton, and single modules of other packages.
PACKAGES = (
    "arrays",
    "batches",
    "contracts",
    "images",
    "linear",
    "measure",
    "models",
    "runtime",
    "sounds",
    "tasks",
    "texts",
)
MODULES = (
    "predict.py",
    "processors.py",
    "storage.py",
    "streams.py",
    "temporaries.py",
    "evaluate/baselines.py",
    "evaluate/class_baselines.py",
    "evaluate/inputs.py",
    "evaluate/label_baselines.py",
    "evaluate/label_outputs.py",
    "evaluate/number_baselines.py",
    "evaluate/number_outputs.py",
    "evaluate/sequence_baselines.py",
    "evaluate/sequence_outputs.py",
    "evaluate/span_baselines.py",
    "evaluate/span_outputs.py",
    "evaluate/timing.py",
    "evaluate/token_baselines.py",
    "evaluate/token_crf.py",
    "evaluate/token_outputs.py",
)


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
        """The arrays of train, val and test; training images are augmented as the teacher's were."""
        own = self.finetune.augmentation
        every = array_splits.open_splits(ARRAYS, own if isinstance(own, params.Augmentation) else None)
        return {split: every[split] for split in array_splits.SPLITS}

    @cached_property
    def test(self) -> dict[str, sampler.Split]:
        """What each model reads of test: the arrays, or those for the student's own base model."""
        own = ARRAYS / storage.STUDENT
        for_student = array_splits.open_splits(own)["test"] if own.is_dir() else self.splits["test"]
        return {name: self.splits["test"] if name == "teacher" else for_student for name in MODELS}

    @cached_property
    def features(self) -> dict[str, NDArray[np.float32]]:
        """The base model's features of each split, (samples, width), pooled as in the teacher's head."""
        width, described = self.task.spec.width, self.meta.input
        encoder: Any = model_folder.create(
            BASE, self.finetune.head, width, self.finetune, self.machine.attention, described
        )
        encoder.head = torch.nn.Identity()
        encoder.to(self.machine.device).eval()
        self._widths.update(getattr(encoder.backbone, "widths", {}))
        return {split: self.logits(encoder, samples) for split, samples in self.splits.items()}

    def features_of(self, encoder: str | None) -> dict[str, NDArray[np.float32]]:
        """Return the features of one encoder, where a model has several; None: of all."""
        whole = self.features
        if encoder is None:
            return whole
        ends = dict(zip(self._widths, np.cumsum([*self._widths.values()]).tolist(), strict=True))
        own = slice(ends[encoder] - self._widths[encoder], ends[encoder])
        return {split: np.ascontiguousarray(features[:, own]) for split, features in whole.items()}

    @cached_property
    def _widths(self) -> dict[str, int]:
        """The encoders' widths, in the order of their features; empty if there is one encoder."""
        return {}

    def pixels(self, side: int) -> dict[str, NDArray[np.float32]]:
        """Return the pixels of each split's images, (samples, values); see `features.pixels`."""
        return {
            split: features.pixels(samples, side, self.settings.speed.batch_size)
            for split, samples in self.splits.items()
        }

    def load(self, name: str) -> Any:
        """Load a model onto the device."""
        attention = model_folder.attention(MODELS[name], self.machine)
        return model_folder.load(MODELS[name], attention)[0].to(self.machine.device)

    def logits(self, model: torch.nn.Module, split: sampler.Split) -> NDArray[np.float32]:
        """Return a model's logits for every sample, (samples, width)."""
        found = predict.predict(model, split, self.machine, self.settings.speed.batch_size)
        assert isinstance(found, np.ndarray), "robustness and features are about samples with one output"
        return found

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

    Those that take seconds, on texts, to minutes, on images, are cached.
    """
    settings = {"baseline": baseline.model_dump()}
    match baseline:
        case params.PixelsBaseline() | params.BandsBaseline():
            made = result_cache.arrays(
                "baselines", subject.known(**settings), lambda: _fitted(subject, baseline, rows)
            )
        case params.FeaturesBaseline():
            settings |= {"head": subject.finetune.head.model_dump(), "runtime": subject.machine.reasons}
            made = result_cache.arrays(
                "baselines", subject.known(BASE, **settings), lambda: _fitted(subject, baseline, rows)
            )
        case params.TfidfBaseline() | params.CrfBaseline() | params.SlidingWindowBaseline():
            made = result_cache.arrays(
                "baselines", subject.known(CLEAN, **settings), lambda: _fitted(subject, baseline, rows)
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
    """Return a baseline's `parts` of each row of train, when each of `count` folds is left out.

    The folds are those by which the teacher's training was chosen. C is chosen on val, as is the checkpoint
    of each fold's fine-tuning; what is fitted on val decides too.
    """
    inputs, targets = _inputs(subject, baseline, rows), rows["train"].targets
    whole: Any = inputs["train"]
    weights = row_attributes.weights(ARRAYS, "train", len(targets))
    portions = []
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
        task, val = subject.task, rows["val"].targets
        values = task.fitted(val, model.outputs(inputs["val"])) if task_figures.decides(task.spec) else {}
        parts = task.parts(targets[scored], replace(model.outputs(others), **values))
        portions.append((np.asarray(scored), parts))
    return task_reports.together(portions)


def speed(subject: Subject) -> dict[str, Any]:
    """Measure the speeds of the models on test, on this machine."""
    settings, machine = subject.settings.speed, subject.machine
    if settings.repeats == 0:
        return {"models": {}}

    def measure() -> dict[str, Any]:
        console.say(
            f"speed: at least {settings.repeats} {'round' if settings.repeats == 1 else 'rounds'} over "
            f"{settings.samples} test rows, models taking turns at each batch"
        )
        measured = speeds.measure(MODELS, subject.test, settings, machine)
        return measured | {"runtime": machine.reasons, "speed": settings.model_dump()}

    own = {
        "speed": settings.model_dump(),
        "runtime": machine.reasons,
        "machine": f"{platform.node()} {platform.platform()}",
    }
    return result_cache.figures("speed", subject.known(*MODELS.values(), **own), measure)


def _inputs(
    subject: Subject, baseline: params.Baseline, rows: Mapping[str, Rows]
) -> Mapping[str, baselines.Inputs]:
    """Return what a baseline reads of each split."""
    match baseline:
        case params.PixelsBaseline(side=side):
            return subject.pixels(side)
        case params.BandsBaseline():
            size = subject.settings.speed.batch_size
            return {split: features.bands(own, size) for split, own in subject.splits.items()}
        case params.FeaturesBaseline(encoder=encoder):
            return subject.features_of(encoder)
        case _:
            return {split: own.texts if own.pairs is None else own.pairs for split, own in rows.items()}


def _fitted(subject: Subject, baseline: params.Baseline, rows: Mapping[str, Rows]) -> result_cache.Arrays:
    (name,), train, inputs = (
        baselines.names([baseline], subject.task.baselines.ridge),
        rows["train"],
        _inputs(subject, baseline, rows),
    )
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
