"""Read the params file as DVC does, validate the whole of it, and return the sections asked for.

In YAML 1.2, `1e-4` is a number and `off` is a string.
"""

import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError, field_validator, model_validator

from baton.errors import USERINFO, ParamsError
from baton.params import (
    applicable_keys,
    combinations,
    episode_checks,
    export_checks,
    input_checks,
    number_checks,
    sequence_checks,
    span_checks,
    strategy_checks,
    task_checks,
    task_set_checks,
    token_checks,
)
from baton.params.base import Base, StudentBase
from baton.params.evaluate import Evaluate
from baton.params.export import Export
from baton.params.fields import InboxPath, Section
from baton.params.heads import Head
from baton.params.lifecycle import Promotion, Retrain
from baton.params.preprocess import Preprocess
from baton.params.problems import problem
from baton.params.runtime import Runtime, Tracking
from baton.params.source import Source
from baton.params.task import AUTO, Task
from baton.params.task_set import Tasks
from baton.params.tokenize import Tokenize
from baton.params.training import Distill, Finetune
from baton.params.tune import Tune
from baton.params.yaml_text import parse

PATH = Path("params.yaml")


class Params(Section):
    """The whole of `params.yaml`."""

    description: str
    source: Source
    base: Base
    student_base: StudentBase | None
    task: Task
    tasks: Tasks
    corrections: InboxPath | None  # labels that people corrected, of the main task
    preprocess: Preprocess
    tokenize: Tokenize
    finetune: Finetune
    distill: Distill
    evaluate: Evaluate
    export: Export | None
    runtime: Runtime
    tracking: Tracking
    promotion: Promotion
    retrain: Retrain
    tune: Tune | None

    @field_validator("task", mode="before")
    @classmethod
    def _chosen(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("kind") == AUTO:
            raise ValueError(
                "auto is for recipes: keep this file in recipes/ and run `baton use NAME`, which looks at "
                "the data and writes the kind"
            )
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> "Params":
        problems = [
            *combinations.problems(self),
            *applicable_keys.problems(self),
            *input_checks.problems(self),
            *task_checks.problems(self),
            *number_checks.problems(self),
            *sequence_checks.problems(self),
            *span_checks.problems(self),
            *token_checks.problems(self),
            *episode_checks.problems(self),
            *strategy_checks.problems(self),
            *task_set_checks.problems(self),
            *export_checks.problems(self),
        ]
        if problems:
            raise ValueError("; ".join(problems))
        return self


def load(*sections: str, path: Path = PATH) -> Params:
    """Validate the whole file and return only the named sections.

    Reading any other attribute raises AttributeError. A stage calls this once with literal names; a test
    compares them with the stage's `params` in `dvc.yaml`.

    Raises:
        ParamsError: the file is missing, is not valid YAML, or has problems (all are listed with their YAML
            paths).
    """
    params = read(path)
    return Params.model_construct(**{name: getattr(params, name) for name in sections})


def read(path: Path = PATH) -> Params:
    """Validate and return the whole file (for `tracking` and the command line; stages use `load`).

    Raises:
        ParamsError: as for `load`.
    """
    return checked(read_raw(path), path)


def checked(raw: dict[str, Any], path: Path) -> Params:
    """Validate the content of a params file; `path` names it in errors.

    Raises:
        ParamsError: it has problems.
    """
    try:
        # Pydantic's strict mode turns lists into tuples only when it validates JSON.
        return Params.model_validate_json(json.dumps(_text_keys(raw), default=str))
    except ValidationError as error:
        problems = sorted(problem(item, raw) for item in error.errors())
        raise ParamsError(
            f"{path}: {len(problems)} problem{'s' if len(problems) > 1 else ''}\n"
            + "\n".join(f"  - {line}" for line in problems),
            hint=f"edit {path}; `baton recipes` lists complete files for comparison",
        ) from None


def _text_keys(value: Any) -> Any:
    """Convert keys that JSON cannot hold (a date, as in `label_names: {2024-01-01: new year}`) to text."""
    match value:
        case dict():
            known = (str, int, float, type(None))
            return {
                key if isinstance(key, known) else str(key): _text_keys(inner) for key, inner in value.items()
            }
        case list():
            return [_text_keys(inner) for inner in value]
        case _:
            return value


def head(raw: dict[str, Any]) -> Head:
    """Return the head described in a model folder's `baton.json`."""
    return TypeAdapter[Head](Head).validate_python(raw)


def read_raw(path: Path = PATH) -> dict[str, Any]:
    """Return the file as plain dicts and lists, unvalidated.

    Raises:
        ParamsError: the file is missing, is not valid YAML or not a mapping, or has an address with a user
            or a password.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        hint = "run from the project's root, or create it with `baton use NAME`"
        raise ParamsError(
            f"{path} cannot be read", got=error.strerror, expected="a params file", hint=hint
        ) from None
    except UnicodeDecodeError as error:
        raise ParamsError(
            f"{path} is not valid YAML", got=error, expected="YAML 1.2 in UTF-8", hint="save it as UTF-8"
        ) from None
    raw = parse(text, str(path))
    if not isinstance(raw, dict):
        expected = f"sections {', '.join(Params.model_fields)}"
        raise ParamsError(
            f"{path} is not a mapping",
            got=type(raw).__name__,
            expected=expected,
            hint="`baton use NAME` writes a complete file",
        )
    _refuse_userinfo(path, text, raw)
    return raw


def _refuse_userinfo(path: Path, text: str, raw: dict[str, Any]) -> None:
    """Refuse an address with user or password anywhere, also in a comment: the file is recorded as it is."""
    lines = [str(number) for number, line in enumerate(text.splitlines(), 1) if USERINFO.search(line)]
    keys = [key for key, value in flatten(raw).items() if USERINFO.search(f"{key} {value}")]
    if found := ([f"line {number}" for number in lines] or keys):
        raise ParamsError(
            f"{path} has an address with a user or a password",
            got=", ".join(found),
            expected="an address without them: the file is kept in git, in MLflow and in reports",
            hint="give MLflow's by MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD in the environment, "
            "and change a password that was committed",
        )


def flatten(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Flatten nested mappings and lists: {'finetune.head.kind': 'linear', 'distill.layers.0': 0, …}."""
    if isinstance(tree, dict) and tree:
        items = [flatten(value, f"{prefix}{key}.") for key, value in tree.items()]
    elif isinstance(tree, list | tuple) and tree:
        items = [flatten(value, f"{prefix}{index}.") for index, value in enumerate(tree)]
    else:
        return {prefix.removesuffix("."): tree}
    return {key: value for item in items for key, value in item.items()}
