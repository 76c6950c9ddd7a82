"""The logged model: raw text in any accepted form in, the model's own labels out, without Baton."""

import json
import shutil
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from baton import params, storage
from baton.models import model_folder
from baton.texts import document_windows
from tests import tiny

ROOT = Path(__file__).parent.parent.parent
LABELS = ("grain", "ship", "trade")
TEXTS = [text for texts in tiny.TEXTS.values() for text in texts] + ["wheat " * 40, "?", "éclair ÜBER 東京 !"]


pytestmark = pytest.mark.usefixtures("quiet_mlflow")


def write_model(folder: Path, seed: int, labels: tuple[str, ...] = LABELS, **head: Any) -> Path:
    kind = params.head({"kind": "linear", "pooling": "mean", "dropout": 0.1} | head)
    base = tiny.write_base(folder.parent / f"{folder.name}-base")
    torch.manual_seed(seed)
    model = model_folder.create(base, kind, len(labels), tiny.training(), "matmul", tiny.TEXT_INPUT)
    # Large weights, so that labels differ between texts.
    for parameter in (*model.backbone.embeddings.parameters(), *model.head.parameters()):
        torch.nn.init.normal_(parameter, std=1.0)
    model_folder.save(
        model,
        model_folder.ModelInfo(
            tiny.task(*list(labels)), kind, tiny.TEXT_INPUT, fitted={"temperature": 1 + seed / 2}
        ),
        base,
        folder,
    )
    return folder


def expected(folder: Path, texts: list[str]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return evaluation's probabilities (texts, classes), one text at a time, at the model's temperature."""
    from baton.evaluate import inputs
    from baton.tasks import temperature

    model, info = model_folder.load(folder, "matmul")
    tokenizer = document_windows.open_tokenizer(folder, info.input.max_length)
    rows = []
    for item in texts:
        ids = torch.tensor([tokenizer.encode(item).ids])
        with torch.no_grad():
            rows.append(model(ids, torch.ones_like(ids))[0].numpy())
    return np.exp(temperature.scale(np.stack(rows), inputs.read_fitted(folder)["temperature"]))


def log(folder: Path, name: str, code: dict[str, str] | None = None, example: list[Any] | None = None) -> str:
    """Log a model in a store next to it; return the logged model's folder."""
    from baton.tracking import environment, logged_models, served_code, served_inputs, store

    shutil.copy(ROOT / "requirements.lock", "requirements.lock")
    opened = store.open_store(params.MlflowTracking(kind="mlflow", uri=None, experiment="tests"))
    run = opened.create_run(name, {}, 0)
    opened.log(run, values={"seed": 1})
    entry = {
        "name": name,
        "path": folder.as_posix(),
        "info": storage.read_json(folder / "baton.json"),
        "code": code or served_code.served("serve/pyfunc.py"),
        "requirements": environment.read_requirements(
            environment.LOCKS, served_inputs.of(tiny.TEXT_INPUT).packages
        ),
        "example": example or ["wheat exports rose", "port workers strike"],
    }
    model = opened.client.get_logged_model(logged_models.log(opened, run, entry, folder))
    return str(model.artifact_location.removeprefix("file://"))


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str, Path, str]]:
    """Return the folder and the logged model of each of two models with different heads and labels."""
    folder = tmp_path_factory.mktemp("serve")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.chdir(folder)
        one = write_model(folder / "one", seed=1)
        two = write_model(folder / "two", seed=2, labels=("no", "yes"), kind="mlp", pooling="cls", width=8)
        yield one, log(one, "one"), two, log(two, "two")


def load(uri: str) -> Any:
    import mlflow.pyfunc

    return mlflow.pyfunc.load_model(uri)


@pytest.fixture(scope="module")
def model(logged: tuple[Path, str, Path, str]) -> Any:
    """Return the first of the two, loaded."""
    return load(logged[1])


def probabilities(frame: pd.DataFrame) -> np.ndarray[Any, np.dtype[np.float64]]:
    return frame.drop(columns="label").to_numpy()


def test_two_loaded_models_keep_their_own_heads(logged: tuple[Path, str, Path, str]) -> None:
    one, one_uri, two, two_uri = logged
    first, second = load(one_uri), load(two_uri)
    for folder, model, labels in ((one, first, LABELS), (two, second, ("no", "yes"))):
        wanted = expected(folder, TEXTS)
        answer = model.predict(TEXTS)
        assert list(answer.columns) == ["label", *(f"probability_{label}" for label in labels)]
        np.testing.assert_allclose(probabilities(answer), wanted, atol=1e-6)
        assert answer["label"].tolist() == [labels[best] for best in wanted.argmax(axis=1)]
    assert first.predict(TEXTS)["label"].nunique() > 1


@pytest.mark.parametrize(
    "form",
    [
        list,
        np.array,
        pd.Series,
        lambda texts: pd.Series(texts, name="text"),
        lambda texts: pd.DataFrame({"text": texts}),
    ],
)
def test_every_form_of_input_gives_the_same_answer(model: Any, form: Any) -> None:
    texts = TEXTS[:5]
    pd.testing.assert_frame_equal(model.predict(form(texts)), model.predict(texts))
    assert model.predict(texts[0])["label"].tolist() == model.predict(texts[:1])["label"].tolist()


def test_the_batch_size_changes_nothing_but_the_speed(model: Any) -> None:
    small, large = (probabilities(model.predict(TEXTS, params={"batch_size": size})) for size in (2, 100))
    np.testing.assert_allclose(small, large, atol=1e-6)


def test_the_index_of_a_frame_is_kept_and_an_empty_one_answered(model: Any) -> None:
    frame = pd.DataFrame({"text": TEXTS[:3]}, index=[30, 10, 20])
    assert model.predict(frame).index.tolist() == [30, 10, 20]
    python_model = model.unwrap_python_model()
    assert python_model.predict(frame.iloc[:0]).shape == (0, 1 + len(LABELS))


def test_input_other_than_a_column_of_texts_is_rejected(model: Any) -> None:
    with pytest.raises(ValueError, match="first column is not the one to classify"):
        model.predict(pd.DataFrame({"id": ["train:1"], "text": ["wheat"]}))
    with pytest.raises(TypeError, match="row 1 is not text"):
        model.unwrap_python_model().predict(["wheat", None])


def test_another_temperature_changes_the_confidence_but_not_the_label(
    logged: tuple[Path, str, Path, str], tmp_path: Path
) -> None:
    """Negative control of the comparisons with `expected`: another temperature gives other probabilities."""
    from types import SimpleNamespace

    from baton.serve.pyfunc import TextClassifier

    answers = []
    for place, value in enumerate((1.5, 3.0)):
        folder = tmp_path / str(place)
        shutil.copytree(logged[0], folder)
        storage.write_json(
            folder / "baton.json",
            storage.read_json(folder / "baton.json") | {"fitted": {"temperature": value}},
        )
        model = TextClassifier()
        model.load_context(SimpleNamespace(artifacts={"model": str(folder)}, model_config={}))
        answers.append(model.predict(TEXTS))
    assert answers[0]["label"].tolist() == answers[1]["label"].tolist()
    assert (probabilities(answers[0]).max(axis=1) > probabilities(answers[1]).max(axis=1)).all()


def test_the_models_page_says_its_temperature(logged: tuple[Path, str, Path, str]) -> None:
    from baton.tracking import logged_models

    class Store:
        client = type("Client", (), {"tracking_uri": "sqlite://"})

    said = logged_models.describe(Store(), "m-1", storage.read_json(logged[0] / "baton.json"))  # type: ignore[arg-type]
    assert (
        "`probability_CLASS`, double, one for each class: softmax(logits / T), T = 1.5, fitted on validation"
        in said
    )


def test_a_model_and_a_journal_of_an_earlier_version_are_delivered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Earlier versions wrote the names of the classes to baton.json, as `labels`, and no task."""
    from baton.tracking import logged_models

    monkeypatch.chdir(tmp_path)
    folder = write_model(tmp_path / "model", seed=1)
    info = storage.read_json(folder / "baton.json")
    earlier = {key: value for key, value in info.items() if key != "task"} | {"labels": list(LABELS)}
    storage.write_json(folder / "baton.json", earlier)
    answer = load(log(folder, "model")).predict(TEXTS)
    np.testing.assert_allclose(probabilities(answer), expected(folder, TEXTS), atol=1e-6)
    assert set(answer["label"]) <= set(LABELS)
    store: Any = type("Store", (), {"client": type("Client", (), {"tracking_uri": "sqlite://"})})
    pages = [logged_models.describe(store, "m-1", some) for some in (earlier, info)]
    assert pages[0] == pages[1] and pages[0].startswith("3 classes: grain, ship, trade. Reads")


@pytest.mark.parametrize("pooling", ["cls", "mean", "pooler"])
def test_every_pooling_is_the_projects_own(tmp_path: Path, pooling: str) -> None:
    from types import SimpleNamespace

    from baton.serve.pyfunc import TextClassifier

    folder = write_model(tmp_path / "model", seed=3, pooling=pooling)
    model = TextClassifier()
    model.load_context(SimpleNamespace(artifacts={"model": str(folder)}, model_config={}))
    np.testing.assert_allclose(probabilities(model.predict(TEXTS)), expected(folder, TEXTS), atol=1e-6)


def test_the_logged_model_is_complete_and_says_what_it_needs(logged: tuple[Path, str, Path, str]) -> None:
    import mlflow.models

    folder = Path(logged[1])
    about = mlflow.models.get_model_info(str(folder))
    assert about.signature.inputs.to_dict() == [{"type": "any", "required": True}]
    assert [column["name"] for column in about.signature.outputs.to_dict()] == [
        "label",
        *(f"probability_{label}" for label in LABELS),
    ]
    assert [param.name for param in about.signature.params.params] == ["batch_size"]
    lines = (folder / "requirements.txt").read_text().split()
    assert [line.partition("==")[0] for line in lines] == [
        "mlflow",
        "torch",
        "transformers",
        "tokenizers",
        "safetensors",
        "pandas",
        "numpy",
    ]
    assert set(lines) <= set((ROOT / "requirements.lock").read_text().split())
    assert json.loads((folder / "input_example.json").read_text())
    assert not list(folder.rglob("*.pkl"))
    assert storage.sha256_tree(folder / "artifacts" / "one") == storage.sha256_tree(logged[0])


def test_the_logged_model_needs_no_baton(
    logged: tuple[Path, str, Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "baton", None)  # any import of it fails
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    assert load(logged[1]).predict(["wheat exports rose"])["label"][0] in LABELS
    with pytest.raises(ImportError):
        import baton  # noqa: F401
