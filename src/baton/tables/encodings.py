"""Find how a text file is encoded: read through gzip, refuse other containers, detect or guess the encoding.

UTF-8 always wins if the bytes are valid UTF-8. A guess (charset-normalizer) is used only if all likely
encodings give the same text; otherwise the error shows the text under each of them, and the user decides.
"""

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TextIO

from baton.errors import DataError
from baton.tables import containers

AUTO = "auto"
GZIP = b"\x1f\x8b"
# Byte order marks, the longer ones first.
MARKS = {
    b"\xff\xfe\0\0": "utf-32",
    b"\0\0\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
# In order of preference when several give the same text.
LIKELY = [
    "cp1252",
    "cp1250",
    "cp1251",
    "cp1253",
    "cp1254",
    "cp1255",
    "cp1256",
    "cp1257",
    "koi8_r",
    "mac_roman",
]
LIKELY += ["cp932", "euc_jp", "gb18030", "big5", "cp949"]
SAMPLE = 2**16  # bytes of lines that are not ASCII
# Measures of charset-normalizer: how far off a rival must be, how much of a language must be seen.
MARGIN, LEAST_COHERENCE = 0.03, 0.3
# Share of invalid lines in a file that is otherwise UTF-8: these are left to the check `invalid_utf8`, not
# taken for another encoding.
FEW = 0.01


@dataclass(frozen=True)
class Encoding:
    """The encoding to read a file in, and a remark about it for the user ('' if none)."""

    name: str
    remark: str = ""
    guessed: bool = False


def packed(path: Path) -> bool:
    """Return whether a file is gzip."""
    with path.open("rb") as file:
        return file.read(2) == GZIP


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open the bytes of a file, decompressed if it is gzip, regardless of its name.

    Raises:
        DataError: The gzip is damaged or truncated.
    """
    try:
        with gzip.open(path) if packed(path) else path.open("rb") as file:
            yield file  # type: ignore[misc]  # GzipFile has the methods of a BinaryIO
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        hint = f"download or write it again; `gzip -t {path}` tests it"
        raise DataError(
            f"{path} is a damaged gzip file", got=error, expected="a complete gzip file", hint=hint
        ) from None


@contextmanager
def text(path: Path, encoding: Encoding) -> Iterator[TextIO]:
    """Open the lines of a file; undecodable bytes become lone surrogates, line ends are kept.

    Raises:
        DataError: The file cannot be decoded at all.
    """
    with opened(path) as file:
        try:
            yield io.TextIOWrapper(file, encoding=encoding.name, errors="surrogateescape", newline="")
        except UnicodeError as error:
            hint = "set `encoding` of the format to the actual encoding of the file, or auto"
            raise DataError(
                f"{path} is not valid {encoding.name}", got=error, expected=encoding.name, hint=hint
            ) from None


def find(path: Path, wanted: str, key: str) -> Encoding:
    """Return the encoding to read a text file in.

    Args:
        path: The file.
        wanted: `auto`, or the encoding named in params.
        key: The YAML path of `encoding`, for messages; '' if params do not set it.

    Raises:
        DataError: The file is not text (a spreadsheet, an archive, …), or not UTF-8 and the guess is
            uncertain.
    """
    with opened(path) as file:
        head = file.read(4096)
    containers.refuse(path, head)
    wide = _wide(head)
    if wanted != AUTO:
        form = wanted.lower().replace("_", "-")
        if wide and not form.startswith(("utf-16", "utf-32")):
            hint = f"set {key}: {wide} (or auto), or save it as UTF-8 (`iconv -f {wide} -t utf-8 FILE > NEW`)"
            raise DataError(
                f"{path} is {wide.upper()}", got=containers.start(head), expected=wanted, hint=hint
            )
        if form in ("utf-8", "utf8", "utf-8-sig"):
            return Encoding("utf-8-sig", _other_encoding(path, key))
        # Python's utf-16 needs the mark, and utf-16-le keeps it as a character.
        return Encoding(wide or wanted)
    if wide:
        return Encoding(wide, f"{path} is {wide.upper()}, and read so")
    return _found(path, key)


def _wide(head: bytes) -> str:
    """Return UTF-16 or UTF-32 by its byte order mark, or '' if it is neither.

    UTF-16 without a mark is recognized by the zero bytes of the ASCII characters that it begins with.
    """
    for mark, name in MARKS.items():
        if head.startswith(mark):
            return name
    zeros = [place % 2 for place, byte in enumerate(head) if byte == 0]
    if len(zeros) >= 3 and len(set(zeros)) == 1 and zeros[0] == head[:2].find(b"\0"):
        return ("utf-16-be", "utf-16-le")[zeros[0]]
    return ""


# ---- guesses -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Bytes:
    """The non-ASCII lines of a file: how many are UTF-8, how many are not, and a sample of the latter."""

    lines: int
    valid: int
    invalid: int
    sample: bytes


def _look(path: Path) -> _Bytes:
    lines = valid = invalid = size = 0
    sample: list[bytes] = []
    with opened(path) as file:
        for line in file:
            lines += 1
            if line.isascii():
                continue
            try:
                line.decode("utf-8")
                valid += 1
            except UnicodeDecodeError:
                invalid += 1
                if size < SAMPLE:
                    sample.append(line[: SAMPLE // 4])
                    size += len(sample[-1])
    return _Bytes(lines, valid, invalid, b"".join(sample))


def _found(path: Path, key: str) -> Encoding:
    seen = _look(path)
    # A few broken rows in UTF-8 are left to the check `invalid_utf8`.
    if not seen.invalid or 10 * seen.valid >= seen.invalid:
        return Encoding("utf-8-sig")
    candidates = _candidates(seen.sample)
    if candidates and _certain(candidates):
        name = candidates[0].name
        remark = f"{path} is no UTF-8: it is read as {name}, "
        remark += f"a guess from {seen.invalid} of its {seen.lines} lines ({candidates[0].shown})"
        sure = f"set {key}: {name} to say so, or another" if key else f"to be sure, {_convert(name)}"
        return Encoding(name, f"{remark}; {sure}", guessed=True)
    if seen.invalid == 1 or seen.invalid < FEW * seen.lines:
        return Encoding("utf-8-sig", _advice(path, seen, candidates, key))
    hint = f"set {key} to the actual encoding, or convert the file: " if key else "convert the file: "
    hint += _convert(_first(candidates))
    got = f"{seen.invalid} of {seen.lines} lines contain other bytes; " + (
        _shown(candidates) or "no known encoding fits"
    )
    raise DataError(
        f"{path} is not valid UTF-8, and its encoding is uncertain",
        got=got,
        expected="UTF-8, or a named encoding" if key else "UTF-8",
        hint=hint,
    )


def _other_encoding(path: Path, key: str) -> str:
    seen = _look(path)
    return (
        _advice(path, seen, _candidates(seen.sample), key)
        if seen.invalid and 10 * seen.valid < seen.invalid
        else ""
    )


def _advice(path: Path, seen: _Bytes, candidates: "list[_Candidate]", key: str) -> str:
    first = _first(candidates)
    likely = f"; likely {_shown(candidates)}" if candidates else ""
    return (
        f"{path} is no UTF-8 in {seen.invalid} of {seen.lines} lines{likely}: "
        f"{f'set {key}: {first}, or ' if key else ''}{_convert(first)}"
    )


def _convert(name: str) -> str:
    return f"`iconv -f {name} -t utf-8 FILE > NEW`"


@dataclass(frozen=True)
class _Candidate:
    name: str  # as Python and iconv spell it
    codec: str
    chaos: float
    coherence: float
    shown: str  # a piece of the text


def _candidates(sample: bytes) -> list[_Candidate]:
    """Return the encodings that fit, one for each distinct text, the likeliest first."""
    from charset_normalizer import from_bytes

    found: dict[str, _Candidate] = {}
    for match in from_bytes(sample, cp_isolation=LIKELY, enable_fallback=False):
        for codec in sorted(
            {match.encoding, *(other.encoding for other in match.submatch)} & set(LIKELY), key=LIKELY.index
        ):
            decoded = sample.decode(codec, errors="replace")
            found.setdefault(
                decoded, _Candidate(_name(codec), codec, match.chaos, match.coherence, _piece(decoded))
            )
    return sorted(found.values(), key=lambda one: (one.chaos, -one.coherence, LIKELY.index(one.codec)))


def _certain(candidates: list[_Candidate]) -> bool:
    best, *rivals = candidates
    close = [rival for rival in rivals if rival.chaos <= best.chaos + MARGIN and rival.codec != "mac_roman"]
    return best.chaos <= MARGIN and best.coherence >= LEAST_COHERENCE and not close


def _first(candidates: list[_Candidate]) -> str:
    """Return the name to suggest: Windows-1252 if it fits at all, since most such files use it."""
    names = [one.name for one in candidates]
    return "windows-1252" if "windows-1252" in names or not names else names[0]


def _shown(candidates: list[_Candidate]) -> str:
    ordered = sorted(candidates, key=lambda one: one.name != _first(candidates))
    return ", ".join(f"{one.name} ({one.shown})" for one in ordered[:4])


def _piece(decoded: str) -> str:
    at = next((place for place, character in enumerate(decoded) if not character.isascii()), 0)
    start = decoded.rfind("\n", 0, at) + 1
    return repr(decoded[max(start, at - 15) : at + 15].splitlines()[0])


def _name(codec: str) -> str:
    return "macintosh" if codec == "mac_roman" else codec.replace("cp125", "windows-125").replace("_", "-")
