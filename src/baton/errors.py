"""The exception tree. Every message says what was found, what was expected and what to do next.

    BatonError
    ├── ParamsError      params.yaml or a recipe is invalid
    ├── SourceError      external bytes are missing, broken or not the pinned ones
    ├── DataError        the content of a table, split or prediction file is unusable
    │   └── UndecodableError  the bytes of an image or clip cannot be decoded
    ├── ModelError       a model folder is incomplete or does not fit the data
    ├── TrainingError    training cannot continue
    ├── TrackingError    an MLflow store cannot be used
    └── OutputError      an output cannot be written

The command line and the stages print these without a traceback and exit 1; any other exception is a bug and
keeps its traceback.
"""

import contextlib
import re
from collections.abc import Iterator

MOST = 6_000  # characters in one part of a message; external text may be of any length
# User and password of an address; of ssh a user alone is no secret.
USERINFO = re.compile(r"(?<!ssh)://[^/?#\s'\"<>]*@|(?<=ssh)://[^/?#\s'\"<>:]*:[^/?#\s'\"<>]*@")
# Control characters, marks that change the writing direction, and lone surrogates (bytes that are not UTF-8).
UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    r"""Return text that is safe on a terminal: control and unprintable characters are escaped (`\r`)."""
    return UNSEEN.sub(lambda match: repr(match[0])[1:-1], text)


def redacted(text: str) -> str:
    """Return text in which no address has a user or a password."""
    return USERINFO.sub("://***@", text)


def one_line(name: str) -> str:
    """Return a file name or label for display: `visible`, and without line breaks."""
    return visible(name).replace("\n", "\\n").replace("\t", "\\t")


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the error's class if there is no message."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


class BatonError(Exception):
    """The base of every error that a user can act on."""

    def __init__(self, problem: str, *, got: object = None, expected: object = None, hint: str = "") -> None:
        """Build the message from its four parts; empty parts are left out.

        Args:
            problem: what is wrong, naming the file, row or key.
            got: what was found.
            expected: what should have been found.
            hint: what to do next.
        """
        lines = [_bounded(problem)]
        if got is not None:
            lines.append(f"  got:      {_bounded(got)}")
        if expected is not None:
            lines.append(f"  expected: {_bounded(expected)}")
        if hint:
            lines.append(f"  next:     {hint}")
        super().__init__(redacted(visible("\n".join(lines))))


@contextlib.contextmanager
def within(place: str) -> Iterator[None]:
    """Put a place in params before the message of an error; its message names keys below that place."""
    try:
        yield
    except BatonError as error:
        error.args = (f"{place}: {error}",)
        raise


def _bounded(part: object) -> str:
    text = str(part)
    return text if len(text) <= MOST else f"{text[:MOST]} … ({len(text) - MOST:,} more characters)"


class ParamsError(BatonError):
    """`params.yaml` or a recipe is invalid."""


class SourceError(BatonError):
    """External bytes are missing, broken or not the pinned ones."""


class DataError(BatonError):
    """The content of a table, split or prediction file is unusable."""


class UndecodableError(DataError):
    """The bytes of an image or clip cannot be decoded.

    `check` names the check of preprocess that rejects them: unreadable or enormous.
    """

    def __init__(self, check: str, reason: str) -> None:
        super().__init__(reason)
        self.check = check


class ModelError(BatonError):
    """A model folder is incomplete or does not fit the data."""


class TrainingError(BatonError):
    """Training cannot continue."""


class TrackingError(BatonError):
    """An MLflow store cannot be used."""


class OutputError(BatonError):
    """An output cannot be written."""
