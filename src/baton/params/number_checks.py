"""What params may not ask of numbers, or only of numbers: checks over sections, in `reading.Params`.

Input: the whole of params -> problems, each with its YAML path and the way out.
"""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from baton.params.evaluate import FeaturesBaseline, MajorityBaseline, MeanBaseline, TfidfBaseline
from baton.params.lifecycle import Gain, Promotion
from baton.params.preprocess import FilesPreprocess, Preprocess, TextPreprocess
from baton.params.source import OneClassSource, Source
from baton.params.task import NumbersTask

if TYPE_CHECKING:
    from baton.params.reading import Params

ENDS = ("low", "high")  # suffixes of the columns of intervals in a served answer
ERRORS = ("mae", "rmse")  # figures in the unit of the numbers


def of_numbers(asked: "Params") -> Iterator[str]:
    """Yield the problems of params whose task is numbers."""
    if not isinstance(asked.task, NumbersTask):
        return
    finetune, distill, promotion = asked.finetune, asked.distill, asked.promotion
    yield from _of_data(asked.preprocess, asked.source)
    for name, part in {"finetune": finetune, "distill": distill}.items():
        if part.class_weights != "none":
            yield f"{name}.class_weights: {part.class_weights} is for classes and labels: set it to none"
        if part.label_smoothing:
            yield f"{name}.label_smoothing is for classes and labels: set it to 0.0"
    if finetune.probe:
        yield "finetune.probe: numbers have no linear probe: set it to null, which always fine-tunes"
    if distill.temperature != 1:
        yield (
            "distill.temperature: numbers have no probabilities to soften, so the student learns the "
            "teacher's numbers as they are: set it to 1.0"
        )
    if promotion.class_floor:
        yield "promotion.class_floor: numbers have no classes: set it to null"


def _of_data(preprocess: Preprocess, source: Source) -> Iterator[str]:
    column = preprocess.label_column
    names = [column] if isinstance(column, str) else list(column)
    answered = Counter([*names, *(f"{name}_{end}" for name in names for end in ENDS)])
    if isinstance(preprocess, FilesPreprocess) and not isinstance(column, str):
        yield f"preprocess.label_column: {preprocess.thing} rows have one number: name one column"
    elif repeated := [name for name, count in answered.items() if count > 1]:
        yield (
            f"preprocess.label_column: {repeated[0]} would be two columns of a model's answer, which has "
            f"NAME, NAME_{ENDS[0]} and NAME_{ENDS[1]} of each number: rename it"
        )
    if preprocess.label_names:
        yield "preprocess.label_names: numbers have no names: set it to {}"
    if isinstance(source, OneClassSource):
        yield (
            f"source.kind {source.kind} gives each image a class, task.kind is numbers: list the images in a "
            "table with a column of numbers (source.kind: table)"
        )
    if isinstance(preprocess, TextPreprocess) and "numbers" in preprocess.keep_columns:
        yield "preprocess.keep_columns: numbers is already a column of the clean tables; rename it"


def of_task(asked: "Params") -> Iterator[str]:
    """Yield what only numbers may have, and the baselines of another kind of task."""
    task, preprocess, evaluate, promotion = asked.task, asked.preprocess, asked.evaluate, asked.promotion
    numbers = isinstance(task, NumbersTask)
    if not numbers and not isinstance(preprocess.label_column, str):
        yield f"preprocess.label_column: only numbers have several, task.kind is {task.kind}: name one column"
    for place, baseline in enumerate(evaluate.baselines):
        where = f"evaluate.baselines.{place} ({baseline.kind})"
        match baseline:
            case MajorityBaseline() if numbers:
                yield f"{where}: numbers have no most frequent class: set its kind to mean"
            case MeanBaseline() if not numbers:
                yield f"{where} is for numbers, task.kind is {task.kind}: set its kind to majority"
            case TfidfBaseline(model=model) if numbers != (model == "ridge"):
                wanted = "ridge" if numbers else "svm or logistic"
                yield f"{where}: {model} is not for {task.kind}: set its model to {wanted}"
            case FeaturesBaseline(model="knn") if numbers:
                yield f"{where}: knn gives each row one class: set its model to linear"
    if not numbers or promotion.metric not in ERRORS:
        yield from _shares(promotion)


def _shares(promotion: Promotion) -> Iterator[str]:
    """Yield the limits that no figure of at most 1 can reach."""
    rule, floor = promotion.rule, promotion.permanent_floor
    limits = {"first_minimum": promotion.first_minimum if promotion.first_minimum > 1 else None}
    margin = ("minimum", rule.minimum) if isinstance(rule, Gain) else ("margin", rule.margin)
    limits[f"rule.{margin[0]}"] = margin[1] if margin[1] >= 1 else None
    for key in ("below_best", "below_baseline"):
        value = getattr(floor, key) if floor else None
        limits[f"permanent_floor.{key}"] = value if value is not None and value >= 1 else None
    for key, value in limits.items():
        if value is not None:
            most = "at most" if key == "first_minimum" else "less than"
            yield f"promotion.{key}: {promotion.metric} is at most 1: set it to {most} 1; got {value:g}"
