"""Raw tables with every fault that checks find, and the settings under which they are cleaned."""

import csv
import hashlib
import io
import json
import random
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from baton import params, storage
from baton.errors import DataError
from baton.tables import clean, dropped_rows
from tests.data_fixtures import CLASSES

RAW, TARGET = Path("data/raw"), Path("data/clean")
COLUMNS = ("text", "second", "label", "author", "year", "weight", "note")
WORDS = [f"{first}{last}" for first in "bdfgklmnprst" for last in ("a", "e", "io", "un", "örd", "ang")]
STRANGE = ("", " \u200b", "schÃ¶n ist das", "今天天气很好我们去公园散步", "Straße STRASSE", "\ud7ff end")
LABELS = params.LabelsTask(kind="labels", separator="|")
NUMBERS = params.NumbersTask(kind="numbers", loss="mse", coverage=0.9)
TEXTS = params.SequenceTask.model_construct(
    kind="sequence", target_length=16, beams=1, validation_rows=10, checkpoint_rows=10
)
KEPT = {"similar_labels": "keep", "conflict": "keep"}
DROPPED = dict.fromkeys(
    (
        "malformed",
        "invalid_utf8",
        "mojibake",
        "empty",
        "missing_label",
        "duplicate",
        "leakage",
        "group_leakage",
        "time_leakage",
        "near_duplicate",
        "conflict",
        "small_class",
        "unseen_label",
    ),
    "drop",
)


class Scenario(NamedTuple):
    """Files, split -> number of rows, and how they are cleaned."""

    files: dict[str, int]
    settings: Mapping[str, Any] = MappingProxyType({})
    checks: Mapping[str, Any] = DROPPED
    task: Any = CLASSES
    faults: bool = True  # in the rows


ONE, THREE = {"train": 600}, {"train": 500, "val": 90, "test": 120}
SCENARIOS = {
    "one file": Scenario(ONE),
    "one file, all kept": Scenario(ONE, checks={}),
    "files": Scenario(THREE),
    "files, all kept": Scenario(THREE, checks={}),
    "counts": Scenario(ONE, {"test": {"kind": "count", "count": 70}}),
    "groups": Scenario({"train": 500, "test": 90}, {"group_column": "author"}),
    "groups of one file": Scenario(ONE, {"group_column": "author"}, KEPT),
    "time": Scenario(ONE, {"time_column": "year"}),
    "time before a test file": Scenario({"train": 500, "test": 90}, {"time_column": "year"}),
    "limits": Scenario({"train": 500, "test": 90}, {"limit": {"train": 150, "test": 31}}),
    "shots": Scenario({"train": 500, "unlabelled": 90}, {"shots": 8}),
    "shots of a file": Scenario(THREE, {"shots": 8, "group_column": "author"}, KEPT),
    "small classes stay": Scenario(ONE, checks=DROPPED | {"small_class": "train_only"}),
    "small classes are joined": Scenario(ONE, checks=DROPPED | {"small_class": {"other": "c7"}}),
    "novel classes": Scenario(
        THREE,
        {"novel": {"validation": ["c3", "c4"], "test": ["c5", "c6"]}},
        DROPPED | {"small_class": "keep"},
    ),
    "pairs": Scenario(THREE, {"text_pair_column": "second"}),
    "columns": Scenario(
        ONE,
        {
            "text_column": ("text", "note"),
            "weight_column": "weight",
            "keep_columns": ["note", "author"],
            "label_names": {f"c{number}": f"class {number}" for number in range(9)},
        },
        DROPPED | {"missing_label": "drop"},
        faults=False,
    ),
    "labels": Scenario({"train": 500, "test": 90}, {"limit": {"train": 60, "test": None}}, task=LABELS),
    "labels of one file": Scenario(ONE, checks=DROPPED | {"small_class": "keep"}, task=LABELS),
    "numbers": Scenario({"train": 500, "test": 90}, {"label_column": ("year", "weight")}, KEPT, NUMBERS),
    "sequences": Scenario(THREE, {"label_column": "second"}, KEPT, TEXTS),
    "soft labels": Scenario({"train": 300, "test": 60, "unlabelled": 60, "soft_labels": 200}, faults=False),
    "refused": Scenario(THREE, {"max_dropped": {"rows": 0.01, "rows_of_class": 0.02}}),
    "refused by a policy": Scenario(THREE, checks=dict.fromkeys(DROPPED, "fail")),
}


def clean_all(scenario: Scenario, settings: params.TextPreprocess) -> str:
    """Write the raw files, clean them, and return a digest of what is written, or of the refusal."""
    write(scenario)
    try:
        clean.clean(RAW, TARGET, settings, scenario.task)
    except DataError as error:
        report = storage.state(dropped_rows.REPORT)
        return digest(str(error), *([report.read_bytes().decode()] if report.exists() else []))
    files = sorted(path for path in TARGET.rglob("*") if path.is_file())
    return digest(*(f"{path.name} {storage.sha256(path)}" for path in files))


def digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def write(scenario: Scenario) -> None:
    """Write the raw files and their manifest."""
    RAW.mkdir(parents=True, exist_ok=True)
    draw, made = random.Random(7), list[dict[str, str]]()
    for split, count in scenario.files.items():
        rows = [row(draw, made, scenario, split == "test") for _ in range(count)]
        (RAW / f"{split}.csv").write_bytes(table(rows, scenario, split, draw))
    files = {split: {"path": f"{split}.csv"} for split in scenario.files}
    (RAW / "manifest.json").write_text(json.dumps({"files": files}))


def row(draw: random.Random, made: list[dict[str, str]], scenario: Scenario, later: bool) -> dict[str, str]:
    """Return a row, `later` than others; one in four has to do with an earlier one."""
    names = [f"c{min(int(draw.expovariate(0.6)), 8)}" for _ in range(3)]
    label = "|".join(dict.fromkeys(names[: draw.randrange(4)])) if scenario.task is LABELS else names[0]
    found = {
        "text": " ".join(draw.choices(WORDS, k=draw.randint(3, 40))),
        "second": " ".join(draw.choices(WORDS, k=draw.randint(2, 20))),
        "label": label,
        "author": draw.choice(["", *(f"author {number}" for number in range(400))]),
        "year": str(draw.randint(1900, 1990) + 80 * later),
        "weight": f"{draw.uniform(0.1, 3):.2f}",
        "note": draw.choice(WORDS),
    }
    if made and draw.random() < 0.25:
        earlier = draw.choice(made)
        words = earlier["text"].split()
        kind = draw.randrange(5)
        if kind in (0, 1) and words:  # near
            words[draw.randrange(len(words))] = draw.choice(WORDS)
        text = f" {earlier['text'].upper()}" if kind == 2 else " ".join(words)
        found |= {"text": text, "second": earlier["second"]}
        found |= {"label": earlier["label"]} if kind else {}
        if kind == 3:  # exchanged
            found |= {"text": earlier["second"], "second": earlier["text"]}
    if scenario.faults and draw.random() < 0.05:
        found |= {draw.choice(("text", "second", "text")): draw.choice(STRANGE)}
    if scenario.faults and draw.random() < 0.02:
        found["label"] = draw.choice(("", " ", "seldom", "C1"))
    made.append(found)
    return found


def table(rows: list[dict[str, str]], scenario: Scenario, split: str, draw: random.Random) -> bytes:
    """Return a CSV table; if the scenario has faults, some lines are no rows, or no UTF-8."""
    names = [name for name in COLUMNS if split not in ("unlabelled", "soft_labels") or name == "text"]
    names += ["label"] if split == "soft_labels" else []
    lines = [",".join(names).encode()]
    for own in rows:
        out = io.StringIO()
        csv.writer(out).writerow([own[name] for name in names])
        line = out.getvalue().rstrip("\r\n").encode()
        if scenario.faults and draw.random() < 0.01:
            line = draw.choice((b"one field", b'"never closed', b"", line.replace(b"a", b"\xff", 1)))
        lines.append(line)
    return b"\n".join([*lines, b""])
