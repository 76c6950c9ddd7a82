"""Run tables as common programs write them through the stages.

They must be read correctly or refused with a message to act on, and never be read in part.
Each test represents a kind of public report: Windows-1252; gzip, spreadsheets and UTF-16 named as CSV; quotes
after a backslash; JSON documents; spellings of labels; composed and decomposed Unicode; YAML keys; lists of
labels; Parquet types; one text per class.
"""

import gzip
import io
import json
import re
import unicodedata
import zipfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from baton import params
from tests.test_data_stages import BASE, CSV, run

Staged = Callable[..., str]
FAILED = Path(".baton/preprocess-report.json")
DROP = {
    "malformed": "drop",
    "invalid_utf8": "drop",
    "empty": "drop",
    "missing_label": "drop",
    "small_class": "fail",
}


@pytest.fixture
def staged(workplace: Path, root: Path, capsys: pytest.CaptureFixture[str]) -> Staged:
    """Return `staged({"data.csv": bytes}, form={…}, checks={…}, label_names={…})`, which runs both stages.

    It returns what the failing stage wrote, '' if none failed. A file whose name begins with `test` or `val`
    belongs to that split, any other to train.
    """

    def build(
        files: dict[str, bytes],
        form: dict[str, Any] = CSV,
        checks: dict[str, Any] | None = None,
        **changes: Any,
    ) -> str:
        (workplace / "inbox/model").mkdir(parents=True, exist_ok=True)
        for name, content in (files | {f"model/{name}": content for name, content in BASE.items()}).items():
            (workplace / "inbox" / name).write_bytes(content)
        raw = params.read_raw(root / "params.yaml")
        splits = {
            next((one for one in ("val", "test") if name.startswith(one)), "train"): f"inbox/{name}"
            for name in files
        }
        raw["source"] = {"kind": "local", "files": splits, "licence": "mine"}
        raw["base"] = {"kind": "local", "folder": "inbox/model", "licence": "mine"}
        raw["preprocess"] |= {"format": form, **changes}
        raw["preprocess"]["checks"] |= DROP | (checks or {})
        (workplace / "params.yaml").write_text(json.dumps(raw))
        return run(capsys, "download", "preprocess")

    return build


def report() -> Any:
    return json.loads(Path("data/clean/report.json").read_text())


def csv(*rows: tuple[str, str], end: str = "\r\n") -> str:
    return end.join(["text,label", *(f"{text},{label}" for text, label in rows), ""])


def some(*labels: str, count: int = 12) -> list[tuple[str, str]]:
    return [(f"words about {label.strip()} number {n}", label) for label in labels for n in range(count)]


GERMAN = [
    (f"{text} Nr {n}", label)
    for n in range(12)
    for text, label in (("Schöne Größe, für mich", "gut"), ("Der Käse war überreif", "schlecht"))
]
GERMAN = [(f"Schöne Größe für mich {n}", "gut") for n in range(12)] + [
    (f"Der Käse war überreif {n}", "schlecht") for n in range(12)
]
GERMAN += some("egal")


def test_windows_1252_is_read_whole_or_refused(staged: Staged) -> None:
    content = csv(*GERMAN).encode("windows-1252")
    assert staged({"data.csv": content}) == ""
    assert report()["classes"].keys() == {"gut", "schlecht", "egal"}
    assert sum(report()["rows"]["clean"].values()) == len(GERMAN)
    assert "is no UTF-8: it is read as windows-1252, a guess from 24 of its 37 lines" in report()["notes"][0]

    message = staged({"data.csv": content}, form=CSV | {"encoding": "utf-8"})
    assert "dropped: train loses 24 of 36 rows (66.7%)" in message
    assert "'gut' 12 of 12, 'schlecht' 12 of 12" in message
    assert "train.csv is no UTF-8 in 24 of 37 lines; likely windows-1252" in message
    assert "iconv -f windows-1252 -t utf-8" in message
    assert len(json.loads(FAILED.read_text())["checks"]["invalid_utf8"]["rows"]) == 24


def workbook() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in ("[Content_Types].xml", "xl/workbook.xml", "xl/worksheets/sheet1.xml"):
            archive.writestr(name, "<x/>")
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (gzip.compress(csv(*some("a", "b")).encode()), ""),
        (csv(*some("a", "b")).encode("utf-16-le"), ""),
        (csv(*some("a", "b")).encode("utf-16"), ""),
        (b"\xef\xbb\xbf" + csv(*some("a", "b")).encode(), ""),
        (workbook(), "train.csv is a zip that holds an Excel workbook (.xlsx), not text"),
        (b"sep=,\r\n" + csv(*some("a", "b")).encode(), "begins with a spreadsheet's `sep=` line"),
        (csv(*some("a", "b")).replace(",", ";").encode(), "the delimiter is ';'"),
    ],
)
def test_what_is_called_csv(staged: Staged, content: bytes, what: str) -> None:
    message = staged({"data.csv": content})
    assert what in message
    assert bool(message) is bool(what)
    assert len(message) < 500
    assert all(character.isprintable() or character == "\n" for character in message)
    if not what:
        assert report()["rows"]["raw"] == {"train": 24}


def test_quotes_after_a_backslash(staged: Staged) -> None:
    odd = [
        '"pipe of 5\\" and a half",bolt',
        '"size 5\\"",bolt',
        '",5 mm ring of steel",washer',
        '"she said \\"tight\\", twice",washer',
    ]
    content = "\n".join(
        ["text,label", *(f'"{text}",{label}' for text, label in some("bolt", "washer")), *odd]
    ).encode()
    message = staged({"data.csv": content})
    assert "train loses 3 of 28 rows" in message, "28 rows were written; the ring is read correctly"
    assert 'set escape: "\\\\" of the format' in message
    assert staged({"data.csv": content}, form=CSV | {"escape": "\\"}) == ""
    texts = {
        row["text"]
        for name in ("train", "val", "test")
        for row in pq.read_table(f"data/clean/{name}.parquet").to_pylist()
    }
    assert {'pipe of 5" and a half', 'size 5"', ",5 mm ring of steel", 'she said "tight", twice'} <= texts


@pytest.mark.parametrize("shape", ["list", "lines of a list", "wrapped", "two a line", "no key"])
def test_json_that_is_no_json_lines(staged: Staged, shape: str) -> None:
    objects = [{"text": text, "label": label} for text, label in some("a", "b")]
    lines = list(map(json.dumps, objects))
    content, what = {
        "list": (json.dumps(objects, indent=1), "is one JSON document, a list"),
        "lines of a list": ("[" + ",\n".join(lines) + "]", "is one JSON document, a list"),
        "wrapped": (json.dumps({"data": objects}), "with its rows in a list under 'data'"),
        "two a line": (
            "\n".join(map(" ".join, zip(lines[::2], lines[1::2], strict=True))),
            "several objects per line",
        ),
        "no key": (
            "\n".join([*lines, *(line.replace('"text"', '"body"') for line in lines[:8])]),
            "8 rows: train:25",
        ),
    }[shape]
    message = staged({"data.jsonl": content.encode()}, form={"kind": "jsonl", "encoding": "auto"})
    assert what in message
    assert ("jq -c" if shape != "no key" else "no key 'text'") in message


def test_spellings_of_labels(staged: Staged) -> None:
    spellings = [
        "spam",
        "spam ",
        " spam",
        "spam\u00a0",
        "\ufeffspam",
        "ham",
        "ham\u200b",
        "NFC caf\u00e9",
        "NFC cafe\u0301",
    ]
    content = csv(*some(*spellings)).encode()
    assert staged({"data.csv": content}, checks={"duplicate": "keep"}) == ""
    assert report()["classes"].keys() == {"spam", "ham", "NFC caf\u00e9"}
    assert {mended["label"] for mended in report()["labels"]} == {
        *spellings[1:5],
        "ham\u200b",
        "NFC cafe\u0301",
    }

    message = staged({"data.csv": csv(*some("spam", "Spam", "1", "1.0", "n/a")).encode()})
    assert re.search(r"label 'spam' \(12 rows\) reads like 'Spam' \(12 rows\)", message)
    assert "label '1.0' (12 rows) reads like '1' (12 rows)" in message
    assert "label 'n/a' (12 rows) reads like a missing value" in message


def test_composed_and_decomposed_texts_and_labels(staged: Staged) -> None:
    train = [(f"déjà vu à Zürich {n}", ("café", "naïve")[n % 2]) for n in range(30)]
    test = csv(
        *(
            (unicodedata.normalize("NFD", text), unicodedata.normalize("NFD", label))
            for text, label in train[:9]
        )
    )
    assert staged({"data.csv": csv(*train).encode(), "test.csv": test.encode()}) == ""
    assert report()["classes"].keys() == {"café", "naïve"}
    assert report()["checks"]["leakage"]["rows"] == [f"train:{n}" for n in range(1, 10)]


@pytest.mark.parametrize(
    ("labels", "keys"), [(("True", "False"), ("true", "false")), (("01", "02"), ("1", "2"))]
)
def test_keys_as_yaml_reads_them(staged: Staged, labels: tuple[str, str], keys: tuple[str, str]) -> None:
    content = csv(*some(*labels)).encode()
    message = staged({"data.csv": content}, label_names=dict(zip(keys, "AB", strict=True)))
    assert f"write '{labels[0]}': … in quotes" in message
    assert "1 problem" in message
    assert staged({"data.csv": content}, label_names=dict(zip(labels, "AB", strict=True))) == ""
    assert report()["classes"].keys() == {"A", "B"}


def test_lists_of_labels(staged: Staged) -> None:
    lines = [json.dumps({"text": f"t {n}", "label": ["news", "sport"][: n % 3]}) for n in range(30)]
    message = staged({"data.jsonl": "\n".join(lines).encode()}, form={"kind": "jsonl", "encoding": "auto"})
    assert (
        "malformed: 30 rows: train:1, train:2, train:3 and 27 more "
        "(label is a list; one label a row is needed)" in message
    )
    content = csv(*((text, f"\"['{label}', 'x']\"") for text, label in some("a", "b"))).encode()
    assert staged({"data.csv": content}) == ""
    assert "labels such as \"['a', 'x']\" look like lists" in report()["notes"][0]


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (pa.array([Decimal(n % 3) for n in range(36)], pa.decimal128(10, 0)), {"0", "1", "2"}),
        (
            pa.array([n % 3 + 19_700 for n in range(36)], pa.date32()),
            {"2023-12-09", "2023-12-10", "2023-12-11"},
        ),
        (pa.array([["yes", "no", None][n % 3] for n in range(36)]).dictionary_encode(), {"yes", "no"}),
        (pa.array([[True, False, None][n % 3] for n in range(36)]), {"true", "false"}),
    ],
)
def test_types_of_parquet(staged: Staged, labels: pa.Array, classes: set[str]) -> None:
    pq.write_table(pa.table({"text": [f"text {n}" for n in range(36)], "label": labels}), "made.parquet")
    assert staged({"data.parquet": Path("made.parquet").read_bytes()}, form={"kind": "parquet"}) == ""
    assert report()["classes"].keys() == classes
    assert bool(report()["notes"]) is (None in labels.to_pylist()), "a partly labelled table is reported"


@pytest.mark.parametrize(("column", "kind"), [("label", "list<"), ("data.text", "struct<")])
def test_nested_types_of_parquet_are_named(staged: Staged, column: str, kind: str) -> None:
    pq.write_table(
        pa.table({"text": ["x", "y"], "label": [["a"], ["b"]], "data": [{"text": "x"}, {"text": "y"}]}),
        "made.parquet",
    )
    changes = {"text_column": column} if "." in column else {}
    assert kind in staged(
        {"data.parquet": Path("made.parquet").read_bytes()}, form={"kind": "parquet"}, **changes
    )


@pytest.mark.parametrize("policy", ["fail", "drop", "keep"])
def test_a_text_a_class(staged: Staged, policy: str) -> None:
    content = csv(*some(*(f"intent {n:02}" for n in range(30)), count=1)).encode()
    message = staged({"data.csv": content}, checks={"small_class": policy})
    if policy == "keep":
        assert "each of the 30 classes has too few different texts" in message
        assert "lower" not in message
    else:
        assert "small_class: 30 rows" in message
        assert "no small_class policy helps if (nearly) all classes are small" in message
        assert all(f"'intent {n:02}' 1" in message for n in range(30))
    others = {
        name: csv(*some(*(f"intent {n:02}" for n in range(30)), count=1)).replace("words", name).encode()
        for name in ("val", "test")
    }
    assert staged({"data.csv": content} | {f"{name}.csv": other for name, other in others.items()}) == "", (
        "the advice can be followed"
    )


def test_measured_numbers_look_like_regression(staged: Staged) -> None:
    content = csv(*((f"house {n}", f"{n / 7:.3f}") for n in range(300))).encode()
    assert "different decimal labels look like regression" in staged({"data.csv": content})
