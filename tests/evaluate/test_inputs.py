"""Files that do not belong together are refused, with what was found and what was expected."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from baton import storage
from baton.contracts import predictions, task_spec
from baton.errors import DataError
from baton.evaluate import inputs
from tests import tiny
from tests.evaluate.conftest import NAMES, Split

CHOSEN = {"teacher": 0, "student": 0, "control": 0}
FIGURES = ("loss", "accuracy", "macro_f1")


def test_rows_come_as_they_stand(project: Path, splits: dict[str, Split]) -> None:
    rows = inputs.read_rows(Path("data/clean"), "test")
    assert rows.texts == splits["test"][0]
    assert rows.targets.tolist() == splits["test"][1].tolist()
    assert rows.ids[:2] == ["test:1", "test:2"]
    logits = inputs.read_logits(Path("data/predictions/teacher/test.parquet"), rows, len(NAMES))
    assert logits.shape == (len(rows.ids), len(NAMES))


def test_swapped_missing_and_foreign_ids_are_refused(project: Path) -> None:
    rows = inputs.read_rows(Path("data/clean"), "test")
    path = Path("data/predictions/teacher/test.parquet")
    ids, logits = predictions.read_predictions(path)
    swapped = [ids[0], ids[2], ids[1], *ids[3:]]
    for wrong, values, message in (
        (swapped, logits, r"row 2 is test:3[\s\S]*row 2 is test:2"),
        (
            ids[:-1],
            logits[:-1],
            rf"{len(ids) - 1} rows; row {len(ids)} is absent[\s\S]*row {len(ids)} is test:{len(ids)}",
        ),
        ([f"val:{k}" for k in range(len(ids))], logits, r"row 1 is val:0[\s\S]*row 1 is test:1"),
    ):
        predictions.write_predictions(path, wrong, values)
        with pytest.raises(DataError, match=message):
            inputs.read_logits(path, rows, len(NAMES))


def test_other_classes_are_refused(project: Path) -> None:
    rows = inputs.read_rows(Path("data/clean"), "test")
    with pytest.raises(DataError, match=r"3 outputs[\s\S]*4, as in task\.json"):
        inputs.read_logits(Path("data/predictions/teacher/test.parquet"), rows, 4)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"id": ["a"], "text": ["x"]}, "unexpected columns"),
        ({"id": ["a"], "text": ["x"], "label": pa.array([7], pa.int32())}, "labels 7 to 7"),
        ({"id": ["a"], "text": ["x"], "label": pa.array([-1], pa.int32())}, "labels -1 to -1"),
        (
            {
                "id": pa.array([], pa.string()),
                "text": pa.array([], pa.string()),
                "label": pa.array([], pa.int32()),
            },
            "no rows",
        ),
    ],
)
def test_a_foreign_table_is_refused(project: Path, columns: dict[str, object], message: str) -> None:
    pq.write_table(pa.table(columns), "data/clean/test.parquet")
    with pytest.raises(DataError, match=message):
        inputs.read_rows(Path("data/clean"), "test")


def test_missing_files_are_named(project: Path) -> None:
    for path in ("data/clean/test.parquet", "data/clean/task.json"):
        kept = Path(path).read_bytes()
        Path(path).unlink()
        with pytest.raises(DataError, match=path):
            inputs.read_rows(Path("data/clean"), "test")
        Path(path).write_bytes(kept)
    Path("curves/distill.csv").unlink()
    with pytest.raises(DataError, match=r"curves/distill\.csv is missing"):
        inputs.read_curves([Path("curves/finetune.csv"), Path("curves/distill.csv")], CHOSEN, FIGURES)


def test_sizes_come_from_the_header(project: Path) -> None:
    got = inputs.model_size(Path("models/student"))
    assert got["parameters"] == 3 * 50 + len(NAMES)  # the integer buffer is not a parameter
    assert got["bytes"] == Path("models/student/model.safetensors").stat().st_size
    Path("models/student/model.safetensors").write_bytes(b"\x05\0\0\0\0\0\0\0{oops")
    with pytest.raises(DataError, match="safetensors"):
        inputs.model_size(Path("models/student"))
    with pytest.raises(DataError, match="No such file"):
        inputs.model_size(Path("models/nobody"))


def test_curves_are_split_by_model_and_kind(project: Path) -> None:
    curves = inputs.read_curves([Path("curves/finetune.csv"), Path("curves/distill.csv")], CHOSEN, FIGURES)
    assert list(curves) == ["teacher", "student", "control"]
    assert curves["control"].training["step"][:2] == [10, 20]
    assert curves["control"].validation["step"] == [100, 200, 300, 400]
    assert len(curves["control"].training["loss"]) == 40
    assert np.isfinite(curves["student"].validation["val_macro_f1"]).all()
    Path("curves/finetune.csv").write_text("model,seed,step,epoch,loss\nteacher,0,1,0.1,high\n")
    with pytest.raises(DataError, match="not a learning curve"):
        inputs.read_curves([Path("curves/finetune.csv")], CHOSEN, FIGURES)


def test_a_task_of_another_run_is_noticed(project: Path) -> None:
    storage.write_json(Path("data/clean/task.json"), task_spec.described(tiny.task(*NAMES[:2])))
    with pytest.raises(DataError, match=r"does not match data/clean/task\.json"):
        inputs.read_rows(Path("data/clean"), "test")


def test_of_images_the_names_are_read_and_the_pictures_are_not(project: Path) -> None:
    columns = {
        "id": ["test:1", "test:2"],
        "name": ["cats/a.png", "dogs/b.png"],
        "image": [b"no picture", None],  # decoding these would fail
        "digest": ["0" * 64] * 2,
        "label": pa.array([1, 0], pa.int32()),
    }
    pq.write_table(pa.table(columns), "data/clean/test.parquet")
    rows = inputs.read_rows(Path("data/clean"), "test")
    assert (rows.ids, rows.texts, rows.shown) == (["test:1", "test:2"], ["cats/a.png", "dogs/b.png"], "name")
    assert rows.targets.tolist() == [1, 0]


def test_statistics_of_batch_normalisation_are_no_parameters(tmp_path: Path) -> None:
    tensors = {
        "backbone.bn.weight": np.ones(5, np.float32),
        "backbone.bn.running_mean": np.ones(5, np.float32),
    }
    save_file(tensors | {"backbone.bn.running_var": np.ones(5, np.float32)}, tmp_path / "model.safetensors")
    assert inputs.model_size(tmp_path)["parameters"] == 5
