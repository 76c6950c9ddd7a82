"""Rows -> the answers of a model, or why a row has none.

The model is loaded with MLflow and asked through `predict`, as by anyone; nothing here depends on its task.
A model refuses a whole request for one bad row: that row is found, and the others are asked for again.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from baton import storage
from baton.engines import engine
from baton.errors import ModelError, visible
from baton.lifecycle.bulk.rows import Row
from baton.tasks import answers
from baton.tracking import served_inputs

INPUTS = {"text": ("text",), "images": ("image",), "audio": ("audio",), "image_text": ("image", "text")}
FILES = ("image", "audio")
PIECE = (
    32  # rows with files that a model gets at once, its batch: where one is refused, few are computed again
)
TYPES = {"string": "string", "long": "int64", "double": "float64", "integer": "int64", "float": "float64"}
NAMED = re.compile(r"\brow (\d+)\b")
MOST = 500  # characters of a reason
NOT_FINITE = "the model's answer is not a number"
PRECISION = "precision"


class Answerer:
    """A loaded model."""

    def __init__(self, folder: Path, precision: str, batch_size: int | None) -> None:
        """Load a logged model from its folder.

        Args:
            folder: with the file MLmodel.
            precision: `auto`, `bf16` or `fp32`; `auto` is that of a model without a choice.
            batch_size: rows that are computed together; None: the model's own.

        Raises:
            ModelError: it cannot be loaded, has no named outputs, or not the precision.
        """
        import mlflow.pyfunc
        from mlflow.exceptions import MlflowException
        from mlflow.models import Model

        self.refusals = (ValueError, TypeError, MlflowException)
        about = Model.load(str(folder))
        config = about.flavors["python_function"].get("config") or {}
        if PRECISION not in config:
            _check_fixed(folder, precision)
        self.config = config | ({PRECISION: precision} if PRECISION in config else {})
        self.kind, self.reads = _reads(
            folder, config, len(about.signature.inputs.inputs) if about.signature else 1
        )
        self.columns = _columns(about, folder)
        self.model = mlflow.pyfunc.load_model(str(folder), model_config=self.config or None)
        own = self.model.unwrap_python_model() if PRECISION in config else None
        self.precision = str(getattr(own, PRECISION, "as the model has it"))
        if precision != "auto" and own is not None and self.precision != precision:
            hint = "use --precision auto"
            raise ModelError(f"{folder} cannot compute so", got=self.precision, expected=precision, hint=hint)
        self.params = {} if batch_size is None else {"batch_size": batch_size}

    def of(self, rows: Sequence[Row], base: Path) -> tuple[pd.DataFrame, list[str]]:
        """Return the columns of the answers, empty in bad rows, and each row's error, empty in good ones.

        Args:
            rows: rows; those with an error are not asked for.
            base: the folder in which paths in a table begin.
        """
        errors = [row.error or self._fault(row) for row in rows]
        good = [place for place, error in enumerate(errors) if not error]
        size = self.params.get("batch_size", PIECE) if {*FILES} & {*self.reads} else len(good)
        found: list[pd.DataFrame] = []
        for start in range(0, len(good), max(size, 1)):
            piece = good[start : start + size]
            answer, refused = self._piece([self._value(rows[place], base) for place in piece])
            for place, reason in refused.items():
                errors[piece[place]] = reason
            answer.index = [own for place, own in enumerate(piece) if place not in refused]
            found.append(answer)
        whole = pd.concat(found) if found else pd.DataFrame(columns=[*self.columns])
        for place in whole.index[whole.isna().any(axis=1)]:
            errors[place] = NOT_FINITE
        whole = whole[~whole.isna().any(axis=1)]
        return whole.reindex(range(len(rows))), errors

    def _piece(self, values: list[Any]) -> tuple[pd.DataFrame, dict[int, str]]:
        """Return the answers to the values that are not refused, in order, and the others' places."""
        left, refused = [*range(len(values))], dict[int, str]()
        while left:
            try:
                return self._predicted([values[place] for place in left]), refused
            except self.refusals as error:
                culprit, why = self._culprit([values[place] for place in left], error)
                refused[left.pop(culprit)] = _reason(why)
        return pd.DataFrame(columns=[*self.columns]), refused

    def _culprit(self, values: list[Any], error: Exception) -> tuple[int, Exception]:
        """Return the place of a value that is refused also alone, and why.

        Raises:
            ModelError: values are refused together only.
        """
        named = NAMED.search(_first(error))
        places = [int(named[1])] if named and int(named[1]) < len(values) else []
        if not places or self._refusal([values[places[0]]]) is None:
            low, high = 0, len(values)  # values[:low] are not refused, values[:high] are
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (low, middle) if self._refusal(values[:middle]) else (middle, high)
            places = [high - 1]
        alone = self._refusal([values[places[0]]])
        if alone is None:
            hint = "check what the model reads, and with which columns"
            raise ModelError("the model refuses rows, but none of them alone", got=_first(error), hint=hint)
        return places[0], alone

    def _refusal(self, values: list[Any]) -> Exception | None:
        try:
            self._predicted(values)
        except self.refusals as error:
            return error
        return None

    def _predicted(self, values: list[Any]) -> pd.DataFrame:
        found = self.model.predict(values, params=self.params) if self.params else self.model.predict(values)
        return pd.DataFrame(found).reset_index(drop=True)[[*self.columns]]

    def _fault(self, row: Row) -> str:
        """Return why no model could read a row, without asking this one; empty if nothing is wrong."""
        for name in self.reads:
            value = row.values[name]
            try:
                if name not in FILES:
                    answers.check_text(value, name, bool(self.config.get("accept_empty")))
                elif value is None or value == "":
                    return f"{name} is missing"
            except (ValueError, TypeError) as error:
                return _reason(error)
        return ""

    def _value(self, row: Row, base: Path) -> Any:
        """Return a row as the model takes it: a value, a pair of texts, or a dict."""
        values = [_file(row.values[name], base) if name in FILES else row.values[name] for name in self.reads]
        if self.kind == "image_text":
            return dict(zip(self.reads, values, strict=True))
        return values[0] if len(values) == 1 else values


def _file(value: Any, base: Path) -> Any:
    if isinstance(value, str) and value[:5].lower() != "data:":
        return base / value
    return value


def _check_fixed(folder: Path, precision: str) -> None:
    """Refuse what a model without that setting cannot have: torch's compute in fp32, exports in their own.

    Raises:
        ModelError: the precision is another.
    """
    described = _described(folder)
    possible = ("auto", "fp32") if described and engine.KEY not in described else ("auto",)
    if precision not in possible:
        problem, hint = f"{folder} has a fixed precision", "leave --precision out"
        raise ModelError(problem, got=precision, expected=", ".join(possible), hint=hint)


def _described(folder: Path) -> dict[str, Any]:
    """Return the model's baton.json; empty if there is none."""
    found = sorted(folder.glob("artifacts/**/baton.json"))
    return dict(storage.read_json(found[0])) if found else {}


def _reads(folder: Path, config: Mapping[str, Any], inputs: int) -> tuple[str, tuple[str, ...]]:
    """Return what kind of input a model has, and the names of what it reads of a row."""
    if described := _described(folder):
        kind = served_inputs.kind(described)
    elif "max_pixels" in config:
        kind = "image_text" if "max_characters" in config else "images"
    else:
        kind = "audio" if "max_seconds" in config else "text"
    return kind, ("text", "text_pair") if kind == "text" and inputs == 2 else INPUTS[kind]


def _columns(about: Any, folder: Path) -> dict[str, str]:
    """Return the columns of a model's answers, by its signature, and Arrow's names of their types."""
    schema = about.signature.outputs if about.signature else None
    found = {str(own.name): own.type.name for own in (schema.inputs if schema else [])}
    if not found or "None" in found or not {*found.values()} <= {*TYPES}:
        hint = "log it with a signature whose outputs are named strings and numbers"
        raise ModelError(f"{folder} has no named outputs", got=found or "no signature", hint=hint)
    return {name: TYPES[kind] for name, kind in found.items()}


def _first(error: BaseException) -> str:
    """Return the first line of what was wrong."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _reason(error: BaseException) -> str:
    """Return in one line why a row was refused; its place in a request means nothing here."""
    lines = str(error).strip().splitlines()
    got = next((line.partition(":")[2].strip() for line in lines[1:] if line.strip().startswith("got:")), "")
    first = NAMED.sub("the row", _first(error))
    return visible(f"{first}; got: {got}" if got else first)[:MOST]
