"""Measure what episodic training brings on classes that no model was trained on: 20 Newsgroups, 5-way.

The classes are divided as by Bao et al. (2020, Few-shot text classification with distributional signatures,
arXiv:1908.06039): sci and rec for training (8), comp for validation (5), the others for tests (7). Four
models are tested on the same episodes: the base model without training, the one that is fine-tuned on the 8
classes, and those that are trained by episodes of them (prototypical networks, Reptile). Each trained model
reads about as many rows; checkpoints are chosen on validation classes or, of fine-tuning, on validation rows.
Each is the pipeline itself, run by DVC in a copy of the project.

    python -m benchmarks.episodes [--seeds 0 1 2] [--rows-read 16000] [--max-length 128] [--count 1000]
        [--train-rows N] [--rate 5e-5] [--inner-rate 0.1]

With the defaults it takes about an hour and a half on 2 cores. The output is the mean accuracy of each model,
its 95% intervals over episodes and over seeds, and its difference from the model without training, paired by
episode. Bao et al. read other texts of the same groups (20news-18828, not letters alone).
"""

import copy
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton import console, params
from benchmarks import _project, _sides

NOVEL = {
    "validation": [
        "comp.graphics",
        "comp.os.ms-windows.misc",
        "comp.sys.ibm.pc.hardware",
        "comp.sys.mac.hardware",
        "comp.windows.x",
    ],
    "test": [
        "alt.atheism",
        "misc.forsale",
        "soc.religion.christian",
        "talk.politics.guns",
        "talk.politics.mideast",
        "talk.politics.misc",
        "talk.religion.misc",
    ],
}
WAY, SHOTS, QUERIES = 5, (1, 5), 25  # of the tests, as in that paper
TRAINED_SHOTS, TRAINED_QUERIES, INNER_STEPS = 5, 5, 3
WITHOUT, FINE_TUNED, PROTOTYPES, REPTILE = "no training", "fine-tuned", "prototypes", "reptile"
SIDES = (WITHOUT, FINE_TUNED, PROTOTYPES, REPTILE)
PUBLISHED = {  # accuracy in %, 1 and 5 shots, as the abstract of arXiv:2107.12262 (MLADA) gives them
    "Bao et al. 2020 (fastText vectors)": (52.1, 68.3),
    "MLADA, Han et al. 2021 (fastText vectors)": (59.6, 77.8),
}
Found = dict[str, dict[int, list[NDArray[np.float64]]]]  # side -> shots -> accuracies (episodes,) by seed


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and test every model for each seed and print the table."""
    parser = _sides.parser(__doc__, 1)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="default: 0 1 2")
    parser.add_argument("--rows-read", type=int, default=16000, help="in training (default 16000)")
    parser.add_argument("--max-length", type=int, default=128, help="tokens of a document (default 128)")
    parser.add_argument("--count", type=int, default=1000, help="episodes of a test (default 1000)")
    parser.add_argument("--train-rows", type=int, help="of train and validation together (default: all)")
    parser.add_argument("--rate", type=float, default=5e-5, help="of episodic training (default 5e-5)")
    parser.add_argument("--inner-rate", type=float, default=0.1, help="of Reptile's steps (default 0.1)")
    options = parser.parse_args(arguments)
    raw = params.read_raw(_project.ROOT / "recipes/20newsgroups-minilm.yaml")
    found: Found = {side: {shots: [] for shots in SHOTS} for side in SIDES}
    with tempfile.TemporaryDirectory() as name:
        project = _project.copied(Path(name) / "project")
        for seed in options.seeds:
            for side in SIDES:
                if side == WITHOUT and found[side][SHOTS[0]]:  # it does not depend on the seed
                    tested = {shots: values[0] for shots, values in found[side].items()}
                else:
                    made = edited(raw, options, seed, side)
                    _project.repro(project, made, "finetune")
                    tested = accuracies(project, params.checked(made, params.PATH))
                for shots, values in tested.items():
                    found[side][shots].append(values)
                shown = ", ".join(f"{shots}-shot {values.mean():.1%}" for shots, values in tested.items())
                console.say(f"seed {seed}, {side}: {shown}")
    report(options.seeds, found)


def edited(raw: dict[str, Any], options: Any, seed: int, side: str) -> dict[str, Any]:
    """Return the recipe for one seed and side."""
    made = copy.deepcopy(raw)
    made["preprocess"]["novel"] = NOVEL
    made["preprocess"]["limit"]["train"] = options.train_rows
    made["tokenize"]["max_length"] = options.max_length
    own = made["finetune"]
    tested = {"way": WAY, "shots": max(SHOTS), "queries": QUERIES, "count": options.count, "seed": 0}
    own |= {"episodes": tested, "seeds": [seed], "strategy": _strategy(options, side)}
    if side == FINE_TUNED:  # whole epochs of as many steps
        own |= {"epochs": 1, "min_steps": max(options.rows_read // own["batch_size"], 1)}
    made["tracking"] = {"kind": "off"}
    return made


def _strategy(options: Any, side: str) -> dict[str, Any]:
    match side:
        case "prototypes":
            method: dict[str, Any] = {"kind": "prototypes", "queries": TRAINED_QUERIES}
            rows = WAY * (TRAINED_SHOTS + TRAINED_QUERIES)
        case "reptile":
            method = {"kind": "reptile", "steps": INNER_STEPS, "learning_rate": options.inner_rate}
            rows = WAY * TRAINED_SHOTS * INNER_STEPS
        case _:
            return {"kind": "probe" if side == WITHOUT else "full"}
    return {
        "kind": "episodes",
        "method": method,
        "way": WAY,
        "shots": TRAINED_SHOTS,
        "batch_size": 1,
        "steps": max(options.rows_read // rows, 1),
        "learning_rate": options.rate,
        "evaluations": 4,
    }


def accuracies(project: Path, settings: params.Params) -> dict[int, NDArray[np.float64]]:
    """Return the teacher's accuracy in each test episode, (episodes,), by the number of shots."""
    import torch

    from baton.batches import array_splits, episodes
    from baton.contracts import novel_classes
    from baton.models import model_folder
    from baton.predict import predict
    from baton.runtime import resolve
    from baton.tasks import episode_figures

    folder, runtime = project / "models/teacher", resolve.resolve(settings.runtime)
    model, _ = model_folder.load(folder, model_folder.attention(folder, runtime))
    model.head = torch.nn.Identity()
    name = novel_classes.SPLITS["test"]
    split = array_splits.open_novel(project / "data/arrays")[name]
    features = np.asarray(predict(model.to(runtime.device).eval(), split, runtime, 64))
    wanted, found = settings.finetune.episodes, {}
    assert wanted is not None, "`edited` sets it"
    for shots in SHOTS:
        each = shots + wanted.queries
        classes = episodes.rows_of_classes(split.targets, wanted.way, each, name, "finetune.episodes")
        drawn = (
            episodes.draw(classes, wanted.way, each, (wanted.seed, number)) for number in range(wanted.count)
        )
        found[shots] = episode_figures.scores(features, drawn, shots).accuracies
    return found


def report(seeds: Sequence[int], found: Found) -> None:
    """Print each model's accuracy and difference, with intervals over episodes and over seeds, in points."""
    rows = [
        [side, f"{shots}-shot", *_cells(values), *_cells(_differences(values, found[WITHOUT][shots]), "+")]
        for shots in SHOTS
        for side, values in ((side, found[side][shots]) for side in found)
    ]
    columns = [
        "accuracy, %",
        "over episodes",
        "over seeds",
        "minus no training",
        "over episodes",
        "over seeds",
    ]
    _sides.markdown(["model", "test", *columns], rows)
    (count,) = {len(values[0]) for own in found.values() for values in own.values()}
    print(f"\n{WAY}-way, {count:,} episodes, seeds {' '.join(map(str, seeds))}; intervals of 95%")
    for name, values in PUBLISHED.items():
        shown = ", ".join(f"{shots}-shot {value}" for shots, value in zip(SHOTS, values, strict=True))
        print(f"published: {name}: {shown}")


def _differences(
    values: Sequence[NDArray[np.float64]], others: Sequence[NDArray[np.float64]]
) -> list[NDArray[np.float64]]:
    return [own - other for own, other in zip(values, others, strict=True)]


def _cells(values: Sequence[NDArray[np.float64]], sign: str = "") -> list[str]:
    """Return the mean in %, and half the width of its interval over episodes and over seeds."""
    from baton.tasks import episode_figures

    by_episode, by_seed = np.mean(values, axis=0), np.array([own.mean() for own in values])
    halves: Mapping[str, NDArray[np.float64]] = {"episodes": by_episode, "seeds": by_seed}
    return [
        f"{100 * by_seed.mean():{sign}.1f}",
        *(
            f"± {100 * episode_figures.half_width(own):.1f}" if len(own) > 1 else "–"
            for own in halves.values()
        ),
    ]


if __name__ == "__main__":
    console.run(main)
