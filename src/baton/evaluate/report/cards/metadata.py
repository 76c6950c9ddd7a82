"""The YAML block at the head of a card, by which the hub lists and filters.

Inputs: the task, the manifests of data and base model, figures -> huggingface_hub's card data. What is not
known, such as the language of the texts, is left out: a wrong entry is worse than none.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from huggingface_hub.repocard_data import DatasetCardData, EvalResult, ModelCardData

from baton.evaluate.report.cards.facts import Facts
from baton.evaluate.report.cards.markdown import plain
from baton.evaluate.report.differences import figure_name, scale_of
from baton.evaluate.report.html.parts import Parts
from baton.evaluate.report.wording import capital, percent

# (kind of task, kind of input) -> the hub's name for it; others have none.
PIPELINES = {
    ("classes", "text"): "text-classification",
    ("labels", "text"): "text-classification",
    ("tokens", "text"): "token-classification",
    ("spans", "text"): "question-answering",
    ("classes", "images"): "image-classification",
    ("labels", "images"): "image-classification",
    ("classes", "audio"): "audio-classification",
    ("labels", "audio"): "audio-classification",
    ("sequence", "audio"): "automatic-speech-recognition",
}
# Figures that the hub lists, and its names for them.
METRICS = {
    "accuracy": "accuracy",
    "macro_f1": "f1",
    "micro_f1": "f1",
    "samples_f1": "f1",
    "entity_f1": "f1",
    "f1": "f1",
    "exact_match": "exact_match",
    "mae": "mae",
    "r2": "r_squared",
    "spearman": "spearmanr",
    "chrf": "chrf",
    "bleu": "bleu",
}
# Licences that the hub lists by name.
LICENCES = (
    "apache-2.0",
    "mit",
    "bsd",
    "bsd-2-clause",
    "bsd-3-clause",
    "cc0-1.0",
    "gpl-2.0",
    "gpl-3.0",
    "lgpl-2.1",
    "lgpl-3.0",
    "agpl-3.0",
    "mpl-2.0",
    "odbl",
    "pddl",
    "unlicense",
    "isc",
    "zlib",
    *(f"cc-by{kind}-{version}" for kind in ("", "-sa", "-nc", "-nc-sa") for version in ("3.0", "4.0")),
)
SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
)


def of_model(parts: Parts, facts: Facts, model: str) -> ModelCardData:
    """Return the block of a model card."""
    pipeline, own = pipeline_tag(parts, facts), base_of(facts, model)
    results = [
        result(parts, facts, model, figure, pipeline or "other")
        for figure in figures(parts, model)
        if "/" not in figure  # of one of several numbers
    ]
    datasets = [hub] if (hub := on_hub(facts.source.get("source", {}))) else None
    return ModelCardData(
        base_model=on_hub(own.get("base", {})),
        datasets=datasets,
        metrics=list(dict.fromkeys(METRICS[name] for name in figures(parts, model) if name in METRICS)),
        model_name=model,
        eval_results=results,
        pipeline_tag=pipeline,
        tags=["baton", "knowledge-distillation"] if model == "student" else ["baton"],
        **licence([own.get("licence"), facts.source.get("licence")]),
    )


def of_data(parts: Parts, facts: Facts) -> DatasetCardData:
    """Return the block of a data card."""
    pipeline, source = pipeline_tag(parts, facts), facts.source.get("source", {})
    used = facts.clean.get("rows", {}).get("clean", {})
    return DatasetCardData(
        pretty_name=name_of(facts.source),
        size_categories=[size(sum(used.values()))] if used else None,
        source_datasets=[hub] if (hub := on_hub(source)) else None,
        task_categories=[pipeline] if pipeline else None,
        **licence([facts.source.get("licence")]),
    )


def figures(parts: Parts, model: str) -> list[str]:
    """Return the figures of a model that the block lists: the main one first."""
    main, own = parts.main.name, parts.metrics[model]
    wanted = dict.fromkeys((main, *parts.task.over_seeds, "calibration_error_scaled", "coverage"))
    return [name for name in wanted if isinstance(own.get(name), float | int)]


def result(parts: Parts, facts: Facts, model: str, figure: str, task: str) -> EvalResult:
    """Return a figure on test; its interval is in the name, as the hub has no field for it."""
    own, source = parts.metrics[model], facts.source.get("source", {})
    shown, confidence = capital(figure_name(figure)), percent(parts.test["confidence"], 0)
    if f"{figure}_interval" in own:
        scale = parts.main if figure == parts.main.name else scale_of(figure)
        low, high = own[f"{figure}_interval"]
        shown += f" ({confidence} interval {scale.number(low)} to {scale.value(high)})"
    return EvalResult(
        task_type=task,
        dataset_type=on_hub(source) or slug(name_of(facts.source)),
        dataset_name=name_of(facts.source),
        dataset_split="test",
        metric_type=METRICS.get(figure, figure.removesuffix("_scaled")),
        metric_name=shown,
        metric_value=own[figure],
    )


def pipeline_tag(parts: Parts, facts: Facts) -> str | None:
    """Return the hub's name for the task, if it has one."""
    return PIPELINES.get((parts.kind, facts.input.kind)) if facts.input is not None else None


def base_of(facts: Facts, model: str) -> Mapping[str, Any]:
    """Return the manifest of the base model that a model started from."""
    return facts.student_base if model == "student" and facts.student_base else facts.base


def on_hub(section: Mapping[str, Any]) -> str | None:
    """Return the repository of a source or a base model, if it is on the hub."""
    return plain(section["repository"]) if section.get("kind") == "hub" else None


def name_of(manifest: Mapping[str, Any]) -> str:
    """Return a name for data: that of its repository or set, or that of the file of train."""
    source = manifest.get("source", {})
    for known in (source.get("repository"), source.get("name")):
        if isinstance(known, str) and known:
            return plain(known)
    origin = str(manifest.get("files", {}).get("train", {}).get("origin", ""))
    stem = re.sub(r"(^|[-_. ])train$", "", PurePosixPath(origin).stem)
    return plain(stem) or "data"


def licence(named: Sequence[str | None]) -> dict[str, Any]:
    """Return the entries for licences: the hub's name of the only one, or the words of all."""
    words = list(dict.fromkeys(plain(one) for one in named if one))
    if not words:
        return {}
    known = {word.lower().replace(" ", "-") for word in words}
    if len(known) == 1 and (only := known.pop()) in LICENCES:
        return {"license": only}
    return {"license": "other", "license_name": slug(" and ".join(words))}


def slug(text: str) -> str:
    """Return text as the hub wants names: lower case, letters, digits, dots and hyphens."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")[:96] or "unnamed"


def size(rows: int) -> str:
    """Return the hub's category for a number of rows."""
    return next((name for limit, name in SIZES if rows < limit), "n>10M")
