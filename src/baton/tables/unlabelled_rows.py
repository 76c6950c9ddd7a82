"""Rows without labels: what shots leave of train, and a raw file of such rows.

Input: the rows of the splits, and the file. Output: `unlabelled.parquet`, see `unlabelled_table`, and what
report.json says of it. The file is read, checked and written in portions.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from baton import params
from baton.contracts import transfer_set
from baton.errors import DataError
from baton.tables import checks, readers, run_checks
from baton.tables.assignment import Assigned
from baton.tables.columns import Columns
from baton.tables.row_sets import Rows
from baton.tables.rows import NO_EXTRAS, NO_PAIR, Extras, RawTable
from baton.tables.unlabelled_table import Tally, Writer

PORTION = 4096  # rows in memory
CHECKS = ("invalid_utf8", "empty", "mojibake")  # of single texts, in the order of `checks.ORDER`
MALFORMED, BESIDE = "malformed", "beside validation"
OF_TRAIN = "train"


@dataclass
class Portions(RawTable):
    """The rows of a raw file without labels, which are passed to `take` in portions and not kept."""

    take: Callable[[Rows], None] = field(kw_only=True)
    passed: int = 0

    @property
    def readable(self) -> int:
        """The number of rows that could be read."""
        return self.passed + len(self.rows)

    def add(self, text: Any, label: Any, extras: Extras | str = NO_EXTRAS, pair: Any = NO_PAIR) -> None:  # noqa: ARG002
        """Append a row; its label and extras are not read."""
        super().add(text, "", NO_EXTRAS, pair)
        if len(self.rows) >= PORTION:
            self.flush()

    def flush(self) -> None:
        """Pass on the rows that were read since the last time."""
        rows, self.rows = self.rows, []
        self.passed += len(rows)
        self.take(rows)

    def reject(self, reason: str, label: Any = None) -> None:  # noqa: ARG002
        """Append a row that cannot be read."""
        super().reject(reason)


def write(
    folder: Path, assigned: Assigned, raw: Path | None, settings: params.TextPreprocess
) -> dict[str, Any]:
    """Write unlabelled.parquet, if there are rows for it.

    Args:
        folder: Where the clean tables are.
        assigned: The rows of the splits, and those of train that have no labels from now on.
        raw: The raw file (or folder of files) of rows without labels, if the source has one.
        settings: How it is read, and the policies of its checks.

    Returns:
        For report.json, with remarks on the file; empty if neither shots nor a file leave such rows.

    Raises:
        DataError: The file cannot be used, or a check with the policy `fail` found rows in it.
    """
    tallies: dict[str, Tally] = {}
    remarks: list[str] = []
    pairs = settings.text_pair_column is not None
    with Writer(folder / transfer_set.TABLE, assigned.parts, pairs) as writer:
        if assigned.shots:
            beside = assigned.shots["left_beside_validation"]
            tallies[OF_TRAIN] = of_train = Tally(len(assigned.unlabelled) + beside)
            of_train.dropped[BESIDE] = beside
            writer.add(assigned.unlabelled, of_train)
        if raw is not None:
            tallies[transfer_set.RAW] = tally = Tally()
            remarks = _read(raw, settings, writer, tally)
    if not tallies:
        return {}
    described = {origin: tally.described() for origin, tally in tallies.items()}
    return {"unlabelled": {"rows": writer.rows, "origins": described, "remarks": remarks}}


def _read(raw: Path, settings: params.TextPreprocess, writer: Writer, tally: Tally) -> list[str]:
    """Read, check and write the rows of a file; return remarks on it."""
    policies = settings.checks.model_dump()

    def take(rows: Rows) -> None:
        for name in CHECKS:
            rows, finding = checks.apply(name, policies[name], checks.ROW_CHECKS[name](rows), rows)
            tally.note(name, finding.rows, len(finding.dropped))
            if name == "invalid_utf8":
                rows = [run_checks.readable(row) for row in rows]
        writer.add(rows, tally)

    table = Portions(transfer_set.RAW, raw, take=take)
    text, labels = settings.text_column, settings.label_column
    columns = Columns(
        text,
        text if isinstance(text, str) else text[0],  # in place of the label, which need not be there
        pair=settings.text_pair_column,
        optional=(labels,) if isinstance(labels, str) else labels,
    )
    readers.fill(table, settings.format, columns)
    table.flush()
    tally.rows = table.count
    tally.note(MALFORMED, table.malformed, len(table.malformed))
    _refuse(raw, settings, tally)
    return table.remarks


def _refuse(raw: Path, settings: params.TextPreprocess, tally: Tally) -> None:
    """Refuse a file in which a check with the policy `fail` found rows, or that loses too many to checks."""
    policies = settings.checks.model_dump()
    problems = [
        f"{check}: {tally.found[check]} rows: {_examples(tally, check)}"
        for check in (MALFORMED, *CHECKS)
        if policies[check] == "fail" and tally.found[check]
    ]
    lost = {check: tally.dropped[check] for check in (MALFORMED, *CHECKS) if tally.dropped[check]}
    share = settings.max_dropped.rows
    if not problems and sum(lost.values()) > max(1, share * tally.rows):
        why = "".join(
            f"\n        {check}: {count} rows: {_examples(tally, check)}" for check, count in lost.items()
        )
        problems.append(
            f"dropped: it loses {sum(lost.values())} of {tally.rows} rows, more than "
            f"preprocess.max_dropped.rows allows ({share:.0%}):{why}"
        )
    if problems:
        hint = "fix the rows or preprocess.format, which is that of all files of the source, or allow them: "
        hint += "a policy in preprocess.checks, a share in max_dropped"
        got = "".join(f"\n    - {line}" for line in problems)
        raise DataError(
            f"the rows without labels of {raw} cannot be used", got=got, expected="none of these", hint=hint
        )


def _examples(tally: Tally, check: str) -> str:
    shown = [f"{id_} ({reason})" for id_, reason in [*tally.first[check].items()][:3]]
    more = tally.found[check] - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
