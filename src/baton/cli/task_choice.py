"""Freeze `task: {kind: auto}` of a recipe: fetch its data, infer the task, and write what follows from it.

Input: a recipe. Output: the text of params.yaml, with its comments. What was seen, how to say otherwise, and
each key that had to change are printed.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from rich.markup import escape

from baton import console, params, storage
from baton.cli import recipe_edits
from baton.errors import DataError, ParamsError
from baton.params import combinations
from baton.sources import fetching
from baton.tables import image_samples, readers
from baton.tables.columns import Columns
from baton.tables.rows import Joined
from baton.tables.task_kind import infer
from baton.tables.task_readings import NUMBERS, SPANS, Inferred

# What is written where the format leaves one kind; tokens are given, as in CoNLL.
GIVEN: dict[str, dict[str, Any]] = {"tokens": {"kind": "tokens", "words": "space"}, "spans": SPANS}


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
    text, changes = recipe_edits.fitted(recipe.read_text(encoding="utf-8"), found.task)
    params.checked(params.parse(text, str(recipe)), recipe)
    otherwise = f"; write {found.otherwise}, into {recipe}" if found.otherwise else ""
    console.say(escape(f"task: {found.task['kind']}, since {found.reason}{otherwise}"))
    for change in changes:
        console.say(escape(f"  {change}"))
    return text.encode("utf-8")


def _inferred(raw: Mapping[str, Any], recipe: Path) -> Inferred:
    source: Any = _section(params.Source, raw, "source", recipe)
    preprocess: Any = _section(params.Preprocess, raw, "preprocess", recipe)
    form = preprocess.format.kind if isinstance(preprocess, params.TextPreprocess) else None
    possible = combinations.tasks(preprocess.kind, source.kind, form)
    if len(possible) == 1:
        named = f"source.kind {source.kind}" + (f" and preprocess.format.kind {form}" if form else "")
        return Inferred(
            GIVEN.get(possible[0], {"kind": possible[0]}), f"{named} is for no other kind of task"
        )
    column = preprocess.label_column
    if not isinstance(column, str):
        return Inferred(NUMBERS, f"label_column names {len(column)} columns")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "raw")
        fetching.fetch_source(source, folder)
        file = storage.read_json(folder / "manifest.json")["files"]["train"]
        path = folder / file["path"]
        try:
            return infer(_values(path, preprocess, column), column, str(recipe))
        except DataError as error:
            error.args = (str(error).replace(str(path), file["origin"]),)  # the user knows no copy of it
            raise


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
    return [sample.label for batch in image_samples.batches(path, "train", preprocess) for sample in batch]
