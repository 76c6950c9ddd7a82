"""A logged model that gives a text numbers answers what `predict.py` computes."""

import io
import json
import sys
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
from baton.texts import document_windows
from tests import tiny
from tests.lifecycle.test_number_gate import NAMES, RULES, TASK, write
from tests.serve import test_pyfunc
from tests.serve.test_pyfunc import TEXTS

pytestmark = pytest.mark.usefixtures("quiet_mlflow")

HALVES = [25.0, None]  # the second number has too few validation rows
COLUMNS = [f"{name}{end}" for name in NAMES for end in ("", "_low", "_high")]


def write_model(folder: Path) -> Path:
    head = params.head({"kind": "linear", "pooling": "mean", "dropout": 0.1})
    base = tiny.write_base(folder.parent / "base")
    torch.manual_seed(0)
    model = model_folder.create(base, head, TASK.width, tiny.training(), "matmul", tiny.TEXT_INPUT)
    for parameter in (*model.backbone.embeddings.parameters(), *model.head.parameters()):
        torch.nn.init.normal_(parameter, std=0.5)  # so that numbers differ between texts
    info = model_folder.ModelInfo(TASK, head, tiny.TEXT_INPUT, fitted={"quantiles": HALVES})
    model_folder.save(model, info, base, folder)
    return folder


def computed(folder: Path, table: Path) -> NDArray[np.float64]:
    """Return the numbers (texts, 2) that `predict.py`'s logits stand for."""
    model, info = model_folder.load(folder, "matmul")
    assert info.fitted == {"quantiles": HALVES}
    tokenizer = document_windows.open_tokenizer(folder, info.input.max_length)
    (folder.parent / "arrays").mkdir()
    text_arrays.tokenize(table, tokenizer, folder.parent / "arrays", 100, lambda count: None, TASK)
    split = TextSplit(text_arrays.open_arrays(folder.parent / "arrays", table.stem, TASK), 0)
    assert split.targets.all.tolist() == [[1.5, -2.0]] * len(TEXTS)
    logits = predict.predict(model.eval(), split, tiny.machine(), 4)
    return np.array(TASK.centre) + np.array(TASK.scale) * logits.astype(np.float64)


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path, NDArray[np.float64]]]:
    """Return the logged model, a test table with the numbers that it answers, and these."""
    folder = tmp_path_factory.mktemp("numbers")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.chdir(folder)
        model = write_model(folder / "model")
        path = write(folder / "clean", {"test": [(text, [1.5, -2.0]) for text in TEXTS]}) / "test.parquet"
        found = computed(model, path)
        write(folder / "clean", {"test": [*zip(TEXTS, found.tolist(), strict=True)]})
        yield test_pyfunc.log(model, "model"), path, found


def test_it_answers_each_number_and_its_interval(logged: tuple[str, Path, NDArray[np.float64]]) -> None:
    uri, _, expected = logged
    answer = test_pyfunc.load(uri).predict(TEXTS)
    assert list(answer) == COLUMNS
    np.testing.assert_allclose(answer[list(NAMES)].to_numpy(), expected, rtol=1e-6, atol=1e-4)
    assert np.ptp(expected, axis=0).min() > 1, "otherwise any answer would pass"
    np.testing.assert_allclose(answer["price_high"], answer["price"] + 25)
    np.testing.assert_allclose(answer["price_low"], answer["price"] - 25)
    ends = answer[[f"{NAMES[1]}_low", f"{NAMES[1]}_high"]]  # of an infinite interval
    assert (ends == [-sys.float_info.max, sys.float_info.max]).all(axis=None)
    from mlflow.pyfunc import scoring_server

    sent = io.StringIO()
    scoring_server.predictions_to_json(answer, sent)
    assert len(json.loads(sent.getvalue(), parse_constant=pytest.fail)["predictions"]) == len(TEXTS)


def test_its_signature_and_its_page_name_the_columns(logged: tuple[str, Path, NDArray[np.float64]]) -> None:
    import mlflow.models

    from baton.tracking import logged_models

    signature = mlflow.models.Model.load(logged[0]).signature
    assert signature is not None
    outputs = signature.outputs.to_dict()
    assert [(column["name"], column["type"]) for column in outputs] == [(name, "double") for name in COLUMNS]
    store: Any = type("Store", (), {"client": type("Client", (), {"tracking_uri": "sqlite://"})})
    info = storage.read_json(Path(logged[0]) / "artifacts/model/baton.json")
    page = logged_models.describe(store, "m-1", info)
    assert page.startswith("2 numbers: price, «âge». Reads at most 16 tokens.")
    assert "which contains 90% of numbers: `price` ± 25, `«âge»` ± infinity (split conformal" in page


def test_the_gate_reads_its_numbers(logged: tuple[str, Path, NDArray[np.float64]], tmp_path: Path) -> None:
    """The table has the numbers that the model gives, so it makes no error."""
    uri, _, expected = logged
    rows = [*zip(TEXTS, expected.tolist(), strict=True)] * 20  # few are not judged
    table = test_table.read(write(tmp_path, {"test": rows}) / "test.parquet")
    found = scoring._answers(test_pyfunc.load(uri), table, uri)
    scored = gate.Scored(found, 100, np.ones(len(rows)), frozenset())
    figures = gate.decide(table, scored, None, RULES).figures["challenger"]
    assert figures["mae"] == pytest.approx(0, abs=1e-3) and figures["r2"] == pytest.approx(1, abs=1e-3)
    assert figures["spearman"] == pytest.approx(1, abs=1e-3)  # the batch moves last bits, and so ties
