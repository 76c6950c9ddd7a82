"""Where the units of a row are read: the words of a text, or "no answer" and the words of a context.

Input: the texts of a row, their tokens, and how they are read -> places in the row's concatenated windows.
Served models carry this module.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding

from baton.contracts.input_spec import Truncation
from baton.texts import document_windows, words
from baton.texts.document_windows import Frame
from baton.texts.pair_windows import PairFrame


def find(
    text: str, encodings: Sequence[Encoding], cut: words.Cut, frame: Frame | PairFrame, how: Truncation
) -> NDArray[np.int64]:
    """Return the place of each unit, (units,); -1: no window reads it.

    Those of a pair are "no answer", at the first token of the first window ([CLS] of BERT; Devlin et al.
    2019, section 4.3), and the words of its second text.

    Args:
        text: the one whose words are units: the second of a pair.
        encodings: of the row's text, or both; without special tokens and not truncated.
        cut: how the text is cut into words.
        frame: the special tokens, and the room between them.
        how: how a row that is too long is read.
    """
    own, lengths = words.tokens_of(words.cut(text, cut), encodings[-1].offsets), [*map(len, encodings)]
    if isinstance(frame, PairFrame):
        return np.concatenate([[0], frame.places(lengths[0], lengths[1], own, how)])
    windows = document_windows.windows(lengths[0], frame.room, how)
    return words.places_of(own, windows, lengths[0], len(frame.before), frame.special)
