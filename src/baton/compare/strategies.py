"""The file of strategies: what is compared, each a name and values in params.yaml.

Input: strategies.yaml -> strategies; with params.yaml -> the params of each.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from baton import params
from baton.errors import ParamsError
from baton.params.fields import Section
from baton.params.problems import problem

PATH = Path("strategies.yaml")
NAME = re.compile(r"[a-z0-9][a-z0-9_]*(-[a-z0-9_]+)*")  # part of the name of a git reference
SHOTS, ROWS = "preprocess.shots", "preprocess.limit.train"


class Content(Section):
    """The whole file."""

    stage: Literal["finetune", "distill"]
    labels: Literal["preprocess.shots", "preprocess.limit.train"]
    strategies: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Strategy:
    """A way to train the teacher."""

    name: str
    changes: Mapping[str, Any]  # dotted key of params.yaml -> value, in the order in which they are set


@dataclass(frozen=True)
class Strategies:
    """What is compared, and how."""

    stage: Literal["finetune", "distill"]
    labels: str  # the key that the number of labels sets
    all: tuple[Strategy, ...]

    @property
    def unit(self) -> str:
        """What the number of labels counts."""
        return "labels per class" if self.labels == SHOTS else "rows of train"

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages of which each is run with all that it depends on."""
        return ("finetune",) if self.stage == "finetune" else ("finetune", "distill")

    def named(self, names: Sequence[str]) -> "Strategies":
        """Return these alone, in this order.

        Raises:
            ParamsError: one is not in the file.
        """
        known = {own.name: own for own in self.all}
        for name in names:
            if name not in known:
                close = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {close[0]}?" if close else "add it to the file of strategies"
                raise ParamsError(
                    f"there is no strategy {name}", got=name, expected=f"one of {', '.join(known)}", hint=hint
                )
        return Strategies(self.stage, self.labels, tuple(known[name] for name in names))


def read(path: Path) -> Strategies:
    """Read a file of strategies.

    Raises:
        ParamsError: it is missing or has problems.
    """
    if not path.is_file():
        raise ParamsError(
            f"{path} is missing", got="no such file", expected="a file of strategies, see docs/transfer.md"
        )
    raw = params.read_raw(path)
    try:
        content = Content.model_validate(raw)
    except ValidationError as error:
        lines = "\n".join(f"  - {problem(item, raw)}" for item in error.errors())
        raise ParamsError(f"{path} has problems\n{lines}", hint="docs/transfer.md shows the form") from None
    if wrong := [name for name in content.strategies if not NAME.fullmatch(name)]:
        expected = "lower-case letters, digits, hyphens and underscores"
        raise ParamsError(f"{path}: a strategy cannot have this name", got=repr(wrong[0]), expected=expected)
    found = tuple(Strategy(name, changes(values)) for name, values in content.strategies.items())
    return Strategies(content.stage, content.labels, found)


def changes(values: Mapping[str, Any]) -> dict[str, Any]:
    """Map dotted keys to values.

    `{section: {key: value}}` is `{section.key: value}`; a section with a `kind`, such as `base`, is one
    value.
    """
    found: dict[str, Any] = {}
    for key, value in values.items():
        if "." not in key and isinstance(value, dict) and "kind" not in value:
            found |= {f"{key}.{inner}": own for inner, own in value.items()}
        else:
            found[key] = value
    return found
