"""The index files of a Debian release -> one raw table of packages, or of paragraphs in several languages.

A description is a summary and paragraphs. Lines of a paragraph are joined by spaces; lines that are indented
(lists, examples) stay lines of their own. Translations belong to a description by its MD5.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from baton import params
from baton.errors import SourceError
from baton.sources import apt_index

Stanza = dict[str, list[str]]  # field -> its lines, the first without the space after the colon
FIELD = re.compile(r"([A-Za-z][A-Za-z0-9-]*):[ \t]?(.*)")
GROUP_ROWS = 4096


def write(source: params.AptSource, folder: Path) -> dict[str, tuple[str, str]]:
    """Write `train.parquet`, in the order of the index.

    Returns:
        train -> (file name, origin).

    Raises:
        SourceError: as for `apt_index.fetch`; or a file is not an index.
    """
    files = apt_index.fetch(source)
    translations = {
        language: _translations(files[f"Translation-{language}"], language) for language in source.languages
    }
    packages = _stanzas(files["Packages"])
    rows = (
        _package_rows(packages, translations["en"])
        if source.rows == "packages"
        else _paragraph_rows(packages, translations)
    )
    _write(rows, _columns(source), folder / "train.parquet")
    origin = f"apt {source.release} {source.component} {source.architecture}: {', '.join(source.sha256)}"
    return {"train": ("train.parquet", origin)}


def _package_rows(packages: Iterable[Stanza], english: dict[str, list[str]]) -> Iterator[dict[str, Any]]:
    for stanza in packages:
        summary, *paragraphs = english.get(_first(stanza, "Description-md5"), []) or _text(
            stanza["Description"]
        )
        tags = [tag.strip() for tag in " ".join(stanza.get("Tag", [])).split(",") if tag.strip()]
        yield {
            **_named(stanza),
            "tags": tags or None,  # nobody has looked at a package without any
            "summary": summary,
            "description": "\n\n".join(paragraphs),
        }


def _paragraph_rows(
    packages: Iterable[Stanza], translations: dict[str, dict[str, list[str]]]
) -> Iterator[dict[str, Any]]:
    """Yield what all languages have in the same number of paragraphs; each text in one language once."""
    seen: set[tuple[str, ...]] = set()
    for stanza in packages:
        key = _first(stanza, "Description-md5")
        texts = [known.get(key, []) for known in translations.values()]
        if not all(texts) or len({len(text) for text in texts}) > 1:
            continue
        for aligned in zip(*texts, strict=True):
            if len(set(aligned)) == len(aligned) and aligned not in seen:  # equal texts are not translated
                seen.add(aligned)
                yield {**_named(stanza), **dict(zip(translations, aligned, strict=True))}


def _named(stanza: Stanza) -> dict[str, str]:
    name = _first(stanza, "Package")
    source = _first(stanza, "Source").partition(" ")[0] or name
    return {"package": name, "source": source, "section": _first(stanza, "Section")}


def _first(stanza: Stanza, field: str) -> str:
    return stanza.get(field, [""])[0].strip()


def _translations(path: Path, language: str) -> dict[str, list[str]]:
    """Return summary and paragraphs by the description's MD5."""
    field = f"Description-{language}"
    return {
        _first(stanza, "Description-md5"): _text(stanza[field])
        for stanza in _stanzas(path)
        if field in stanza
    }


def _text(lines: list[str]) -> list[str]:
    """Return a description's summary and its paragraphs."""
    paragraphs: list[list[str]] = [[]]
    for line in lines[1:]:
        if line.strip() == ".":
            paragraphs.append([])
        elif line.startswith("  ") or not paragraphs[-1]:
            paragraphs[-1].append(line.strip())
        else:
            paragraphs[-1][-1] += f" {line.strip()}"
    return [lines[0].strip(), *("\n".join(paragraph) for paragraph in paragraphs if paragraph)]


def _stanzas(path: Path) -> Iterator[Stanza]:
    """Yield the paragraphs of a control file (deb822(5))."""
    stanza: Stanza = {}
    field: list[str] = []
    with path.open(encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        for number, line in enumerate((line.rstrip("\n") for line in file), start=1):
            if not line:
                if stanza:
                    yield stanza
                stanza, field = {}, []
            elif line[0] in " \t" and stanza:
                field.append(line)
            elif match := FIELD.fullmatch(line):
                field = stanza[match[1]] = [match[2]]
            else:
                raise SourceError(
                    f"line {number} of a package index is not a field",
                    got=repr(line[:60]),
                    expected="NAME: VALUE",
                    hint="check source.sha256: the pinned file is not an index of apt",
                )
    if stanza:
        yield stanza


def _columns(source: params.AptSource) -> list[str]:
    named = ["package", "source", "section"]
    return (
        [*named, "tags", "summary", "description"]
        if source.rows == "packages"
        else [*named, *source.languages]
    )


def _write(rows: Iterator[dict[str, Any]], columns: list[str], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {"tags": pa.list_(pa.string())}
    schema = pa.schema([(name, types.get(name, pa.string())) for name in columns])
    with pq.ParquetWriter(path, schema) as writer:
        block: list[dict[str, Any]] = []
        for row in rows:
            block.append(row)
            if len(block) == GROUP_ROWS:
                writer.write_batch(pa.RecordBatch.from_pylist(block, schema=schema))
                block = []
        writer.write_batch(pa.RecordBatch.from_pylist(block, schema=schema))
