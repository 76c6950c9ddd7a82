"""A graph computes the logits of its torch model, whatever the task and the shape of a batch."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from baton import params
from baton.batches import array_splits
from baton.contracts import task_spec
from baton.contracts.input_spec import Windows
from baton.contracts.predictions import Predicted
from baton.contracts.ragged import Ragged
from baton.contracts.task_spec import Numbers, Sequence
from baton.engines import engine
from baton.errors import ModelError
from baton.export import graphs, quantization, running
from baton.models import model_folder
from baton.predict import predict
from tests import tiny, tiny_images, tiny_questions, tiny_tasks, tiny_tokens
from tests.exported import Exported

CLS = params.head({"kind": "linear", "pooling": "cls", "dropout": 0.1})
MEAN = params.head({"kind": "linear", "pooling": "mean", "dropout": 0.1})
ENGINES: tuple[Any, ...] = ("onnxruntime", "openvino")
SIZES = (1, 3, 100)  # of batches; graphs are traced with three rows


def values(logits: Predicted) -> Any:
    return logits.values if isinstance(logits, Ragged) else logits


def check(model: Any, split: Any, graph: Path, names: tuple[str, ...], work: Path) -> None:
    """Compare both engines in fp32 with torch, in batches of several sizes."""
    wanted = values(predict(model, split, tiny.machine(), 4))
    assert np.ptp(wanted, axis=0).max() > 1e-2, "logits differ between rows"
    for library in ENGINES:
        (candidate,) = quantization.candidates((library,), ("fp32",), text=True)
        folder = work / library
        folder.mkdir()
        candidate.write(graph, folder / engine.FILES[candidate.library], [])
        loaded = engine.load(engine.Graph(candidate.library, "fp32", names), folder, 1)
        for size in SIZES:
            got = running.predicted(loaded, names, split, size)
            np.testing.assert_allclose(values(got), wanted, atol=1e-4, err_msg=f"{library}, {size}")


def exported(
    base: Path, head: params.Head, task: Any, reads: Any, arrays: Path, work: Path
) -> tuple[str, ...]:
    """Export a new model on a base, check its graph on test, and return the graph's inputs."""
    torch.manual_seed(0)
    model = model_folder.create(base, head, task.width, tiny.training(), "matmul", reads).eval()
    torch.nn.init.normal_(model.head.output.weight)
    splits = array_splits.open_splits(arrays)
    names = graphs.write(
        model, model_folder.ModelInfo(task, head, reads), splits["train"], work / "fp32.onnx"
    )
    check(model, splits["test"], work / "fp32.onnx", names, work)
    return names


# ---- what can be exported ----


def test_classes_of_texts(text_export: Exported, tmp_path: Path) -> None:
    assert text_export.names == ("input_ids", "attention_mask")
    model, _ = model_folder.load(text_export.model, "matmul")
    split = array_splits.open_splits(text_export.root / "data/arrays")["test"]
    traced = array_splits.open_splits(text_export.root / "data/arrays")["train"].batch(np.arange(3))
    assert len({*split.lengths.tolist(), traced.inputs[0].shape[1]}) > 2, "texts of other lengths"
    check(model, split, text_export.graph, text_export.names, tmp_path)


def test_classes_of_images(image_export: Exported, tmp_path: Path) -> None:
    from baton.arrays import image_arrays
    from baton.batches import image_batches
    from tests.serve import test_pyfunc_image as photos

    assert image_export.names == ("pixels",)
    model, _ = model_folder.load(image_export.model, "matmul")
    arrays = image_arrays.open_arrays(image_export.root, "train", tiny.TASK)
    split = image_batches.ImageSplit(arrays, tuple, photos.SHAPE, None, len(photos.LABELS))
    check(model, split, image_export.graph, image_export.names, tmp_path)


def test_a_graph_names_no_file_of_this_machine(
    text_export: Exported, image_export: Exported, root: Path
) -> None:
    """torch's exporter notes with each node the lines of code that it came from."""
    for made in (text_export, image_export):
        content = made.graph.read_bytes()
        assert not any(place in content for place in (b"site-packages", str(root).encode(), b".py"))


def test_a_graph_of_other_weights_differs(text_export: Exported, tmp_path: Path) -> None:
    """A negative control of `check`."""
    model, _ = model_folder.load(text_export.root / "models/teacher", "matmul")
    split = array_splits.open_splits(text_export.root / "data/arrays")["test"]
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        check(model, split, text_export.graph, text_export.names, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["words", "letters"])
def test_labels_and_numbers(name: str, tmp_path: Path) -> None:
    tiny.write_arrays(tmp_path)
    tiny_tasks.write(tmp_path, name)
    own = tmp_path / "arrays/tasks" / name
    exported(tmp_path / "base", MEAN, tiny_tasks.SPECS[name], tiny.TEXT_INPUT, own, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("head", [MEAN, CLS], ids=["mean", "cls"])
@pytest.mark.parametrize("traced", [8, 5], ids=["a window each", "several windows"])
def test_documents_in_windows(head: params.Head, traced: int, tmp_path: Path) -> None:
    """It matters to a tracer whether there are as many windows as documents."""
    model, splits = None, {}
    for length in (traced, 5):
        reads = replace(tiny.TEXT_INPUT, max_length=length, truncation=Windows(most=3, overlap=1))
        data = tmp_path / str(length)
        if not data.exists():
            tiny.write_arrays(data, reads=reads)
        splits[length] = array_splits.open_splits(data / "arrays")
        if model is None:
            model = model_folder.create(data / "base", head, 3, tiny.training(), "matmul", reads).eval()
            torch.nn.init.normal_(model.head.output.weight)
            own = model_folder.ModelInfo(tiny.TASK, head, reads)
            names = graphs.write(model, own, splits[length]["train"], tmp_path / "fp32.onnx")
    assert names == ("input_ids", "attention_mask", "owners")
    windows = {length: len(own["train"].batch(np.arange(3)).input_ids) for length, own in splits.items()}
    assert windows[5] > 3 and windows.get(8, 3) == 3
    check(model, splits[5]["test"], tmp_path / "fp32.onnx", names, tmp_path)


@pytest.mark.slow
def test_pairs_with_types_of_tokens(tmp_path: Path) -> None:
    reads = replace(tiny_questions.IN_WINDOWS, truncation=tiny.TEXT_INPUT.truncation)
    arrays = tiny_questions.write_arrays(tmp_path, reads)
    names = exported(tmp_path / "base", CLS, tiny_questions.TASK, reads, arrays, tmp_path)
    assert names == ("input_ids", "attention_mask", "token_type_ids")


@pytest.mark.slow
def test_tokens_in_windows(tmp_path: Path) -> None:
    arrays = tiny_tokens.write_arrays(tmp_path)
    exported(tmp_path / "base", CLS, tiny_tokens.TASK, tiny_tokens.IN_WINDOWS, arrays, tmp_path)


@pytest.mark.slow
def test_spans_in_windows(tmp_path: Path) -> None:
    arrays = tiny_questions.write_arrays(tmp_path)
    exported(tmp_path / "base", CLS, tiny_questions.TASK, tiny_questions.IN_WINDOWS, arrays, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("write", [tiny.write_image_base, tiny.write_convolutional_base])
@pytest.mark.parametrize("numbers", [False, True], ids=["classes", "numbers"])
def test_images(write: Any, numbers: bool, tmp_path: Path) -> None:
    write(tmp_path / "base")
    reads = tiny_images.write_arrays(tmp_path, {"train": 20, "val": 10, "test": 10})
    task: Any = task_spec.read_file(tmp_path / "clean")
    task = Numbers(("one", "two"), (0.0, 1.0), (1.0, 2.0), "mse", 0.9) if numbers else task
    exported(tmp_path / "base", MEAN, task, reads, tmp_path / "arrays", tmp_path)


# ---- what cannot ----


def info(task: Any = tiny.TASK, reads: Any = tiny.TEXT_INPUT) -> model_folder.ModelInfo:
    return model_folder.ModelInfo(task, MEAN, reads)


def test_what_a_graph_cannot_do_is_refused_with_the_reason() -> None:
    with pytest.raises(ModelError, match="cannot be exported: it writes texts") as caught:
        graphs.check(info(task=Sequence.__new__(Sequence)))
    assert "set export to null" in str(caught.value)
    graphs.check(info())
    graphs.check(info(reads=tiny.image_input()))


def test_an_architecture_that_torch_cannot_trace_is_refused(text_export: Exported, tmp_path: Path) -> None:
    model, own = model_folder.load(text_export.model, "matmul")
    split = array_splits.open_splits(text_export.root / "data/arrays")["train"]
    model.features = lambda *inputs: torch.zeros(1, 32) if float(inputs[0].sum()) > 3 else None  # type: ignore[assignment, method-assign]
    with pytest.raises(ModelError, match="torch cannot export this architecture to ONNX"):
        graphs.write(model, own, split, tmp_path / "fp32.onnx")
    assert not any(tmp_path.iterdir())
