"""Edit a recipe for a kind of task: set the keys whose values are for another kind, and keep all else.

Input: the text of a recipe and a task. Output: its new text, with its comments, and a line for each edit. A
comment at the end of a line that changes is removed, since it is about the value that was there.
"""

import io
from collections.abc import Mapping
from typing import Any

from ruamel.yaml.comments import CommentedMap

from baton import params
from baton.params import editing
from baton.params.applicable_keys import KEYS, places, shown
from baton.params.combinations import INPUT, TABLE, TASK, wrong

MAJORITY: dict[str, Any] = {"kind": "majority"}
MEAN: dict[str, Any] = {"kind": "mean"}
CRF: dict[str, Any] = {"kind": "crf", "c1": [0.01, 0.1], "c2": [0.01, 0.1], "iterations": 200}
WINDOW: dict[str, Any] = {"kind": "sliding_window", "lengths": [1, 2, 3, 4]}
# What takes the place of a baseline that the kind of task does not have; others are removed.
COUNTERPARTS: dict[str, dict[str, dict[str, Any]]] = {
    "classes": {"mean": MAJORITY},
    "labels": {"mean": MAJORITY},
    "numbers": {"majority": MEAN},
    "tokens": {"mean": MAJORITY, "tfidf": CRF},
    "spans": {"mean": MAJORITY, "tfidf": WINDOW},
}


def fitted(text: str, task: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Return the text of a recipe with this task, and what was changed besides."""
    yaml = editing.round_trip()
    content = yaml.load(text)
    put(content, "task", _flow(task))
    changes = [
        *_metrics(content, str(task["kind"])),
        *_keys(content),
        *_strategy(content),
        *_baselines(content),
    ]
    made = io.StringIO()
    yaml.dump(content, made)
    return made.getvalue(), changes


def _metrics(content: Any, kind: str) -> list[str]:
    valid = params.task_of_kind(kind)
    metric = next(name for name in valid.metrics if name != "loss")
    gated = "r2" if kind == "numbers" else valid.gated[0]  # limits are shares, whatever the numbers' unit
    wanted = {
        "finetune": (valid.metrics, metric),
        "distill": (valid.metrics, metric),
        "promotion": (valid.gated, gated),
    }
    return [
        _change(content, f"{name}.metric", new)
        for name, (known, new) in wanted.items()
        if content[name]["metric"] not in known
    ]


def _keys(content: Any) -> list[str]:
    given = {INPUT: content["preprocess"]["kind"], TASK: content["task"]["kind"]}
    grouped = []
    preprocess = content["preprocess"]
    if given[TASK] == "spans" and preprocess["group_column"] is None and preprocess["text_pair_column"]:
        # Questions about one context stay in one split.
        grouped = [_change(content, "preprocess.group_column", preprocess["text_pair_column"])]
    return grouped + [
        _change(content, path, [] if key.otherwise[0] == () else key.otherwise[0])
        for key in KEYS
        if wrong(key.kinds, given)
        for path, value in list(places(content, key.path))
        if (tuple(value) if isinstance(value, list) else value) not in key.otherwise
    ]


def _strategy(content: Any) -> list[str]:
    """Train all weights if the kind of task does not have the recipe's strategy."""
    given = {INPUT: content["preprocess"]["kind"], TASK: content["task"]["kind"]}
    if not wrong(TABLE["finetune.strategy"][content["finetune"]["strategy"]["kind"]], given):
        return []
    return [_change(content, "finetune.strategy", _flow({"kind": "full"}))]


def _baselines(content: Any) -> list[str]:
    """Replace the baselines that the kind of task does not have, or remove them."""
    given = {INPUT: content["preprocess"]["kind"], TASK: content["task"]["kind"]}
    own = content["evaluate"]["baselines"]
    before = list(map(_named, own))
    for place in reversed(range(len(own))):
        if wrong(TABLE["evaluate.baselines"][own[place]["kind"]], given):
            counterpart = COUNTERPARTS.get(given[TASK], {}).get(own[place]["kind"])
            if counterpart is None or any(other["kind"] == counterpart["kind"] for other in own):
                del own[place]
            else:
                own[place] = _flow(counterpart)
        elif changed := _other_model(own[place], given[TASK]):
            own[place]["model"] = changed
            same = [later for later in range(place + 1, len(own)) if _named(own[later]) == _named(own[place])]
            for later in reversed(same):
                del own[later]
    after = list(map(_named, own))
    return [] if after == before else [f"evaluate.baselines: {shown(before)} -> {shown(after)}"]


def _other_model(baseline: Mapping[str, Any], kind: str) -> str | None:
    """Return the model that a baseline needs for a kind of task; None if it has one."""
    match baseline["kind"], baseline.get("model"):
        case "tfidf", "ridge" if kind != "numbers":
            return "logistic"
        case "tfidf", "svm" | "logistic" if kind == "numbers":
            return "ridge"
        case "features", "knn" if kind != "classes":
            return "linear"
        case _:
            return None


def _named(baseline: Mapping[str, Any]) -> str:
    return " ".join(str(baseline[key]) for key in ("kind", "model", "encoder") if baseline.get(key))


def _change(content: Any, path: str, value: Any) -> str:
    *sections, key = path.split(".")
    for section in sections:
        content = content[int(section) if isinstance(content, list) else section]
    old = content[key]
    put(content, key, value)
    return f"{path}: {shown(old)} -> {shown(value)}"


def put(mapping: CommentedMap, key: str, value: Any, comment: str = "") -> None:
    """Set a key and the comment at the end of its line, in place of what is there; those below it stay."""
    mapping[key] = value
    tokens = mapping.ca.items.get(key)
    if tokens and tokens[2] is not None:
        below = tokens[2].value.partition("\n")[2]
        tokens[2].value = f"# {comment}\n{below}" if comment else f"\n{below}"
    elif comment:
        mapping.yaml_add_eol_comment(comment, key, column=0)


def _flow(values: Mapping[str, Any]) -> CommentedMap:
    made = CommentedMap(values)
    made.fa.set_flow_style()
    return made
