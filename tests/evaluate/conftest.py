"""A small project with real text: paragraphs of Python's own reference, classified by section."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from ruamel.yaml import YAML
from safetensors.numpy import save_file

from baton import storage
from baton.contracts import predictions, task_spec
from tests import tiny

NAMES = ["collections", "objects", "text"]
TOPICS = {
    "objects": ("class", "specialnames", "objects", "attribute-access"),
    "text": ("formatstrings", "strings", "string-methods"),
    "collections": ("typesseq", "typesmapping", "lists", "import"),
}
TEMPERATURES = {"teacher": 1.25, "student": 0.8, "control": 1.0}
Split = tuple[list[str], NDArray[np.int64]]


def paragraphs() -> dict[str, Split]:
    """Return train, val, test -> texts and labels."""
    from pydoc_data.topics import topics

    rows = [
        (" ".join(block.split()), label)
        for label, name in enumerate(NAMES)
        for topic in TOPICS[name]
        for block in re.split(r"\n\s*\n", topics[topic])
        if len(block.split()) > 12
    ]
    order = np.random.default_rng(0).permutation(len(rows))
    cuts = {
        "train": order[: len(order) // 2],
        "val": order[len(order) // 2 : len(order) * 3 // 4],
        "test": order[len(order) * 3 // 4 :],
    }
    return {
        split: ([rows[k][0] for k in picked], np.array([rows[k][1] for k in picked]))
        for split, picked in cuts.items()
    }


def answers(labels: NDArray[np.int64], classes: int, share: float, seed: int) -> NDArray[np.float32]:
    """Return logits (n, classes) of which about `share` are right; the right ones are more confident."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 1, (len(labels), classes))
    logits[np.arange(len(labels)), labels] += np.where(
        generator.random(len(labels)) < share, generator.gamma(4, 1.5, len(labels)), -1
    )
    return logits.astype(np.float32)


def write_clean(root: Path, names: list[str], splits: dict[str, Split]) -> None:
    folder = root / "data/clean"
    folder.mkdir(parents=True)
    storage.write_json(folder / "task.json", task_spec.described(tiny.task(*names)))
    (folder / "report.json").write_text(json.dumps({"near_duplicates": {"test_rows": ["test:2", "test:5"]}}))
    for split, (texts, labels) in splits.items():
        ids = [f"{split}:{row + 1}" for row in range(len(texts))]
        columns = {
            "id": ids,
            "text": texts,
            "label": pa.array(labels, pa.int32()),
            "site": [f"site {row % 2}" for row in range(len(ids))],
        }
        pq.write_table(pa.table(columns), folder / f"{split}.parquet")


def write_models(root: Path, names: list[str], splits: dict[str, Split], shares: dict[str, float]) -> None:
    for index, (model, share) in enumerate(shares.items()):
        for split, (texts, labels) in splits.items():
            ids = [f"{split}:{row + 1}" for row in range(len(texts))]
            logits = answers(labels, len(names), share, seed=10 * index + len(split))
            predictions.write_predictions(root / f"data/predictions/{model}/{split}.parquet", ids, logits)
        folder = root / f"models/{model}"
        folder.mkdir(parents=True)
        width = 6 if model == "teacher" else 3
        tensors = {
            "backbone.weight": np.zeros((width, 50), np.float32),
            "head.output.bias": np.zeros(len(names), np.float32),
        }
        (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
        (folder / "baton.json").write_text(
            json.dumps({"labels": names, "fitted": {"temperature": TEMPERATURES[model]}})
        )
        save_file(
            tensors | {"backbone.positions": np.arange(7)},
            folder / "model.safetensors",
            metadata={"format": "pt"},
        )


def write_curves(root: Path) -> None:
    (root / "curves").mkdir()
    generator = np.random.default_rng(0)
    for path, models in (("finetune", ("teacher",)), ("distill", ("student", "control"))):
        lines = ["model,seed,step,epoch,loss,learning_rate,gradient_norm,val_loss,val_accuracy,val_macro_f1"]
        for model in models:
            for step in range(10, 410, 10):
                loss = 2 * np.exp(-step / 90) + generator.gamma(2, 0.04)
                rate, norm = 1e-4 * (1 - step / 410), generator.gamma(3, 0.5)
                lines.append(f"{model},0,{step},{step / 200},{loss:.5f},{rate:.3e},{norm:.4f},,,")
                if step % 100 == 0:
                    score = 1 - np.exp(-step / 90) / 2 - (model == "control") * 0.02
                    lines.append(
                        f"{model},0,{step},{step / 200},,,,{1.2 - score:.5f},{score:.5f},{score - 0.05:.5f}"
                    )
        (root / f"curves/{path}.csv").write_text("\n".join(lines) + "\n")


def write_seeds(root: Path) -> None:
    """Write what `finetune` and `distill` report about a single seed; predictions must exist."""
    for stage, models in (("finetune", ("teacher",)), ("distill", ("student", "control"))):
        own: dict[str, object] = {model: {"val_accuracy": 0.9} for model in models}
        storage.write_json(
            root / f"metrics/{stage}.json",
            {model: {"seed": 0, "val_accuracy": 0.9} for model in models} | {"seeds": {"0": own}},
        )
        for model in models:
            (root / f"data/predictions/seeds/{model}").mkdir(parents=True)
            shutil.copy(
                root / f"data/predictions/{model}/test.parquet",
                root / f"data/predictions/seeds/{model}/0.parquet",
            )


def write_project(root: Path, names: list[str], splits: dict[str, Split], shares: dict[str, float]) -> None:
    """Write the inputs of `evaluate`, except data/arrays."""
    write_clean(root, names, splits)
    write_models(root, names, splits, shares)
    write_curves(root)
    write_seeds(root)


def shown_plots(root: Path) -> tuple[set[str], set[str]]:
    """Return the files that dvc.yaml's plots name, those with rows and those without.

    None may be missing or lack the field that is shown: `dvc plots show` complains of both.
    """
    plots = YAML(typ="safe", pure=True).load((root / "dvc.yaml").read_text(encoding="utf-8"))["plots"]
    unknown, known, empty = set[str](), set[str](), set[str]()
    for plot in (own for entry in plots if isinstance(entry, dict) for own in entry.values()):
        x = plot["x"] if isinstance(plot["x"], dict) else dict.fromkeys(plot["y"], plot["x"])
        for file, field in (*x.items(), *plot["y"].items()):
            columns, *rows = (
                Path(file).read_text(encoding="utf-8").splitlines() if Path(file).is_file() else [""]
            )
            (known if field in columns.split(",") else unknown).add(Path(file).name)
            empty |= set() if rows else {Path(file).name}
    assert not unknown, unknown
    return known - empty, empty


@pytest.fixture(scope="session")
def splits() -> dict[str, Split]:
    return paragraphs()


@pytest.fixture
def project(tmp_path: Path, splits: dict[str, Split], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder as the working directory."""
    write_project(tmp_path, NAMES, splits, {"teacher": 0.9, "student": 0.9, "control": 0.7})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    return tmp_path
