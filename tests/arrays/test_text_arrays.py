"""Texts to memory-mapped token ids."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tokenizers import processors

from baton.arrays import text_arrays
from baton.errors import DataError, ModelError
from baton.texts import document_windows
from tests import tiny


@pytest.fixture(scope="module")
def arrays(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("arrays")
    base, clean = tiny.write_base(root / "base"), tiny.write_clean(root / "clean")
    (root / "arrays").mkdir()
    for split in text_arrays.SPLITS:
        text_arrays.tokenize(
            clean / f"{split}.parquet",
            document_windows.open_tokenizer(base, 16),
            root / "arrays",
            5,
            lambda count: None,
            tiny.TASK,
        )
    return root


def test_arrays_hold_what_the_tokenizer_of_transformers_gives(arrays: Path) -> None:
    from transformers import AutoTokenizer

    opened = text_arrays.open_arrays(arrays / "arrays", "train", tiny.TASK)
    reference = AutoTokenizer.from_pretrained(arrays / "base")
    texts = pq.read_table(arrays / "clean" / "train.parquet")["text"].to_pylist()
    for row, document in enumerate(texts):
        expected = reference(document, truncation=True, max_length=16)["input_ids"]
        assert opened.tokens[opened.offsets[row] : opened.offsets[row + 1]].tolist() == expected
    assert isinstance(opened.tokens, np.memmap)


def test_ids_and_labels_keep_the_order_of_the_table(arrays: Path) -> None:
    table = pq.read_table(arrays / "clean" / "test.parquet")
    assert text_arrays.read_ids(arrays / "arrays", "test") == table["id"].to_pylist()
    assert (
        text_arrays.open_arrays(arrays / "arrays", "test", tiny.TASK).targets.all.tolist()
        == table["label"].to_pylist()
    )


def test_chunk_size_does_not_change_a_byte(arrays: Path, tmp_path: Path) -> None:
    tokenizer = document_windows.open_tokenizer(arrays / "base", 16)
    text_arrays.tokenize(
        arrays / "clean" / "train.parquet", tokenizer, tmp_path, 1000, lambda count: None, tiny.TASK
    )
    for name in ("tokens.npy", "offsets.npy", "targets.npy"):
        assert (tmp_path / f"train.{name}").read_bytes() == (arrays / "arrays" / f"train.{name}").read_bytes()


def test_the_tokenizer_truncates_again_afterwards(arrays: Path, tmp_path: Path) -> None:
    tokenizer = document_windows.open_tokenizer(arrays / "base", 6)
    text_arrays.tokenize(
        arrays / "clean" / "test.parquet", tokenizer, tmp_path, 5, lambda count: None, tiny.TASK
    )
    assert len(tokenizer.encode(" ".join(["wheat"] * 50)).ids) == 6
    with pytest.raises(TypeError):  # also after an error: a row without text
        broken = pa.table({"id": ["1"], "text": pa.array([None], pa.string()), "label": [0]})
        pq.write_table(broken, tmp_path / "broken.parquet")
        text_arrays.tokenize(
            tmp_path / "broken.parquet", tokenizer, tmp_path, 5, lambda count: None, tiny.TASK
        )
    assert len(tokenizer.encode(" ".join(["wheat"] * 50)).ids) == 6


@pytest.mark.parametrize("template", ["[CLS] $A", "$A [SEP]", "$A", "[CLS] [CLS] $A [SEP]"])
def test_special_tokens_stand_where_the_tokenizer_puts_them(
    arrays: Path, tmp_path: Path, template: str
) -> None:
    tokenizer = document_windows.open_tokenizer(arrays / "base", 6)
    tokenizer.post_processor = processors.TemplateProcessing(
        template, special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    text_arrays.tokenize(
        arrays / "clean" / "test.parquet", tokenizer, tmp_path, 5, lambda count: None, tiny.TASK
    )
    opened = text_arrays.open_arrays(tmp_path, "test", tiny.TASK)
    for row, document in enumerate(pq.read_table(arrays / "clean" / "test.parquet")["text"].to_pylist()):
        assert (
            opened.tokens[opened.offsets[row] : opened.offsets[row + 1]].tolist()
            == tokenizer.encode(document).ids
        )


def test_special_tokens_inside_a_document_are_refused(arrays: Path, tmp_path: Path) -> None:
    tokenizer = document_windows.open_tokenizer(arrays / "base", 6)
    tokenizer.post_processor = processors.TemplateProcessing("$A [SEP] $A", special_tokens=[("[SEP]", 3)])
    with pytest.raises(ModelError, match="special tokens inside a document"):
        text_arrays.tokenize(
            arrays / "clean" / "test.parquet", tokenizer, tmp_path, 5, lambda count: None, tiny.TASK
        )


def test_truncation_is_counted_and_lengths_are_those_before_it(arrays: Path, tmp_path: Path) -> None:
    table = arrays / "clean" / "test.parquet"
    whole = text_arrays.tokenize(
        table,
        document_windows.open_tokenizer(arrays / "base", 64),
        tmp_path,
        5,
        lambda count: None,
        tiny.TASK,
    )
    cut = text_arrays.tokenize(
        table, document_windows.open_tokenizer(arrays / "base", 6), tmp_path, 5, lambda count: None, tiny.TASK
    )
    assert whole["truncated"] == 0
    assert (
        0
        < cut["truncated"]
        == int((text_arrays.open_arrays(tmp_path, "test", tiny.TASK).lengths == 6).sum())
        - _exactly(arrays, 6)
    )
    assert cut["lengths"] == whole["lengths"]


def _exactly(arrays: Path, length: int) -> int:
    tokenizer = document_windows.open_tokenizer(arrays / "base", 64)
    texts = pq.read_table(arrays / "clean" / "test.parquet")["text"].to_pylist()
    return sum(len(tokenizer.encode(item).ids) == length for item in texts)


def test_a_folder_without_tokenizer_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(
        ModelError, match=r"has no tokenizer[\s\S]*config\.json[\s\S]*expected: tokenizer\.json"
    ):
        document_windows.open_tokenizer(tmp_path, 16)


def test_a_broken_tokenizer_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ModelError, match=r"tokenizer\.json is not a tokenizer"):
        document_windows.open_tokenizer(tmp_path, 16)


@pytest.mark.parametrize(
    ("config", "most"),
    [
        ({"max_position_embeddings": 64}, 64),
        ({"max_position_embeddings": 514, "model_type": "roberta", "pad_token_id": 1}, 512),
        ({"max_position_embeddings": 50}, 48),  # a batch of 49 tokens is padded to 56
    ],
)
def test_a_length_that_the_model_cannot_read_is_refused(config: dict[str, object], most: int) -> None:
    text_arrays.check_length(config, most)
    with pytest.raises(ModelError, match=f"at most {most}"):
        text_arrays.check_length(config, most + 1)


def test_arrays_that_do_not_fit_together_are_refused(arrays: Path, tmp_path: Path) -> None:
    text_arrays.tokenize(
        arrays / "clean" / "test.parquet",
        document_windows.open_tokenizer(arrays / "base", 16),
        tmp_path,
        5,
        lambda count: None,
        tiny.TASK,
    )
    np.save(tmp_path / "test.targets.npy", np.zeros(3, dtype=np.int64))
    with pytest.raises(DataError, match="do not match"):
        text_arrays.open_arrays(tmp_path, "test", tiny.TASK)
