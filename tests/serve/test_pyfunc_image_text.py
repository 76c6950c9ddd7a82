"""The logged model of images with texts: both columns in, the pipeline's answers out."""

import base64
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from baton import params
from baton.arrays import image_text_arrays
from baton.batches import image_batches, image_text_batches, text_batches
from baton.contracts.input_spec import ImageTextInput
from baton.models import model_folder
from baton.predict import predict
from baton.texts import document_windows
from baton.tracking import served_inputs
from tests import tiny
from tests.photos import photo, write_table
from tests.serve.test_pyfunc_image import SHAPE

pytestmark = pytest.mark.usefixtures("quiet_mlflow")
LABELS = ["cat", "dog", "owl"]
HEAD = params.LinearHead(kind="linear", pooling="mean", dropout=0.1)
READS = ImageTextInput(SHAPE, tiny.TEXT_INPUT)
TEXTS = ["wheat exports rose sharply", "port", "the tanker left port and more wheat than ever " * 3, "trade"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("both")
    tiny.write_image_base(base / "image", size=16, channels=3)
    tiny.write_base(base / "text")
    torch.manual_seed(1)
    model = model_folder.create(base, HEAD, len(LABELS), tiny.training(), "matmul", READS)
    for parameter in model.head.parameters():
        torch.nn.init.normal_(parameter, std=1.0)
    for name, parameter in model.backbone.norms.named_parameters():
        torch.nn.init.normal_(parameter, mean=float(name.endswith("weight")), std=0.3)
    info = model_folder.ModelInfo(tiny.task(*LABELS), HEAD, READS, fitted={"temperature": 0.7})
    model_folder.save(model, info, base, base / "model")
    return base / "model"


@pytest.fixture
def model(folder: Path, quiet_mlflow: None) -> Any:
    from baton.serve.pyfunc_image_text import ImageTextClassifier

    served = ImageTextClassifier()
    served.load_context(SimpleNamespace(artifacts={"model": str(folder)}, model_config=None))
    return served


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    images = [photo(40, 60), photo(90, 31, seed=1), photo(18, 18, seed=2), photo(200, 300, seed=3)]
    path = write_table(tmp_path_factory.mktemp("table") / "test.parquet", images, [0, 1, 2, 0])
    return pq.read_table(path, columns=["image"]).append_column("text", pa.array(TEXTS)).to_pandas()


def test_the_answers_are_the_pipelines(folder: Path, model: Any, frame: pd.DataFrame, tmp_path: Path) -> None:
    loaded, info = model_folder.load(folder, "matmul")
    table = write_table(tmp_path / "test.parquet", frame["image"].tolist(), [0, 1, 2, 0])
    pq.write_table(pq.read_table(table).append_column("text", pa.array(TEXTS)), table)
    tokenizer = document_windows.open_tokenizer(folder / "text", 16)
    image_text_arrays.tokenize(table, tokenizer, READS, tmp_path, (3, 3), lambda _: None, tiny.TASK)
    arrays = image_text_arrays.open_arrays(tmp_path, "test", tiny.TASK)
    split = image_text_batches.ImageTextSplit(
        image_batches.ImageSplit(arrays.image, tuple, SHAPE, None), text_batches.TextSplit(arrays.text, 0)
    )
    logits: Any = predict(loaded, split, tiny.machine(), 2)
    scaled = np.exp(logits / info.fitted["temperature"])
    expected = scaled / scaled.sum(1, keepdims=True)
    answer = model.predict(frame)
    np.testing.assert_allclose(answer.drop(columns="label").to_numpy(), expected, atol=1e-5)
    assert answer["label"].tolist() == [LABELS[place] for place in expected.argmax(1)]
    apart = np.abs(expected[:, None] - expected[None]).max(2) + np.eye(4)
    assert apart.min() > 1e-4, "rows differ by more than the tolerance above"


def test_every_form_of_input_gives_the_same_answer(model: Any, frame: pd.DataFrame) -> None:
    whole = model.predict(frame)
    rows = [
        {"text": text, "image": base64.b64encode(image).decode()}
        for image, text in frame[["image", "text"]].to_numpy()
    ]
    forms = [frame[["text", "image"]], rows, frame.set_index(pd.Index([4, 3, 2, 1]))]
    for form in forms:
        np.testing.assert_allclose(model.predict(form).iloc[:, 1:], whole.iloc[:, 1:], atol=1e-6)
    assert model.predict(forms[2]).index.tolist() == [4, 3, 2, 1]
    single = model.predict(frame, {"batch_size": 1})
    np.testing.assert_allclose(single.iloc[:, 1:], whole.iloc[:, 1:], atol=1e-5)
    assert model.predict(frame.iloc[:0]).columns.tolist() == whole.columns.tolist()


@pytest.mark.parametrize(
    ("change", "error", "parts"),
    [
        (lambda rows: rows[["image"]], ValueError, ["no column 'text'", "image"]),
        (lambda rows: rows[["text"]], ValueError, ["no column 'image'"]),
        (lambda rows: rows.assign(text=["a", None, "b", "c"]), TypeError, ["the text of row 1 is not text"]),
        (lambda rows: rows.assign(text=["a", "b", " ", "c"]), ValueError, ["the text of row 2 is empty"]),
        (lambda rows: rows.assign(image=[*rows["image"][:3], None]), TypeError, ["row 3 is not an image"]),
        (lambda rows: rows.assign(image=[*rows["image"][:3], b"no"]), ValueError, ["row 3"]),
    ],
    ids=["no texts", "no images", "missing text", "empty text", "missing image", "broken image"],
)
def test_a_row_that_lacks_a_side_is_refused(
    model: Any, frame: pd.DataFrame, change: Any, error: type[Exception], parts: list[str]
) -> None:
    with pytest.raises(error) as raised:
        model.predict(change(frame))
    assert all(part in str(raised.value) for part in [*parts, "next:"])


def test_the_signature_names_both_columns() -> None:
    from baton.tracking import logged_models

    signature = logged_models.signature(tiny.task(*LABELS), READS)
    assert [one.name for one in signature.inputs.inputs] == ["image", "text"]
    how = served_inputs.of(READS)
    assert {"timm", "transformers", "tokenizers", "pillow"} <= set(how.packages)
    assert "16x16 pixels" in how.reads and "16 tokens" in how.reads
