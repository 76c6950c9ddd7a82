"""Compare ways to transfer on the three sets of docs/transfer.md, with `baton compare`.

The sets are Reuters R8, 20 Newsgroups (2,000 test rows) and VADER's sentences of film reviews as positive or
negative, with MiniLM-L6; `tweets`, `products` and `editorials` are VADER's other domains. `glosses` are
15,000 of WordNet's in 45 classes; `mpnet` is 1,000 documents of 20 Newsgroups with a base model of 109 M
parameters, to compare what strategies cost (`--labels all`). Each is a project of its own in `--work`, in
which `baton compare` runs: what is finished stays, and a run that was stopped goes on.

    python -m benchmarks.strategies --work FOLDER --set films [--labels 8,32,128,all] [--seeds 0,1,2,3,4]
        [--strategies full,probe,pairs] [--file strategies.yaml]

`--file benchmarks/no_labels.yaml --labels 16` compares what a student can learn from: student and control,
with the rows whose labels were left out as the transfer set. The output is what `baton compare` prints;
FOLDER/SET/reports/compare has tables and figure.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from baton import console, params
from benchmarks import _project, _vader

RECIPES = {
    "r8": "reuters-r8-minilm",
    "20newsgroups": "20newsgroups-minilm",
    **dict.fromkeys(_vader.FILES, "csv"),
    "glosses": "wordnet-glosses",
    "mpnet": "20newsgroups-mpnet",
}
TEST_ROWS = 2000  # of 20 Newsgroups' 7,528


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the project of a set, or go on with it, and compare there."""
    options = parse(arguments)
    project = _project.copied((options.work / options.set).resolve())
    if options.set in _vader.FILES and not (project / f"inbox/{options.set}.csv").is_file():
        with tempfile.TemporaryDirectory() as name:
            _vader.write(Path(name), project / "inbox")
    with (project / params.PATH).open("w", encoding="utf-8") as file:
        YAML(typ="safe", pure=True).dump(edited(options.set, options.rows, options.max_length), file)
    words = ["--no-models", "--labels", options.labels, "--seeds", options.seeds]
    words += ["--file", str(options.file.resolve())]
    if options.strategies:
        words += ["--strategies", options.strategies]
    _project.compare(project, *words)


def parse(arguments: Sequence[str] | None) -> Any:
    """Return the options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="a folder to keep the projects in")
    parser.add_argument("--set", choices=list(RECIPES), required=True)
    parser.add_argument("--labels", default="8,32,128,all", help="of each class (default 8,32,128,all)")
    parser.add_argument("--seeds", default="0,1,2,3,4", help="default: 0,1,2,3,4")
    parser.add_argument(
        "--rows", type=int, help="the most rows of train, with labels or without (default: all)"
    )
    parser.add_argument("--max-length", type=int, help="tokens of a text (default: the recipe's)")
    parser.add_argument("--strategies", help="names, with commas (default: all of the file)")
    parser.add_argument(
        "--file", type=Path, default=_project.ROOT / "strategies.yaml", help="default: strategies.yaml"
    )
    return parser.parse_args(arguments)


def edited(name: str, rows: int | None = None, max_length: int | None = None) -> dict[str, Any]:
    """Return the params of a set, with at most so many rows of train and tokens of a text."""
    made = params.read_raw(_project.ROOT / "recipes" / f"{RECIPES[name]}.yaml")
    if name == "20newsgroups":
        made["preprocess"]["limit"]["test"] = TEST_ROWS
    if name in _vader.FILES:
        made["source"] |= {"files": {"train": f"inbox/{name}.csv"}, "licence": _vader.LICENCE}
        made["preprocess"]["group_column"] = "document"
        made["tokenize"] |= {"max_length": 64, "truncation": {"kind": "head"}}
    if rows:
        made["preprocess"]["limit"]["train"] = rows
    if max_length:
        made["tokenize"]["max_length"] = max_length
    made["preprocess"]["checks"]["small_class"] = "keep"  # few labels leave few rows for validation
    return made


if __name__ == "__main__":
    console.run(main)
