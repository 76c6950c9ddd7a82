"""Targets that are texts, as arrays: tokens, what is cut, what is unknown."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from baton import params
from baton.arrays import sequence_targets, text_arrays, unknown_tokens
from baton.contracts.task_spec import Sequence
from baton.errors import DataError, ModelError
from baton.texts import document_windows
from tests import tiny_sequences


def test_tokens_are_those_of_the_tokenizer_and_the_texts_are_kept(tmp_path: Path) -> None:
    split = tiny_sequences.split(tmp_path)
    tokenizer = document_windows.open_tokenizer(tmp_path / "arrays", 64)
    texts = pq.read_table(tmp_path / "clean/train.parquet")["target"].to_pylist()
    assert sequence_targets.read_texts(tmp_path / "arrays", "train", "target") == texts
    for row, text in enumerate(texts):
        own = split.targets.part(np.array([row])).values
        assert own.tolist() == tokenizer.encode(text).ids
    assert (split.lengths == split.arrays.lengths + split.targets.counts).all()


def test_targets_that_are_too_long_end_early_and_are_named(tmp_path: Path) -> None:
    task = Sequence(target_length=6, beams=1, validation_rows=4)
    split = tiny_sequences.split(tmp_path, task=task)
    assert split.targets.counts.max() == 6
    ends = split.targets.offsets[1:] - 1
    assert (split.targets.values[ends] == 1).all(), "every target ends with the end token"
    table, encoder = (
        tmp_path / "clean/train.parquet",
        sequence_targets.Encoder(split.targets.spec, tmp_path / "arrays"),
    )
    tokenizer = document_windows.open_tokenizer(tmp_path / "arrays", 48)
    (tmp_path / "again").mkdir()
    found = text_arrays.tokenize(
        table, tokenizer, tmp_path / "again", 7, lambda _: None, split.targets.spec, encoder=encoder
    )["targets"]
    whole = [len(tokenizer.encode(text).ids) for text in pq.read_table(table)["target"].to_pylist()]
    cut = [place for place, length in enumerate(whole) if length > 6]
    assert found["truncated"] == len(cut) > 0
    assert found["first_truncated"] == [f"train:{place + 1}" for place in cut[:5]]
    assert found["lengths"]["max"] == max(whole)
    assert found["tokens"] == sum(min(length, 6) for length in whole)


def test_characters_that_train_lacks_are_counted_and_refused(tmp_path: Path) -> None:
    tiny_sequences.write(tmp_path, tokenizer={"kind": "characters"})
    spec = tiny_sequences.opened(tmp_path).targets.spec
    encoder = sequence_targets.Encoder(spec, tmp_path / "arrays")
    found = sequence_targets.statistics([encoder.encode(["port", "ΩΩ"])], 24, ["a", "b"])
    assert found["unknown"] == {"tokens": 2, "share": 2 / 6, "classes": [], "rows": 1, "first": ["b"]}
    assert spec.unknown == encoder.tokenizer.token_to_id("<unk>") == 2
    limits = params.Unknown(named=0.01, refused=0.2)
    assert "33.3% of the tokens are unknown" in str(unknown_tokens.named("val", found["unknown"], (), limits))
    with pytest.raises(DataError, match="val, targets: the base model's tokenizer does not know"):
        unknown_tokens.check("val, targets", found["unknown"], limits)


def test_a_target_longer_than_the_decoder_s_positions_is_refused() -> None:
    with pytest.raises(ModelError, match=r"task\.target_length is more than the base model can read"):
        text_arrays.check_length({"max_position_embeddings": 64}, 65, "task.target_length")
