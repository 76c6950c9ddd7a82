"""Logged models: their origin, their requirements, and the figures added later."""

import base64
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from baton import params, storage, tracking
from baton.errors import TrackingError
from baton.models import model_folder
from tests import tiny, tiny_images
from tests.tracking.reading import REASONS, client, runs, write_model


def test_a_logged_model_says_where_it_is_from_and_gets_test_figures(project: Path, teacher: Path) -> None:
    with tracking.stage("finetune", REASONS) as run:
        run.model("teacher", teacher, ["wheat exports rose"])
        run.final({"teacher/val_accuracy": 0.9, "rest": 1.0})
    tiny.write_clean(project / "data" / "clean")
    with tracking.stage("evaluate", REASONS) as run:
        run.dataset("test", Path("data/clean/test.parquet"), "testing")
        run.model_metrics("teacher", teacher, {"test/accuracy": 0.8})
        run.model_metrics(
            "student", write_model(project / "models" / "student", seed=2), {"test/accuracy": 0.7}
        )  # never logged
        run.final({"teacher/test_accuracy": 0.8})
    child, evaluate = (
        next(run for run in runs() if run.info.run_name == name) for name in ("finetune", "evaluate")
    )
    [output] = child.outputs.model_outputs
    model = client().get_logged_model(output.model_id)
    assert (model.name, model.status, model.source_run_id) == ("teacher", "READY", child.info.run_id)
    assert model.tags["sha256"] == storage.sha256_tree(teacher)
    assert model.params["finetune.learning_rate"] == "0.0001"
    data = storage.sha256(project / "data/clean/test.parquet")[:36]
    figures = {
        item.key: (item.value, item.run_id, item.dataset_name, item.dataset_digest) for item in model.metrics
    }
    assert figures == {
        "teacher/val_accuracy": (0.9, child.info.run_id, None, None),
        "teacher/test_accuracy": (0.8, evaluate.info.run_id, "test", data),
    }
    assert model.tags["mlflow.source.name"] == "stages/finetune.py"
    assert f'load_model("models:/{model.model_id}")' in model.tags["mlflow.note.content"]
    assert [item.model_id for item in client().get_run(evaluate.info.run_id).inputs.model_inputs] == [
        model.model_id
    ]
    assert evaluate.data.metrics["student/test_accuracy"] == 0.7
    assert (
        len(client().get_metric_history(evaluate.info.run_id, "teacher/test_accuracy")) == 1
    )  # reported twice, recorded once


def test_a_model_and_a_dataset_of_images(project: Path) -> None:
    """The image model is logged, with a JSON-compatible example; the dataset's images are binary."""
    clean = tiny_images.write_clean(project / "data/clean", {"train": 3, "val": 2, "test": 4})
    base = tiny.write_image_base(project / "base")
    head, reads = params.LinearHead(kind="linear", pooling="mean", dropout=0.0), tiny.image_input()
    model = model_folder.create(base, head, 10, tiny.training(), "matmul", reads)
    folder = Path("models/teacher")
    model_folder.save(
        model,
        model_folder.ModelInfo(tiny.task(*[str(label) for label in range(10)]), head, reads),
        base,
        folder,
    )
    image = pq.read_table(clean / "val.parquet")["image"][0].as_py()
    with tracking.stage("finetune", REASONS) as run:
        run.dataset("val", Path("data/clean/val.parquet"), "validation")
        run.model("teacher", folder, [base64.b64encode(image).decode()])
    child = next(run for run in runs() if run.info.run_name == "finetune")
    [dataset] = client().get_run(child.info.run_id).inputs.dataset_inputs
    columns = {
        column["name"]: column["type"] for column in json.loads(dataset.dataset.schema)["mlflow_colspec"]
    }
    assert columns == {
        "id": "string",
        "name": "string",
        "image": "binary",
        "digest": "string",
        "label": "integer",
    }
    [output] = child.outputs.model_outputs
    logged = client().get_logged_model(output.model_id)
    assert (logged.status, logged.model_type) == ("READY", "image model")
    assert "Reads 8x8 pixels, grey" in logged.tags["mlflow.note.content"]
    served = mlflow_model(logged.artifact_location)
    assert served.predict([image])["label"][0] == served.predict(served.input_example)["label"][0]


def mlflow_model(location: str) -> Any:
    import mlflow.pyfunc

    return mlflow.pyfunc.load_model(location)


def test_a_model_folder_that_the_lock_does_not_cover_is_reported(
    project: Path, teacher: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from baton.tracking import environment, served_inputs

    (project / "requirements.lock").write_text(
        "torch==2.14.1 ; python_version >= '3.11'\nnumpy==2.4.0 \\\n    --hash=sha256:0\n"
    )
    with pytest.raises(TrackingError, match="no lock pins") as caught:
        environment.read_requirements(
            [project / "requirements.lock"], served_inputs.of(tiny.TEXT_INPUT).packages
        )
    assert "no mlflow, transformers, tokenizers, safetensors, pandas" in str(caught.value)
    with pytest.raises(
        TrackingError, match="no mlflow, torchvision, timm, pillow, pillow-heif, safetensors, pandas"
    ):
        environment.read_requirements(
            [project / "requirements.lock"], served_inputs.of(tiny.image_input()).packages
        )
