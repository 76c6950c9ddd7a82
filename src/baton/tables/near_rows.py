"""Check rows for near-duplicates, and list the test rows that have one in train or val.

Of images with captions the captions that splits share are counted too.
"""

from collections.abc import Mapping

from baton.tables.checks import key
from baton.tables.near_duplicates import Near, chains
from baton.tables.rows import Row

SHOWN = 3  # ids that a note names


def near_duplicate(rows: list[Row], alike: Near, contexts: bool = False) -> dict[str, str]:
    """Return train rows near a val or test row, val rows near a test row, and near repeats within one file.

    Of near repeats within one file, the first row is not returned.

    Args:
        rows: The rows of all files, each file's in order.
        alike: Pairs of keys, with their similarity.
        contexts: Whether second texts are contexts. Two questions about one are alike for that reason alone,
            and no near-duplicates.
    """
    if contexts:
        alike = _of_other_contexts(rows, alike)
    first: dict[str, dict[str, Row]] = {"train": {}, "val": {}, "test": {}}
    for row in rows:
        first[row.part].setdefault(key(row.whole), row)
    linked, chains = _first_linked(rows, alike)
    found = {}
    for row in rows:
        for split in ("test", "val", "train")[: 1 + ("test", "val", "train").index(row.part)]:
            others = [
                (other, share)
                for name, share in alike.get(key(row.whole), {}).items()
                if (other := first[split].get(name))
            ]
            if twin := next(
                (pair for pair in others if split != row.part or pair[0].number < row.number), None
            ):
                found[row.id] = f"{twin[1]:.2f} like {twin[0].id}"
                break
            if (
                (name := chains.get(key(row.whole)))
                and (other := linked[split].get(name))
                and split != row.part
            ):
                found[row.id] = f"like {other.id}, through others"
                break
    return found


def _of_other_contexts(rows: list[Row], alike: Near) -> Near:
    """Return the pairs of keys of rows whose second texts differ."""
    own = {key(row.whole): key(row.pair or "") for row in rows}
    return {
        name: {other: share for other, share in others.items() if own.get(other) != own.get(name)}
        for name, others in alike.items()
    }


def _first_linked(rows: list[Row], alike: Near) -> tuple[dict[str, dict[str, Row]], dict[str, str]]:
    """Return the first row of each large group of near-duplicates per split, and the groups.

    The groups are those of `near_duplicates.chains`.
    """
    groups = chains(alike)
    first: dict[str, dict[str, Row]] = {"train": {}, "val": {}, "test": {}}
    for row in rows:
        if name := groups.get(key(row.whole)):
            first[row.part].setdefault(name, row)
    return first, groups


def near_training(parts: Mapping[str, list[Row]], alike: Near) -> list[str]:
    """Return test rows with (nearly) the same text in train or val, which may only measure memorization."""
    known = {key(row.whole) for split in ("train", "val") for row in parts[split]}
    groups = chains(alike)
    linked = {groups[name] for name in known if name in groups}
    return [
        row.id
        for row in parts["test"]
        if groups.get(key(row.whole)) in linked
        or not known.isdisjoint([key(row.whole), *alike.get(key(row.whole), ())])
    ]


def shared_captions(parts: Mapping[str, list[Row]]) -> list[str]:
    """Return a note on the test rows whose caption train or val has too, under other images.

    Splits never share an image, but "a dog" may well describe two.
    """
    known = {key(row.caption) for split in ("train", "val") for row in parts[split]}
    shared = [row.id for row in parts["test"] if row.caption and key(row.caption) in known]
    if not shared:
        return []
    few = ", ".join(shared[:SHOWN]) + (f" and {len(shared) - SHOWN} more" if len(shared) > SHOWN else "")
    return [f"{len(shared)} of {len(parts['test'])} test rows have the text of a train or val row: {few}"]
