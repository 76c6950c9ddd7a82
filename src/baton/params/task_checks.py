"""What params may not ask of a kind of task besides what the tables say; one line per problem.

Input: the whole of params -> problems, each with its YAML path and the way out. The tables are those of
`combinations` and `applicable_keys`; what concerns numbers, texts and tags alone has a module of its own.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from baton.params.base import ImageTextBase, TimmBase
from baton.params.evaluate import FeaturesBaseline, TfidfBaseline
from baton.params.preprocess import TextPreprocess

if TYPE_CHECKING:
    from baton.params.reading import Params


def problems(asked: "Params") -> Iterator[str]:
    """Yield the problems that several kinds of task have in common."""
    yield from _metrics(asked)
    yield from _columns(asked)
    yield from _baselines(asked)


def _metrics(asked: "Params") -> Iterator[str]:
    known = {"finetune": asked.task.metrics, "distill": asked.task.metrics, "promotion": asked.task.gated}
    for name, metrics in known.items():
        metric = getattr(asked, name).metric
        if metric not in metrics:
            yield (
                f"{name}.metric is {metric}, but task.kind is {asked.task.kind}: "
                f"set it to one of {', '.join(metrics)}"
            )


def _columns(asked: "Params") -> Iterator[str]:
    task, preprocess = asked.task, asked.preprocess
    if task.kind != "numbers" and not isinstance(preprocess.label_column, str):
        yield f"preprocess.label_column: only numbers have several, task.kind is {task.kind}: name one column"
    kept = preprocess.keep_columns if isinstance(preprocess, TextPreprocess) else ()
    if taken := sorted({*task.columns} & {*kept}):
        yield (
            f"preprocess.keep_columns: {', '.join(taken)} is already a column of the clean tables; rename it"
        )


def _baselines(asked: "Params") -> Iterator[str]:
    kind = asked.task.kind
    for place, baseline in enumerate(asked.evaluate.baselines):
        where = f"evaluate.baselines.{place} ({baseline.kind})"
        if isinstance(baseline, TfidfBaseline) and (kind == "numbers") != (baseline.model == "ridge"):
            wanted = "ridge" if kind == "numbers" else "svm or logistic"
            yield f"{where}: {baseline.model} is not for {kind}: set its model to {wanted}"
        if not isinstance(baseline, FeaturesBaseline):
            continue
        if baseline.model == "knn" and kind != "classes":
            yield f"{where}: knn gives each row one class, task.kind is {kind}: set its model to linear"
        if isinstance(base := _encoder(asked, baseline), TimmBase) and base.weights is None:
            yield f"{where} needs a pretrained base model, but base.weights is null: remove it"


def _encoder(asked: "Params", baseline: FeaturesBaseline) -> Any:
    """Return the base model whose features a baseline reads, the image's if it reads those of both."""
    if isinstance(asked.base, ImageTextBase):
        return asked.base.text if baseline.encoder == "text" else asked.base.image
    return asked.base
