"""Exported models as logged models: the answers and the limits of the torch pyfunc, without torch."""

import json
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from baton import params, storage
from baton.contracts.input_spec import ImageInput
from baton.images import enlarging, framing
from baton.serve import enlarged_images
from tests import tiny
from tests.exported import Exported, write_folder
from tests.serve import files
from tests.serve import test_pyfunc as texts
from tests.serve import test_pyfunc_image as photos

ENGINES = ("onnxruntime", "openvino")
TEXTS = texts.TEXTS
PICTURES = [*photos.PHOTOS, photos.photo(7, 9, 4), photos.photo(5, 30, 5), photos.photo(18, 18, 6)]
COMMON = ("pandas", "numpy")
SERVING = "_MLFLOW_IS_IN_SERVING_ENVIRONMENT"

pytestmark = [pytest.mark.usefixtures("quiet_mlflow"), pytest.mark.filterwarnings("ignore::UserWarning:PIL")]


def opened(main: str, folder: Path, config: dict[str, Any] | None = None) -> Any:
    """Return a model as MLflow loads it, without MLflow."""
    from baton.serve import pyfunc, pyfunc_graph_image, pyfunc_graph_text, pyfunc_image

    made: dict[str, Any] = {
        "text": pyfunc.TextClassifier,
        "text graph": pyfunc_graph_text.TextGraph,
        "image": pyfunc_image.ImageClassifier,
        "image graph": pyfunc_graph_image.ImageGraph,
    }
    model = made[main]()
    model.load_context(SimpleNamespace(artifacts={"model": str(folder)}, model_config=config))
    return model


def log(folder: Path, work: Path, example: list[Any]) -> Path:
    """Log an exported model in a store in `work`, the working directory, as a stage does."""
    from baton.tracking import environment, logged_models, served_code, served_inputs, store

    for lock in ("requirements.lock", "requirements-export.lock"):
        Path(lock).write_bytes((photos.ROOT / lock).read_bytes())
    how = served_inputs.of_folder(folder)
    at = store.open_store(params.MlflowTracking(kind="mlflow", uri=None, experiment="tests"))
    run = at.create_run("export", {}, 0)
    info = storage.read_json(folder / "baton.json")
    entry = {
        "name": "export",
        "path": "models/export",
        "info": info,
        "code": served_code.served(how.main),
        "requirements": environment.read_requirements(environment.LOCKS, how.packages),
        "config": served_inputs.settings(info, {}),
        "example": example,
    }
    model = at.client.get_logged_model(logged_models.log(at, run, entry, folder))
    return Path(model.artifact_location.removeprefix("file://"))


@pytest.fixture(scope="module")
def logged(
    text_export: Exported, image_export: Exported, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Path]]:
    """Return the logged models of an exported text model and an exported image model."""
    work = tmp_path_factory.mktemp("graphs")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.chdir(work)
        text = write_folder(text_export, work / "text/export", "onnxruntime")
        image = write_folder(image_export, work / "image/export", "onnxruntime")
        yield {
            "text": log(text, work, ["wheat exports rose"]),
            "image": log(image, work, [photos.text(photos.photo(8, 8))]),
        }


# ---- the same answers ----


def same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    assert list(one.columns) == list(other.columns) and one.index.equals(other.index)
    assert one["label"].tolist() == other["label"].tolist()
    np.testing.assert_allclose(photos.probabilities(one), photos.probabilities(other), atol=1e-3)


@pytest.mark.parametrize("library", ENGINES)
def test_texts_get_the_answers_of_the_torch_model(
    text_export: Exported, library: str, tmp_path: Path
) -> None:
    ours = opened("text graph", write_folder(text_export, tmp_path / "export", library))
    theirs = opened("text", text_export.model)
    frame = pd.DataFrame({"text": TEXTS}, index=range(10, 10 + len(TEXTS)))
    for given in (TEXTS, frame, TEXTS[0], pd.Series(TEXTS[:1])):
        same(ours.predict(given), theirs.predict(given))
    assert theirs.predict(TEXTS)["label"].nunique() > 1
    for size in (1, 100):
        same(ours.predict(TEXTS, {"batch_size": size}), theirs.predict(TEXTS))
    assert ours.predict(frame.iloc[:0]).shape == theirs.predict(frame.iloc[:0]).shape
    other = opened("text", text_export.root / "models/teacher")
    with pytest.raises(AssertionError):
        same(ours.predict(TEXTS), other.predict(TEXTS))


@pytest.mark.parametrize("library", ENGINES)
def test_images_of_any_size_get_the_answers_of_the_torch_model(
    image_export: Exported, library: str, tmp_path: Path
) -> None:
    ours = opened("image graph", write_folder(image_export, tmp_path / "export", library))
    theirs = opened("image", image_export.model)
    wanted = theirs.predict(PICTURES)
    assert np.ptp(photos.probabilities(wanted), axis=0).max() > 0.01, "answers differ between images"
    for size in (2, 100):
        same(ours.predict(PICTURES, {"batch_size": size}), wanted)
    odd = [*files.odd().values()]
    same(ours.predict(odd), theirs.predict(odd))
    frame = pd.DataFrame({"image": PICTURES}, index=range(7, 7 + len(PICTURES)))
    same(ours.predict(frame), theirs.predict(frame))


@pytest.mark.parametrize("interpolation", enlarged_images.FILTERS)
def test_other_ways_to_enlarge_get_them_too(
    image_export: Exported, interpolation: str, tmp_path: Path
) -> None:
    ours = write_folder(image_export, tmp_path / "export", "onnxruntime", interpolation=interpolation)
    theirs = tmp_path / "torch"
    theirs.mkdir()
    for path in image_export.model.iterdir():
        (theirs / path.name).write_bytes(path.read_bytes())
    info = storage.read_json(theirs / "baton.json")
    info["input"]["interpolation"] = interpolation
    storage.write_json(theirs / "baton.json", info)
    same(opened("image graph", ours).predict(PICTURES), opened("image", theirs).predict(PICTURES))


@pytest.mark.parametrize("interpolation", enlarged_images.FILTERS)
@pytest.mark.parametrize("mode", ["center", "squash", "border"])
@pytest.mark.parametrize("size", [(7, 9), (18, 18), (40, 60), (3, 30), (1, 1), (12, 12)])
def test_pixels_are_those_of_torch(interpolation: str, mode: Any, size: tuple[int, int]) -> None:
    """Of 12 pixels on 18 some centres lie between two pixels."""
    channels = 1 if size == (3, 30) else 3
    mean, std = (0.5,) * channels, (0.25,) * channels
    frame = framing.framing(ImageInput((16, 16), channels, mean, std, interpolation, 0.875, crop_mode=mode))
    pixels = np.random.default_rng(0).integers(0, 256, (*size, channels), dtype=np.uint8)
    stored = np.array(frame.stored(pixels))
    ours = enlarged_images.framed(stored, frame)
    theirs = enlarging.framed(torch.from_numpy(stored).permute(2, 0, 1)[None].float(), frame)[0].numpy()
    assert ours.shape == (channels, 16, 16) and ours.dtype == np.float32
    np.testing.assert_allclose(ours, theirs, atol=0.01)


def test_every_filter_has_a_counterpart() -> None:
    assert {*enlarged_images.FILTERS} == {*enlarging.MODES}
    frame = framing.framing(tiny.image_input(16))
    small = np.random.default_rng(0).integers(0, 256, (7, 9, 1), dtype=np.uint8)
    made = {
        name: enlarged_images.framed(small, replace(frame, interpolation=name)).tobytes()
        for name in ("nearest", "bilinear", "bicubic")
    }
    assert len({*made.values()}) == 3, "a negative control"


# ---- the same refusals ----

TOO_MUCH: dict[str, Any] = {
    "max_rows": ({"max_rows": 1}, ["wheat", "port"], {}),
    "max_characters": ({"max_characters": 5}, ["wheat exports"], {}),
    "max_batch_size": ({"max_batch_size": 2}, ["wheat"], {"batch_size": 3}),
    "empty": ({}, ["wheat", " "], {}),
    "not text": ({}, ["wheat", None], {}),
    "wrong column": ({}, pd.DataFrame({"id": ["a"], "text": ["wheat"]}), {}),
}


def refused(model: Any, given: Any, asked: dict[str, Any]) -> str:
    with pytest.raises((ValueError, TypeError)) as caught:
        model.predict(given, asked)
    return f"{type(caught.value).__name__}: {caught.value}"


@pytest.mark.parametrize("kind", TOO_MUCH)
def test_texts_are_refused_alike(
    text_export: Exported, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, given, asked = TOO_MUCH[kind]
    monkeypatch.setenv(SERVING, "true")
    folder = write_folder(text_export, tmp_path / "export", "onnxruntime")
    models = [opened("text graph", folder, config), opened("text", text_export.model, config)]
    ours, theirs = (refused(model, given, asked) for model in models)
    assert ours == theirs
    if config:
        monkeypatch.delenv(SERVING)
        assert len(models[0].predict(given, {})), "a negative control"


@pytest.mark.parametrize("kind", ["max_rows", "max_bytes", "max_pixels", "path", "broken", "not an image"])
def test_images_are_refused_alike(
    image_export: Exported, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = photos.photo(40, 60)
    (tmp_path / "picture.png").write_bytes(picture)
    given: list[Any] = [picture, picture]
    config: dict[str, Any] = {"max_rows": 1, "max_bytes": 9, "max_pixels": 100}
    config = {kind: config[kind]} if kind in config else {}
    if kind in ("path", "broken", "not an image"):
        bad = {
            "path": str(tmp_path / "picture.png"),
            "broken": files.broken()["half a png"],
            "not an image": None,
        }
        given[1] = bad[kind]
    monkeypatch.setenv(SERVING, "true")
    folder = write_folder(image_export, tmp_path / "export", "onnxruntime")
    models = [opened("image graph", folder, config), opened("image", image_export.model, config)]
    ours, theirs = (refused(model, given, {}) for model in models)
    assert ours == theirs
    allowed = opened("image graph", folder)
    assert len(allowed.predict(given[:1])) == 1, "a negative control"


def test_an_unknown_setting_is_refused_alike(text_export: Exported, tmp_path: Path) -> None:
    folder = write_folder(text_export, tmp_path / "export", "onnxruntime")
    said = []
    for main, own in (("text graph", folder), ("text", text_export.model)):
        with pytest.raises(ValueError, match="max_rows") as caught:
            opened(main, own, {"max_rows": -1})
        said.append(str(caught.value))
    assert said[0] == said[1]


# ---- as logged models ----


@pytest.mark.parametrize("kind", ["text", "image"])
def test_it_says_what_it_needs(logged: dict[str, Path], kind: str) -> None:
    lines = (logged[kind] / "requirements.txt").read_text().split()
    own = ("tokenizers",) if kind == "text" else ("pillow", "pillow-heif")
    assert {line.partition("==")[0] for line in lines} == {"mlflow", "pandas", "numpy", "onnxruntime", *own}
    pins = "".join((photos.ROOT / f"requirements{name}.lock").read_text() for name in ("", "-export"))
    assert {*lines} <= {*pins.split()}
    found = {path.name for path in (logged[kind] / "artifacts/export").iterdir()}
    assert found == {"model.onnx", "baton.json", *(["tokenizer.json"] if kind == "text" else [])}


LOADS = """
import base64, json, pathlib, sys, warnings
warnings.simplefilter("ignore")
import mlflow.pyfunc
before = set(sys.modules)
for path, given in zip(sys.argv[1::2], sys.argv[2::2]):
    answer = mlflow.pyfunc.load_model(path).predict(json.loads(given))
    print(json.dumps(answer.drop(columns="label").to_numpy().tolist()))
print(json.dumps(sorted({"torch", "torchvision", "transformers", "timm", "baton"} & set(sys.modules))))
"""


def alone(*arguments: str) -> list[Any]:
    """Load and ask models in a process that does not know Baton; return its answers and what it imported."""
    done = subprocess.run(
        [sys.executable, "-c", LOADS, *arguments],
        env={"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_it_is_loaded_and_answers_without_torch(
    logged: dict[str, Path], text_export: Exported, image_export: Exported
) -> None:
    picture = photos.text(PICTURES[0])
    *answers, imported = alone(
        str(logged["text"]), json.dumps(TEXTS), str(logged["image"]), json.dumps([picture])
    )
    assert imported == []
    for answer, wanted in zip(
        answers,
        (
            opened("text", text_export.model).predict(TEXTS),
            opened("image", image_export.model).predict([picture]),
        ),
        strict=True,
    ):
        np.testing.assert_allclose(answer, photos.probabilities(wanted), atol=1e-3)


@pytest.mark.slow
def test_the_torch_model_is_not(
    text_export: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A negative control."""
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        uri = texts.log(text_export.model, "student")
    *_, imported = alone(uri, json.dumps(TEXTS))
    assert {"torch", "transformers"} <= {*imported}
