"""`baton retrain -S finetune.epochs=3`: changes of params.yaml that last for one job.

A value is YAML, as in params.yaml, and is taken literally: nothing in it or in the file is resolved from the
environment, so an override cannot carry a secret into params, from where it would reach MLflow and git. What
the gate decides by cannot be overridden at all. In CI, where whoever may start the job need not be the one
whose credentials it has, only some sections can.
"""

import os
from collections.abc import Sequence
from typing import Any

from baton import params
from baton.errors import ParamsError
from baton.params import editing

ALLOWED = "BATON_OVERRIDABLE"  # environment: the sections that may be overridden, if not these in CI:
IN_CI = ("preprocess", "tokenize", "finetune", "distill", "evaluate")
GATED = "promotion"
REFERENCE = "${"


def check(overrides: Sequence[str]) -> None:
    """Refuse overrides of what this job may not change, before anything is done.

    Raises:
        ParamsError: a section is not allowed, or a value refers to something outside.
    """
    allowed = _allowed()
    for override in overrides:
        key, _, _ = override.partition("=")
        section = key.partition(".")[0]
        if REFERENCE in override:
            raise ParamsError(
                "an override is taken literally; it cannot refer to the environment or to other params",
                got=override.partition(REFERENCE)[0] + REFERENCE + "…}",
                expected="a value in YAML",
                hint="write the value itself",
            )
        if section == GATED:
            raise ParamsError(
                "the rules of the gate cannot be overridden: those of the base commit count",
                got=key,
                hint="commit the change of `promotion` first",
            )
        if allowed is not None and section not in allowed:
            raise ParamsError(
                "this section may not be overridden in CI",
                got=key,
                expected=", ".join(sorted(allowed)) or "no overrides",
                hint=f"commit the change, or name the section in {ALLOWED} in the job's environment",
            )


def applied(overrides: Sequence[str]) -> str:
    """Return the text of params.yaml with the overrides; comments and layout stay.

    Raises:
        ParamsError: one is not of the form KEY=VALUE, or leads through something that is not a section.
    """
    changes = dict(_parsed(override) for override in overrides)
    return editing.edited(params.PATH.read_text(encoding="utf-8"), changes)


def in_ci() -> bool:
    """Return whether this is a CI job: most set CI, Jenkins JENKINS_URL."""
    return os.environ.get("CI", "").lower() not in {"", "0", "false"} or "JENKINS_URL" in os.environ


def _allowed() -> frozenset[str] | None:
    """Return the sections that may be overridden; None if all but the gate's may."""
    named = os.environ.get(ALLOWED)
    if named is not None:
        return frozenset(named.replace(",", " ").split())
    return frozenset(IN_CI) if in_ci() else None


def _parsed(override: str) -> tuple[str, Any]:
    key, equals, text = override.partition("=")
    hint = "give a key of params.yaml and its value: -S finetune.epochs=3"
    if not equals or not all(part.replace("_", "").isalnum() for part in key.split(".")):
        raise ParamsError(
            "an override cannot be applied",
            got=override,
            expected="KEY=VALUE",
            hint=hint,
        )
    return key, params.parse(text, f"the value of -S {key}")
