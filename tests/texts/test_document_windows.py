"""Tests of the parts read of a long document: examples by hand, and properties."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from baton.arrays import text_arrays
from baton.contracts import input_spec
from baton.texts import document_windows

TAIL, HEAD_TAIL = input_spec.Tail(), input_spec.HeadTail(head=0.25)
RULES: list[input_spec.Truncation] = [
    text_arrays.HEAD,
    TAIL,
    HEAD_TAIL,
    *(input_spec.Windows(most=most, overlap=overlap) for most, overlap in ((2, 0), (3, 4), (8, 0), (8, 5))),
]
FRAME = document_windows.Frame([101], [102], 10)


def windows(most: int, overlap: int = 0) -> input_spec.Windows:
    return input_spec.Windows(most=most, overlap=overlap)


def own(ids: list[int], rule: input_spec.Truncation) -> list[list[int]]:
    """Return the windows without the special tokens that must surround each."""
    read, _ = FRAME.read(ids, rule)
    assert all((window[0], window[-1]) == (101, 102) for window in read)
    return [window[1:-1] for window in read]


def test_by_hand() -> None:
    ids = list(range(24))
    assert own(ids, text_arrays.HEAD) == [ids[:10]]
    assert own(ids, TAIL) == [ids[14:]]
    assert own(ids, HEAD_TAIL) == [[0, 1, 16, 17, 18, 19, 20, 21, 22, 23]]  # round(2.5) is 2
    assert own(ids, windows(8)) == [ids[:8], ids[8:16], ids[16:]]
    assert own(ids, windows(8, overlap=3)) == [ids[:10], ids[7:17], ids[14:]]
    assert own(ids, windows(2)) == [ids[:10], ids[14:]]
    assert own(list(range(30)), windows(2)) == [list(range(10)), list(range(20, 30))]
    assert own(list(range(40)), windows(3)) == [list(range(10)), list(range(15, 25)), list(range(30, 40))]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_properties(rule: input_spec.Truncation) -> None:
    for length in range(200):
        ids = list(range(length))
        found, (read, left_out) = own(ids, rule), FRAME.read(ids, rule)
        seen = {token for window in found for token in window}
        assert left_out == length - len(seen)
        assert all(window == sorted(set(window)) and len(window) <= FRAME.room for window in found), (
            "in order, and no longer than the room"
        )
        assert (
            sum(map(len, read))
            == document_windows.costs(np.array([length]), FRAME.room, FRAME.special, rule)[0]
        )
        if length <= FRAME.room:
            assert found == [ids]
        elif isinstance(rule, input_spec.Windows):
            assert len(found) <= rule.most and found[0][0] == 0 and found[-1][-1] == length - 1, (
                "from the first token to the last"
            )
            assert max(map(len, found)) - min(map(len, found)) <= 1
            if length <= rule.most * (FRAME.room - rule.overlap) + rule.overlap:
                assert left_out == 0 and all(
                    len(set(one) & set(two)) == rule.overlap for one, two in itertools.pairwise(found)
                )
            else:
                assert len(found) == rule.most and {len(window) for window in found} == {FRAME.room}
        else:
            assert len(found) == 1 and len(found[0]) == FRAME.room


def test_another_rule_is_found() -> None:
    """Negative control: consecutive windows, the last of which is short, are different windows."""

    def behind(ids: list[int], most: int) -> list[list[int]]:
        return [ids[start : start + FRAME.room] for start in range(0, len(ids), FRAME.room)][:most]

    differs: list[Any] = [
        length
        for length in range(200)
        if behind(list(range(length)), 8) != own(list(range(length)), windows(8))
    ]
    assert 11 in differs and 10 not in differs and 20 not in differs


CONTROLS = ["<pad>", "</s>", "<unk>"]
LETTERS = list("abs</>pdunk")
PIECES = [*((name, 0.0) for name in CONTROLS), ("\u2581", -2.0), *((letter, -3.0) for letter in LETTERS)]
PLAIN = ["", "a < b", "ab/s>a", "sab  ba", "<"]


def unigram() -> Tokenizer:
    """Return one like T5's: its control tokens have the score 0, the highest."""
    made = Tokenizer(models.Unigram(PIECES, 2, False))
    made.normalizer, made.pre_tokenizer = normalizers.NFKC(), pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    return made


def word_pieces() -> Tokenizer:
    vocabulary = [*CONTROLS, *LETTERS, *("##" + letter for letter in LETTERS)]
    made = Tokenizer(models.WordPiece({word: n for n, word in enumerate(vocabulary)}, unk_token="<unk>"))
    made.pre_tokenizer, made.decoder = pre_tokenizers.BertPreTokenizer(), decoders.WordPiece(cleanup=False)
    return made


def byte_pairs() -> Tokenizer:
    """Return one that looks up whole words before it merges, as that of Llama 3 does."""
    vocabulary = [*CONTROLS, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    made = Tokenizer(models.BPE({word: n for n, word in enumerate(vocabulary)}, [], ignore_merges=True))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = decoders.ByteLevel()
    return made


def words() -> Tokenizer:
    made = Tokenizer(
        models.WordLevel({word: n for n, word in enumerate([*CONTROLS, "a", "b"])}, unk_token="<unk>")
    )
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return made


@pytest.mark.parametrize("family", [unigram, word_pieces, byte_pairs, words])
def test_a_text_cannot_write_control_tokens(tmp_path: Path, family: Any) -> None:
    """`</s>` in a text is read as its characters, and other texts are read as before."""
    reference = family()
    reference.add_special_tokens(CONTROLS)
    reference.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    reference.save(str(tmp_path / "tokenizer.json"))
    made = document_windows.open_tokenizer(tmp_path, 64)
    unknown = {2} if family is words else set[int]()  # whose vocabulary lacks the characters
    wide = ["a\uff1c/s\uff1eb"] if family is unigram else []  # NFKC makes `a</s>b` of it
    for text in ["a</s>b", "</s>", "<pad> <unk></s></s>", "a </s> b", "<</s>", *wide]:
        own = made.encode(text)
        assert set(own.ids[:-1]).isdisjoint({0, 1, 2} - unknown) and own.ids[-1] == 1, own.tokens
        assert set(reference.encode(text).ids[:-1]) & {0, 1, 2}, "negative control"
        if family in (unigram, byte_pairs):
            assert made.decode(own.ids, skip_special_tokens=True) == ("a</s>b" if text in wide else text)
    for text in PLAIN:
        assert made.encode(text).ids == reference.encode(text).ids
