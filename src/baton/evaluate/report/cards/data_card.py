"""The data card: where the data is from, what it holds, what was found in it and dropped.

Inputs: the parts of the report and the facts -> the context of templates/data_card.md.j2.
"""

from collections.abc import Mapping
from typing import Any

from baton import params
from baton.evaluate.report.cards import metadata
from baton.evaluate.report.cards.facts import Facts
from baton.evaluate.report.cards.markdown import Markdown, code, table
from baton.evaluate.report.html.findings import SPLITS
from baton.evaluate.report.html.parts import Parts

LENGTHS = ("p5", "p50", "p95", "max")


def context(parts: Parts, facts: Facts) -> dict[str, Any]:
    """Return what the template shows."""
    found = parts.findings
    return {
        "name": metadata.name_of(facts.source),
        "description": facts.project.description,
        "task": parts.kind,
        "word": parts.word,
        "licence": facts.source.get("licence"),
        "source": _source(facts.source.get("source", {})),
        "files": _files(facts.source.get("files", {})),
        "others": {
            name: (own.get("licence"), _files(own.get("files", {})))
            for name, own in facts.other_sources.items()
        },
        "rows": table(("", *SPLITS), ((what, *counts) for what, counts in found.rows)),
        "names": _names(parts),
        "names_left_out": found.names_left_out,
        "checks": table(
            ("check", "policy", "found", "dropped"),
            ((one.name, one.policy, one.found, one.dropped) for one in found.checks),
            numbers=False,
        )
        if found.checks
        else None,
        "silent": found.clean,
        "notes": found.notes,
        "lengths": _lengths(facts.arrays),
        "near": parts.test.get("near_duplicates"),
        "test_digest": facts.test_digest,
    }


def _source(section: Mapping[str, Any]) -> Markdown:
    rows = [
        (key, value)
        for key, value in params.flatten(dict(section)).items()
        if value is not None and key != "licence"
    ]
    return table(("setting", "value"), rows, numbers=False)


def _files(files: Mapping[str, Any]) -> Markdown:
    rows = [
        (name, own.get("origin", ""), f"{own.get('bytes', 0):,}", code(own.get("sha256", "")))
        for name, own in sorted(files.items())
    ]
    return table(("file", "origin", "bytes", "sha256"), rows, numbers=False)


def _names(parts: Parts) -> Markdown | None:
    found = parts.findings.names
    if not found:
        return None
    return table(
        (parts.word, *SPLITS), ((name, *(f"{count:,}" for count in counts)) for name, counts in found)
    )


def _lengths(arrays: Mapping[str, Any]) -> Markdown | None:
    """Return how many tokens the texts have."""
    rows = [
        (split, *(f"{own['lengths'].get(key, 0):,}" for key in LENGTHS))
        for split in SPLITS
        if isinstance(own := arrays.get(split), Mapping) and isinstance(own.get("lengths"), Mapping)
    ]
    return (
        table(("split", "5% have at most", "half have at most", "95% have at most", "longest"), rows)
        if rows
        else None
    )
