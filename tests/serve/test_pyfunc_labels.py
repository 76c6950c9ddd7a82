"""A logged model that gives a text any number of labels answers what `predict.py` computes."""

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from baton import params, predict, storage
from baton.arrays import text_arrays
from baton.batches.text_batches import TextSplit
from baton.lifecycle import test_table
from baton.lifecycle.promotion import gate, scoring
from baton.models import model_folder
from baton.tasks import answers
from baton.texts import document_windows
from tests import tiny
from tests.lifecycle.test_label_gate import NAMES, RULES, TASK, write
from tests.serve import test_pyfunc
from tests.serve.test_pyfunc import TEXTS

pytestmark = pytest.mark.usefixtures("quiet_mlflow")

TEMPERATURE = 1.5


def write_model(folder: Path) -> Path:
    head = params.head({"kind": "linear", "pooling": "mean", "dropout": 0.1})
    base = tiny.write_base(folder.parent / "base")
    torch.manual_seed(0)
    model = model_folder.create(base, head, TASK.width, tiny.training(), "matmul", tiny.TEXT_INPUT)
    # Large weights, so that labels differ between texts, and each label is given to about half of them.
    for parameter in (*model.backbone.embeddings.parameters(), *model.head.parameters()):
        torch.nn.init.normal_(parameter, std=1.0)
    tokenizer = document_windows.open_tokenizer(base, tiny.TEXT_INPUT.max_length)
    ids = [torch.tensor([tokenizer.encode(text).ids]) for text in TEXTS]
    with torch.no_grad():
        logits = torch.cat([model.eval()(one, torch.ones_like(one)) for one in ids])
        # Between two texts that differ much, so that no rounding decides.
        middle = logits.sort(dim=0).values[4:11]
        gap = middle.diff(dim=0).argmax(dim=0, keepdim=True)
        ends = middle.gather(0, torch.cat([gap, gap + 1]))
        dict(model.head.named_parameters())["output.bias"].sub_(ends.mean(dim=0))
    info = model_folder.ModelInfo(TASK, head, tiny.TEXT_INPUT, fitted={"temperature": TEMPERATURE})
    model_folder.save(model, info, base, folder)
    return folder


def computed(folder: Path, table: Path) -> NDArray[np.float64]:
    """Return the probabilities (texts, labels) of `predict.py`'s logits at the model's temperature."""
    model, info = model_folder.load(folder, "matmul")
    tokenizer = document_windows.open_tokenizer(folder, info.input.max_length)
    (folder.parent / "arrays").mkdir()
    text_arrays.tokenize(table, tokenizer, folder.parent / "arrays", 100, lambda count: None, TASK)
    split = TextSplit(text_arrays.open_arrays(folder.parent / "arrays", table.stem, TASK), 0)
    logits = predict.predict(model.eval(), split, tiny.machine(), 4)
    return 1 / (1 + np.exp(-logits.astype(np.float64) / TEMPERATURE))


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path, NDArray[np.float64]]]:
    """Return the logged model, a test table labelled as the model answers, and its probabilities."""
    folder = tmp_path_factory.mktemp("labels")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.chdir(folder)
        model = write_model(folder / "model")
        path = write(folder / "clean", {"test": [(text, []) for text in TEXTS]}) / "test.parquet"
        found = computed(model, path)
        rows = [(text, np.flatnonzero(own >= 0.5).tolist()) for text, own in zip(TEXTS, found, strict=True)]
        write(folder / "clean", {"test": rows})
        yield test_pyfunc.log(model, "model"), path, found


def test_it_answers_labels_and_a_probability_for_each(logged: tuple[str, Path, NDArray[np.float64]]) -> None:
    uri, _, expected = logged
    answer = test_pyfunc.load(uri).predict(TEXTS)
    assert list(answer.columns) == ["labels", *(f"probability_{name}" for name in NAMES)]
    np.testing.assert_allclose(answer.drop(columns="labels").to_numpy(), expected, atol=1e-6)
    chosen = [[name for name, p in zip(NAMES, row, strict=True) if p >= 0.5] for row in expected]
    assert [json.loads(text) for text in answer["labels"]] == chosen
    given = (expected >= 0.5).sum(axis=0)
    assert ((given >= 4) & (given <= len(TEXTS) - 4)).all(), "no label is given to all texts, or to none"
    assert any("«naïve»" in text for text in answer["labels"]), "readable, not escaped"


def test_its_signature_and_its_page_name_the_columns(logged: tuple[str, Path, NDArray[np.float64]]) -> None:
    import mlflow.models

    from baton.tracking import logged_models

    signature = mlflow.models.Model.load(logged[0]).signature  # get_model_info would ask the current store
    assert signature is not None
    outputs = signature.outputs.to_dict()
    assert [(column["name"], column["type"]) for column in outputs] == [
        ("labels", "string"),
        *((f"probability_{name}", "double") for name in NAMES),
    ]
    store: Any = type("Store", (), {"client": type("Client", (), {"tracking_uri": "sqlite://"})})
    info = storage.read_json(Path(logged[0]) / "artifacts/model/baton.json")
    page = logged_models.describe(store, "m-1", info)
    assert page.startswith("3 labels: animal, of text, «naïve». Reads at most 16 tokens.")
    assert (
        "sigmoid(logits / T); T = 1.5, thresholds 0.5 to 0.5, in `baton.json`, fitted on validation |" in page
    )


def test_the_gate_reads_its_probabilities(logged: tuple[str, Path, NDArray[np.float64]]) -> None:
    """The table has the labels that the model gives, so all its figures are 1."""
    uri, path, expected = logged
    table = test_table.read(path)
    found = scoring._answers(test_pyfunc.load(uri), table, uri)
    np.testing.assert_allclose(answers.probabilities(NAMES, found), expected, atol=1e-6)
    scored = gate.Scored(found, 100, np.ones(3), frozenset())
    figures = gate.decide(table, scored, None, RULES).figures["challenger"]
    assert [figures[key] for key in ("micro_f1", "macro_f1", "subset_accuracy")] == [1.0, 1.0, 1.0]
