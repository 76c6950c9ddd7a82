"""Every combination of kinds of input, task, source, format and base model is possible, or refused."""

import copy
import functools
import itertools
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest

from baton import params
from baton.errors import ParamsError
from baton.params import combinations
from baton.params.applicable_keys import KEYS

RECIPES = Path(__file__).parent.parent / "recipes"
UNIONS: dict[str, Any] = {
    "task": params.Task,
    "tokenize": params.Tokenize,
    "source": params.Source,
    "preprocess.format": params.Format,
    "source.format": params.Format,
    "base": params.Base,
    "finetune.head": params.Head,
    "finetune.strategy": params.Strategy,
    "finetune.strategy.among": params.FixedStrategy,
    "distill.student": params.Student,
    "evaluate.baselines": params.Baseline,
}
# What is possible, by hand: inputs | tasks | sources | formats (- if the source has none) | base models.
TABLES, ENCODERS = "delimited parquet jsonl lines", "wheel joined hub local registered run"
FILES = "wheel hub local package"
PICTURES = f"{ENCODERS} timm"
SOUNDS = f"{PICTURES} whisper"
POSSIBLE = f"""
text       | classes labels numbers tokens | {FILES}                   | {TABLES}               | {ENCODERS}
text       | classes labels numbers        | local package             | documents              | {ENCODERS}
text       | tokens                        | {FILES}                   | conll token_xml        | {ENCODERS}
text       | spans                         | {FILES}                   | {TABLES} squad         | {ENCODERS}
text       | classes labels                | apt                       | parquet                | {ENCODERS}
text       | classes labels                | sklearn                   | jsonl                  | {ENCODERS}
text       | sequence                      | {FILES}                   | {TABLES}               | {ENCODERS} encoder_decoder
text       | sequence                      | local package             | documents              | {ENCODERS} encoder_decoder
text       | sequence                      | apt                       | parquet                | {ENCODERS} encoder_decoder
text       | sequence                      | sklearn                   | jsonl                  | {ENCODERS} encoder_decoder
images     | classes                       | folder idx digits torchvision {FILES} | -          | {PICTURES}
images     | labels numbers                | {FILES}                   | -                      | {PICTURES}
images     | classes labels numbers        | table                     | {TABLES}               | {PICTURES}
audio      | classes                       | folder {FILES}            | -                      | {SOUNDS}
audio      | labels numbers                | {FILES}                   | -                      | {SOUNDS}
audio      | classes labels numbers        | table                     | {TABLES}               | {SOUNDS}
image_text | classes                       | folder {FILES}            | -                      | image_text registered run
image_text | labels numbers                | {FILES}                   | -                      | image_text registered run
image_text | classes labels numbers        | table                     | {TABLES}               | image_text registered run
"""  # noqa: E501


def kinds(union: Any) -> list[str]:
    """Return the kinds of a union of sections."""
    sections = get_args(get_args(union)[0])
    return [get_args(section.model_fields["kind"].annotation)[0] for section in sections]


def possible() -> Iterator[tuple[str, ...]]:
    for line in POSSIBLE.strip().splitlines():
        yield from itertools.product(*(part.split() for part in line.split("|")))


def every() -> Iterator[tuple[str, ...]]:
    inputs = kinds(params.Preprocess)
    for input_, task, source, base in itertools.product(
        inputs, kinds(params.Task), kinds(params.Source), kinds(params.Base)
    ):
        described = input_ == "text" or source == "table"
        for form in kinds(params.Format) if described else ["-"]:
            yield input_, task, source, form, base


@pytest.mark.parametrize("section", UNIONS)
def test_the_table_has_every_kind_and_no_other(section: str) -> None:
    assert set(combinations.TABLE[section]) == set(kinds(UNIONS[section]))


def test_the_table_has_no_other_section() -> None:
    assert set(combinations.TABLE) == set(UNIONS)
    known = {key: set(kinds(union)) for key, union in UNIONS.items()}
    known["preprocess"] = set(kinds(params.Preprocess))
    for row in itertools.chain(
        (row for rows in combinations.TABLE.values() for row in rows.values()), (key.kinds for key in KEYS)
    ):
        for key, values in row.allowed().items():
            assert set(values) <= known[key.removesuffix(".kind")]


def test_a_combination_is_possible_or_refused() -> None:
    allowed, count = set(possible()), 0
    for combination in every():
        input_, task, source, form, base = combination
        own = {"format": SimpleNamespace(kind=form)} if form != "-" else {}
        asked: Any = SimpleNamespace(
            preprocess=SimpleNamespace(kind=input_, **(own if input_ == "text" else {})),
            task=SimpleNamespace(kind=task),
            source=SimpleNamespace(kind=source, **(own if source == "table" else {})),
            base=SimpleNamespace(kind=base),
        )
        lines = list(combinations.problems(asked))
        assert (not lines) == (combination in allowed), (combination, lines)
        places = [line.partition(" is ")[0] for line in lines]
        assert len(set(places)) == len(places), lines  # one line says all about a key
        for line in lines:
            assert ": set " in line and " but " in line, line
        count += 1
    assert count > 5_000


@functools.cache
def recipe_of(path: Path) -> dict[str, Any]:
    return params.read_raw(path)


def shipped(keys: str) -> dict[str, Any]:
    """Return an example of each kind of a section, from the recipes."""
    found: dict[str, Any] = {}
    for path in sorted(RECIPES.glob("*.yaml")):
        node: Any = recipe_of(path)
        for key in keys.split("."):
            node = node.get(key, {})
        if node:
            found.setdefault(node["kind"], node)
    return found


def problems(raw: dict[str, Any]) -> str:
    """Return the problems of params; none if they are valid."""
    try:
        params.checked(raw, params.PATH)
    except ParamsError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "recipe",
    [
        "csv",
        "labels-csv",
        "numbers-csv",
        "tokens-conll",
        "sequence-csv",
        "image-folder",
        "audio-folder",
        "image-text-csv",
    ],
)
def test_a_recipe_takes_another_source_or_base_if_that_is_possible(recipe: str) -> None:
    raw = copy.deepcopy(recipe_of(RECIPES / f"{recipe}.yaml"))
    input_, task = raw["preprocess"]["kind"], raw["task"]["kind"]
    form = (raw["preprocess"].get("format") or raw["source"].get("format") or {"kind": "-"})["kind"]
    source, base = raw["source"]["kind"], raw["base"]["kind"]
    allowed = set(possible())
    for kind, other in shipped("base").items():
        own = copy.deepcopy(raw) | {"base": other}
        assert ("- base.kind is" in problems(own)) != ((input_, task, source, form, kind) in allowed)
    for kind, other in shipped("source").items():
        own = copy.deepcopy(raw) | {"source": other}
        fits = any(each[:3] == (input_, task, kind) for each in allowed)
        assert ("- source.kind is" in problems(own)) != fits, (kind, recipe)
    if input_ == "text":
        for kind, other in shipped("preprocess.format").items():
            own = copy.deepcopy(raw)
            own["preprocess"]["format"] = other
            fits = (input_, task, source, kind, base) in allowed
            assert ("- preprocess.format.kind is" in problems(own)) != fits, (kind, recipe)


@pytest.mark.parametrize(
    ("recipe", "edit", "line"),
    [
        (
            "csv",
            {"base": {"kind": "timm", "architecture": "a", "arguments": {}, "weights": None, "licence": "-"}},
            (
                "base.kind is timm, but preprocess.kind is text: set base.kind to hub, joined, local, "
                "registered, run or wheel, or set preprocess.kind to audio or images"
            ),
        ),
        (
            "csv",
            {"source": {"kind": "digits", "licence": "-"}},
            (
                "source.kind is digits, but preprocess.kind is text: set source.kind to apt, hub, local, "
                "package, sklearn or wheel, or set preprocess.kind to images"
            ),
        ),
        (
            "digits-vit",
            {"task": {"kind": "labels", "separator": "|"}},
            (
                "source.kind is digits, but task.kind is labels: set source.kind to hub, local, package, "
                "table or wheel, or set task.kind to classes"
            ),
        ),
        (
            "digits-vit",
            {"task": {"kind": "tokens", "words": "space"}},
            (
                "task.kind is tokens, but preprocess.kind is images: set task.kind to classes, labels or "
                "numbers, or set preprocess.kind to text"
            ),
        ),
        (
            "debian-sections",
            {"preprocess": {"format": {"kind": "documents", "encoding": "auto"}}},
            (
                "preprocess.format.kind is documents, but source.kind is apt: set preprocess.format.kind to "
                "parquet, or set source.kind to local or package"
            ),
        ),
        (
            "numbers-csv",
            {"preprocess": {"checks": {"small_class": "drop"}}},
            "preprocess.checks.small_class is drop, but task.kind is numbers: set it to keep",
        ),
        (
            "sequence-csv",
            {"base": {"positions": 8, "architecture": "bart"}},
            "task.target_length is 96, but base.positions is 8: raise base.positions to at least 128",
        ),
        (
            "stamps",
            {"base": {"weights": {"std": [0.5, 0.0, 0.5]}}},
            "base.weights.std.1: input should be greater than 0; got 0.0",
        ),
    ],
)
def test_the_line_says_what_was_found_and_what_may_be_set(
    recipe: str, edit: dict[str, Any], line: str
) -> None:
    raw = copy.deepcopy(recipe_of(RECIPES / f"{recipe}.yaml"))
    for key, own in edit.items():
        merge(raw, key, own)
    assert line in problems(raw)


def merge(raw: dict[str, Any], key: str, own: Any) -> None:
    if isinstance(own, dict) and "kind" not in own:
        for inner, value in own.items():
            merge(raw[key], inner, value)
    else:
        raw[key] = own
