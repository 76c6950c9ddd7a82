"""`promotions.jsonl`: the append-only record of promotions, in git beside `dvc.lock`.

One line a promotion, the newest last: registered model, version, digest of the model folder, the version
before, and who decided (`gate` or `hand`); git has the times. The line is committed before the alias moves,
so a champion that the record does not know was set by somebody else, and a missing one was lost. Without
this, a lost alias would disarm the gate: the next challenger would only be compared with `first_minimum`.
"""

import json
from pathlib import Path
from typing import Any

from mlflow.entities.model_registry import ModelVersion

from baton import storage
from baton.errors import ModelError
from baton.lifecycle.registry import CHAMPION, GATE, PROMOTED, SHA256, Registry, number
from baton.workspace.commands import run

RECORD = Path("promotions.jsonl")
Entry = dict[str, Any]


def append(registry: Registry, version: ModelVersion, before: str | None, by_hand: bool = False) -> bool:
    """Add the line of a promotion that replaces `before`; return False if the record ends with it already."""
    new = {
        "by": "hand" if by_hand else "gate",
        "name": registry.name,
        "previous": before,
        "sha256": version.tags.get(SHA256, ""),
        "version": number(version),
    }
    entries = read()
    last = _last(entries, registry.name)
    if last and (last["version"], last["sha256"]) == (new["version"], new["sha256"]):
        return False
    with storage.atomic_file(RECORD) as temporary:
        temporary.write_text(
            "".join(f"{json.dumps(line, sort_keys=True)}\n" for line in [*entries, new]), encoding="utf-8"
        )
    return True


def read() -> list[Entry]:
    """Return all lines, the oldest first; none without the file.

    Raises:
        ModelError: a line is not one that Baton wrote.
    """
    lines = RECORD.read_text(encoding="utf-8").splitlines() if RECORD.is_file() else []
    return [_parsed(line, place) for place, line in enumerate(lines, 1)]


def check(registry: Registry, enabled: bool = True) -> None:
    """Refuse a champion's alias that was lost, or moved without a record; no gate can be trusted then.

    With `enabled` false nothing will be promoted, so that the store may be another one than the record's, as
    that of a rehearsal is: it need not have a champion, unless it has versions that were promoted there.

    Raises:
        ModelError: it was, or the record has lost lines.
    """
    _whole()
    champion, last = registry.alias(CHAMPION), _last(read(), registry.name)
    if champion is None:
        versions = {number(version): version for version in registry.versions()}
        promoted = [name for name, own in versions.items() if own.tags.get(f"{GATE}verdict") == PROMOTED]
        # A job that died between its commit and the alias left a line without a predecessor, and its version.
        unfinished = last is None or (last["previous"] is None and last["version"] in versions)
        if promoted or (enabled and not unfinished):
            raise _lost(registry, last, max(promoted, key=int, default=None), bool(versions))
    elif last is not None and not _known(champion, last):
        raise _moved(registry, champion, last)


def _known(champion: ModelVersion, last: Entry) -> bool:
    """Return whether the champion is that of the last line, or the one before (the alias is yet to move)."""
    if number(champion) == last["version"]:
        return last["sha256"] in {champion.tags.get(SHA256, ""), ""}
    return bool(number(champion) == last["previous"])


def _last(entries: list[Entry], name: str) -> Entry | None:
    return next((line for line in reversed(entries) if line["name"] == name), None)


def _parsed(line: str, place: int) -> Entry:
    keys = {"by", "name", "previous", "sha256", "version"}
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    if not isinstance(found, dict) or found.keys() != keys:
        raise ModelError(
            f"{RECORD}, line {place} is not a promotion",
            got=line[:200],
            expected=f"JSON with {', '.join(sorted(keys))}",
            hint=f"restore the file from git: `git checkout HEAD -- {RECORD}`",
        )
    return found


def _whole() -> None:
    """Refuse a record that lacks a line which git's history has."""
    shown = run(
        "git", "log", "--format=", "--patch", "--unified=0", "--no-color", "--", str(RECORD), check=False
    )
    ever = {line[1:] for line in shown.splitlines() if line.startswith("+{")}
    now = set(RECORD.read_text(encoding="utf-8").splitlines()) if RECORD.is_file() else set()
    if gone := sorted(ever - now):
        raise ModelError(
            f"{RECORD} has lost {len(gone)} of its lines; it may only grow",
            got=f"no {gone[0]}",
            expected="every line that was ever committed",
            hint=f"put the lines back (`git log --patch -- {RECORD}` shows them), and commit",
        )


def _lost(registry: Registry, last: Entry | None, promoted: str | None, versions: bool) -> ModelError:
    known = f"version {last['version']}, by {RECORD}" if last else f"version {promoted}, by its tags"
    back = promoted or (last["version"] if last and versions else None)
    hint = (
        f"`baton promote --to {back}` sets it again"
        if back
        else "restore the server's database; or `baton register` and `baton promote --to 1` start anew"
    )
    return ModelError(
        f"{registry.name} had a champion and has lost its alias; without it the gate would compare a "
        "challenger with nothing",
        got="no alias `champion`",
        expected=known,
        hint=hint,
    )


def _moved(registry: Registry, champion: ModelVersion, last: Entry) -> ModelError:
    same = number(champion) == last["version"]
    got = f"version {number(champion)}" + (
        f" with sha256 {champion.tags.get(SHA256, '')[:12]}" if same else ""
    )
    expected = f"version {last['version']}" + (f" with sha256 {last['sha256'][:12]}" if same else "")
    return ModelError(
        f"the champion of {registry.name} is not that of {RECORD}: its alias was moved without a commit",
        got=got,
        expected=expected,
        hint=f"`git pull` if this record is old; otherwise `baton promote --to {number(champion)}` records"
        f" the champion if it is right (commit the file); `baton promote --to {last['version']}` goes back",
    )
