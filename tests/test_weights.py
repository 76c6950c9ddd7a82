"""Row weights, from the clean table through `tokenize` to the loss and the model."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from baton import params, tracking
from baton.contracts import row_attributes
from baton.errors import DataError
from baton.fitting import jobs, trainings
from baton.losses import class_losses
from baton.models import model_folder
from baton.train import resume
from stages import tokenize
from tests import tiny

ROOT = Path(__file__).parents[1]
HEAD = params.LinearHead(kind="linear", pooling="mean", dropout=0.0)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write every text once with its label and weight 9, and twice with another label and weight 1.

    The labels of val are right.
    """
    monkeypatch.chdir(tmp_path)
    rows = [(text, label) for label, texts in enumerate(tiny.TEXTS.values()) for text in texts]
    train = [(text, (label + wrong) % 3) for text, label in rows for wrong in (0, 1, 1)]
    tiny.write_base(Path("data/base"))
    tiny.write_splits(Path("data/clean"), {"train": train, "val": rows, "test": rows}, list(tiny.TEXTS))
    table = pq.read_table("data/clean/train.parquet")
    pq.write_table(
        table.append_column("weight", pa.array([9.0, 1.0, 1.0] * len(rows), pa.float32())),
        "data/clean/train.parquet",
    )
    raw = params.read_raw(ROOT / "recipes/csv.yaml")
    raw["tokenize"] |= {"max_length": 16}
    Path("params.yaml").write_text(json.dumps(raw))
    tokenize.main()


@pytest.mark.parametrize("weighted", [True, False])
def test_a_model_believes_the_rows_of_weight(project: None, weighted: bool) -> None:
    """Without the weights (the control), it believes the two wrong rows of three."""
    data, machine, settings = (
        jobs.open_data(None),
        tiny.machine(),
        tiny.training(epochs=30, batch_size=12, learning_rate=3e-3),
    )
    model = model_folder.create(Path("data/base"), HEAD, 3, settings, machine.attention, data.input)
    job = jobs.Job(data, machine, tracking.Run(), resume.StageCheckpoints(Path("checkpoints"), 1000.0))
    of_rows = jobs.row_weights(data, machine) if weighted else None
    curve = trainings.fit(
        "teacher", model, class_losses.cross_entropy(0.0, None, of_rows), settings, job
    ).curve
    last = [row["val_accuracy"] for row in curve if "val_accuracy" in row][-1]
    assert last == (1.0 if weighted else 0.0)


def test_their_mean_is_one_and_other_splits_have_none(project: None) -> None:
    read = row_attributes.weights(trainings.ARRAYS, "train", 36)
    assert read is not None
    assert read.mean() == pytest.approx(1)
    assert np.unique(read).tolist() == pytest.approx([1 / (11 / 3), 9 / (11 / 3)])
    assert row_attributes.weights(trainings.ARRAYS, "val", 12) is None
    with pytest.raises(DataError, match=r"(?s)does not match the other arrays.*got: +36 rows.*next:"):
        row_attributes.weights(trainings.ARRAYS, "train", 35)


def test_rows_without_labels_weigh_as_much_as_those_of_train_on_average(project: None) -> None:
    texts = [f"the tanker left port {number}" for number in range(5)]
    pq.write_table(
        pa.table({"id": [f"unlabelled:{n}" for n in range(5)], "text": texts}),
        "data/clean/unlabelled.parquet",
    )
    tokenize.main()
    train = row_attributes.weights(trainings.ARRAYS, "train", 36)
    read = row_attributes.weights(trainings.ARRAYS, "transfer", 41)
    assert train is not None and read is not None
    assert read.tolist() == pytest.approx([*train.tolist(), *[1.0] * 5])
