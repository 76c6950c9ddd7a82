"""Rows that passed the checks -> train, val and test, as params `preprocess` says.

What the source has no file for is cut from train; near-duplicates never lie in two parts that are cut here.
"""

from baton import params
from baton.data import checks, near, splits
from baton.data.raw import Row
from baton.errors import DataError

SPLITS = ("train", "val", "test")


def part(rows: list[Row], settings: params.Preprocess, present: set[str], alike: near.Near) -> tuple[dict[str, list[Row]], dict[str, int]]:
    """Cut test (if the source has none), apply the limits, then cut val (if the source has none) from what is left of train.

    Args:
        rows: of all files.
        settings: portions, limits, seed.
        present: splits that have a file.
        alike: near-duplicates, which stay together.

    Returns:
        split -> rows in file order; split -> number of rows that a limit took away.

    Raises:
        DataError: a part cannot be cut, or is left without rows or, train, without a label.
    """
    parts = {split: splits.units([row for row in rows if row.split == split], alike) for split in SPLITS}
    stay = _staying(rows, settings, present)
    cuts = 1 - ("val" in present)
    if "test" not in present:
        whole, seed, leave = _without(parts["train"], stay), settings.seed, 1 + cuts
        match settings.test:
            case params.ByShare(share=share):  # a test row stays one when rows are added
                parts["test"], rest = splits.cut_for_good(whole, share, seed=seed, purpose="test")
            case params.ByCount(count=count):
                parts["test"], rest = splits.cut(whole, count, seed=seed, purpose="test", leave=leave)
        parts["train"] = rest + _only(parts["train"], stay)
    limited = {}
    for split, limit in (("train", settings.limit.train), ("test", settings.limit.test)):
        before = sum(map(len, parts[split]))
        if limit is not None and limit < before:
            classes = len({unit.label for unit in parts[split]})
            least = 1 + cuts if split == "train" else int(limit >= classes)
            parts[split], _ = splits.cut(parts[split], limit, seed=settings.seed, purpose=f"limit.{split}", least=least)
        limited[split] = before - sum(map(len, parts[split]))
    if "val" not in present:
        count = splits.wanted(settings.validation, sum(map(len, parts["train"])))
        whole = _without(parts["train"], stay)
        parts["val"], rest = splits.cut(whole, count, seed=settings.seed, purpose="validation", leave=1)
        parts["train"] = rest + _only(parts["train"], stay)
    cut = {split: splits.flat(units) for split, units in parts.items()}
    _refuse_gaps(rows, cut)
    return cut, limited


def _staying(rows: list[Row], settings: params.Preprocess, present: set[str]) -> set[str]:
    """Labels of the classes that stay in train as a whole."""
    if settings.checks.small_class != "train_only":
        return set()
    small = checks.small_class(rows, needed(present))
    return {row.label for row in rows if row.id in small}


def needed(present: set[str]) -> int:
    """Different texts that a class must have, so that each part that is cut from train gets one and one stays."""
    return 1 + len({"val", "test"} - present)


def _only(units: list[splits.Unit], labels: set[str]) -> list[splits.Unit]:
    return [unit for unit in units if unit.label in labels]


def _without(units: list[splits.Unit], labels: set[str]) -> list[splits.Unit]:
    return [unit for unit in units if unit.label not in labels]


def _refuse_gaps(rows: list[Row], parts: dict[str, list[Row]]) -> None:
    lost = {row.label for row in rows if row.split == "train"} - {row.label for row in parts["train"]}
    if lost:
        hint = "set preprocess.checks.conflict or small_class to drop, or choose another preprocess.seed"
        raise DataError("cutting the splits leaves labels without a train row", got=sorted(lost), expected="none", hint=hint)
    for split, part in parts.items():
        if not part:
            hint = "see the file, and what preprocess.checks drops"
            raise DataError(f"split {split} has no rows left", got="0 rows", expected="at least 1", hint=hint)
