"""The logged image model: any file, string or path in, the model's own labels out, without Baton."""

import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from baton import params, storage
from baton.arrays import image_arrays
from baton.batches import image_batches
from baton.contracts.input_spec import ImageInput
from baton.errors import UndecodableError
from baton.images import decoding
from baton.models import model_folder
from baton.predict import predict
from tests import tiny
from tests.serve import files

ROOT = Path(__file__).parent.parent.parent
LABELS = ["cat", "dog", "owl"]
MEAN = params.LinearHead(kind="linear", pooling="mean", dropout=0.1)
SHAPE = ImageInput(
    size=(16, 16),
    channels=3,
    mean=(0.4, 0.5, 0.6),
    std=(0.2, 0.25, 0.3),
    interpolation="bicubic",
    crop_fraction=0.875,
    crop_mode="center",
)

pytestmark = [pytest.mark.usefixtures("quiet_mlflow"), pytest.mark.filterwarnings("ignore::UserWarning:PIL")]


def photo(height: int, width: int, seed: int = 0) -> bytes:
    """Return a smooth image as PNG."""
    coarse = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    return files.encoded(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


PHOTOS = [photo(40, 60), photo(90, 31, 1), photo(18, 18, 2), photo(200, 300, 3)]


def write_model(
    folder: Path,
    shape: ImageInput = SHAPE,
    head: params.Head = MEAN,
    base: Path | None = None,
    seed: int = 1,
) -> Path:
    """Write a model folder with random weights whose answers differ between images."""
    base = base or tiny.write_image_base(
        folder.parent / f"{folder.name}-base", size=shape.size[0], channels=shape.channels
    )
    torch.manual_seed(seed)
    model = model_folder.create(base, head, len(LABELS), tiny.training(), "matmul", shape)
    for parameter in model.head.parameters():
        torch.nn.init.normal_(parameter, std=1.0)
    model_folder.save(
        model,
        model_folder.ModelInfo(tiny.task(*LABELS), head, shape, fitted={"temperature": 0.6}),
        base,
        folder,
    )
    return folder


def opened(folder: Path, config: dict[str, Any] | None = None) -> Any:
    """Return the model as MLflow loads it, without MLflow."""
    from baton.serve.pyfunc_image import ImageClassifier

    model = ImageClassifier()
    model.load_context(SimpleNamespace(artifacts={"model": str(folder)}, model_config=config))
    return model


def probabilities(frame: pd.DataFrame) -> np.ndarray[Any, np.dtype[np.float64]]:
    return frame.drop(columns="label").to_numpy()


def expected(folder: Path, images: list[bytes], work: Path) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return evaluation's probabilities (images, classes).

    They are computed with arrays, batches and predictor, at the folder's temperature.
    """
    from baton.evaluate import inputs
    from baton.tasks import temperature
    from tests.photos import write_table

    model, info = model_folder.load(folder, "matmul")
    table = write_table(work / "test.parquet", images, [0] * len(images))
    image_arrays.tokenize(table, info.input, work, 3, lambda count: None, tiny.TASK)
    split = image_batches.ImageSplit(
        image_arrays.open_arrays(work, "test", tiny.TASK), tuple, info.input, None, len(LABELS)
    )
    logits = predict(model, split, tiny.machine(), 2)
    return np.exp(temperature.scale(logits, inputs.read_fitted(folder)["temperature"]))


# ---- the same pixels as the pipeline ----


def test_a_model_knows_how_many_bits_its_images_use(tmp_path: Path) -> None:
    deep = np.random.default_rng(0).integers(0, 4096, (40, 60), dtype=np.uint16)
    dim, bright = (
        files.encoded(Image.fromarray(deep)),
        files.encoded(Image.fromarray(np.rint(deep * (255 / 4095)).astype(np.uint8))),
    )
    answers = [
        opened(write_model(tmp_path / f"model{bits}", replace(SHAPE, significant_bits=bits))).predict(
            [dim, bright]
        )
        for bits in (12, 16)
    ]
    same, other = (probabilities(answer) for answer in answers)
    np.testing.assert_allclose(same[0], same[1], atol=1e-6)
    assert np.abs(other[0] - other[1]).max() > 1e-3, "the image looks black to a model that assumes 16 bits"


@pytest.mark.parametrize("kind", [*files.broken(), "enormous"])
def test_images_rejected_by_the_pipeline_are_rejected_with_their_row(kind: str, tmp_path: Path) -> None:
    content = (files.broken() | {"enormous": files.enormous()})[kind]
    with pytest.raises(UndecodableError) as expected:
        decoding.decode(content, 100_000_000)
    served = opened(write_model(tmp_path / "model"))
    with pytest.raises(ValueError, match="row 1: ") as caught:
        served.predict([files.encoded(Image.new("RGB", (8, 8))), content])
    assert str(expected.value) in str(caught.value)


@pytest.mark.parametrize(
    "images",
    [
        PHOTOS,
        [photo(7, 9, seed) for seed in range(4)],
        [files.kinds()["jpeg grey"], files.kinds()["png alpha"]],
    ],
    ids=["large ones", "small ones", "other modes"],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_served_models_answers_are_the_pipelines(
    tmp_path: Path, images: list[bytes], channels: int
) -> None:
    shape = replace(SHAPE, channels=channels, mean=(0.4,) * channels, std=(0.2,) * channels)
    folder = write_model(tmp_path / "model", shape)
    wanted = expected(folder, images, tmp_path / "arrays")
    answer = opened(folder).predict(images)
    np.testing.assert_allclose(probabilities(answer), wanted, atol=1e-5)
    assert answer["label"].tolist() == [LABELS[best] for best in wanted.argmax(axis=1)]
    assert np.ptp(wanted, axis=0).max() > 0.01, "answers differ between images"


def test_the_pipeline_rounds_enlarged_images_of_mixed_shapes(tmp_path: Path) -> None:
    """The pipeline then enlarges each image separately, in whole grey levels.

    The served model does not know the other images, so it cannot do the same.
    """
    folder, images = write_model(tmp_path / "model"), [photo(7, 9), photo(11, 8, 1), photo(40, 60, 2)]
    ours, theirs = (
        probabilities(opened(folder).predict(images)),
        expected(folder, images, tmp_path / "arrays"),
    )
    np.testing.assert_allclose(ours, theirs, atol=2e-3)
    np.testing.assert_allclose(ours[2], theirs[2], atol=1e-5)


@pytest.mark.parametrize(
    "head",
    [
        MEAN.model_copy(update={"pooling": "cls"}),
        MEAN.model_copy(update={"pooling": "pooler"}),
        params.MlpHead(kind="mlp", pooling="mean", dropout=0.1, width=8),
    ],
    ids=["cls", "pooler", "mlp"],
)
def test_every_head_is_the_projects_own(tmp_path: Path, head: params.Head) -> None:
    folder = write_model(tmp_path / "model", head=head)
    np.testing.assert_allclose(
        probabilities(opened(folder).predict(PHOTOS)),
        expected(folder, PHOTOS, tmp_path / "arrays"),
        atol=1e-5,
    )


def test_a_convolutional_model(tmp_path: Path) -> None:
    base = tmp_path / "base"
    storage.write_json(
        base / "config.json",
        {"architecture": "test_resnet", "model_args": {}, "pretrained_cfg": {"num_classes": 0}},
    )
    shape = replace(SHAPE, size=(32, 32))
    folder = write_model(tmp_path / "model", shape, base=base)
    large = [photo(40, 60), photo(90, 50, 1)]
    np.testing.assert_allclose(
        probabilities(opened(folder).predict(large)), expected(folder, large, tmp_path / "arrays"), atol=1e-5
    )


# ---- with MLflow ----


def log(folder: Path) -> Path:
    """Log a model in a store in `folder`, the working directory; return the logged model's folder."""
    from baton.tracking import environment, logged_models, served_code, served_inputs, store

    shutil.copy(ROOT / "requirements.lock", "requirements.lock")
    write_model(folder / "photos")
    at = store.open_store(params.MlflowTracking(kind="mlflow", uri=None, experiment="tests"))
    run = at.create_run("photos", {}, 0)
    entry = {
        "name": "photos",
        "path": "models/photos",
        "info": storage.read_json(folder / "photos/baton.json"),
        "code": served_code.served("serve/pyfunc_image.py"),
        "requirements": environment.read_requirements(environment.LOCKS, served_inputs.of(SHAPE).packages),
        "config": {"serve_paths": False, "max_pixels": 60_000},
        "example": [text(photo(8, 8))],
    }
    model = at.client.get_logged_model(logged_models.log(at, run, entry, folder / "photos"))
    assert model.model_type == "image model"
    assert "Reads 16x16 pixels, RGB" in model.tags["mlflow.note.content"]
    return Path(model.artifact_location.removeprefix("file://"))


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return the folder of a logged model."""
    folder = tmp_path_factory.mktemp("serve")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.chdir(folder)
        yield log(folder)


@pytest.fixture(scope="module")
def model(logged: Path) -> Any:
    """Return the loaded model."""
    import mlflow.pyfunc

    return mlflow.pyfunc.load_model(str(logged))


def text(content: bytes) -> str:
    return base64.b64encode(content).decode()


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """Return the photos as files."""
    found = [tmp_path / f"{place}.png" for place in range(len(PHOTOS))]
    for path, content in zip(found, PHOTOS, strict=True):
        path.write_bytes(content)
    return found


FORMS: dict[str, Callable[[list[Path]], Any]] = {
    "base64": lambda paths: [text(path.read_bytes()) for path in paths],
    "base64 for URLs": lambda paths: [
        base64.urlsafe_b64encode(path.read_bytes()).decode().rstrip("=") for path in paths
    ],
    "base64 in lines": lambda paths: [base64.encodebytes(path.read_bytes()).decode() for path in paths],
    "data URIs": lambda paths: [f"data:image/png;base64,{text(path.read_bytes())}" for path in paths],
    "paths": list,
    "paths in an array": lambda paths: np.array(paths, dtype=object),
    "all kinds": lambda paths: [paths[0], paths[1], text(paths[2].read_bytes()), paths[3].read_bytes()],
    "array of objects": lambda paths: np.array([path.read_bytes() for path in paths], dtype=object),
    "array of bytes": lambda paths: np.array([path.read_bytes() for path in paths]),
    "array of strings": lambda paths: np.array([text(path.read_bytes()) for path in paths]),
    "Series": lambda paths: pd.Series([path.read_bytes() for path in paths]),
    "Series of strings": lambda paths: pd.Series([text(path.read_bytes()) for path in paths], name="image"),
    "DataFrame": lambda paths: pd.DataFrame({"image": [path.read_bytes() for path in paths], "more": 1}),
    "DataFrame of strings": lambda paths: pd.DataFrame(
        {"image": [text(path.read_bytes()) for path in paths]}
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_input_gives_the_same_answer(model: Any, paths: list[Path], form: str) -> None:
    pd.testing.assert_frame_equal(model.predict(FORMS[form](paths)), model.predict(PHOTOS))


@pytest.mark.parametrize("form", [lambda path: path.read_bytes(), lambda path: text(path.read_bytes())])
def test_a_single_image_needs_no_list(model: Any, paths: list[Path], form: Callable[[Path], Any]) -> None:
    pd.testing.assert_frame_equal(model.predict(form(paths[0])), model.predict(PHOTOS[:1]))
    assert len(model.unwrap_python_model().predict(paths[0])) == 1, "MLflow accepts paths only in a list"


def test_the_batch_size_changes_nothing_and_the_index_is_kept(model: Any) -> None:
    whole, single = (probabilities(model.predict(PHOTOS, params={"batch_size": size})) for size in (100, 1))
    np.testing.assert_allclose(whole, single, atol=1e-6)
    frame = pd.DataFrame({"image": PHOTOS}, index=[4, 2, 9, 1])
    assert model.predict(frame).index.tolist() == [4, 2, 9, 1]
    assert model.unwrap_python_model().predict(frame.iloc[:0]).shape == (0, 1 + len(LABELS))


def test_unusual_images_are_served_in_every_form(model: Any, tmp_path: Path) -> None:
    whole = files.odd()
    for name, content in whole.items():
        (tmp_path / name).write_bytes(content)
    wanted = model.predict(list(whole.values()))
    pd.testing.assert_frame_equal(model.predict([text(content) for content in whole.values()]), wanted)
    pd.testing.assert_frame_equal(model.predict([tmp_path / name for name in whole]), wanted)


def test_input_that_is_not_an_image_is_rejected_with_its_row(model: Any, tmp_path: Path) -> None:
    other = tmp_path / "notes.txt"
    other.write_text("not an image")
    os.mkfifo(tmp_path / "pipe.png")
    for bad, problem in {
        tmp_path / "absent.png": " is not an existing file",
        Path("x" * 5000 + ".png"): " is an unreadable file",
        tmp_path: " is not an existing file",
        tmp_path / "pipe.png": " is not an existing file",
        other: ": not an image",
        text(b"not an image"): " is not an image in base64",
        "absent": " is not an image in base64",
        "data:image/png;base64,%": " is not an image in base64",
        files.broken()["half a png"]: ": truncated",
        text(files.broken()["half a jpeg"]): ": truncated",
        files.enormous(): ": enormous",
    }.items():
        with pytest.raises(ValueError, match=f"row 1{problem}"):
            model.predict([PHOTOS[0], bad])
    for missing in (None, float("nan"), 3, ["a.png"]):
        with pytest.raises(TypeError, match="row 1 is not an image"):
            model.predict(pd.DataFrame({"image": pd.Series([PHOTOS[0], missing], dtype=object)}))
    with pytest.raises(ValueError, match="first column is not the one to classify"):
        model.predict(pd.DataFrame({"id": ["train:1"], "image": PHOTOS[:1]}))


def test_the_logged_model_is_complete_and_says_what_it_needs(logged: Path) -> None:
    import mlflow.models

    about = mlflow.models.get_model_info(str(logged))
    assert about.signature.inputs.to_dict() == [{"type": "any", "required": True}]
    assert [column["name"] for column in about.signature.outputs.to_dict()] == [
        "label",
        *(f"probability_{label}" for label in LABELS),
    ]
    lines = (logged / "requirements.txt").read_text().split()
    needed = [
        "mlflow",
        "torch",
        "torchvision",
        "timm",
        "pillow",
        "pillow-heif",
        "safetensors",
        "pandas",
        "numpy",
    ]
    assert [line.partition("==")[0] for line in lines] == needed and set(lines) <= set(
        (ROOT / "requirements.lock").read_text().split()
    )
    assert json.loads((logged / "input_example.json").read_text()) == [text(photo(8, 8))]
    assert not list(logged.rglob("*.pkl"))


def test_the_logged_model_needs_no_baton(logged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow.pyfunc

    monkeypatch.setitem(sys.modules, "baton", None)  # any import of it fails
    assert mlflow.pyfunc.load_model(str(logged)).predict(PHOTOS)["label"][0] in LABELS


# ---- as a service ----

REQUESTS: dict[str, Any] = {
    "inputs": {"inputs": [text(content) for content in PHOTOS]},
    "instances": {"instances": [{"image": text(content)} for content in PHOTOS]},
    "dataframe_split": {
        "dataframe_split": {"columns": ["image"], "data": [[text(content)] for content in PHOTOS]}
    },
    "dataframe_records": {
        "dataframe_records": [{"image": text(content)} for content in PHOTOS],
        "params": {"batch_size": 3},
    },
}


@pytest.mark.parametrize("kind", REQUESTS)
def test_the_scoring_server_reads_base64(model: Any, kind: str) -> None:
    """Call the part of the server that answers a request, without the network."""
    from mlflow.pyfunc import scoring_server

    answer = scoring_server.invocations(
        json.dumps(REQUESTS[kind]), "application/json", model, model.metadata.get_input_schema()
    )
    pd.testing.assert_frame_equal(
        pd.DataFrame(json.loads(answer.response)["predictions"]), model.predict(PHOTOS)
    )


def test_a_server_reads_its_own_files_only_if_allowed(
    tmp_path: Path, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_model(tmp_path / "model")
    monkeypatch.setenv("_MLFLOW_IS_IN_SERVING_ENVIRONMENT", "true")
    closed, open_ = opened(folder), opened(folder, {"serve_paths": True})
    assert len(closed.predict([text(PHOTOS[0])])) == 1 == len(open_.predict([str(paths[0])]))
    # Nor does the server reveal which of its files exist.
    for value in (str(paths[0]), str(tmp_path / "absent.png")):
        with pytest.raises(ValueError, match="row 0 is not an image in base64"):
            closed.predict([value])
    with pytest.raises(TypeError, match="row 0 is not an image"):
        closed.predict([paths[0]])


def test_the_limit_on_pixels_can_be_set(logged: Path) -> None:
    import mlflow.pyfunc

    large, before = photo(250, 250), Image.MAX_IMAGE_PIXELS
    with pytest.raises(ValueError, match=r"row 0: enormous[\s\S]*at most 60,000 pixels[\s\S]*model_config"):
        mlflow.pyfunc.load_model(str(logged)).predict([large])
    assert (
        len(mlflow.pyfunc.load_model(str(logged), model_config={"max_pixels": 62_500}).predict([large])) == 1
    )
    assert before == Image.MAX_IMAGE_PIXELS
    with pytest.raises(ValueError, match="max_pixels '2e8'"):
        mlflow.pyfunc.load_model(str(logged), model_config={"max_pixels": "2e8"})


def test_pillow_opens_what_the_limit_allows(tmp_path: Path) -> None:
    folder, before = write_model(tmp_path / "model"), Image.MAX_IMAGE_PIXELS
    try:
        # It is decoded, and is shorter than its header claims.
        with pytest.raises(ValueError, match="row 0: truncated"):
            opened(folder, {"max_pixels": 2**29}).predict([files.enormous()])
    finally:
        Image.MAX_IMAGE_PIXELS = before


def ask(port: int, request: Any) -> tuple[int, Any]:
    """Return the status and the answer of a scoring server."""
    sent = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations",
        json.dumps(request).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(sent, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.slow
@pytest.mark.parametrize("may", [False, True])
def test_mlflow_models_serve(logged: Path, model: Any, paths: list[Path], may: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    environment |= {"SERVING_MODEL_CONFIG": json.dumps({"serve_paths": True})} if may else {}
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "models",
        "serve",
        "-m",
        str(logged),
        "-p",
        str(port),
        "--env-manager",
        "local",
    ]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as server:
        try:
            deadline = time.monotonic() + 120
            while server.poll() is None and time.monotonic() < deadline:
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5).close()
                    break
                except OSError:
                    time.sleep(0.5)
            status, answer = ask(port, REQUESTS["inputs"])
            assert status == 200
            pd.testing.assert_frame_equal(pd.DataFrame(answer["predictions"]), model.predict(PHOTOS))
            status, answer = ask(port, {"inputs": [str(path) for path in paths]})
            assert (status, "row 0 is not an image in base64" in str(answer)) == (
                (200, False) if may else (400, True)
            )
        finally:
            os.killpg(server.pid, 15)
