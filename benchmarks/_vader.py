"""Sentences of four domains with the sign of their sentiment, from the ratings that come with VADER.

Hutto and Gilbert 2014, VADER: a parsimonious rule-based model for sentiment analysis of social media text:
23,703 sentences of tweets, film reviews, product reviews and newspaper editorials, each with the mean of 20
ratings from -4 to 4. A rating within `NEUTRAL` of 0 has no clear sign, and its sentence is left out. The
sentences of one review or article have the same `document`, so that none is divided between two splits.
"""

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

from baton import params
from baton.sources import packages

PACKAGE = params.SdistPackage(
    kind="sdist",
    package="vaderSentiment",
    version="3.3.2",
    sha256="5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
    archive="vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz",
)
FILES = {
    "tweets": "hutto_ICWSM_2014/tweets_GroundTruth.txt",
    "films": "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt",
    "products": "hutto_ICWSM_2014/amazonReviewSnippets_GroundTruth.txt",
    "editorials": "hutto_ICWSM_2014/nytEditorialSnippets_GroundTruth.txt",
}
LICENCE = "MIT"
NEUTRAL = 0.5

Row = tuple[str, str, str]  # text, label, document


def write(scratch: Path, inbox: Path) -> None:
    """Fetch the package into `scratch`, and write DOMAIN.csv for each domain into `inbox`."""
    folder = packages.unpack(PACKAGE, tuple(FILES.values()), scratch)
    for domain, name in FILES.items():
        with (folder / name).open(encoding="utf-8") as file:
            found = list(rows(file))
        with (inbox / f"{domain}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("text", "label", "document"), *found])


def rows(lines: Iterable[str]) -> Iterator[Row]:
    """Yield the rows of lines `number<TAB>rating<TAB>text`; a number may be DOCUMENT_SENTENCE."""
    for line in lines:
        number, rating, text = line.rstrip("\n").split("\t", 2)
        if abs(float(rating)) > NEUTRAL:
            label = "positive" if float(rating) > 0 else "negative"
            yield text, label, number.partition("_")[0]
