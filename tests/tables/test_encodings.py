"""Other encodings, compressed files and files that are not text are read correctly, or refused clearly."""

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from baton import params
from baton.errors import DataError
from baton.tables import encodings
from tests.tables.test_readers import JSONL, form, read, refused, rows

Settings = Callable[..., params.TextPreprocess]
GERMAN = [
    ("Wann öffnet die Fähre wieder", "Rückfrage"),
    ("Der Käse war überreif", "Beschwerde"),
    ("„Lieferung“ kam für 20 € nicht", "Lob"),
] * 8
CZECH = [
    ("Příliš žluťoučký kůň úpěl ďábelské ódy", "dobrý"),
    ("Nechť již hříšné saxofony rozezvučí síň", "zlý"),
] * 12
RUSSIAN = [
    ("Товар не пришёл вовремя, очень плохо", "плохо"),
    ("Очень хороший товар, рекомендую", "хорошо"),
] * 12
JAPANESE = [("日本語のテキストを読み込みます", "良い"), ("箱が壊れていた", "悪い")] * 12


def csv(table: list[tuple[str, str]]) -> str:
    return "text,label\r\n" + "".join(f'"{text}",{label}\r\n' for text, label in table)


@pytest.mark.parametrize(
    ("table", "encoding"),
    [
        (GERMAN, "windows-1252"),
        (GERMAN, "utf-8"),
        (GERMAN, "utf-8-sig"),
        (RUSSIAN, "windows-1251"),
        (RUSSIAN, "koi8-r"),
        (CZECH, "windows-1250"),
    ],
)
@pytest.mark.parametrize("wanted", ["auto", "named"])
def test_what_is_certain_is_read(
    tmp_path: Path, settings: Settings, table: list[tuple[str, str]], encoding: str, wanted: str
) -> None:
    content = csv(table).encode(encoding)
    found = read(tmp_path, content, settings(format=form(encoding=encoding if wanted == "named" else "auto")))
    assert [(row.text, row.label) for row in found.rows] == table
    assert found.guessed == ("" if wanted == "named" or encoding.startswith("utf") else encoding)
    assert [f"read as {encoding}, a guess" in remark for remark in found.remarks] == [True] * bool(
        found.guessed
    )


@pytest.mark.parametrize(
    ("table", "encoding"), [(JAPANESE, "shift_jis"), (JAPANESE, "euc_jp"), (CZECH, "mac_latin2")]
)
def test_nothing_is_read_wrong(
    tmp_path: Path, settings: Settings, table: list[tuple[str, str]], encoding: str
) -> None:
    """If the guess is uncertain, the text is shown in each likely encoding, and the user decides."""
    content = csv(table).encode(encoding)
    message = refused(tmp_path, content, settings())
    assert "is not valid UTF-8, and its encoding is uncertain" in message
    assert "set preprocess.format.encoding to the actual encoding" in message
    assert len(message) < 1000
    named = settings(format=form(encoding=encoding))
    assert [(row.text, row.label) for row in read(tmp_path, content, named).rows] == table


def test_without_a_key_of_params_converting_the_file_is_the_advice(tmp_path: Path) -> None:
    """Params do not say how a file of soft labels is encoded."""
    path = tmp_path / "soft_labels.csv"
    path.write_bytes(csv(GERMAN).encode("windows-1252"))
    remark = encodings.find(path, "auto", "").remark
    assert "a guess" in remark
    assert remark.endswith("; to be sure, `iconv -f windows-1252 -t utf-8 FILE > NEW`")
    path.write_bytes(csv(JAPANESE).encode("shift_jis"))
    with pytest.raises(DataError, match=r"(?s)is uncertain.*expected: UTF-8\n  next: +convert the file: `ic"):
        encodings.find(path, "auto", "")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_wide_characters_with_and_without_a_mark(tmp_path: Path, settings: Settings, encoding: str) -> None:
    content = csv(GERMAN).encode(encoding)
    found = read(tmp_path, content, settings())
    assert [(row.text, row.label) for row in found.rows] == GERMAN
    assert f"{encoding.upper()}, and read so" in found.remarks[0]
    message = refused(tmp_path, content, settings(format=form(encoding="utf-8")))
    assert f"is {encoding.upper()}" in message
    assert f"iconv -f {encoding} -t utf-8" in message


def test_valid_utf8_wins_over_any_guess(tmp_path: Path, settings: Settings) -> None:
    mixed = csv(GERMAN).encode() + "ein kaputtes ö,Lob\r\n".encode("latin-1")
    found = read(tmp_path, mixed, settings())
    assert rows(found)[-1] == ("train:25", "ein kaputtes \udcf6", "Lob")
    assert found.guessed == ""


def test_a_file_named_utf8_that_is_not_says_what_it_is_likely(tmp_path: Path, settings: Settings) -> None:
    found = read(tmp_path, csv(GERMAN).encode("windows-1252"), settings(format=form(encoding="utf-8")))
    assert "likely windows-1252 ('\"Wann öffnet die" in found.remarks[0]
    assert "`iconv -f windows-1252 -t utf-8 FILE > NEW`" in found.remarks[0]


def test_json_lines_in_windows_1252(tmp_path: Path, settings: Settings) -> None:
    content = "".join(f'{{"text": "{text}", "label": "{label}"}}\n' for text, label in GERMAN).encode(
        "windows-1252"
    )
    assert [(row.text, row.label) for row in read(tmp_path, content, settings(format=JSONL)).rows] == GERMAN


def test_a_file_that_is_not_what_params_say(tmp_path: Path, settings: Settings) -> None:
    assert "is not valid utf-16" in refused(
        tmp_path, b"text,label\na,b\n!", settings(format=form(encoding="utf-16"))
    )


@pytest.mark.parametrize("name", ["auto ", "latin-99", "base64", "windows1252x"])
def test_encodings_that_python_does_not_know_are_refused(settings: Settings, name: str) -> None:
    with pytest.raises(ValidationError, match="must be `auto` or an encoding that Python knows"):
        settings(format=form(encoding=name))


@pytest.mark.parametrize(
    "changes",
    [{"delimiter": '"'}, {"escape": ","}, {"delimiter": "\n"}, {"delimiter": ";;"}, {"escape": '"'}],
)
def test_dialects_that_cannot_be_read_are_refused(settings: Settings, changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        settings(format=form(**changes))


def test_gzip_is_read_whatever_its_name(tmp_path: Path, settings: Settings) -> None:
    packed = gzip.compress(csv(GERMAN).encode("windows-1252"))
    found = read(tmp_path, packed, settings())
    assert [(row.text, row.label) for row in found.rows] == GERMAN
    assert "is gzip, and read as what it holds" in found.remarks[0]
    assert "is a damaged gzip file" in refused(tmp_path, packed[:-30], settings())
    assert "is a damaged gzip file" in refused(tmp_path, packed[:60] + b"\0" * 30 + packed[90:], settings())


def zipped(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(
                name, "application/vnd.oasis.opendocument.spreadsheet" if name == "mimetype" else "x" * 100
            )
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (zipped("[Content_Types].xml", "xl/workbook.xml"), "an Excel workbook"),
        (zipped("mimetype", "content.xml"), "an OpenDocument file"),
        (zipped("data.csv"), "a zip archive"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "an old Office file"),
        (bz2.compress(b"text,label\n"), "bzip2"),
        (lzma.compress(b"text,label\n"), "xz"),
        (b"\x28\xb5\x2f\xfd\x04\x00\x51\x00\x00text", "zstandard"),
        (b"PAR1" + bytes(100), "Parquet"),
        (b"\n <!DOCTYPE html><html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer"),
        (b"\x80\x04\x95\x00\x00", "a Python pickle"),
    ],
)
@pytest.mark.parametrize("kind", ["delimited", "jsonl"])
def test_what_is_no_text_is_named(
    tmp_path: Path, settings: Settings, content: bytes, what: str, kind: str
) -> None:
    message = refused(tmp_path, content, settings(format=form() if kind == "delimited" else JSONL))
    assert what in message.partition("\n")[0]
    assert len(message) < 600
    assert all(character.isprintable() or character == "\n" for character in message)


def test_messages_hold_no_control_characters_and_end() -> None:
    message = str(DataError("x\x1b[2J", got="\0" * 100_000, expected="\udcff"))
    assert all(character.isprintable() or character == "\n" for character in message)
    assert len(message) < 30_000
