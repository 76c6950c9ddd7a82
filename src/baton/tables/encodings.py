"""What the bytes of a text file are: gzip is read as what it holds, other containers are refused, the encoding is found or guessed.

UTF-8 always wins where the bytes are UTF-8. A guess (charset-normalizer) is used only where every likely encoding gives the same text;
otherwise the error shows what the text would be under each, and a person decides.
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
MARKS = {
    b"\xff\xfe\0\0": "utf-32",
    b"\0\0\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}  # the longer ones first
# In the order in which a name is chosen where several give the same text.
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
MARGIN, LEAST_COHERENCE = (
    0.03,
    0.3,
)  # of charset-normalizer's measures: how far a rival must be, how much of a language must be seen
FEW = 0.01  # lines that are no UTF-8 in a file that otherwise is: rows for the check `invalid_utf8`, not another encoding


@dataclass(frozen=True)
class Encoding:
    """The encoding that a file is read in, and what a person should know of it ('' if nothing)."""

    name: str
    remark: str = ""
    guessed: bool = False


def packed(path: Path) -> bool:
    """Whether a file is gzip."""
    with path.open("rb") as file:
        return file.read(2) == GZIP


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a file, decompressed if it is gzip, whatever its name.

    Raises:
        DataError: the gzip is damaged or cut off.
    """
    try:
        with gzip.open(path) if packed(path) else path.open("rb") as file:
            yield file  # type: ignore[misc]  # GzipFile has what a BinaryIO has
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        hint = f"fetch or write it again; `gzip -t {path}` tests it"
        raise DataError(
            f"{path} is damaged gzip", got=error, expected="a whole gzip file", hint=hint
        ) from None


@contextmanager
def text(path: Path, encoding: Encoding) -> Iterator[TextIO]:
    """The lines of a file; a byte that cannot be decoded is a lone surrogate (`surrogateescape`), line ends are as they are.

    Raises:
        DataError: the file cannot be decoded at all.
    """
    with opened(path) as file:
        try:
            yield io.TextIOWrapper(file, encoding=encoding.name, errors="surrogateescape", newline="")
        except UnicodeError as error:
            hint = "set `encoding` of the format to what the file is, or auto"
            raise DataError(
                f"{path} is no {encoding.name}", got=error, expected=encoding.name, hint=hint
            ) from None


def find(path: Path, wanted: str, key: str) -> Encoding:
    """The encoding to read a text file in.

    Args:
        path: the file.
        wanted: `auto`, or the encoding that params name.
        key: the YAML path of `encoding`, for messages.

    Raises:
        DataError: the file is no text (a spreadsheet, an archive, …), or no UTF-8 and the guess is uncertain.
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
        return Encoding(
            wide or wanted
        )  # Python's utf-16 needs the mark, and utf-16-le keeps it as a character
    if wide:
        return Encoding(wide, f"{path} is {wide.upper()}, and read so")
    return _found(path, key)


def _wide(head: bytes) -> str:
    """UTF-16 or UTF-32 by its mark; UTF-16 without one by the zero bytes of the ASCII characters that it begins with."""
    for mark, name in MARKS.items():
        if head.startswith(mark):
            return name
    zeros = [place % 2 for place, byte in enumerate(head) if byte == 0]
    if len(zeros) >= 3 and len(set(zeros)) == 1 and zeros[0] == head[:2].find(b"\0"):
        return ("utf-16-be", "utf-16-le")[zeros[0]]
    return ""


# ---- guesses -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Bytes:
    """Lines of a file that are not ASCII: how many are UTF-8, how many are not, and some of those."""

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
    if (
        not seen.invalid or 10 * seen.valid >= seen.invalid
    ):  # a few broken rows in UTF-8 are for the check `invalid_utf8`
        return Encoding("utf-8-sig")
    candidates = _candidates(seen.sample)
    if candidates and _certain(candidates):
        name = candidates[0].name
        remark = f"{path} is no UTF-8: it is read as {name}, a guess from {seen.invalid} of its {seen.lines} lines ({candidates[0].shown})"
        return Encoding(name, f"{remark}; set {key}: {name} to say so, or another", guessed=True)
    if seen.invalid == 1 or seen.invalid < FEW * seen.lines:
        return Encoding("utf-8-sig", _advice(path, seen, candidates, key))
    hint = f"set {key} to what it is, or convert it: `iconv -f {_first(candidates)} -t utf-8 FILE > NEW`"
    got = f"{seen.invalid} of {seen.lines} lines hold other bytes; " + (
        _shown(candidates) or "no encoding that is known here fits"
    )
    raise DataError(
        f"{path} is no UTF-8, and its encoding is not certain",
        got=got,
        expected="UTF-8, or a named encoding",
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
    return f"{path} is no UTF-8 in {seen.invalid} of {seen.lines} lines{likely}: set {key}: {first}, or `iconv -f {first} -t utf-8 FILE > NEW`"


@dataclass(frozen=True)
class _Candidate:
    name: str  # as Python and iconv know it
    codec: str
    chaos: float
    coherence: float
    shown: str  # a piece of the text


def _candidates(sample: bytes) -> list[_Candidate]:
    """Encodings that fit, one for each text that they give, the likeliest first."""
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
    """The name for a command: Windows-1252 if it fits at all, since most such files are."""
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
