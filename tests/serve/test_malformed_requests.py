"""Requests that a served model must refuse, with the reason; each once got a label and status 200."""

import json
import threading
import time
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from baton import storage
from baton.contracts import task_spec
from baton.serve.pixel_budget import PixelBudget
from baton.tasks import served_limits
from baton.tracking import served_inputs
from tests.serve import files, test_pyfunc, test_pyfunc_image

pytestmark = pytest.mark.usefixtures("quiet_mlflow")


class Served:
    """A model behind MLflow's scoring server, without the network and without MLflow's store."""

    def __init__(self, folder: Path, python_model: Any, config: dict[str, Any] | None = None) -> None:
        from baton.tracking import logged_models

        info = storage.read_json(folder / "baton.json")
        python_model.load_context(
            SimpleNamespace(artifacts={"model": str(folder)}, model_config=config or {})
        )
        self.python_model = python_model
        self.signature = logged_models.signature(task_spec.read(info), served_inputs.read(info))
        self.metadata = SimpleNamespace(
            get_params_schema=lambda: self.signature.params,
            _is_signature_from_type_hint=lambda: False,
        )

    def predict(self, data: Any, params: dict[str, Any] | None = None) -> Any:
        from mlflow.models.utils import _enforce_params_schema, _enforce_schema

        given = _enforce_schema(data, self.signature.inputs)
        return self.python_model.predict(given, _enforce_params_schema(params, self.signature.params))

    def ask(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the answer to a request.

        Raises:
            MlflowException: It is refused, by the error that it was raised from.
        """
        from mlflow.pyfunc import scoring_server

        body = json.dumps(request)
        answer = scoring_server.invocations(body, "application/json", self, self.signature.inputs)
        found: list[dict[str, Any]] = json.loads(answer.response)["predictions"]
        return found


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Served:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of MLflow's own types, as it is imported
        from baton.serve.pyfunc import TextClassifier

        return Served(test_pyfunc.write_model(tmp_path_factory.mktemp("texts") / "m", 1), TextClassifier())


@pytest.fixture(scope="module")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return test_pyfunc_image.write_model(tmp_path_factory.mktemp("images") / "m")


@pytest.fixture
def serving(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_MLFLOW_IS_IN_SERVING_ENVIRONMENT", "true")


def refused(served: Served, request: dict[str, Any]) -> str:
    from baton.lifecycle.serving import requests

    with pytest.raises(Exception) as raised:
        served.ask(request)
    assert raised.value.get_http_status_code() == 400  # type: ignore[attr-defined]
    return requests.reason(raised.value) or ""


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"inputs": [1, 2]}, "row 0 is not text"),
        ({"inputs": 5}, "row 0 is not text"),
        ({"inputs": ["a", None]}, "row 1 is not text"),
        ({"inputs": [True]}, "row 0 is not text"),
        ({"inputs": [""]}, "row 0 is empty"),
        ({"inputs": ["a", " \u200b\n"]}, "row 1 is empty"),
        ({"instances": [{"text": 3}]}, "not text"),
        ({"instances": [None]}, "row 0 is not text"),
        ({"dataframe_split": {"columns": ["text"], "data": [[1]]}}, "row 0 is not text"),
        ({"dataframe_split": {"columns": ["text"], "data": [["a"], [None]]}}, "row 1 is not text"),
        ({"inputs": ["\ud800"]}, "surrogates not allowed"),
        ({"inputs": ["a"], "params": {"batch_size": -1}}, "the param batch_size is invalid"),
        ({"inputs": ["a"], "params": {"batch_size": 0}}, "the param batch_size is invalid"),
        ({"inputs": ["a"], "params": {"batch_size": 10**20}}, "the param batch_size is invalid"),
    ],
    ids=str,
)
def test_a_malformed_request_for_texts_is_refused_with_its_reason(
    texts: Served, serving: None, request_: dict[str, Any], reason: str
) -> None:
    assert reason in refused(texts, request_)


def test_a_good_request_is_answered(texts: Served, serving: None) -> None:
    """Negative control of the refusals."""
    for request in ({"inputs": ["wheat"]}, {"instances": ["wheat"], "params": {"batch_size": 2}}):
        (row,) = texts.ask(request)
        assert row["label"] in test_pyfunc.LABELS
    frame = {"columns": ["text"], "data": [["wheat"], ["port"]]}
    assert len(texts.ask({"dataframe_split": frame})) == 2


def test_a_negative_batch_size_gave_probabilities_of_zero(image_folder: Path, serving: None) -> None:
    """`range(0, rows, -1)` is empty, and the logits stayed 0: label 0, for every image."""
    from baton.serve.pyfunc_image import ImageClassifier

    served = Served(image_folder, ImageClassifier())
    sent = {"inputs": [test_pyfunc_image.text(test_pyfunc_image.PHOTOS[0])]}
    assert "positive integer" in refused(served, sent | {"params": {"batch_size": -1}})
    assert "positive integer up to 128" in refused(served, sent | {"params": {"batch_size": 129}})
    assert len(served.ask(sent)) == 1


def test_the_limits_of_one_request(texts: Served, serving: None, tmp_path: Path) -> None:
    from baton.serve.pyfunc import TextClassifier

    folder = test_pyfunc.write_model(tmp_path / "m", 1)
    small = Served(folder, TextClassifier(), {"max_rows": 2, "max_characters": 9})
    assert "too many rows" in refused(small, {"inputs": ["a", "b", "c"]})
    assert "too much text" in refused(small, {"inputs": ["a" * 10]})
    assert len(small.ask({"inputs": ["aaaa", "bbbbb"]})) == 2
    assert len(texts.ask({"inputs": ["a", "b", "c"]})) == 3


def test_outside_a_server_rows_and_characters_have_no_limit(tmp_path: Path) -> None:
    from baton.serve.pyfunc import TextClassifier

    folder = test_pyfunc.write_model(tmp_path / "m", 1)
    model = Served(folder, TextClassifier(), {"max_rows": 2, "max_characters": 9}).python_model
    assert len(model.predict(["wheat exports rose"] * 3)) == 3


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"serve_paths": "false"}, "expected: true or false"),
        ({"max_rows": 0}, "expected: a positive number of rows"),
        ({"max_bytes": True}, "expected: a positive number of bytes"),
        ({"max_pixels_at_once": 1.5}, "expected: a positive number of pixels"),
        ({"max_row": 3}, "expected: only serve_paths, max_rows"),
        ({"max_characters": 3}, "expected: only serve_paths, max_rows"),
    ],
)
def test_settings_are_validated(config: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match="model_config is invalid") as raised:
        served_limits.read(config, "images")
    assert told in str(raised.value)


def test_a_logged_model_names_every_setting() -> None:
    """MLflow ignores settings on loading that the logged model does not have."""
    for kind in ("text", "images", "audio", "image_text"):
        written = served_limits.written(kind)  # type: ignore[arg-type]
        assert served_limits.read(written, kind) == served_limits.Limits()  # type: ignore[arg-type]
    assert served_limits.written("images", max_pixels=7)["max_pixels"] == 7


def test_strings_are_no_paths_even_in_somebodys_own_service(image_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "private.png"
    path.write_bytes(test_pyfunc_image.PHOTOS[0])
    closed = test_pyfunc_image.opened(image_folder)
    with pytest.raises(ValueError, match=r"row 0 is not an image in base64[\s\S]*serve_paths"):
        closed.predict([str(path)])
    assert len(closed.predict([path])) == 1, "a Path cannot come from a request"
    assert len(test_pyfunc_image.opened(image_folder, {"serve_paths": True}).predict([str(path)])) == 1


def test_images_above_what_all_threads_may_decode_are_refused_by_a_server(
    image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = test_pyfunc_image.photo(40, 40)
    model = test_pyfunc_image.opened(image_folder, {"max_pixels_at_once": 1000})
    assert len(model.predict([photo])) == 1
    monkeypatch.setenv("_MLFLOW_IS_IN_SERVING_ENVIRONMENT", "true")
    with pytest.raises(ValueError, match=r"row 0: enormous[\s\S]*set max_pixels_at_once"):
        model.predict([photo])
    with pytest.raises(ValueError, match="files are too large"):
        test_pyfunc_image.opened(image_folder, {"max_bytes": 10}).predict([photo])


def test_threads_together_decode_no_more_than_the_budget() -> None:
    budget, held, most, guard = PixelBudget(10), [0], [0], threading.Lock()

    def use(pixels: int) -> None:
        with budget.taken(pixels):
            with guard:
                held[0] += min(pixels, 10)
                most[0] = max(most[0], held[0])
            time.sleep(0.002)
            with guard:
                held[0] -= min(pixels, 10)

    threads = [threading.Thread(target=use, args=(pixels,)) for pixels in (3, 4, 6, 10, 25, 0, 7, 5) * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] <= 10 and held[0] == 0
    with pytest.raises(ZeroDivisionError), budget.taken(10):
        _ = 1 / 0
    with budget.taken(10):  # an error gave it back
        pass


def test_decoding_16_bits_takes_no_more_memory_than_8(tmp_path: Path) -> None:
    """A 16-bit PNG took 28 bytes a pixel; what NumPy allocates is measured, at a few megapixels."""
    import tracemalloc

    from baton.images import decoding

    side = 1500
    content = files.encoded(Image.fromarray(np.full((side, side), 30_000, dtype=np.uint16)))
    tracemalloc.start()
    try:
        decoding.decode(content, side**2)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * side**2
