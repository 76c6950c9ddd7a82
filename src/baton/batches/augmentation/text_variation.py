"""Text augmentation, set by params `augmentation`: a pure function of (seed, epoch, sample id) per document.

Input: token arrays, and the special tokens around and between texts, which are never moved, left out or
masked. Output: the arrays of some documents with their tokens swapped, left out and masked, each window by
itself, and the shares of mixup. Each operation has its own numbers, so switching one on or off does not
affect the others.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from baton import params
from baton.arrays import unknown_tokens
from baton.arrays.text_arrays import TextArrays
from baton.batches.augmentation.mixing import drawn_shares
from baton.batches.augmentation.random_streams import Generators
from baton.contracts.input_spec import TextInput
from baton.errors import ModelError
from baton.texts import document_windows, pair_windows
from baton.texts.document_windows import Frame
from baton.texts.pair_windows import PairFrame

DRAWS = 4  # per token: whether it is swapped, with which, whether it is left out, whether it is masked
TOKENS, MIXING = 0, 1  # a sample's streams of numbers
MASK = re.compile(r"\W*mask\W*", re.IGNORECASE)  # [MASK], <mask>


@dataclass(frozen=True)
class TextVariation:
    """The operations on the documents of a split."""

    settings: params.TextAugmentation
    frame: Frame | PairFrame
    mask: int | None  # the token that takes a masked one's place; None: none is masked

    @property
    def mixes(self) -> bool:
        """Whether documents are mixed with each other."""
        return self.settings.mixup > 0

    def documents(
        self,
        arrays: TextArrays,
        rows: NDArray[np.int64],
        keys: NDArray[np.uint64],
        seed: int,
        epoch: int,
    ) -> TextArrays:
        """Return the documents at `rows` (documents,), varied.

        Args:
            arrays: those of the split.
            rows: documents, in the order of the result.
            keys: of these documents, (documents,), from `random_streams.keys`.
            seed: of the training run.
            epoch: counted from 0.
        """
        generators, bounds = Generators(seed, epoch, TOKENS), arrays.documents
        tokens, types = [], []
        for row, key in zip(rows, keys, strict=True):
            generator = generators.of(key)
            for place in [row] if bounds is None else range(bounds[row], bounds[row + 1]):
                own = slice(arrays.offsets[place], arrays.offsets[place + 1])
                made, kept = self.window(arrays.tokens[own], generator)
                tokens.append(made[kept])
                if arrays.types is not None:
                    types.append(arrays.types[own][kept])
        return TextArrays(
            np.concatenate(tokens),
            np.concatenate([[0], np.cumsum([len(window) for window in tokens])]),
            arrays.targets.part(rows),
            None if bounds is None else np.concatenate([[0], np.cumsum(np.diff(bounds)[rows])]),
            np.concatenate(types) if types else None,
        )

    def window(
        self, tokens: NDArray[np.int32], generator: np.random.Generator
    ) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """Return a window's tokens, swapped and masked, and which of them are kept, (tokens,) both."""
        settings = self.settings
        drawn = generator.random((len(tokens), DRAWS))
        made, kept = tokens.copy(), np.ones(len(tokens), np.bool_)
        for text in self._texts(tokens):
            swapping, other, deleting, masking = drawn[text].T
            words = swapped(tokens[text], swapping < settings.swap, other)
            left = ~chosen(deleting, settings.delete, np.ones(len(words), np.bool_))
            if self.mask is not None:
                words[chosen(masking, settings.mask, left)] = self.mask
            made[text], kept[text] = words, left
        return made, kept

    def shares(self, keys: NDArray[np.uint64], seed: int, epoch: int) -> NDArray[np.float32]:
        """Return the share of each document of its own in mixup, (documents,)."""
        drawn = Generators(seed, epoch, MIXING).uniform(keys, 1)[:, 0]
        return drawn_shares(self.settings.mixup, drawn).astype(np.float32)

    def _texts(self, window: NDArray[np.int32]) -> Iterator[slice]:
        """Yield the place of each text's own tokens in a window."""
        frame = self.frame
        if isinstance(frame, Frame):
            yield slice(len(frame.before), len(window) - len(frame.after))
            return
        first, second = map(len, frame.sides(window.tolist()))
        start, end = len(frame.before.ids), len(window) - len(frame.after.ids)
        yield slice(start, start + first)
        yield slice(end - second, end)


def swapped(
    tokens: NDArray[np.int32], marked: NDArray[np.bool_], other: NDArray[np.float64]
) -> NDArray[np.int32]:
    """Return the tokens of a text, (tokens,), with those that are marked swapped with another, one by one.

    EDA's random swap (Wei & Zou 2019, section 2); `other`, from 0 to 1, draws the place of the other one.
    """
    made, rest = tokens.copy(), len(tokens) - 1
    if not rest > 0:
        return made
    for place in np.flatnonzero(marked):
        drawn = int(other[place] * rest)
        second = drawn + int(drawn >= place)  # any place but its own
        made[place], made[second] = made[second], made[place]
    return made


def chosen(drawn: NDArray[np.float64], share: float, among: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which tokens of a text, (tokens,), are chosen with probability `share`, never all `among` them.

    If all were, the one with the largest number stays: each is as likely.
    """
    found = among & (drawn < share)
    if found.any() and (found == among).all():
        found[np.where(among, drawn, -1).argmax()] = False
    return found


def of(settings: params.TextAugmentation, tokenizer: Path, reads: TextInput) -> TextVariation:
    """Return the variation of texts that a model reads by the tokenizer in a folder.

    Raises:
        ModelError: If tokens are to be masked, but the tokenizer has no token for it.
    """
    own = document_windows.open_tokenizer(tokenizer, reads.max_length)
    frame = pair_windows.pair_frame(own) if reads.pair else document_windows.frame(own)
    mask = mask_token(own) if settings.mask else None
    if settings.mask and mask is None:
        raise ModelError(
            "augmentation.mask: the tokenizer has neither a mask token nor an unknown token",
            got=f"mask {settings.mask}",
            expected="mask 0.0 with this base model",
            hint="set augmentation.mask to 0.0",
        )
    return TextVariation(settings, frame, mask)


def mask_token(tokenizer: Tokenizer) -> int | None:
    """Return the id of a tokenizer's mask token, or else of its unknown token; None: it has neither."""
    special = sorted(tokenizer.get_added_tokens_decoder().items())
    named = [number for number, one in special if one.special and MASK.fullmatch(one.content)]
    return named[0] if named else unknown_tokens.token(tokenizer)
