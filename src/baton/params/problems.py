"""Format each problem in a params file as one line: YAML path, what is expected, what was got."""

import difflib
from typing import Any

from baton.params.fields import Section

# What to add if a file of an earlier version, which had defaults, lacks a key.
EARLIER = {
    "export": "null",
    "task": "{kind: classes}",
    "tasks": "{}",
    "encoding": "auto",
    "escape": "null",
    "shots": "null",
    "max_dropped": "{rows: 0.01, rows_of_class: 0.05}",
    "keep_columns": "[]",
    "group_column": "null",
    "time_column": "null",
    "weight_column": "null",
    "significant_bits": "auto",
    "similar_labels": "fail",
    "continuous_labels": "fail",
    "near_duplicate": "keep",
    "group_leakage": "drop",
    "time_leakage": "drop",
    "transparent": "drop",
    "content": "images",
    "only": "'*'",
    "label": "folder",
    "package": "null",
    "tune": "null",
}


def problem(error: Any, raw: Any) -> str:
    """Return the line for one of pydantic's errors; `raw` is the file's content."""
    path, node = _yaml_path(error["loc"], raw, lacks=error["type"] == "missing")
    match error["type"]:
        case "extra_forbidden":
            known = _siblings(node)
            close = difflib.get_close_matches(path.rpartition(".")[2], known, n=1)
            return f"{path}: unknown key" + (f"; did you mean `{close[0]}`?" if close else "")
        case "missing":
            key = path.rpartition(".")[2]
            return f"{path}: missing" + (f"; add the line `{key}: {EARLIER[key]}`" if key in EARLIER else "")
        case _:
            message = error["msg"].removeprefix("Value error, ")
            if not path:  # the problem concerns the file as a whole
                return str(message)
            shown = (
                error["input"]
                if not isinstance(error["input"], dict)
                else error["input"].get("kind", "a mapping")
            )
            return f"{path}: {message[:1].lower()}{message[1:]}; got {shown!r}"


def _yaml_path(location: tuple[Any, ...], raw: Any, *, lacks: bool) -> tuple[str, Any]:
    """Return pydantic's location without the union tags it inserts, and the mapping that holds the key.

    If the mapping `lacks` the key, only the last step is not in the file although it is no tag.
    """
    steps: list[str] = []
    node, parent = raw, raw
    for place, step in enumerate(location, 1):
        key = lacks and place == len(location)
        tag = isinstance(node, dict) and step not in node and not key
        scalar_union = not isinstance(node, dict | list)
        if tag or scalar_union:
            continue
        parent = node
        steps.append(str(step))
        try:
            node = node[step]
        except (KeyError, IndexError, TypeError):
            node = {}
    return ".".join(steps), parent


def _siblings(mapping: Any) -> list[str]:
    """Return the keys of the section around an unknown key: the one that shares the most keys with it."""
    best = max(
        _subclasses(Section),
        key=lambda cls: len(set(cls.model_fields) & set(mapping)) - 0.01 * len(cls.model_fields),
    )
    return list(best.model_fields)


def _subclasses(cls: type[Section]) -> list[type[Section]]:
    direct = cls.__subclasses__()
    return direct + [grandchild for child in direct for grandchild in _subclasses(child)]
