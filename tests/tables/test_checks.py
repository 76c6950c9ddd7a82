"""Each check finds exactly its rows; policies drop them, and from test only rows that cannot be scored."""

import numpy as np
import pytest
from scipy.stats import chi2_contingency, fisher_exact

from baton.tables import checks, label_checks, near_rows
from baton.tables.class_cells import ClassCells
from baton.tables.rows import Row


def rows(*items: tuple[str, str, str]) -> list[Row]:
    """Return rows from (split, text, label), numbered per split."""
    counts: dict[str, int] = {}
    made = []
    for split, text, label in items:
        counts[split] = counts.get(split, 0) + 1
        made.append(Row(split, counts[split], text, label))
    return made


CLEAN = rows(("train", "one", "a"), ("train", "two", "b"), ("val", "three", "a"), ("test", "four", "b"))


CELLS = ClassCells()
EVERY = checks.ordered(checks.ROW_CHECKS, CELLS.checks())


@pytest.mark.parametrize("name", checks.ORDER)
def test_clean_rows_are_not_found(name: str) -> None:
    assert EVERY[name](CLEAN) == {}


def small(items: list[Row], least: int) -> dict[str, str]:
    return label_checks.found(items, label_checks.small_names(items, least, CELLS.names), CELLS.names)


def unknown(items: list[Row], known: dict[str, str]) -> dict[str, str]:
    return label_checks.unknown_label(items, known, CELLS.names)


def test_invalid_utf8_in_text_and_label() -> None:
    found = checks.invalid_utf8(
        rows(
            ("train", "caf\udce9", "a"),
            ("train", "caf\u00e9", "\udcff"),
            ("test", "\ud83d", "a"),
            ("test", "\U0001f600", "a"),
        )
    )
    assert found == {
        "train:1": "byte 0xe9 at character 4 of the text",
        "train:2": "byte 0xff at character 1 of the label",
        "test:1": "lone surrogate U+D83D at character 1 of the text",
    }


def test_mojibake_but_not_foreign_words() -> None:
    texts = ("schÃ¶n", "schön", "l’été à Paris", "doesnâ€™t", "Привет", "naïve café", "日本語")
    assert list(checks.mojibake(rows(*(("train", text, "a") for text in texts)))) == ["train:1", "train:4"]


def test_empty_and_unlabelled() -> None:
    items = rows(("train", "", "a"), ("train", " \t\u00a0\n", "a"), ("train", "x", ""), ("train", "x", " "))
    assert checks.empty(items) == {"train:1": "no text", "train:2": "white space"}
    unseen = ("\u200b", "\ufeff \u2060", "\u00ad\u200e", "\u2800", "x\u200b", "\u200b\u0e01")
    assert checks.empty(rows(*(("train", text, "a") for text in unseen))) == {
        f"train:{n}": "invisible characters" for n in range(1, 5)
    }
    assert list(EVERY["missing_label"](items)) == ["train:3", "train:4"]


def test_duplicates_are_exact_within_a_split_and_a_label() -> None:
    items = rows(
        ("train", "x", "a"),
        ("train", "X", "a"),
        ("train", "x", "a"),
        ("train", "x", "b"),
        ("test", "x", "a"),
        ("train", "x", "a"),
    )
    assert checks.duplicate(items) == {"train:3": "the same as train:1", "train:5": "the same as train:1"}


def test_leakage_names_the_row_of_train_or_val_whatever_its_label_and_spelling() -> None:
    items = rows(
        ("train", "A  b\n", "x"),
        ("train", "c", "x"),
        ("train", "d", "x"),
        ("val", "C", "x"),
        ("val", "e", "x"),
        ("test", "a b", "y"),
        ("test", "E", "x"),
        ("train", "de\u0301ja\u0300 vu", "x"),
        ("test", "D\u00c9J\u00c0 VU", "x"),
    )
    assert checks.leakage(items) == {
        "train:1": "the same text as test:1",
        "train:2": "the same text as val:1",
        "val:2": "the same text as test:2",
        "train:4": "the same text as test:3",
    }


def test_conflicts_name_all_rows_of_the_text() -> None:
    found = EVERY["conflict"](
        rows(("train", "x", "a"), ("train", " X", "b"), ("train", "y", "a"), ("test", "x", "a"))
    )
    assert list(found) == ["train:1", "train:2", "test:1"]
    assert found["train:2"] == "'b', but ['a', 'b'] in all: see train:1, test:1"


def test_small_classes_are_counted_in_texts_of_train() -> None:
    items = rows(
        ("train", "x", "a"),
        ("train", "X ", "a"),
        ("train", "y", "b"),
        ("train", "z", "b"),
        ("test", "w", "a"),
    )
    assert list(small(items, 2)) == ["train:1", "train:2", "test:1"]
    assert small(items, 2)["test:1"] == "class 'a' has 1 different text in train, cutting needs 2"
    assert small(items, 1) == {}


def test_near_duplicates_are_named_in_the_earlier_split_or_the_later_row() -> None:
    alike = {"a": {"b": 0.8, "c": 0.9}, "b": {"a": 0.8}, "c": {"a": 0.9}}
    items = rows(
        ("train", "A", "x"),
        ("train", "b", "x"),
        ("train", "d", "x"),
        ("val", "a", "x"),
        ("val", "c", "y"),
        ("test", "c", "x"),
    )
    assert near_rows.near_duplicate(items, alike) == {
        "train:1": "0.90 like test:1",
        "train:2": "0.80 like val:1",
        "val:1": "0.90 like test:1",
        "val:2": "0.90 like val:1",
    }
    parts = {split: [row for row in items if row.split == split] for split in ("train", "val", "test")}
    assert near_rows.near_training(parts, alike) == near_rows.near_training(parts, {}) == ["test:1"]
    assert near_rows.near_training(parts | {"val": []}, alike) == ["test:1"]
    assert near_rows.near_training(parts | {"val": []}, {}) == []


def test_unseen_labels_are_those_of_val_and_test_only() -> None:
    items = rows(("train", "x", "a"), ("val", "y", "b"), ("test", "z", "c"), ("test", "w", "a"))
    assert label_checks.unseen_names(items, CELLS.names) == {
        "b": "label 'b' is not in train",
        "c": "label 'c' is not in train",
    }


def test_unknown_labels_need_names() -> None:
    assert unknown(CLEAN, {}) == {}
    assert list(unknown(CLEAN, {"a": "A"})) == ["train:2", "test:1"]


@pytest.mark.parametrize(("label", "key"), [("True", "true"), ("01", "1"), ("1.50", "1.5")])
def test_keys_as_yaml_reads_them_are_told_apart(label: str, key: str) -> None:
    found = unknown(rows(("train", "x", label)), {key: "A"})
    assert (
        f"whose key {key!r} is what YAML reads without quotes: write {label!r}: … in quotes"
        in found["train:1"]
    )
    assert "quotes" not in unknown(rows(("train", "x", "other")), {key: "A"})["train:1"]


def test_labels_that_are_found_are_never_dropped() -> None:
    items = rows(("train", "x", "spam"), ("train", "y", "spam"), ("train", "z", "Spam"))
    found = EVERY["similar_labels"](items)
    assert found == {"train:3": "label 'Spam' (1 rows) reads like 'spam' (2 rows)"}
    assert checks.apply("similar_labels", "fail", found, items)[0] == items


def test_measured_numbers_are_no_classes() -> None:
    prices = rows(*(("train", f"house {n}", f"{n}.25") for n in range(300)))
    assert (
        "300 different decimal labels look like regression" in EVERY["continuous_labels"](prices)["train:1"]
    )
    ratings = rows(*(("train", f"film {n}", str(n % 11 / 2)) for n in range(300)))
    codes = rows(*(("train", f"article {n}", str(n)) for n in range(300)))
    assert EVERY["continuous_labels"](ratings) == EVERY["continuous_labels"](codes) == {}


@pytest.mark.parametrize(
    ("train", "test", "drifted"),
    [
        ((50, 50), (50, 50), False),
        ((900, 100), (500, 500), True),
        ((9, 1), (5, 5), False),
        ((50_000, 50_000), (51_500, 48_500), False),
    ],
)
def test_drift_is_certain_and_large(train: tuple[int, int], test: tuple[int, int], drifted: bool) -> None:
    items = [
        Row(split, 1, "", label)
        for split, counts in (("train", train), ("test", test))
        for label, n in zip("ab", counts, strict=True)
        for _ in range(n)
    ]
    measured = CELLS.drift(items)
    assert measured is not None
    expected = chi2_contingency([train, test], correction=False)
    assert measured["chi_square"] == pytest.approx(expected.statistic)
    assert measured["p_value"] == pytest.approx(fisher_exact([train, test]).pvalue, abs=0.03)
    assert measured["degrees_of_freedom"] == expected.dof
    assert measured["total_variation"] == pytest.approx(abs(train[0] / sum(train) - test[0] / sum(test)))
    assert measured["found"] is drifted


def test_many_rare_labels_are_no_drift() -> None:
    """Compare 1000 rows with 30, in 100 classes with Zipf frequencies.

    The p of the chi-square distribution reported drift in 12% of such cases.
    """
    random, shares = np.random.default_rng(0), 1 / np.arange(1, 101)

    def draw(split: str, count: int) -> list[Row]:
        return [Row(split, 1, "", str(label)) for label in random.choice(100, count, p=shares / shares.sum())]

    assert (
        sum(bool((CELLS.drift(draw("train", 1000) + draw("test", 30)) or {})["found"]) for _ in range(150))
        <= 3
    )


def test_drift_needs_a_test_file() -> None:
    assert CELLS.drift(rows(("train", "x", "a"))) is None


@pytest.mark.parametrize(
    ("check", "policy", "dropped"),
    [
        ("empty", "drop", ["train:1", "val:1", "test:1"]),
        ("empty", "fail", ["train:1", "val:1", "test:1"]),
        ("empty", "keep", []),
        ("mojibake", "drop", ["train:1", "val:1"]),
        ("leakage", "drop", ["train:1", "val:1"]),
        ("unseen_label", "drop", ["train:1", "val:1", "test:1"]),
    ],
)
def test_policies(check: str, policy: str, dropped: list[str]) -> None:
    items = rows(
        ("train", "", "a"), ("train", "x", "a"), ("val", "", "a"), ("test", "", "a"), ("test", "y", "a")
    )
    found = {"train:1": "reason", "val:1": "reason", "test:1": "reason"}
    kept, finding = checks.apply(check, policy, found, items)
    assert finding.dropped == dropped
    assert [row.id for row in kept] == [row.id for row in items if row.id not in dropped]
    assert finding.rows == found


@pytest.mark.parametrize(
    "label", ["a\n# b", "a\tb", "a\r\nb", "a\x1b[31mb", "a\u202eb", "a\u2028b", "a\x85b"]
)
def test_control_characters_in_a_label_are_found(label: str) -> None:
    """They forge lines of a report, or hide what a terminal shows."""
    items = rows(("train", "x", label), ("test", "y", "a b"))
    found = label_checks.control_characters(items, CELLS.names)
    assert list(found) == ["train:1"] and repr(label) in found["train:1"]


@pytest.mark.parametrize("label", ["a b", "ä-ö", "日本語", "می\u200cخواهم", "👩\u200d🔬", "a<b>|=[x]"])
def test_other_characters_in_a_label_are_fine(label: str) -> None:
    assert label_checks.control_characters(rows(("train", "x", label)), CELLS.names) == {}
