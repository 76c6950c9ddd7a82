"""Tiny models as graphs, made once for all tests: torch's exporter takes seconds for any model.

`text_export` is a small project with a teacher and a student of `tiny.TEXTS`, their predictions, and the
student's graph; `image_export` is a model of photos with its graph.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from baton import params, storage


@dataclass(frozen=True)
class Exported:
    """A saved model and its graph."""

    root: Path  # with `data` and `models`
    model: Path
    graph: Path
    names: tuple[str, ...]


@pytest.fixture(scope="session")
def text_export(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A project with data, models/teacher, models/student, predictions, and the student's graph."""
    from baton.batches import array_splits
    from baton.contracts import predictions
    from baton.export import graphs
    from baton.models import model_folder
    from baton.predict import predict
    from tests import tiny

    root = tmp_path_factory.mktemp("text_export")
    tiny.write_arrays(root / "data")
    splits = array_splits.open_splits(root / "data/arrays")
    for seed, name in enumerate(("teacher", "student")):
        write_text_model(root / "models" / name, root / "data/base", seed)
        model, info = model_folder.load(root / "models" / name, "matmul")
        for split, own in splits.items():
            rows = [f"{split}:{row + 1}" for row in range(len(own))]
            logits = predict(model, own, tiny.machine(), 4)
            path = root / f"data/predictions/{name}/{split}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            predictions.write_predictions(path, rows, logits)
    names = graphs.write(model, info, splits["train"], root / "fp32.onnx")
    return Exported(root, root / "models/student", root / "fp32.onnx", names)


@pytest.fixture(scope="session")
def image_export(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A model of photos of `test_pyfunc_image`, and its graph."""
    from baton.arrays import image_arrays
    from baton.batches import image_batches
    from baton.export import graphs
    from baton.models import model_folder
    from tests import tiny
    from tests.photos import write_table
    from tests.serve import test_pyfunc_image as photos

    root = tmp_path_factory.mktemp("image_export")
    folder = photos.write_model(root / "photos")
    model, info = model_folder.load(folder, "matmul")
    table = write_table(root / "train.parquet", photos.PHOTOS, [0] * len(photos.PHOTOS))
    image_arrays.tokenize(table, photos.SHAPE, root, 3, lambda count: None, tiny.TASK)
    arrays = image_arrays.open_arrays(root, "train", tiny.TASK)
    split = image_batches.ImageSplit(arrays, tuple, photos.SHAPE, None, len(photos.LABELS))
    names = graphs.write(model, info, split, root / "fp32.onnx")
    return Exported(root, folder, root / "fp32.onnx", names)


def write_text_model(folder: Path, base: Path, seed: int) -> None:
    """Write a model folder whose weights are so large that answers differ between texts."""
    import torch

    from baton.models import model_folder
    from tests import tiny

    head = params.head({"kind": "linear", "pooling": "mean", "dropout": 0.1})
    torch.manual_seed(seed)
    model = model_folder.create(base, head, 3, tiny.training(), "matmul", tiny.TEXT_INPUT)
    for parameter in (*model.backbone.embeddings.parameters(), *model.head.parameters()):
        torch.nn.init.normal_(parameter, std=1.0)
    info = model_folder.ModelInfo(tiny.TASK, head, tiny.TEXT_INPUT, fitted={"temperature": 1.5})
    model_folder.save(model, info, base, folder)


def write_folder(made: Exported, target: Path, library: Any, **changes: Any) -> Path:
    """Write models/export as the stage does, in fp32."""
    from baton.engines import engine
    from baton.export import quantization

    (candidate,) = quantization.candidates((library,), ("fp32",), "pixels" not in made.names)
    target.mkdir(parents=True)
    candidate.write(made.graph, target / engine.FILES[candidate.library], [])
    graph = engine.Graph(candidate.library, "fp32", made.names)
    described = engine.described(graph) | {"of": "student", "sha256": storage.sha256_tree(made.model)}
    info = storage.read_json(made.model / "baton.json") | {engine.KEY: described}
    info["input"] |= changes
    storage.write_json(target / "baton.json", info)
    if (made.model / "tokenizer.json").is_file():
        shutil.copyfile(made.model / "tokenizer.json", target / "tokenizer.json")
    return target
