"""Promotion: the gate's recorded verdict on the challenger, and the aliases that follow it."""

import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mlflow.entities.model_registry import ModelVersion

from baton import params
from baton.errors import ModelError
from baton.evaluate.report.cards.markdown import code, escaped
from baton.lifecycle import test_table, verified
from baton.lifecycle.promotion import (
    gate,
    history,
    moving,
    promotion_record,
    scoring,
    task_match,
    verdicts,
)
from baton.lifecycle.promotion.verdicts import Check, Verdict
from baton.lifecycle.registry import CHALLENGER, CHAMPION, GATE, ROLLED_BACK, SHA256, Registry, now, number
from baton.tasks import figure_scale, task_figures
from baton.tracking.model_files import FILES_SHA256

MARK = "\n\n## Gate\n\n"
VERDICT = "verdict.json"
SHARE = {"name": "accuracy", "direction": 1, "share": True}  # the scale of a record without one


@dataclass(frozen=True)
class Outcome:
    """The result of a promotion."""

    version: str  # of the challenger
    champion: str | None  # before the promotion
    passed: bool
    moved: bool  # whether the alias was moved
    text: str
    record: Mapping[str, Any]  # the verdict as JSON
    reached: Mapping[str, float] = field(default_factory=dict)  # figures to remember if it becomes champion

    @property
    def to_move(self) -> bool:
        """Return whether the version is to become the champion."""
        return (
            self.passed
            and not self.moved
            and self.version != self.champion
            and self.record.get("mode") == "enabled"
        )


def promote(registry: Registry, settings: params.Promotion, enabled: bool) -> Outcome:
    """Judge the version with the alias `challenger`; if it passes and `enabled` is set, make it the champion.

    Raises:
        ModelError: there is no challenger, or a model cannot be scored.
        TrackingError: another promotion was faster.
    """
    version = registry.alias(CHALLENGER) or registry.alias(CHAMPION)
    if version is None:
        raise ModelError(
            f"{registry.name} has no challenger",
            expected="a version with this alias",
            hint="run `baton register`",
        )
    outcome = enact(registry, judge(registry, settings, version, enabled))
    if outcome.moved:
        promotion_record.append(registry, version, outcome.champion)
    return outcome


def judge(registry: Registry, settings: params.Promotion, challenger: ModelVersion, enabled: bool) -> Outcome:
    """Judge a version and record the verdict; move no alias.

    Raises:
        ModelError: a model cannot be scored, its files are not those that were registered, or the champion's
            alias was lost or moved without a record.
        ParamsError: `promotion.metric` is not a figure of the table's task.
    """
    promotion_record.check(registry, enabled)
    champion = registry.alias(CHAMPION)
    if champion and number(challenger) == number(champion):
        return _nothing(registry, champion)
    table = test_table.read(Path(settings.test))
    gate.check_metric(settings, table.task)
    if since := challenger.tags.get(GATE + ROLLED_BACK):
        back = f"`baton promote --to {number(challenger)}` makes it the champion again"
        text = f"version {number(challenger)} was the champion and was replaced by hand on {since}; {back}"
        verdict = Verdict((Check("rolled back", False, text),), {})
    elif champion and (found := task_match.other(registry, champion, table)):
        text = f"{found}; `baton promote --to {number(challenger)}` makes this version the champion"
        verdict = Verdict((Check("task", False, text),), {})
    else:
        versions = [version for version in (challenger, champion) if version]
        rows = {registry.uri(version): registry.training_rows(version) for version in versions}
        with contextlib.ExitStack() as stack:
            folders = [stack.enter_context(verified.fetched(registry, version)) for version in versions]
            scored = scoring.score(rows, folders, table, settings.latency_samples)
        metric = figure_scale.of(task_figures.of(table.task), settings.metric)
        marks = history.marks(registry, table.sha256, metric, GATE + ROLLED_BACK)
        both = scored[registry.uri(challenger)], scored[registry.uri(champion)] if champion else None
        verdict = gate.decide(table, *both, settings, marks)
        if champion and verdicts.CHAMPION in verdict.figures:
            reached = _reached(verdict, verdicts.CHAMPION, table)
            history.note_champion(registry, table.sha256, number(champion), reached)
    looks = history.look(registry, table.sha256) if verdict.figures else 0
    record = _record(registry, settings, table, challenger, champion, verdict, enabled, looks)
    text = words(record)
    _note(registry, challenger, record, text)
    return Outcome(
        number(challenger),
        number(champion) if champion else None,
        verdict.passed,
        False,
        text,
        record,
        _reached(verdict, verdicts.CHALLENGER, table),
    )


def enact(registry: Registry, outcome: Outcome) -> Outcome:
    """Move the alias if the verdict allows it and promotion is enabled.

    Raises:
        TrackingError: another promotion was faster.
    """
    if not outcome.to_move:
        return outcome
    moving.move(
        registry,
        registry.version(outcome.version),
        registry.version(outcome.champion) if outcome.champion else None,
    )
    history.note_champion(registry, outcome.record["table"]["sha256"], outcome.version, outcome.reached)
    return replace(outcome, moved=True)


def _reached(verdict: Verdict, which: str, table: test_table.Table) -> dict[str, float]:
    """Return the figures of a model by which the gate may decide, if it was judged by its figures."""
    figures = verdict.figures.get(which, {})
    return {key: figures[key] for key in task_figures.of(table.task).gated if key in figures}


def roll_back(registry: Registry, wanted: str) -> Outcome:
    """Make a version the champion without asking the gate; write a line of the record."""
    promotion_record.read()  # a broken one is said before anything moves
    version, champion = registry.version(wanted), registry.alias(CHAMPION)
    if champion and number(champion) == number(version):
        earlier = champion.tags.get(f"{GATE}previous_champion", "none")
        promotion_record.append(registry, version, None if earlier == "none" else earlier, by_hand=True)
        return _nothing(registry, champion)
    moving.move(registry, version, champion, by_hand=True)
    before = f"version {number(champion)}" if champion else "none"
    text = (
        f"Version {number(version)} of {registry.name} is now the champion, set by hand; the previous "
        f"champion was {before}."
    )
    record: dict[str, Any] = {
        "name": registry.name,
        "version": number(version),
        "champion": number(champion) if champion else None,
        "by_hand": True,
        "time": now(),
    }
    moving.tag(registry, version, {"promoted": now(), "by_hand": "true"})
    promotion_record.append(registry, version, record["champion"], by_hand=True)
    return Outcome(number(version), record["champion"], True, True, text, record)


def words(record: Mapping[str, Any], shown: Callable[[object], str] = escaped) -> str:
    """Return the verdict as Markdown, or as it is for the terminal if `shown` is `str`."""
    against = f"version {record['champion']}" if record["champion"] else "no champion"
    head = (
        f"Version {record['version']} of {record['name']} against {against}: "
        f"**{'passed' if record['passed'] else 'refused'}**"
    )
    lines = [
        f"- {'met' if check['passed'] else 'NOT met'}, {shown(check['name'])}: {shown(check['text'])}"
        for check in record["checks"]
    ]
    table, figure = record["table"], figure_scale.Scale(**record.get("scale", SHARE))
    done = "Scored" if record["figures"] else "Not scored"
    where = (
        f"{table['rows']:,} rows of {code(table['path'])} (sha256 `{table['sha256'][:12]}`), {record['time']}"
    )
    return "\n".join(
        [
            f"{head} ({record['mode']}).",
            "",
            *lines,
            "",
            f"{done} on {where}.{_looked(table.get('looks'), record['rules'], figure)}",
        ]
    )


def _looked(looks: int | None, rules: Mapping[str, Any], figure: figure_scale.Scale) -> str:
    """Return how often this table has been used, and what follows from it."""
    if not looks:
        return ""
    text = f" This is verdict {looks:,} on this table."
    if looks <= rules["looks"]:
        return text
    chance = 1 - (1 - (1 - rules["bootstrap"]["confidence"]) / 2) ** looks
    rule = rules["rule"]
    if rule["kind"] == "non_inferiority":
        bad = f"worse than the champion by {figure.number(rule['margin'])}{figure.points}"
    else:
        bad = (
            f"better than the champion by no more than {figure.number(rule['minimum'])}{figure.points}"
            if rule["minimum"]
            else "no better than the champion"
        )
    warning = (
        f"That is more than promotion.looks ({rules['looks']}): among that many challengers that are {bad}, "
        "one passes"
    )
    return (
        f"{text} {warning} by chance with a probability of up to {100 * chance:.0f}%. Use a new test table."
    )


def _record(
    registry: Registry,
    settings: params.Promotion,
    table: test_table.Table,
    challenger: ModelVersion,
    champion: ModelVersion | None,
    verdict: Verdict,
    enabled: bool,
    looks: int,
) -> dict[str, Any]:
    return {
        "name": registry.name,
        "version": number(challenger),
        "champion": number(champion) if champion else None,
        "sha256": {
            number(version): version.tags.get(SHA256, "") for version in (challenger, champion) if version
        },
        "files_sha256": {
            number(version): version.tags.get(FILES_SHA256, "")
            for version in (challenger, champion)
            if version
        },
        "passed": verdict.passed,
        "mode": "enabled" if enabled else "dry-run",
        "checks": [vars(check) for check in verdict.checks],
        "figures": dict(verdict.figures),
        "table": {
            "path": table.path.as_posix(),
            "sha256": table.sha256,
            "rows": len(table.ids),
            "looks": looks,
        },
        "rules": settings.model_dump(mode="json"),
        "scale": vars(figure_scale.of(task_figures.of(table.task), settings.metric)),
        "time": now(),
    }


def _note(registry: Registry, version: ModelVersion, record: Mapping[str, Any], text: str) -> None:
    """Write the verdict to the version: tags, description, and the whole record as a file."""
    tags = {
        "verdict": "passed" if record["passed"] else "refused",
        "time": record["time"],
        "mode": record["mode"],
    }
    tags |= {"champion": record["champion"] or "none", "table_sha256": record["table"]["sha256"]}
    tags["reasons"] = "; ".join(check["text"] for check in record["checks"] if not check["passed"]) or "none"
    tags["json"] = json.dumps(record)
    moving.tag(registry, version, tags)
    registry.write(version, VERDICT, json.dumps(record, indent=2))
    about = (version.description or "").partition(MARK)[0]
    registry.client.update_model_version(registry.name, number(version), f"{about}{MARK}{text}")


def _nothing(registry: Registry, champion: ModelVersion) -> Outcome:
    """Report that there is nothing to decide."""
    moving.complete(registry)
    text = (
        f"Version {number(champion)} of {registry.name} is already the champion; there is nothing to decide."
    )
    record = {
        "name": registry.name,
        "version": number(champion),
        "champion": number(champion),
        "passed": True,
        "time": now(),
    }
    if kept := registry.read(champion, VERDICT):
        record = json.loads(kept)
        text = f"{text}\n\nThe gate's verdict on it:\n\n{words(record)}"
    return Outcome(number(champion), number(champion), True, False, text, record)
