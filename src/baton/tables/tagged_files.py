"""Read files of tagged tokens into rows of two lists: columns in the manner of CoNLL, or XML.

- CoNLL (Tjong Kim Sang & De Meulder 2003): one token per line with its columns, a blank line after each text,
  lines `-DOCSTART-` between documents.
- XML: an element per text, in which an element per token has the tag as its name, as in
  `<Text><City>New</City> <City>York</City>, 1st</Text>`; neighbours with the same name are one entity, and
  what lies between elements is outside of entities.
"""

from collections.abc import Iterator
from xml.etree import ElementTree as ET

from baton import params
from baton.errors import DataError, first_line
from baton.tables import columns, encodings
from baton.tables.columns import Columns
from baton.tables.rows import RawTable

DOCUMENT = "-DOCSTART-"
TOKEN, TAG = "token", "tag"  # columns of an XML file
OUTSIDE = ("O", "Null")  # names of elements that are not entities


def read_columns(table: RawTable, settings: params.ConllFormat, wanted: Columns) -> None:
    """Add each text as a row; a text with a line that lacks a column is malformed.

    New texts, of which no tag is read, may lack the columns after that of the token.

    Raises:
        DataError: The file is not text, its encoding is uncertain, or a column is missing.
    """
    names = list(settings.columns)
    for name in wanted.names:
        if names.count(name) != 1:
            hint = f"name it in {wanted.section}.format.columns, in its place among the columns of a line"
            raise columns.missing(table.path, name, names, wanted, hint)
    places = {name: names.index(name) for name in wanted.names}
    least = max(places.values()) + 1 if wanted.unlabelled else len(names)
    encoding = encodings.find(table.path, settings.encoding, wanted.encoding_key)
    table.guessed = encoding.name if encoding.guessed else ""
    if encoding.remark:
        table.remarks.append(encoding.remark)
    with encodings.text(table.path, encoding) as file:
        for lines in _texts(iter(file), settings.separator):
            wrong = next((number for number, cells in lines if not least <= len(cells) <= len(names)), None)
            if wrong is not None:
                count = len(next(cells for number, cells in lines if number == wrong))
                table.reject(f"line {wrong}: {count} columns instead of {len(names)}")
                continue
            values = {name: [cells[place] for _, cells in lines] for name, place in places.items()}
            table.add(*wanted.row(values))


def _texts(lines: Iterator[str], separator: str | None) -> Iterator[list[tuple[int, list[str]]]]:
    """Yield the lines of each text: (number, cells)."""
    found: list[tuple[int, list[str]]] = []
    for number, line in enumerate(lines, 1):
        cells = line.rstrip("\r\n").split(separator) if line.strip() else []
        if cells and cells[0] != DOCUMENT:
            found.append((number, cells))
        elif found:
            yield found
            found = []
    if found:
        yield found


def read_xml(table: RawTable, settings: params.TokenXmlFormat, wanted: Columns) -> None:
    """Add each element `settings.element` as a row, with the columns `token` and `tag`.

    Raises:
        DataError: The file is not XML, has no such element, or another column is wanted.
    """
    for name in wanted.names:
        if name not in (TOKEN, TAG):
            raise columns.missing(table.path, name, [TOKEN, TAG], wanted, "a text of XML has only these")
    expected, kinds = f"elements <{settings.element}>", set[str]()
    try:
        for _, element in ET.iterparse(table.path):  # noqa: S314  expat refuses runaway entities
            kinds.add(element.tag)
            if element.tag == settings.element:
                found = _tagged(element)
                if isinstance(found, str):
                    table.reject(found)
                else:
                    values = {TOKEN: [token for token, _ in found], TAG: [tag for _, tag in found]}
                    table.add(*wanted.row({name: values[name] for name in wanted.names}))
                element.clear()
    except ET.ParseError as error:
        hint = f"fix the file, or set {wanted.section}.format to its actual format"
        raise DataError(
            f"{table.path} is not valid XML", got=first_line(error), expected=expected, hint=hint
        ) from None
    if settings.element not in kinds:
        hint = f"set {wanted.section}.format.element to the element of a text"
        got = ", ".join(sorted(kinds)[:10])
        raise DataError(f"{table.path} has no texts", got=got, expected=expected, hint=hint)


def _tagged(element: ET.Element) -> list[tuple[str, str]] | str:
    """Return tokens with their tags, or the fault."""
    found = [(token, OUTSIDE[0]) for token in (element.text or "").split()]
    for one in element:
        if len(one):
            return f"<{one.tag}> has an element in it, <{one[0].tag}>; entities cannot be nested"
        tag = OUTSIDE[0] if one.tag in OUTSIDE else f"I-{one.tag}"
        found += [(token, tag) for token in (one.text or "").split()]
        found += [(token, OUTSIDE[0]) for token in (one.tail or "").split()]
    return found
