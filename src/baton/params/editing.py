"""Edit a params file and keep its comments and layout.

Input: the text of a params file. Output: its new text.
"""

import io
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from baton.errors import ParamsError
from baton.params import yaml_text


def round_trip() -> YAML:
    """Return a reader and writer that keeps comments, quotes and the layout of params files."""
    yaml = yaml_text.reader(round_trip=True)
    yaml.preserve_quotes, yaml.width = True, 10**6
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.representer.add_representer(
        type(None), lambda dumper, _: dumper.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    return yaml


def edited(text: str, changes: Mapping[str, Any]) -> str:
    """Return the text of a params file with these values, each in place of what was there.

    `changes` maps dotted keys to values, see `replaced`.
    """
    yaml = round_trip()
    content = yaml.load(text)
    _replace(content, {key: flow(value) for key, value in changes.items()})
    made = io.StringIO()
    yaml.dump(content, made)
    return made.getvalue()


def replaced(raw: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a params file's content with these values, each in place of what was there: nothing is merged.

    `changes` maps dotted keys (`finetune.strategy`) to values. The last part of a key may be new.

    Raises:
        ParamsError: a key leads through something that is not a section.
    """
    made: dict[str, Any] = deepcopy(dict(raw))
    _replace(made, deepcopy(dict(changes)))
    return made


def flow(value: Any) -> Any:
    """Return a value such that mappings and lists in it are written in one line."""
    match value:
        case dict():
            made: Any = CommentedMap({key: flow(inner) for key, inner in value.items()})
        case list() | tuple():
            made = CommentedSeq(flow(inner) for inner in value)
        case _:
            return value
    made.fa.set_flow_style()
    return made


def _replace(content: Any, changes: Mapping[str, Any]) -> None:
    for path, value in changes.items():
        *sections, key = path.split(".")
        inner, passed = content, ""
        for section in sections:
            passed = f"{passed}.{section}" if passed else section
            inner = inner.get(section)
            if not isinstance(inner, dict):
                raise ParamsError(
                    f"{path} cannot be set",
                    got=f"{passed}: {'missing' if inner is None else type(inner).__name__}",
                    expected="a section of params.yaml, with keys in it",
                    hint=f"name a section of params.yaml, or set {passed} as a whole",
                )
        inner[key] = value
