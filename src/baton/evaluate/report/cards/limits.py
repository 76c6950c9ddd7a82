"""What limits the use of a model, in sentences that the tables and reports bear out.

Inputs: the parts of the report, the facts -> sentences; one that has no cause is left out.
"""

import math
from collections.abc import Mapping, Sequence

from baton.evaluate.report import differences
from baton.evaluate.report.cards.facts import Facts
from baton.evaluate.report.cards.markdown import Markdown, escaped
from baton.evaluate.report.html import names
from baton.evaluate.report.html.csv_reading import number
from baton.evaluate.report.html.parts import Parts
from baton.evaluate.report.wording import amount, percent

FEW = {"train": 50, "test": 30}  # rows of a class; with fewer, its own figures say little
LISTED = 10  # names or groups in a sentence
PLURAL = {"class": "classes", "label": "labels", "entity type": "entity types"}


def sentences(parts: Parts, facts: Facts, model: str) -> list[Markdown]:
    """Return the limits, the most general first."""
    found = [
        *_chosen(parts, model),
        *_few(parts, facts),
        *_never_right(parts, model),
        *_not_read(facts),
        *_worse(parts, model),
        *_near(parts, model),
        *_drift(facts),
        *_conflicts(facts),
        *_seeds(parts, model),
    ]
    return [Markdown(one) for one in found]


def _chosen(parts: Parts, model: str) -> list[str]:
    best = parts.metrics["recommended"]["model"]
    if best == model:
        return []
    return [f"Validation chose another model, {escaped(best)}: see “Figures”."]


def _few(parts: Parts, facts: Facts) -> list[str]:
    """Name the classes with few rows."""
    counts = facts.clean.get("classes", {})
    plural, told = PLURAL.get(parts.word, f"{parts.word}s"), []
    for split, least in FEW.items():
        own = {name: of.get(split, 0) for name, of in counts.items() if isinstance(of, Mapping)}
        if few := sorted((rows, name) for name, rows in own.items() if rows < least):
            why = "too few to learn much from" if split == "train" else "too few to measure them well"
            listed = _listed([f"{escaped(name)} ({rows})" for rows, name in few])
            told.append(
                f"With fewer than {least} rows in {split}, {why}: {len(few)} of {amount(len(own), plural)}: "
                f"{listed}."
            )
    return told


def _never_right(parts: Parts, model: str) -> list[str]:
    """Name the classes of which the model finds none."""
    if parts.kind not in names.TABLES:
        return []
    column = names.TABLES[parts.kind]
    own = [row for row in parts.reports.table(f"per_{column}.csv") if row["model"] == model]
    missed = [escaped(row[column]) for row in own if row["support"] != "0" and number(row["recall"]) == 0]
    plural = PLURAL.get(parts.word, f"{parts.word}s")
    return [f"It found no test row of {amount(len(missed), plural)}: {_listed(missed)}."] if missed else []


def _not_read(facts: Facts) -> list[str]:
    own = facts.arrays.get("test", {})
    told = []
    if share := own.get("truncated_share"):
        told.append(f"Of {percent(share)} of the test texts it reads only a part")
        if left := own.get("left_out_share"):
            told[-1] += f"; {percent(left)} of all tokens are not read"
        told[-1] += "."
    if share := own.get("cut_share"):
        told.append(f"Of {percent(share)} of the test clips it reads only a part.")
    return told


def _worse(parts: Parts, model: str) -> list[str]:
    """Name the groups of test rows on which the model is worse than on all."""
    if model not in parts.drawn:
        return []
    place = parts.drawn.index(model)
    worse = [
        f"{escaped(group.title)}, {escaped(value)} ({rows} rows): {escaped(cells[place].shown)}, "
        f"{escaped(cells[place].interval)}"
        for group in parts.groups
        for value, rows, cells in group.lines
        if cells[place].worse
    ]
    way = "lower" if parts.main.direction > 0 else "higher"
    told = (
        f"Its {escaped(parts.figure)} is {way} than on all test rows, even at the better end of the interval"
    )
    return [f"{told}, in these groups: {_listed(worse, '; ')}."] if worse else []


def _near(parts: Parts, model: str) -> list[str]:
    count, main = parts.test.get("near_duplicates"), parts.main
    if not count:
        return []
    told = f"{amount(count, 'test rows')} resemble rows of train or validation"
    without = parts.metrics[model].get(f"{main.name}_without_near_duplicates")
    if isinstance(without, float) and math.isfinite(without):
        told += f"; without them its {escaped(parts.figure)} is {main.value(without)}"
    return [f"{told}."]


def _drift(facts: Facts) -> list[str]:
    own = facts.clean.get("checks", {}).get("drift", {})
    if not own.get("found"):
        return []
    told = (
        "Train and test differ in their labels more than by chance: figures on test may not be those of rows "
    )
    return [f"{told}like train's."]


def _conflicts(facts: Facts) -> list[str]:
    found = facts.clean.get("checks", {}).get("conflict", {}).get("found", {})
    count = sum(found.values())
    return (
        [f"{amount(count, 'rows')} occur with different labels, so no model can be right on all."]
        if count
        else []
    )


def _seeds(parts: Parts, model: str) -> list[str]:
    if len(parts.metrics["seeds"][model]["all"]) > 1:
        return []
    return ["The model was trained once: how much another seed would change is not known."]


def _listed(items: Sequence[str], joint: str = ", ") -> str:
    more = len(items) - LISTED
    return joint.join(items[:LISTED]) + (f" and {more:,} more" if more > 0 else "")


def compared(parts: Parts, model: str) -> list[str]:
    """Return what comparisons say of a model and each other one."""
    pairs = dict.fromkeys((one.first, one.second) for one in parts.differences)
    own = [pair for pair in pairs if model in pair]
    return [differences.said(differences.of_pair(parts.differences, *pair)) for pair in own]
