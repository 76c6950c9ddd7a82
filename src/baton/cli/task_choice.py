"""Freeze `task: {kind: auto}` of a recipe: fetch its data, infer the task, and write what follows from it.

Input: a recipe. Output: the text of params.yaml, with its comments. Besides `task`, the keys that only fit
another kind of task are set: `metric` of `finetune`, `distill` and `promotion`, and the baselines.
"""

import io
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from rich.markup import escape
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from baton import console, params, storage
from baton.errors import ParamsError
from baton.sources import fetching
from baton.tables import readers
from baton.tables.columns import Columns
from baton.tables.rows import Joined
from baton.tables.task_kind import NUMBERS, Inferred, infer

METRICS = {
    "classes": ("accuracy", "accuracy"),
    "labels": ("micro_f1", "micro_f1"),
    "numbers": ("mae", "r2"),
    "tokens": ("entity_f1", "entity_f1"),
    "spans": ("f1", "f1"),
}
CRF: dict[str, Any] = {"kind": "crf", "c1": [0.01, 0.1], "c2": [0.01, 0.1], "iterations": 200}
WINDOW: dict[str, Any] = {"kind": "sliding_window", "lengths": [1, 2, 3, 4]}
MEAN: dict[str, Any] = {"kind": "mean"}
RIDGE: dict[str, Any] = {
    "kind": "tfidf",
    "model": "ridge",
    "min_df": 2,
    "max_ngram": 2,
    "stop_words": None,
    "C": [0.03, 0.1, 0.3, 1, 3, 10, 30],
}


def frozen(recipe: Path) -> bytes:
    """Return the recipe's text, in which a task of kind `auto` is replaced.

    Raises:
        ParamsError: the recipe is invalid, or does not fit the task.
        SourceError: the data is unavailable.
        DataError: the data cannot be read, or the task cannot be inferred from it.
    """
    raw = params.read_raw(recipe)
    task = raw.get("task")
    if not isinstance(task, dict) or task.get("kind") != params.AUTO:
        params.read(recipe)
        return recipe.read_bytes()
    found = _inferred(raw, recipe)
    console.say(escape(f"task: {found.task['kind']}, since {found.reason}"))
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, recipe.name)
        path.write_text(_written(recipe, found), encoding="utf-8")
        params.read(path)
        return path.read_bytes()


def _inferred(raw: Mapping[str, Any], recipe: Path) -> Inferred:
    source: Any = _section(params.Source, raw, "source", recipe)
    preprocess: Any = _section(params.Preprocess, raw, "preprocess", recipe)
    match source:
        case params.FolderSource() | params.IdxSource() | params.DigitsSource() | params.TorchvisionSource():
            return Inferred({"kind": "classes"}, f"a source of kind {source.kind} gives each row one class")
    column = preprocess.label_column
    if not isinstance(column, str):
        return Inferred(NUMBERS, f"label_column names {len(column)} columns")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "raw")
        fetching.fetch_source(source, folder)
        path = folder / storage.read_json(folder / "manifest.json")["files"]["train"]["path"]
        return infer(_values(path, preprocess, column), column)


def _section(kind: Any, raw: Mapping[str, Any], name: str, recipe: Path) -> Any:
    try:
        return TypeAdapter(kind).validate_python(raw.get(name), strict=False)
    except ValidationError as error:
        got = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        hint = "set task.kind to a kind instead of auto: `baton use` then lists every problem"
        raise ParamsError(
            f"{recipe}: {name} is not valid", got=got, expected="a valid section", hint=hint
        ) from None


def _values(path: Path, preprocess: params.Preprocess, column: str) -> list[Any]:
    """Return the cells of the label column, as they are in the raw file."""
    values: list[Any] = []

    def keep(_text: Any, value: Any, _pair: Any) -> Joined:
        values.append(value)
        return Joined("", None)

    if isinstance(preprocess, params.TextPreprocess):
        columns = Columns(preprocess.text_column, column)
        readers.read(path, "train", preprocess.format, columns, joined=keep)
        return values
    import pyarrow.parquet as pq

    return list(pq.read_table(path, columns=[column]).column(column).to_pylist())


def _written(recipe: Path, found: Inferred) -> str:
    yaml = YAML()
    yaml.preserve_quotes, yaml.width = True, 10**6
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.representer.add_representer(
        type(None), lambda dumper, _: dumper.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    content = yaml.load(recipe.read_text(encoding="utf-8"))
    kind = found.task["kind"]
    content["task"] = _flow(found.task)
    _fit(content, kind)
    text = io.StringIO()
    yaml.dump(content, text)
    return text.getvalue()


def _fit(content: Any, kind: str) -> None:
    """Set the keys whose values are for another kind of task."""
    valid = params.task_of_kind(kind)
    metric, gated = METRICS[kind]
    for name in ("finetune", "distill"):
        if content[name]["metric"] not in valid.metrics:
            content[name]["metric"] = metric
    if content["promotion"]["metric"] not in valid.gated:
        content["promotion"]["metric"] = gated
    if kind == "numbers":
        _fit_numbers(content)
    if kind == "spans":
        _fit_spans(content)
    if kind == "tokens":
        content["finetune"]["probe"] = None
        content["evaluate"]["baselines"] = [_flow(one) for one in ({"kind": "majority"}, CRF)]


def _fit_numbers(content: Any) -> None:
    """Set what params may not ask of numbers to the values that they need."""
    content["promotion"]["class_floor"] = None
    content["finetune"]["probe"] = None
    content["distill"]["temperature"] = 1.0
    for name in ("finetune", "distill"):
        content[name]["class_weights"], content[name]["label_smoothing"] = "none", 0.0
    text = content["preprocess"]["kind"] == "text"
    content["evaluate"]["baselines"] = [_flow(one) for one in ([MEAN, RIDGE] if text else [MEAN])]


def _fit_spans(content: Any) -> None:
    """Set what params may not ask of answers; questions about one context stay in one split."""
    content["promotion"]["class_floor"] = None
    content["finetune"]["probe"] = None
    for name in ("finetune", "distill"):
        content[name]["class_weights"], content[name]["label_smoothing"] = "none", 0.0
    preprocess = content["preprocess"]
    preprocess["checks"]["small_class"] = "keep"
    preprocess["group_column"] = preprocess["group_column"] or preprocess["text_pair_column"]
    content["evaluate"]["baselines"] = [_flow(one) for one in ({"kind": "majority"}, WINDOW)]


def _flow(values: Mapping[str, Any]) -> CommentedMap:
    made = CommentedMap(values)
    made.fa.set_flow_style()
    return made
