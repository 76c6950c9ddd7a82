"""Cut train to a limit if a row has any number of labels: few rows can hold a row of every label.

Inputs: units of train and the number of rows to keep -> the units kept, among them some of each label.
"""

from array import array
from collections import Counter
from typing import NamedTuple

import numpy as np

from baton.errors import DataError
from baton.tables import label_checks, labels, row_sets, splits
from baton.tables.row_sets import Numbers
from baton.tables.row_units import Units
from baton.tables.target_cells import TargetCells


def limited(whole: Units, count: int, *, cells: TargetCells, seed: int, purpose: str, least: int) -> Units:
    """Draw `count` rows such that each label keeps `least` units, if it has as many.

    The rows beyond those of `cover` are drawn from each stratum in proportion to its size, see `splits.cut`.

    Raises:
        DataError: `cover` takes more rows.
    """
    kept, rest = cover(whole, cells, seed=seed, purpose=purpose, least=least)
    taken = kept.size
    if taken > count:
        names = len({*label_checks.every(whole.rows, cells.names)})
        got = f"{count} rows for {names} {cells.words}"
        hint = f"raise preprocess.{purpose}, or set preprocess.checks.small_class to {cells.small_policies}"
        expected = f"at least {taken} rows, which hold {least} of each {cells.word}"
        raise DataError(f"preprocess.{purpose} is too small", got=got, expected=expected, hint=hint)
    if taken < count:
        more, _ = splits.cut(
            rest, count - taken, cells=cells, seed=seed, purpose=purpose, least=0, merge=True
        )
        kept = kept + more
    return whole.take(np.isin(whole.roots, kept.roots))


def cover(whole: Units, cells: TargetCells, *, seed: int, purpose: str, least: int) -> tuple[Units, Units]:
    """Return few units in which each label occurs `least` times, if it has as many units; and the others.

    Greedy: the rarest label first, its units in drawing order; a unit counts for all of its labels.
    """
    order, held = splits.drawing(whole, seed, purpose), Counter[str]()
    named = _mentions(whole, order, cells)
    kept = np.zeros(len(whole), np.bool_)
    names = zip(named.names, np.bincount(named.codes, minlength=len(named.names)).tolist(), strict=True)
    for name, _ in sorted(names, key=lambda pair: (pair[1], labels.order(pair[0]))):
        for rank in named.ranks_of(name):
            if held[name] >= least:
                break
            if not kept[order[rank]]:
                kept[order[rank]] = True
                held.update(named.names_of(rank))
    return whole.take(kept), whole.take(~kept)


class _Mentions(NamedTuple):
    """Which names the units have: each pair of a name and a unit once, in the drawing order of the units."""

    names: list[str]
    codes: Numbers  # (pairs,)
    ranks: Numbers  # of the units, (pairs,), ascending
    by_name: Numbers  # the pairs ordered by name, (pairs,)

    def ranks_of(self, name: str) -> list[int]:
        """Return the units that have a name."""
        code = self.names.index(name)
        first, end = np.searchsorted(self.codes, [code, code + 1], sorter=self.by_name)
        found: list[int] = self.ranks[self.by_name[first:end]].tolist()
        return found

    def names_of(self, rank: int) -> list[str]:
        """Return the names that a unit has."""
        first, end = np.searchsorted(self.ranks, [rank, rank + 1])
        return [self.names[code] for code in self.codes[first:end].tolist()]


def _mentions(whole: Units, order: splits.Drawn, cells: TargetCells) -> _Mentions:
    rank_of_root = np.full(len(whole.table.unit), -1, np.int64)
    rank_of_root[whole.roots[order]] = np.arange(len(order))
    of_rows = rank_of_root[whole.table.unit[whole.members]]
    known: dict[str, int] = {}
    codes, ranks = array("q"), array("q")
    for row, rank in zip(row_sets.brief(whole.rows), of_rows, strict=True):
        for name in cells.names(row.label):
            codes.append(known.setdefault(name, len(known)))
            ranks.append(rank)
    pairs = np.unique(np.array(ranks, np.int64) * max(1, len(known)) + np.array(codes, np.int64))
    own, found = np.divmod(pairs, max(1, len(known)))
    return _Mentions(list(known), found, own, np.argsort(found, kind="stable"))
