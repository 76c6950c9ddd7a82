"""Decide whether to retrain a champion: because params, code or the base model changed, or the data did."""

import functools
import json
from pathlib import Path

from baton import params
from baton.lifecycle import registry
from baton.lifecycle.retraining import drift
from baton.workspace import dvc_graph
from baton.workspace.commands import changed_files
from baton.workspace.dvc_files import LOCK, md5
from baton.workspace.dvc_graph import Graph

MAKING, BASE = ("preprocess", "tokenize", "finetune", "distill"), "data/base"


def decide(own: registry.Registry, settings: params.Retrain) -> str:
    """Return the reason for training; it begins with `not: ` if there is none."""
    champion = own.alias(registry.CHAMPION)
    if champion is None:
        return "there is no champion"
    if settings.drift is None:
        return "params require it every time (retrain.drift: null)"
    which = f"version {registry.number(champion)}"
    kept, lock, now = (
        own.read(champion, registry.PROFILE),
        own.read(champion, LOCK.name),
        dvc_graph.of_workspace(),
    )
    if kept is None or lock is None or now is None:
        return f"the training data of {which} is unknown"
    if changed := _changed(Graph(lock, which), now, str(champion.tags.get("git.commit", ""))):
        return f"{changed} changed since {which}"
    earlier = json.loads(kept)
    if not drift.current(earlier):
        return (
            f"the profile of {which} has an earlier layout, in which words and counts mean something else "
            "(`baton register` writes it again)"
        )
    found = drift.measure(registry.CLEAN, earlier)
    rows = f"{found.rows:,} rows are new and {found.gone:,} gone since {which}"
    if beyond := found.beyond(settings.drift):
        return f"{rows}, which is beyond the limits of retrain.drift: {', '.join(beyond)}"
    measured = {
        "text": "number, labels, lengths and words",
        "images": "number, labels and brightness",
        "audio": "number, labels, durations and loudness",
        "image_text": "number, labels, lengths, words and brightness",
    }[found.kind]
    return f"not: {rows}, and their {measured} are within the limits of retrain.drift"


def _changed(then: Graph, now: Graph, commit: str) -> str:
    """Return what the training depends on, other than the source's data, that changed since a commit.

    It is the stage, param or file, or "" if nothing changed; a folder if git does not know which of its files
    did.
    """
    raw = params.flatten(params.read_raw())
    own = functools.cache(lambda path: md5(Path(path)))  # stages share folders
    for stage in MAKING:
        if stage not in then.stages:
            return f"the stage {stage}"
        then_params = {
            key: value for key, value in then.params(stage).items() if not key.startswith("source.")
        }
        sections = {key.partition(".")[0] for key in then_params}
        now_params = {key: value for key, value in raw.items() if key.partition(".")[0] in sections}
        moved = [
            f"param {key}"
            for key in then_params.keys() | now_params.keys()
            if then_params.get(key) != now_params.get(key)
        ]
        folders = [path for path, digest in then.code(stage).items() if own(path) != digest]
        moved += [file for folder in folders for file in changed_files(commit, folder) or [folder]]
        if moved:
            return min(moved)
    return "" if then.outs("download").get(BASE) == now.outs("download").get(BASE) else "the base model"
