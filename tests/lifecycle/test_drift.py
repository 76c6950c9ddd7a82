"""Drift of incoming rows from the profile of a champion's training data."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from baton import params, storage
from baton.contracts import task_spec
from baton.errors import DataError, ModelError
from baton.lifecycle import test_table
from baton.lifecycle.retraining import drift, predicted_drift, samples, unlabelled
from tests import tiny
from tests.lifecycle import pictures
from tests.tracking.reading import ROOT

CLASSES = params.ClassesTask(kind="classes")
LIMITS = params.DriftLimits(changed=1.0, labels=0.2, lengths=0.2, unknown=0.1)


def write(folder: Path, some: list[tuple[str, int]]) -> Path:
    return tiny.write_splits(folder, {"train": some[:-2], "val": some[-2:]}, ["ham", "spam"])


def rows(
    count: int, start: int = 0, words: str = "buy cheap watches now", spam: int = 2
) -> list[tuple[str, int]]:
    """Return rows with three to six more words, the last two of them numbers that make each row unique."""
    shown = (
        (place, f"{words} {'and more ' * (place % 3)}{(start + place) // 100} {(start + place) % 100}")
        for place in range(count)
    )
    return [(text, int(place % spam == 0)) for place, text in shown]


Earlier = tuple[Path, dict[str, object]]


@pytest.fixture
def earlier(tmp_path: Path) -> Earlier:
    clean = write(tmp_path / "clean", rows(200))
    return clean, json.loads(json.dumps(drift.profile(clean)))


def test_the_same_rows_are_no_new_ones(earlier: Earlier) -> None:
    assert drift.measure(*earlier) == drift.Drift(0, 0, 0.0, {})


def test_more_of_the_same_is_no_drift(earlier: Earlier, tmp_path: Path) -> None:
    clean = write(tmp_path / "more", rows(200) + rows(150, start=1000))
    found = drift.measure(clean, earlier[1])
    assert found.rows > 50 and found.beyond(LIMITS) == []


@pytest.mark.parametrize(
    ("fresh", "named"),
    [
        (rows(150, 1000, spam=1), "labels"),
        (rows(150, 1000, words="buy cheap watches now " * 5), "lengths"),
        (rows(150, 1000, words="quarterly earnings rose sharply"), "unknown"),
    ],
)
def test_each_kind_of_drift_is_named(
    earlier: Earlier, tmp_path: Path, fresh: list[tuple[str, int]], named: str
) -> None:
    found = drift.measure(write(tmp_path / "more", rows(200) + fresh), earlier[1])
    assert any(text.startswith(f"{named} ") for text in found.beyond(LIMITS))


def test_a_label_that_was_never_seen_counts(earlier: Earlier, tmp_path: Path) -> None:
    clean = write(tmp_path / "more", rows(100, 1000))
    storage.write_json(clean / "task.json", task_spec.described(tiny.task(*["ham", "scam"])))
    assert drift.measure(clean, earlier[1]).distances["labels"].value > 0.4


def test_many_new_rows_rows_that_are_gone_and_other_labels_count_as_changed(
    earlier: Earlier, tmp_path: Path
) -> None:
    limits = LIMITS.model_copy(update={"changed": 0.1, "labels": 1.0})
    more = drift.measure(write(tmp_path / "more", rows(230)), earlier[1])
    assert (more.rows, more.gone, more.changed) == (30, 0, 0.15) and more.beyond(limits) == [
        "changed 0.150 (limit 0.100)"
    ]
    fewer = drift.measure(write(tmp_path / "fewer", rows(150)), earlier[1])
    assert (fewer.rows, fewer.gone, fewer.changed) == (0, 50, 0.25)
    relabelled = [(text, 1 - label if place < 15 else label) for place, (text, label) in enumerate(rows(200))]
    other = drift.measure(write(tmp_path / "other", relabelled), earlier[1])
    assert (other.rows, other.gone, other.changed) == (15, 15, 0.15)


def test_few_rows_of_the_same_kind_are_no_drift_by_the_recipes_limits(tmp_path: Path) -> None:
    """The control: by the distances alone they would nearly always be drift."""
    limits = params.read(ROOT / "params.yaml").retrain.drift
    assert limits is not None
    random = np.random.default_rng(0)
    vocabulary = [f"word{number}" for number in range(300)]

    def draw(count: int) -> list[tuple[str, int]]:
        lengths = random.integers(5, 60, count)
        return [(" ".join(random.choice(vocabulary, size)), int(random.random() < 0.3)) for size in lengths]

    earlier, told, control = drift.profile(write(tmp_path / "clean", first := draw(2000))), 0, 0
    for place, count in enumerate([3, 5, 10, 20, 50] * 4):
        found = drift.measure(write(tmp_path / str(place), first + draw(count)), earlier)
        told += bool(found.beyond(limits))
        control += any(distance.value > limits.model_dump()[key] for key, distance in found.distances.items())
    assert told == 0 and control >= 12


def write_images(folder: Path, some: list[tuple[bytes, int]]) -> Path:
    return pictures.write(folder, {"train": some[:-2], "val": some[-2:]})


def test_drift_of_images_is_told_by_labels_and_brightness(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "MOST_IMAGES", 100)  # fewer than the table has
    first = pictures.draw(120)
    clean = write_images(tmp_path / "clean", first)
    earlier = json.loads(json.dumps(drift.profile(clean)))
    assert earlier == drift.profile(clean) and len(json.dumps(earlier)) < 10_000, (
        "small, and the same each time"
    )
    assert drift.measure(clean, earlier) == drift.Drift(0, 0, 0.0, {}, "images")
    same = drift.measure(write_images(tmp_path / "more", first + pictures.draw(60, seed=1)), earlier)
    assert (same.rows, same.gone, sorted(same.distances), same.beyond(LIMITS)) == (
        60,
        0,
        ["labels", "lengths"],
        [],
    )
    dusk = drift.measure(
        write_images(tmp_path / "dusk", first + pictures.draw(60, seed=1, light=-30)), earlier
    )
    assert [text.split()[:2] for text in dusk.beyond(LIMITS)] == [["lengths", "(brightness)"]]
    odd = [(image, 0) for image, _ in pictures.draw(60, seed=1)]
    assert [
        text.split()[0]
        for text in drift.measure(write_images(tmp_path / "odd", first + odd), earlier).beyond(LIMITS)
    ] == ["labels"]
    relabelled = [
        (image, (label + 1) % 3 if place < 12 else label) for place, (image, label) in enumerate(first)
    ]
    other = drift.measure(write_images(tmp_path / "other", relabelled), earlier)
    assert (other.rows, other.gone, other.changed) == (12, 12, 0.2)


def test_a_profile_of_texts_and_images_have_nothing_in_common(earlier: Earlier, tmp_path: Path) -> None:
    images = write_images(tmp_path / "images", pictures.draw(30))
    found = drift.measure(images, earlier[1])
    assert (found.rows, found.gone, found.distances["lengths"].value) == (30, 200, 1.0) and len(
        found.beyond(LIMITS)
    ) == 3
    back = drift.measure(earlier[0], json.loads(json.dumps(drift.profile(images))))
    assert (back.rows, back.gone, back.distances["lengths"].value) == (200, 30, 1.0)


def test_a_profile_of_an_earlier_layout_is_refused(earlier: Earlier) -> None:
    """The first one held shares and quantiles, and did not say which it is."""
    with pytest.raises(DataError, match=r"layout 2(?s:.*)baton register"):
        drift.measure(earlier[0], earlier[1] | {"layout": 2})
    shares = {"ham": 0.5, "spam": 0.5}
    old = {
        "rows": earlier[1]["rows"],
        "labels": shares,
        "lengths": [3.0] * 101,
        "vocabulary": ["buy"],
        "unknown": 0.1,
    }
    with pytest.raises(DataError, match=r"layout 1(?s:.*)baton register"):
        drift.measure(earlier[0], old)


def test_rows_without_labels_are_compared_by_lengths_and_words(earlier: Earlier) -> None:
    known = test_table.training_digests(earlier[0])

    def beyond(some: list[tuple[str, int]]) -> tuple[int, list[str]]:
        sample = samples.Sample("text", [text for text, _ in some], None)
        found = drift.measure_unlabelled(sample, samples.unseen(sample, known), earlier[1])
        return found.rows, [text.split()[0] for text in found.beyond(LIMITS)]

    assert beyond(rows(200)) == (0, []), "nothing is new"
    assert beyond(rows(300) + rows(300)) == (100, []), "each counts once"
    assert beyond(rows(150, 1000, words="buy cheap watches now " * 5)) == (150, ["lengths"])
    assert beyond(rows(150, 1000, words="quarterly earnings rose sharply")) == (150, ["unknown"])


def test_a_folder_of_pictures_without_labels_is_compared_by_brightness(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = params.read(ROOT / "recipes/image-folder.yaml").preprocess
    first = pictures.draw(120)
    earlier = drift.profile(write_images(tmp_path / "clean", first))
    known = test_table.training_digests(tmp_path / "clean")

    def beyond(name: str, some: list[tuple[bytes, int]]) -> tuple[int, list[str]]:
        (tmp_path / name / "deeper").mkdir(parents=True)
        for place, (image, _) in enumerate(some):
            (tmp_path / name / "deeper" / f"{place}.png").write_bytes(image)
        sample = unlabelled.read(tmp_path / name, settings, CLASSES)
        found = drift.measure_unlabelled(sample, samples.unseen(sample, known), earlier)
        return found.rows, [text.split()[0] for text in found.beyond(LIMITS)]

    assert beyond("same", first[:20] + pictures.draw(60, seed=1)) == (60, [])
    (tmp_path / "dusk").mkdir()
    (tmp_path / "dusk/notes.txt").write_text("not an image")
    assert beyond("dusk", pictures.draw(60, seed=1, light=-30)) == (60, ["lengths"])
    assert "notes.txt" in capsys.readouterr().out, "unreadable files are named"
    with pytest.raises(DataError, match="is a file"):
        unlabelled.read(tmp_path / "dusk/notes.txt", settings, CLASSES)
    with pytest.raises(DataError, match="does not exist"):
        unlabelled.read(tmp_path / "nothing", settings, CLASSES)


def test_what_a_vocabulary_lacks_is_told_by_texts_that_were_left_out_of_it(tmp_path: Path) -> None:
    """Each text has one unique word out of two: half the words of any new text are unknown."""
    some = [(f"word own{place}", place % 2) for place in range(80)]
    found = drift.profile(write(tmp_path, some))
    assert found["unknown"][50] == 20 and sum(found["unknown"]) == 20 and len(found["vocabulary"]) == 61


def test_of_scripts_without_spaces_the_letters_are_compared(tmp_path: Path) -> None:
    """A sentence is no word that was never seen, so another vocabulary is told from the same one."""

    def sentences(letters: str, seed: int) -> list[tuple[str, int]]:
        random = np.random.default_rng(seed)
        return [("".join(random.choice(list(letters), 12)), row % 2) for row in range(200)]

    limits = LIMITS.model_copy(update={"changed": 3.0})  # all rows are others
    profile = drift.profile(write(tmp_path / "clean", sentences("あいうえおかきくけこ猫犬", 0)))
    assert set(profile["vocabulary"]) == set("あいうえおかきくけこ猫犬")
    assert profile["lengths"]["values"] == [12]
    same = drift.measure(write(tmp_path / "same", sentences("あいうえおかきくけこ猫犬", 1)), profile)
    assert same.beyond(limits) == []
    other = drift.measure(write(tmp_path / "other", sentences("あいうえお山川空海雨", 1)), profile)
    assert [text.partition(" ")[0] for text in other.beyond(limits)] == ["unknown"]


def test_the_brightness_of_an_image_is_its_mean(tmp_path: Path) -> None:
    from baton.images.decoding import encode
    from baton.lifecycle.retraining import brightness

    shades = [
        np.full((2, 3, 1), 0, np.uint8),
        np.full((4, 4, 3), 51, np.uint8),
        np.full((1, 1, 3), 255, np.uint8),
    ]
    clean = pictures.write(
        tmp_path, {"train": [(encode(pixels), 0) for pixels in shades[:2]], "val": [(encode(shades[2]), 0)]}
    )
    assert brightness.measure(clean, {0, 1, 2}) == [0.0, 0.2, 1.0]
    assert brightness.measure(clean, {2}) == [1.0]


def test_a_profile_counts_the_names_of_classes(tmp_path: Path) -> None:
    """Rows are known by their text and the name of their class, as in profiles of earlier versions."""
    found = drift.profile(write(tmp_path, [("one", 0), ("two", 1), ("three", 1), ("four", 0)]))
    assert found["labels"] == {"ham": 2, "spam": 2}
    assert found["rows"] == test_table.digests(["one ham", "two spam", "three spam", "four ham"])


def test_predictions_are_read_from_the_column_of_the_task(
    earlier: Earlier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that says spam for all new rows, and ham for those of val, is as far away as can be."""
    import pandas as pd

    clean, val = earlier[0], earlier[0] / "val.parquet"
    known = frozenset(test_table.training_digests(clean))
    sample = samples.Sample("text", [f"new {row}" for row in range(30)], None)
    answers = {"column": "label"}

    class Model:
        def predict(self, some: list[str]) -> pd.DataFrame:
            return pd.DataFrame(
                {answers["column"]: ["spam" if one.startswith("new") else "ham" for one in some]}
            )

    found = predicted_drift.distance("models:/n/1", Model, val, known, sample, range(30))
    assert found is not None and found.value == 1.0
    answers["column"] = "amount"
    with pytest.raises(
        ModelError, match=r"models:/n/1 has another task than data/clean(?s:.*)a column label"
    ):
        predicted_drift.distance("models:/n/1", Model, val, known, sample, range(30))


def test_drift_of_sound_is_told_by_seconds_and_loudness(tmp_path: Path) -> None:
    from tests import audio_files

    def write(name: str, **changes: float) -> Path:
        folder = tmp_path / name
        draw = np.random.default_rng(len(name))
        for split, count in (("train", 100), ("val", 20)):
            clips = [
                audio_files.saved(
                    audio_files.noise(
                        int(draw.integers(1 << 30)),
                        draw.uniform(0.05, 0.15) * changes.get("longer", 1.0),
                        level=draw.uniform(0.05, 0.1) * changes.get("louder", 1.0),
                    )
                )
                for _ in range(count)
            ]
            folder.mkdir(exist_ok=True)
            table = {
                "id": [f"{split}:{place}" for place in range(count)],
                "audio": clips,
                "digest": [hashlib.sha256(clip).hexdigest() for clip in clips],
                "label": pa.array([place % 2 for place in range(count)], pa.int32()),
            }
            pq.write_table(pa.table(table), folder / f"{split}.parquet")
        storage.write_json(folder / "task.json", task_spec.described(tiny.task("a", "b")))
        return folder

    earlier = json.loads(json.dumps(drift.profile(write("one"))))
    names = []
    for changes in ({}, {"longer": 2.0}, {"louder": 4.0}):
        found = drift.measure(write(f"new {changes}", **changes), earlier)
        assert found.kind == "audio" and {"labels", "lengths", "loudness"} == set(found.distances)
        names.append([text.split(" ")[0] for text in found.beyond(LIMITS) if not text.startswith("changed")])
    assert names == [[], ["lengths"], ["loudness"]]


def test_a_folder_of_clips_without_labels(tmp_path: Path, audio_settings: Any) -> None:
    from tests import audio_files

    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/a.wav").write_bytes(audio_files.saved(audio_files.tone(level=0.5)))
    (tmp_path / "b.flac").write_bytes(audio_files.saved(audio_files.tone(seconds=0.5, level=0.05), "FLAC"))
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    sample = unlabelled.read(tmp_path, audio_settings(), CLASSES)
    assert sample.kind == "audio" and len(sample.keys) == 2
    assert sample.levels == [(0.5, -29.0), (1.0, -9.0)]
