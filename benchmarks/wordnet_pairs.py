"""Write pairs of a usage and a sense of a word, from WordNet 3.0: does the word have this sense there?

    python -m benchmarks.wordnet_pairs [--to inbox/wordnet-senses.csv]

The pairs are those of GlossBERT (Huang et al. 2019, "GlossBERT: BERT for word sense disambiguation with gloss
knowledge"), with WordNet's own examples as contexts: an example sentence of a synset, and `WORD: DEFINITION`
of a sense of a word that stands in it, of the same part of speech. Of each example there are two rows, one
with the sense that it illustrates (`fits`) and one with another sense of the word (`other`), drawn from those
that have examples too, so that no definition is always wrong. The column `word` is for
`preprocess.group_column`: no word is then in two splits.

The file has one header line, is the same on every machine, and is made of Debian's package `wordnet-base`,
which apt fetches and this pins.
"""

import argparse
import csv
import hashlib
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from baton import console, params, storage
from baton.sources import packages

PACKAGE = params.DebianPackage(
    kind="debian",
    package="wordnet-base",
    version="1:3.0-37",
    sha256="61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752",
    archive=None,
)
FILES = tuple(f"usr/share/wordnet/data.{part}" for part in ("noun", "verb", "adj", "adv"))
EXAMPLE = re.compile(r'"([^"]+)"')
LEAST_WORDS = 4  # of an example


@dataclass(frozen=True)
class Sense:
    """A synset: its words, its definition and its examples."""

    words: tuple[str, ...]
    definition: str
    examples: tuple[str, ...]


def main(arguments: Sequence[str] | None = None) -> None:
    """Fetch WordNet and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--to", type=Path, default=Path("inbox/wordnet-senses.csv"))
    target = parser.parse_args(arguments).to
    rows: list[tuple[str, str, str, str]] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = packages.unpack(PACKAGE, FILES, Path(scratch))
        for name in FILES:
            rows += pairs(
                [sense for line in (folder / name).open(encoding="utf-8") for sense in senses(line)]
            )
    with storage.atomic_file(target) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([("usage", "sense", "label", "word"), *rows])
    console.say(f"{target}: {len(rows)} pairs of {len({row[3] for row in rows})} words")


def senses(line: str) -> Iterator[Sense]:
    """Yield the synset in a line of a data file (wndb(5)), unless it is one of the licence's lines.

    Fields are separated by spaces: offset, file, type, number of words (hexadecimal), then word and id of
    each; the gloss follows `|`.
    """
    if line.startswith(" "):
        return
    fields, gloss = line.split(" | ", 1)
    parts = fields.split(" ")
    words = tuple(
        re.sub(r"\((p|a|ip)\)$", "", parts[4 + 2 * place]).replace("_", " ")
        for place in range(int(parts[3], 16))
    )
    definition = gloss.split('"', 1)[0].strip().rstrip(";").strip()
    yield Sense(words, definition, tuple(found.strip() for found in EXAMPLE.findall(gloss)))


def pairs(known: Sequence[Sense]) -> Iterator[tuple[str, str, str, str]]:
    """Yield usage, sense, label and word of each example of the synsets of one part of speech."""
    of_word: dict[str, list[Sense]] = defaultdict(list)
    for sense in known:
        if sense.examples and sense.definition:
            for word in dict.fromkeys(map(str.lower, sense.words)):
                of_word[word].append(sense)
    for sense in known:
        for example in sense.examples if sense.definition else ():
            for word in map(str.lower, sense.words):
                others = [one for one in of_word[word] if one != sense]
                if others and len(example.split()) >= LEAST_WORDS and _stands_in(word, example):
                    drawn = int(hashlib.sha256(f"{word}\0{example}".encode()).hexdigest(), 16)
                    yield example, f"{word}: {sense.definition}", "fits", word
                    yield example, f"{word}: {others[drawn % len(others)].definition}", "other", word
                    break


def _stands_in(word: str, example: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", example.lower()) is not None


if __name__ == "__main__":
    console.run(main)
