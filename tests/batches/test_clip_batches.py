"""Clips in several parts: evenly spaced, side by side in arrays, and averaged by the predictor."""

import dataclasses
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

from baton import params
from baton.arrays import audio_arrays, disk_space
from baton.batches import array_splits, clip_batches, image_batches, placement
from baton.contracts.input_spec import AudioInput, described
from baton.evaluate.inputs import Rows
from baton.measure import features, measurements
from baton.predict import predict
from baton.sounds import audio_decoding, log_mel
from baton.storage import write_json
from tests import tiny
from tests.audio_files import melody, saved, tone

ONE = AudioInput(8000, 0.256, "head", 16, 256, 64)  # 16 x 32
READS = dataclasses.replace(ONE, parts=3)
SECONDS = (0.1, 0.256, 0.3, 0.6, 2.0)
PARTS = (1, 1, 2, 3, 3)


class Squares(nn.Module):
    """A model that is not linear, whose mean over parts is thus not its value at their mean."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        flat = pixels.flatten(1).float() / 255
        return torch.stack([flat.mean(1) ** 2, flat.std(1), flat[:, :40].sum(1)], 1)


@pytest.fixture(scope="module")
def arrays(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    clips = [saved(melody(n, own, 16_000), rate=16_000) for n, own in enumerate(SECONDS)]
    for split in ("train", "val", "test"):
        figures = write(folder, split, clips, [0] * len(clips))
        train = split == "train"
        assert figures["cut"] == (3 if train else 1) and figures.get("parts") == (None if train else 10)
    write_meta(folder)
    return folder


def write(folder: Path, split: str, clips: list[bytes], labels: Any) -> dict[str, Any]:
    """Write a split's clean table and its arrays to one folder; return the statistics of the arrays."""
    table = pa.table(
        {
            "id": [f"{split}:{n}" for n in range(len(clips))],
            "audio": clips,
            "label": pa.array(labels, pa.int32()),
        }
    )
    pq.write_table(table, folder / f"{split}.parquet")
    return audio_arrays.tokenize(folder / f"{split}.parquet", READS, folder, 2, lambda count: None, tiny.TASK)


def write_meta(folder: Path) -> None:
    task = {"kind": "classes", "names": list(tiny.TASK.names)}
    write_json(folder / "meta.json", {"task": task, "input": described(READS)})


def test_parts_are_evenly_spaced_and_reach_the_end() -> None:
    """Of 2 s, parts of 0.256 s begin at 0, 0.872 and 1.744 s."""
    content = saved(melody(9, 2.0, 8000), rate=8000)
    clip = audio_decoding.decode(content, 10)
    whole = clip.samples - clip.samples.mean(dtype=np.float64)
    found = log_mel.spectrograms(clip.samples, 8000, READS)
    assert len(found) == 3
    for own, start in zip(found, (0, 6976, 13_952), strict=True):
        levels = log_mel.log_mel(whole[start : start + 2048], ONE)  # powers of ten
        expected = np.rint(255 * np.clip(1 + (levels - levels.max()) / 8, 0, 1))
        np.testing.assert_array_equal(own[..., 0], expected)
    np.testing.assert_array_equal(found[0], log_mel.spectrogram(clip.samples, 8000, ONE))
    assert [len(log_mel.spectrograms(melody(0, own, 8000), 8000, READS)) for own in SECONDS] == [*PARTS]


def test_the_predictor_averages_the_outputs_of_a_clips_parts(arrays: Path) -> None:
    splits, model = array_splits.open_splits(arrays), Squares()
    train, test = splits["train"], splits["test"]
    assert isinstance(train, image_batches.ImageSplit) and isinstance(test, clip_batches.ClipSplit)
    assert test.windows.tolist() == [*PARTS]
    found, rows = predict(model, test, tiny.machine(), 4), np.arange(len(SECONDS))
    for row, own in enumerate(PARTS):
        wide = test.arrays.image(row)[..., 0]  # (bands, parts * frames)
        pixels = torch.from_numpy(np.stack(np.split(wide, own, axis=1))[:, None])
        np.testing.assert_allclose(np.asarray(found)[row], model(pixels).mean(0).numpy(), rtol=1e-6)
    # Train is read in the part of a clip that is its first here.
    np.testing.assert_array_equal(train.batch(rows).inputs[0], test.first(rows).inputs[0])
    assert features.bands(test, 2).shape == (len(SECONDS), 32)
    np.testing.assert_allclose(features.bands(test, 2)[:2], features.bands(train, 2)[:2], atol=1e-7)
    assert features.pixels(test, 8, 2).shape == features.pixels(train, 8, 2).shape


def test_placement_and_disk_space_know_of_parts(arrays: Path, tmp_path: Path) -> None:
    splits, said = placement.placed(array_splits.open_splits(arrays), torch.device("cpu"), "auto", 10**9)
    assert isinstance(splits["val"], clip_batches.ClipSplit) and "val false: clips in several parts" in said
    tables = [arrays / f"{split}.parquet" for split in ("train", "val", "test")]
    more = disk_space.check(tables, READS, tmp_path) - disk_space.check(tables, ONE, tmp_path)
    copies = disk_space._copies()
    assert more == copies * 2 * (2 * len(SECONDS)) * 16 * 32, "two more of each clip of val and test"


@pytest.mark.parametrize("model", ["linear", "knn"])
def test_baselines_on_features_read_what_the_models_read(
    model: Literal["linear", "knn"], tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Low, middle and high notes of two parts each are told apart by features that are averaged."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    Path("requirements.lock").write_text("")
    tiny.write_image_base(Path("data/base"), size=16)
    Path("data/arrays").mkdir()
    labels, rows = np.arange(12) % 3, {}
    for place, split in enumerate(("train", "val", "test")):
        notes = [(300, 900, 2400)[label] * (1 + n / 100 + place / 200) for n, label in enumerate(labels)]
        write(Path("data/arrays"), split, [saved(tone(note, 0.4)) for note in notes], labels)
        rows[split] = Rows([], [], labels)
    write_meta(Path("data/arrays"))
    recipe = params.read(root / "recipes/audio-folder.yaml")
    subject = measurements.Subject(recipe.evaluate, recipe.finetune, tiny.machine())
    baseline = params.FeaturesBaseline(kind="features", model=model, neighbours=3, C=(1.0,))
    answers = measurements.answer(subject, baseline, rows)
    assert subject.features["test"].shape == (12, 32)
    assert (answers["test"].predicted == labels).mean() >= 0.8
