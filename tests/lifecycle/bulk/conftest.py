"""A tiny text model and a tiny image model as MLflow keeps models, loaded once."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from baton.lifecycle.bulk.answering import Answerer
from tests.lifecycle.bulk import jobs
from tests.serve import test_pyfunc, test_pyfunc_image


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """Return the folders of logged models by kind: `text`, `other` (another text model), `image`."""
    folder = tmp_path_factory.mktemp("models")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = {
            "text": test_pyfunc.write_model(folder / "one", seed=1),
            "other": test_pyfunc.write_model(folder / "two", seed=2),
            "image": test_pyfunc_image.write_model(folder / "three", seed=1),
        }
        yield {name: jobs.logged(own, folder / "logged" / name / "model") for name, own in made.items()}


@pytest.fixture(scope="session")
def answerers(models: dict[str, Path]) -> dict[str, Answerer]:
    """Return the models loaded, in fp32."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {name: Answerer(folder, "fp32", None) for name, folder in models.items()}


@pytest.fixture
def loaded(answerers: dict[str, Answerer], models: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let jobs take the loaded models."""
    by_folder: dict[str, Any] = {str(models[name]): own for name, own in answerers.items()}
    monkeypatch.setattr("baton.lifecycle.bulk.answering.Answerer", lambda folder, *_: by_folder[str(folder)])
