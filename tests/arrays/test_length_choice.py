"""The length to read, chosen from the data under a limit on the cost."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from baton import console, params, storage
from baton.arrays import length_choice, text_arrays
from baton.contracts import input_spec
from baton.errors import DataError
from tests import tiny

ROOT = Path(__file__).parents[2]
# Tokens of 100 documents, without the two special ones.
OWN = np.repeat([30, 100, 190, 1000], [50, 30, 15, 5])
AUTO = {"kind": "auto", "whole": 0.95, "least": 32, "most": 256, "tokens": 10**9}
WINDOWS = input_spec.Windows(most=8, overlap=0)


def choose(
    truncation: input_spec.Truncation = text_arrays.HEAD,
    positions: int | None = 512,
    documents: int = 100,
    **changes: Any,
) -> length_choice.Choice:
    return length_choice.choose(
        OWN[None], documents, 2, params.AutoLength.model_validate(AUTO | changes), truncation, positions
    )


def test_the_smallest_multiple_of_16_that_leaves_the_share_whole() -> None:
    assert [choose(whole=share).max_length for share in (0.5, 0.8, 0.95, 0.96)] == [32, 112, 192, 256]
    assert choose(whole=0.5, least=64).max_length == 64
    assert "95% of train's documents are whole in 192 tokens; a pass over train is 8,500 tokens" in str(
        choose().reason
    )
    assert "256 tokens, the most that is allowed" in str(choose(whole=0.96).reason)
    found = choose(positions=120)
    assert found.max_length == 112 and "the most that is known to the base model" in str(found.reason)


def test_the_limit_on_tokens_takes_windows_first_and_then_length() -> None:
    # With 192 tokens the long documents need six windows: 50 * 32 + 30 * 102 + 15 * 192 + 5 * (1000 + 6 * 2).
    assert choose(WINDOWS).truncation == WINDOWS and "a pass over train is 12,600 tokens" in str(
        choose(WINDOWS).reason
    )
    fewer = choose(WINDOWS, tokens=10_000)  # one window of each long document: 5 * 192
    assert (fewer.max_length, fewer.truncation) == (
        192,
        input_spec.Windows(most=2, overlap=0),
    )
    limit = "the limit of 10,000 tokens a pass over train allows 2 windows of 192 tokens of a document"
    assert f"{limit}; it would be 12,600" in str(fewer.reason)
    shorter = choose(WINDOWS, tokens=7_000)
    # In one window: 50 * 32 + 30 * 102 + 20 * 112 = 6,900 tokens; with 128 instead of 112 it is 7,220.
    assert (shorter.max_length, shorter.truncation) == (112, text_arrays.HEAD)
    assert choose(WINDOWS, tokens=1, least=64).max_length == 64, "`least` is read at any cost"
    assert choose(documents=1_000_000, tokens=70_000_000).max_length == 112


def test_lengths_are_of_rows_that_lie_evenly_over_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(length_choice, "SAMPLE", 10)
    base = tiny.write_base(tmp_path / "base")
    # Every tenth row is measured: 1, 11, … 91 tokens.
    rows = [(" ".join(["wheat"] * (row + 1)), 0) for row in range(95)]
    tiny.write_splits(tmp_path / "clean", {"train": rows}, ["grain"])
    settings = params.TextTokenize.model_validate(
        {"kind": "text", "max_length": AUTO | {"whole": 0.5}, "truncation": {"kind": "head"}, "chunk_size": 7}
        | {"unknown": {"named": 0.05, "refused": 0.5}}
    )
    found = length_choice.resolve(settings, base, {}, tmp_path / "clean/train.parquet")
    assert found.max_length == 48  # 41 + 2, rounded up
    assert "50% of train's documents" in str(found.reason)
    fixed = settings.model_copy(update={"max_length": 24})
    assert length_choice.resolve(fixed, base, {}, tmp_path / "clean/train.parquet") == length_choice.Choice(
        24, text_arrays.HEAD
    )


def test_the_stage_says_what_it_chose_and_what_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from stages import tokenize

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(console, "_console", console.Console(width=200))
    tiny.write_base(Path("data/base"))
    long = (" ".join(["wheat"] * 200), 0)  # with 64 positions: four windows of 50, or one of 62
    tiny.write_splits(
        Path("data/clean"),
        {"train": [("wheat corn", 1)] * 3 + [long], "val": [long], "test": [long]},
        ["grain", "ship"],
    )
    raw = params.read_raw(ROOT / "recipes/csv.yaml")
    for truncation, windows, left_out in (
        ({"kind": "windows", "most": 4, "overlap": 0}, 7, 0.0),
        ({"kind": "tail"}, 4, 138 / 206),
    ):
        raw["tokenize"] |= {"max_length": AUTO, "truncation": truncation}
        Path("params.yaml").write_text(json.dumps(raw))
        tokenize.main()
        shown, meta = capsys.readouterr().out, storage.read_json(Path("data/arrays/meta.json"))
        report = storage.read_json(Path("data/arrays/report.json"))["train"]
        assert meta["input"] == {"kind": "text", "max_length": 64, "truncation": truncation, "pad": 0}
        assert "75% of train's documents are whole in 64 tokens" in meta["reasons"]["max_length"]
        assert f"max_length: 64 ({meta['reasons']['max_length']})" in shown
        assert (report["windows"], report["left_out_share"]) == (windows, left_out)
        assert f"{left_out:.1%}" in shown and truncation["kind"] in shown
        arrays = text_arrays.open_arrays(Path("data/arrays"), "train", tiny.TASK)
        assert (len(arrays), int(arrays.windows.sum()), int(arrays.lengths.sum())) == (
            4,
            windows,
            report["tokens"],
        )


def test_windows_that_overlap_by_more_than_half_of_what_the_model_reads_are_refused() -> None:
    overlapping = input_spec.Windows(most=8, overlap=128)
    with pytest.raises(
        DataError,
        match=r"(?s)overlap is too large.*128, but 128 tokens are read.*at most half of the length, 64",
    ):
        choose(overlapping, positions=128, least=256)
    assert choose(overlapping, least=256).max_length == 256


def test_a_pair_counts_with_both_texts() -> None:
    """Both texts and three special tokens must fit; with windows each repeats the first text."""
    own = np.array([[10] * 4, [3, 19, 35, 200]])  # with special tokens 16, 32, 48, 213
    wanted = params.AutoLength.model_validate(AUTO | {"least": 16, "whole": 0.75})
    found = length_choice.choose(own, 4, 3, wanted, text_arrays.HEAD, 512)
    assert found.max_length == 48 and "a pass over train is 144 tokens" in str(found.reason)
    # The last pair: 35 tokens are left for 200, so 6 windows, each with 10 + 3 more.
    found = length_choice.choose(own, 4, 3, wanted, WINDOWS, 512)
    assert found.max_length == 48 and f"a pass over train is {16 + 32 + 48 + 200 + 6 * 13} tokens" in str(
        found.reason
    )
    with pytest.raises(DataError, match="overlap is too large") as caught:
        length_choice.choose(own, 4, 3, wanted, input_spec.Windows(most=8, overlap=13), 512)
    assert "at most a quarter of the length, 12" in str(caught.value)
