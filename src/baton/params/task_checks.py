"""What params may not ask of a kind of task, or only of it; one line per problem.

Input: the whole of params -> problems, each with its YAML path and the way out.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from baton.params.base import ImageTextBase, TimmBase
from baton.params.evaluate import BandsBaseline, FeaturesBaseline, PixelsBaseline, TfidfBaseline
from baton.params.preprocess import TextPreprocess
from baton.params.row_checks import OtherClass
from baton.params.source import OneClassSource
from baton.params.task import LabelsTask

if TYPE_CHECKING:
    from baton.params.reading import Params


def other_figures(asked: "Params") -> Iterator[str]:
    """Yield the metrics that the task does not have."""
    known = {"finetune": asked.task.metrics, "distill": asked.task.metrics, "promotion": asked.task.gated}
    for name, metrics in known.items():
        metric = getattr(asked, name).metric
        if metric not in metrics:
            yield (
                f"{name}.metric is {metric}, but task.kind is {asked.task.kind}: "
                f"set it to one of {', '.join(metrics)}"
            )


def without_data(asked: "Params") -> Iterator[str]:
    """Check the baselines now, although they are fitted last."""
    own = {TfidfBaseline: "text", PixelsBaseline: "images", BandsBaseline: "audio"}
    both = asked.preprocess.kind == "image_text"
    for number, baseline in enumerate(asked.evaluate.baselines):
        name, modality = (
            f"evaluate.baselines.{number} ({baseline.kind})",
            own.get(type(baseline), asked.preprocess.kind),
        )
        if modality != asked.preprocess.kind and not (both and modality in ("text", "images")):
            yield f"{name} is for {modality}, preprocess.kind is {asked.preprocess.kind}: remove it"
        if (
            isinstance(baseline, FeaturesBaseline)
            and isinstance(base := _encoder(asked, baseline), TimmBase)
            and base.weights is None
        ):
            yield f"{name} needs a pretrained base model, but base.weights is null: remove it"


def _encoder(asked: "Params", baseline: FeaturesBaseline) -> Any:
    """Return the base model whose features a baseline reads, the image's if it reads those of both."""
    if isinstance(asked.base, ImageTextBase):
        return asked.base.text if baseline.encoder == "text" else asked.base.image
    return asked.base


def of_labels(asked: "Params") -> Iterator[str]:
    """Check that nothing needs one class per row if the task is labels."""
    if not isinstance(asked.task, LabelsTask):
        return
    small = asked.preprocess.checks.small_class
    if small == "train_only" or isinstance(small, OtherClass):
        yield (
            f"preprocess.checks.small_class: {small} is for rows of one class, task.kind is labels: "
            "set it to fail, keep or drop (which takes a rare label out of its rows)"
        )
    if isinstance(asked.source, OneClassSource):
        yield (
            f"source.kind {asked.source.kind} gives each image one class, task.kind is labels: list the "
            "images in a table with a column of labels (source.kind: table), or set task.kind to classes"
        )
    for place, baseline in enumerate(asked.evaluate.baselines):
        if isinstance(baseline, FeaturesBaseline) and baseline.model == "knn":
            yield (
                f"evaluate.baselines.{place} (features): knn gives each row one class, task.kind is "
                "labels: remove it, or set its model to linear"
            )
    if isinstance(asked.preprocess, TextPreprocess) and "labels" in asked.preprocess.keep_columns:
        yield "preprocess.keep_columns: labels is already a column of the clean tables; rename it"
