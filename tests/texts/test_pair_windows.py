"""What is read of a pair is what the tokenizers library makes of it, by the tokenizer's own template."""

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from baton.contracts import input_spec
from baton.errors import ModelError
from baton.params import input_checks
from baton.texts import document_windows, pair_windows

HEAD, TAIL = input_spec.Head(), input_spec.Tail()
WORDS = [f"w{number}" for number in range(40)]
VOCABULARY = {"<pad>": 0, "<unk>": 1, "<s>": 2, "</s>": 3} | {word: 10 + n for n, word in enumerate(WORDS)}
BERT = processors.BertProcessing(("</s>", 3), ("<s>", 2))
ROBERTA = processors.RobertaProcessing(("</s>", 3), ("<s>", 2), add_prefix_space=False)
TEMPLATE = processors.TemplateProcessing(
    single="$A </s>", pair="$A:0 </s>:0 $B:2 </s>:2 <s>:3", special_tokens=[("<s>", 2), ("</s>", 3)]
)


def tokenizer(folder: Path, processor: Any, most: int) -> Tokenizer:
    made = Tokenizer(models.WordLevel(VOCABULARY, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    if processor is not None:
        made.post_processor = processor
    made.save(str(folder / "tokenizer.json"))
    return document_windows.open_tokenizer(folder, most)


def pair(first: int, second: int) -> tuple[str, str]:
    """Return texts of so many different words."""
    return " ".join(WORDS[:first]), " ".join(WORDS[first : first + second])


@pytest.mark.parametrize("processor", [BERT, ROBERTA, TEMPLATE])
@pytest.mark.parametrize("direction", ["right", "left"])
def test_ids_and_types_are_those_of_the_library(tmp_path: Path, processor: Any, direction: str) -> None:
    """`longest_first` of the tokenizers library cuts the same tokens, at either end, for all lengths."""
    made, how = tokenizer(tmp_path, processor, 13), HEAD if direction == "right" else TAIL
    with pair_windows.untruncated(made) as frame:
        assert frame.room == 13 - frame.special
    reference = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    reference.enable_truncation(13, strategy="longest_first", direction=direction)
    for lengths in itertools.product(range(1, 17), range(1, 17)):
        texts = pair(*lengths)
        expected = reference.encode(*texts)
        first, second = (reference.encode(text, add_special_tokens=False).ids for text in texts)
        plain = [[VOCABULARY[word] for word in text.split()] for text in texts]
        found = frame.read(*plain, how)
        assert found.windows == [expected.ids] and found.types == [expected.type_ids], lengths
        assert found.left_out == sum(lengths) - min(sum(lengths), frame.room)
        assert len(first) <= 13 and len(second) <= 13


def test_another_rule_differs_from_the_library(tmp_path: Path) -> None:
    """Negative control: cutting both texts in half does not give the library's tokens."""
    tokenizer(tmp_path, BERT, 13)
    reference = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    reference.enable_truncation(13)
    kept = [sum(side == number for side in reference.encode(*pair(2, 16)).sequence_ids) for number in (0, 1)]
    assert kept == [2, 8] == [*pair_windows.kept(2, 16, 10)] != [5, 5]


def test_windows_go_over_the_second_text_and_repeat_the_first(tmp_path: Path) -> None:
    with pair_windows.untruncated(tokenizer(tmp_path, BERT, 13)) as frame:
        first, second = [11, 12, 13], list(range(20, 39))
        windows = input_spec.Windows(most=8, overlap=2)
        found = frame.read(first, second, windows)
    # 7 of the 10 own tokens are left for the second text: 19 tokens in ceil((19 - 2) / (7 - 2)) = 4 windows.
    parts = [frame.sides(window) for window in found.windows]
    assert [part[0] for part in parts] == [first] * 4
    assert [len(part[1]) for part in parts] == [6, 6, 6, 7] and found.left_out == 0
    assert all(one[1][-2:] == two[1][:2] for one, two in itertools.pairwise(parts))
    assert found.types == [[0] * 5 + [1] * (len(part[1]) + 1) for part in parts]
    few = frame.read(first, second, input_spec.Windows(most=2, overlap=0))
    assert [frame.sides(window)[1] for window in few.windows] == [second[:7], second[12:]]
    assert few.left_out == 5
    # A first text that is too long is cut to half the room; one beside a short second text, to the rest.
    both = [frame.sides(window) for window in frame.read(second, second, windows).windows]
    assert {len(first) for first, _ in both} == {5} == {max(len(second) for _, second in both)}
    assert frame.read(second, first, windows).windows == frame.read(second, first, HEAD).windows


@pytest.mark.parametrize("processor", [BERT, ROBERTA])
def test_the_largest_overlap_that_params_allow_leaves_each_window_something_new(
    tmp_path: Path, processor: Any
) -> None:
    """Half of a short window, less its special tokens, may be less than a quarter of `max_length`."""
    sizes = np.array([*itertools.product(range(1, 20), range(1, 20))])
    for length in range(8, 40):
        how = input_spec.Windows(3, input_checks.most_overlap(length))
        with pair_windows.untruncated(tokenizer(tmp_path, processor, length)) as frame:
            costs = pair_windows.costs(sizes[:, 0], sizes[:, 1], frame.room, frame.special, how)
            assert (costs > sizes.sum(axis=1).clip(max=length - frame.special)).all()
            assert all(frame.read([5] * int(a), [6] * int(b), how).windows for a, b in sizes)


@pytest.mark.parametrize("how", [HEAD, TAIL, input_spec.HeadTail(0.3), input_spec.Windows(3, 2)], ids=str)
def test_costs_are_the_tokens_of_all_windows(tmp_path: Path, how: input_spec.Truncation) -> None:
    with pair_windows.untruncated(tokenizer(tmp_path, BERT, 13)) as frame:
        sizes = np.array([*itertools.product(range(20), range(20))])
        found = pair_windows.costs(sizes[:, 0], sizes[:, 1], frame.room, frame.special, how)
        read = [frame.read([11] * int(first), [12] * int(second), how) for first, second in sizes]
    assert found.tolist() == [sum(map(len, own.windows)) for own in read]
    assert max(len(window) for own in read for window in own.windows) == 13


@pytest.mark.parametrize(
    "processor",
    [
        None,
        processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 2), ("</s>", 3)]),
        processors.TemplateProcessing(
            single="<s> $A", pair="<s> $A $B </s>", special_tokens=[("<s>", 2), ("</s>", 3)]
        ),
    ],
)
def test_a_tokenizer_without_a_template_for_pairs_is_refused(tmp_path: Path, processor: Any) -> None:
    with pytest.raises(ModelError, match="no template for pairs of texts") as caught:
        pair_windows.pair_frame(tokenizer(tmp_path, processor, 13))
    assert "text_pair_column" in str(caught.value)


@pytest.mark.parametrize(
    ("family", "expected"),
    [("bert", True), ("electra", True), ("albert", True), ("distilbert", False), ("roberta", False)],
)
def test_only_encoders_with_several_token_types_take_them(family: str, expected: bool) -> None:
    from transformers import AutoConfig, AutoModel

    settings = {"type_vocab_size": 1} if family == "roberta" else {}
    config = AutoConfig.for_model(
        family,
        **settings,
        **({"dim": 8, "n_layers": 1, "n_heads": 1, "hidden_dim": 8} if family == "distilbert" else {}),
        **dict(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8),
    )
    assert pair_windows.takes_types(AutoModel.from_config(config)) is expected
    assert not pair_windows.takes_types(SimpleNamespace(config=SimpleNamespace(), forward=lambda: None))


@pytest.mark.parametrize("how", [HEAD, TAIL, input_spec.Windows(3, 2), input_spec.Windows(8, 0)], ids=str)
def test_places_are_those_of_the_second_texts_tokens(tmp_path: Path, how: input_spec.Truncation) -> None:
    """The token at a word's place is that word, in the window where it is farthest from both ends."""
    with pair_windows.untruncated(tokenizer(tmp_path, BERT, 13)) as frame:
        for first, second in itertools.product((1, 3, 12), (1, 6, 7, 20, 40)):
            ids = list(range(100, 100 + second))
            read = frame.read([11] * first, ids, how)
            flat = [token for window in read.windows for token in window]
            found = frame.places(first, second, np.array([*range(second), -1]), how)
            parts = [frame.sides(window)[1] for window in read.windows]
            starts = np.cumsum([0, *map(len, read.windows)])
            for token, place in zip([*ids, -1], found.tolist(), strict=True):
                around = [
                    min(part.index(token), len(part) - 1 - part.index(token)) if token in part else -1
                    for part in parts
                ]
                if max(around) < 0:
                    assert place == -1
                else:
                    window = int(np.searchsorted(starts, place, side="right")) - 1
                    assert flat[place] == token and window == around.index(max(around))
