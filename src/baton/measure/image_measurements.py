"""The parts of `evaluate` that show images: robustness, attributions and the sheet of augmented samples.

Inputs: a `measurements.Subject`, the test rows and the models' outputs -> what `baton.evaluate` reads and
draws. Slow results are cached as those of `measurements` are.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from baton import console, params
from baton.batches.clip_batches import ClipSplit
from baton.contracts.input_spec import AudioInput
from baton.evaluate import attributions, robustness, timing
from baton.evaluate.baselines import Outputs
from baton.evaluate.inputs import Rows
from baton.evaluate.report import image_galleries
from baton.measure import explain, pixel_deletion, result_cache
from baton.measure.measurements import MODELS, Subject

EXPLAINED = ("teacher", "student")
SHEET_SAMPLES, SHEET_EPOCHS = 8, 7


def robust(subject: Subject) -> robustness.Robustness | None:
    """Measure the accuracy of the models on corrupted test images; None unless params ask for it."""
    wanted = subject.settings.robustness
    if wanted is None:
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
    return (
        {name: _gallery(subject, wanted, name, test, outputs[name]) for name in EXPLAINED} if wanted else {}
    )


def sheet(subject: Subject) -> image_galleries.Sheet | None:
    """Return some train images as the teacher's training saw them; None without augmentation of images."""
    if not isinstance(subject.finetune.augmentation, params.Augmentation):
        return None
    from baton.batches.image_batches import ImageSplit
    from baton.batches.image_text_batches import ImageTextSplit

    train = subject.splits["train"]
    train = train.image if isinstance(train, ImageTextSplit) else train
    assert isinstance(train, ImageSplit), "params refuse augmentation of images for others"
    own, names = train.targets.pairs
    places = image_galleries.examples(names, len(names))  # a row with several targets has several places
    rows = np.array([*dict.fromkeys(own[places].tolist())][:SHEET_SAMPLES], np.int64)
    if not len(rows):  # numbers have no names, of which to show one example each
        rows = timing.spread(len(train), SHEET_SAMPLES)
    texts = subject.task.figures.texts(train.targets.take(rows))
    shown = train.sheet(rows, subject.finetune.seed, range(SHEET_EPOCHS))
    return image_galleries.Sheet(texts, _upright(subject, shown, axis=2))


def _gallery(
    subject: Subject, wanted: params.Gallery, name: str, test: Rows, outputs: Outputs
) -> image_galleries.Gallery:
    places = image_galleries.mistakes(test, outputs)[0][: wanted.errors]
    if not len(places):
        return image_galleries.Gallery(
            [], np.empty((0, 1, 1, 1), np.uint8), np.empty((0, 1, 1), np.float32), 0, len(test.targets)
        )
    whole = subject.splits["test"]
    batch = whole.first(places) if isinstance(whole, ClipSplit) else whole.batch(places)
    inputs = batch.inputs[0]  # (shown, channels, height, width): of a clip, its first part
    predicted, actual = outputs.predicted[places], test.targets[places]

    def measure() -> result_cache.Arrays:
        console.say(f"computing attributions of the {name}'s {len(places)} most confident mistakes")
        classes, rivals = torch.from_numpy(predicted), torch.from_numpy(actual)
        model = subject.load(name)
        found = explain.attribute(model, inputs, classes, rivals, wanted.steps)
        tested = pixel_deletion.probabilities(model, inputs, predicted, found, ids, outputs.temperature)
        return {"attributions": found, "deletion": tested}

    ids = [test.ids[row] for row in places]
    own = {"rows": ids, "predicted": predicted.tolist(), "steps": wanted.steps}
    own |= {"temperature": outputs.temperature}
    known = subject.known(MODELS[name], **own, runtime=subject.machine.reasons)
    made = result_cache.arrays("attributions", known, measure)
    names = subject.task.spec.names
    said = [names[k] for k in predicted]
    deleted = attributions.pixels_deleted(name, ids, said, made["attributions"], made["deletion"])
    shown = _upright(subject, inputs.round().to(torch.uint8).permute(0, 2, 3, 1).numpy(), axis=1)
    drawn = _upright(subject, made["attributions"], axis=1)
    gallery = image_galleries.gallery(places, test, outputs, names, shown, drawn)
    return dataclasses.replace(gallery, deletion=deleted)


def _upright(subject: Subject, pixels: NDArray[Any], axis: int) -> NDArray[Any]:
    """Return images as they are drawn; `axis` is that of their height: low frequencies are at the bottom."""
    return np.flip(pixels, axis) if isinstance(subject.meta.input, AudioInput) else pixels
