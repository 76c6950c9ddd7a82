"""The logged model of sound: any clip in, the predictions of the pipeline out; what it refuses is named."""

import base64
import dataclasses
import json
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
from baton.arrays import audio_arrays, image_arrays
from baton.batches import array_splits, clip_batches, image_batches
from baton.contracts.input_spec import AudioInput
from baton.models import model_folder
from baton.predict import predict
from baton.tasks import temperature
from tests import tiny
from tests.audio_files import bomb, melody, noise, saved, tone

LABELS = list(tiny.TASK.names)
READS = AudioInput(8000, 0.256, "head", 16, 256, 64)  # 16 x 32
MEAN = params.LinearHead(kind="linear", pooling="mean", dropout=0.0)
CLIPS = [
    saved(melody(0), "WAV", "PCM_24"),
    saved(np.stack([melody(1), noise(2, 1.0)], 1), "FLAC"),
    saved(tone(rate=44_100), "MP3", rate=44_100),
    saved(noise(3, 0.1), "OGG"),
]

pytestmark = pytest.mark.usefixtures("quiet_mlflow")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a model folder with random weights whose answers differ between clips."""
    return made(tmp_path_factory.mktemp("audio"), READS)


def made(work: Path, reads: AudioInput) -> Path:
    base = tiny.write_image_base(work / "base", size=16)
    torch.manual_seed(1)
    model = model_folder.create(base, MEAN, len(LABELS), tiny.training(), "matmul", reads)
    for parameter in model.head.parameters():
        torch.nn.init.normal_(parameter, std=1.0)
    info = model_folder.ModelInfo(tiny.TASK, MEAN, reads, {"temperature": 0.6})
    model_folder.save(model, info, base, work / "model")
    return work / "model"


def opened(folder: Path, config: dict[str, Any] | None = None) -> Any:
    """Return the model as MLflow loads it, without MLflow."""
    from baton.serve.pyfunc_audio import AudioClassifier

    model = AudioClassifier()
    model.load_context(SimpleNamespace(artifacts={"model": str(folder)}, model_config=config))
    return model


def write_arrays(work: Path, reads: AudioInput | None = None) -> None:
    table = pa.table(
        {
            "id": [f"test:{n}" for n in range(len(CLIPS))],
            "audio": CLIPS,
            "label": pa.array([0] * len(CLIPS), pa.int32()),
        }
    )
    pq.write_table(table, work / "test.parquet")
    audio_arrays.tokenize(work / "test.parquet", reads or READS, work, 2, lambda count: None, tiny.TASK)


def split_of(work: Path) -> image_batches.ImageSplit:
    arrays = image_arrays.open_arrays(work, "test", tiny.TASK)
    return image_batches.ImageSplit(arrays, tuple, READS.picture, None)


def test_bytes_base64_and_paths_give_the_predictions(folder: Path, tmp_path: Path) -> None:
    write_arrays(tmp_path)
    model, _ = model_folder.load(folder, "matmul")
    logits = predict(model, split_of(tmp_path), tiny.machine(), 2)
    expected = np.exp(temperature.scale(np.asarray(logits), 0.6))
    served = opened(folder)
    (tmp_path / "clip.flac").write_bytes(CLIPS[1])
    for given in (
        CLIPS,
        [base64.b64encode(clip).decode() for clip in CLIPS],
        [
            CLIPS[0],
            tmp_path / "clip.flac",
            CLIPS[2],
            f"data:audio/ogg;base64,{base64.b64encode(CLIPS[3]).decode()}",
        ],
    ):
        answer = served.predict(given)
        np.testing.assert_allclose(answer.drop(columns="label").to_numpy(), expected, atol=1e-5)
    assert answer["label"].tolist() == [LABELS[best] for best in expected.argmax(1)]
    frame = pd.DataFrame({"audio": CLIPS}, index=list("abcd"))
    assert served.predict(frame).index.tolist() == list("abcd")


def test_whispers_encoder_gives_the_predictions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from baton.serve.pyfunc_whisper import WhisperClassifier
    from baton.tracking import environment, served_inputs

    monkeypatch.setattr(f"{__name__}.READS", AudioInput(16_000, 0.4, "head", 80, 400, 160))
    write_arrays(tmp_path)
    base, folder = tiny.write_whisper(tmp_path / "base"), tmp_path / "model"
    torch.manual_seed(1)
    made = model_folder.create(base, MEAN, len(LABELS), tiny.training(), "matmul", READS)
    torch.nn.init.normal_(made.head.output.weight, std=1.0)
    model_folder.save(
        made, model_folder.ModelInfo(tiny.TASK, MEAN, READS, {"temperature": 0.6}), base, folder
    )
    logits = predict(made.eval(), split_of(tmp_path), tiny.machine(), 2)
    expected = np.exp(temperature.scale(np.asarray(logits), 0.6))
    assert expected.std(axis=0).max() > 1e-3, "clips differ"
    served = WhisperClassifier()
    served.load_context(SimpleNamespace(artifacts={"model": str(folder)}, model_config=None))
    answer = served.predict(CLIPS).drop(columns="label")
    np.testing.assert_allclose(answer.to_numpy(), expected, atol=1e-5)
    how = served_inputs.of_folder(folder)
    assert how.main == "serve/pyfunc_whisper.py" and "timm" not in how.packages
    environment.read_requirements(environment.LOCKS, how.packages)


def test_clips_in_several_parts_give_the_predictions(tmp_path: Path) -> None:
    reads = dataclasses.replace(READS, parts=3)
    folder = made(tmp_path, reads)
    write_arrays(tmp_path, reads)
    model, _ = model_folder.load(folder, "matmul")
    split = clip_batches.ClipSplit(image_arrays.open_arrays(tmp_path, "test", tiny.TASK), reads.frames)
    assert split.windows.tolist() == [3, 3, 3, 1]
    logits = np.asarray(predict(model, split, tiny.machine(), 2))
    expected = np.exp(temperature.scale(logits, 0.6))
    for size in (1, 2, 32):
        answer = opened(folder).predict(CLIPS, {"batch_size": size})
        np.testing.assert_allclose(answer.drop(columns="label").to_numpy(), expected, atol=1e-5)
    first = split.first(np.arange(len(CLIPS)))
    assert np.abs(model(*first.inputs).detach().numpy() - logits)[:3].max() > 0.01, "not the first alone"


def test_statistics_of_tokenize(tmp_path: Path) -> None:
    write_arrays(tmp_path)
    arrays = image_arrays.open_arrays(tmp_path, "test", tiny.TASK)
    assert arrays.shape == (16, 32) and arrays.channels == 1
    figures = audio_arrays.tokenize(
        tmp_path / "test.parquet", READS, tmp_path, 2, lambda count: None, tiny.TASK
    )
    assert figures["clips"] == 4 and figures["bytes"] == 4 * 16 * 32
    assert (figures["cut"], figures["padded_share"], figures["resampled_share"]) == (3, 0.25, 1.0)
    assert figures["milliseconds"]["min"] == 100 and figures["milliseconds"]["max"] >= 1000


def test_examples_are_clips_that_the_model_reads(folder: Path, tmp_path: Path) -> None:
    write_arrays(tmp_path)
    examples = array_splits.examples(split_of(tmp_path), folder, READS)
    assert len(examples) == 2 and len(opened(folder).predict(examples)) == 2
    json.dumps(examples)


BAD: dict[str, tuple[Any, str]] = {
    "none": (None, "row 1 is not a clip of sound"),
    "empty": (b"", "row 1: empty: 0 bytes"),
    "zero length": (saved(np.zeros(0)), "row 1: zero length: no samples"),
    "truncated": (CLIPS[0][:-50], "row 1: truncated: 50 of 48,000 bytes"),
    "no clip": (b"<html>", "row 1: not a format that is read"),
    "enormous": (bomb(), "at most 600 s"),
    "no file": (Path("gone.wav"), "row 1 is not an existing file"),
    "text": ("something", "row 1 is not a clip of sound in base64"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_is_named_by_row(kind: str, folder: Path) -> None:
    value, message = BAD[kind]
    with pytest.raises((ValueError, TypeError)) as caught:
        opened(folder).predict([CLIPS[0], value])
    assert message in str(caught.value)
    assert all(part in str(caught.value) for part in ("got:", "expected:", "next:"))


def test_a_server_reads_no_files_unless_it_may(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_MLFLOW_IS_IN_SERVING_ENVIRONMENT", "true")
    path = tmp_path / "clip.wav"
    path.write_bytes(CLIPS[0])
    with pytest.raises(ValueError, match="row 0 is not a clip of sound in base64"):
        opened(folder).predict([str(path)])
    assert len(opened(folder, {"serve_paths": True}).predict([str(path)])) == 1


@pytest.mark.parametrize("limit", [0, -1, "long"])
def test_the_limit_must_be_positive(limit: Any, folder: Path) -> None:
    with pytest.raises(ValueError, match="max_seconds"):
        opened(folder, {"max_seconds": limit})
    with pytest.raises(ValueError, match=r"at most 0\.5 s"):
        opened(folder, {"max_seconds": 0.5}).predict([CLIPS[0]])
