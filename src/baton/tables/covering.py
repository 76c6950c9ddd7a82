"""Cut train to a limit if a row has any number of labels: few rows can hold a row of every label.

Inputs: units of train and the number of rows to keep -> the units kept, among them some of each label.
"""

from collections import Counter, defaultdict

from baton.errors import DataError
from baton.tables import labels, splits
from baton.tables.splits import Unit
from baton.tables.target_cells import TargetCells


def limited(
    whole: list[Unit], count: int, *, cells: TargetCells, seed: int, purpose: str, least: int
) -> list[Unit]:
    """Draw `count` rows such that each label keeps `least` units, if it has as many.

    The rows beyond those of `cover` are drawn from each stratum in proportion to its size, see `splits.cut`.

    Raises:
        DataError: `cover` takes more rows.
    """
    kept, rest = cover(whole, cells, seed=seed, purpose=purpose, least=least)
    taken = sum(map(len, kept))
    if taken > count:
        names = len(_units_of_names(whole, cells))
        got = f"{count} rows for {names} {cells.words}"
        hint = f"raise preprocess.{purpose}, or set preprocess.checks.small_class to {cells.small_policies}"
        expected = f"at least {taken} rows, which hold {least} of each {cells.word}"
        raise DataError(f"preprocess.{purpose} is too small", got=got, expected=expected, hint=hint)
    if taken < count:
        more, _ = splits.cut(
            rest, count - taken, cells=cells, seed=seed, purpose=purpose, least=0, merge=True
        )
        kept = kept + more
    names_kept = {unit.name for unit in kept}
    return [unit for unit in whole if unit.name in names_kept]


def cover(
    whole: list[Unit], cells: TargetCells, *, seed: int, purpose: str, least: int
) -> tuple[list[Unit], list[Unit]]:
    """Return few units in which each label occurs `least` times, if it has as many units; and the others.

    Greedy: the rarest label first, its units in drawing order; a unit counts for all of its labels.
    """
    of_names, kept, held = (
        _units_of_names(splits.drawing(whole, seed, purpose), cells),
        set[str](),
        Counter[str](),
    )
    for name in sorted(of_names, key=lambda name: (len(of_names[name]), labels.order(name))):
        for unit in of_names[name]:
            if held[name] >= least:
                break
            if unit.name not in kept:
                kept.add(unit.name)
                held.update(_names(unit, cells))
    return [unit for unit in whole if unit.name in kept], [unit for unit in whole if unit.name not in kept]


def _units_of_names(units: list[Unit], cells: TargetCells) -> dict[str, list[Unit]]:
    found: dict[str, list[Unit]] = defaultdict(list)
    for unit in units:
        for name in _names(unit, cells):
            found[name].append(unit)
    return found


def _names(unit: Unit, cells: TargetCells) -> set[str]:
    return {name for row in unit.rows for name in cells.names(row.label)}
