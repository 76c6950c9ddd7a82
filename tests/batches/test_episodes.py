"""Episodes are a function of their key, have no row twice, and processes share those of a step."""

from pathlib import Path

import numpy as np
import pytest
import torch

from baton.batches import array_splits, episodes
from baton.batches.episodes import EpisodeBatch, EpisodeBatches
from baton.batches.sampler import Split
from baton.batches.subset import Part
from baton.errors import TrainingError
from tests import tiny, tiny_episodes


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Split:
    folder = tmp_path_factory.mktemp("episodes")
    tiny.write_arrays(folder)
    return array_splits.open_splits(folder / "arrays")["train"]  # 3 classes of 16 rows


def batches(split: Split, blocks: tuple[int, ...] = (5,), batch_size: int = 3, **own: int) -> EpisodeBatches:
    classes = episodes.rows_of_classes(split.targets, 2, sum(blocks), "train", "finetune.strategy")
    sizes = {"way": 2, "blocks": blocks, "batch_size": batch_size, "steps": 50, "seed": 0}
    return EpisodeBatches(split=split, classes=classes, **sizes | own)


def test_an_episode_has_rows_of_different_classes_none_twice(split: Split) -> None:
    labels, seen = split.targets.all, set[int]()
    for step in range(50):
        for episode in batches(split).groups(step):
            assert episode.shape == (2, 5) and len(set(episode.ravel())) == 10
            own = labels[episode]
            assert (own == own[:, :1]).all() and own[0, 0] != own[1, 0]
            seen |= {*own.ravel().tolist()}
    assert seen == {0, 1, 2}


def test_classes_and_rows_are_drawn_equally_often(split: Split) -> None:
    classes = episodes.rows_of_classes(split.targets, 2, 5, "train", "x")
    drawn = np.stack([episodes.draw(classes, 2, 5, (0, number)) for number in range(2000)])
    counts = np.bincount(drawn.ravel(), minlength=len(split))
    expected = drawn.size / len(split)
    assert abs(counts / expected - 1).max() < 0.15
    first = np.bincount(split.targets.all[drawn[:, 0, 0]], minlength=3)  # classes in each place
    assert abs(first / (2000 / 3) - 1).max() < 0.1


def test_a_step_is_a_function_of_seed_and_step(split: Split) -> None:
    first, again, other = (batches(split, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(first.groups(7), again.groups(7))
    assert not np.array_equal(first.groups(7), first.groups(8))
    assert not np.array_equal(first.groups(7), other.groups(7))
    assert not np.array_equal(first.groups(7)[0], first.groups(7)[1])


@pytest.mark.parametrize("ranks", [1, 2, 5])
def test_processes_share_the_episodes_of_a_step(split: Split, ranks: int) -> None:
    whole = batches(split)
    seen, shares = [], 0.0
    for rank in range(ranks):
        parts = batches(split, rank=rank, ranks=ranks).micro_batches(3)
        assert parts, "every rank takes part in the exchange of gradients"
        shares += sum(share for _, share in parts)
        seen += [tuple(part.rows.tolist()) for part, share in parts if share]
    assert sorted(seen) == sorted(tuple(episode.ravel().tolist()) for episode in whole.groups(3))
    assert shares == pytest.approx(1.0)
    assert whole.size(3) == 30 == len(whole.names(3))


def test_blocks_have_rows_of_each_class(split: Split) -> None:
    made = batches(split, blocks=(2, 2, 1), batch_size=1)
    ((part, share),) = made.micro_batches(4)
    (episode,) = made.groups(4)
    assert isinstance(part, EpisodeBatch) and share == 1.0 and len(part) == 10
    assert [block.rows.tolist() for block in part.blocks] == [
        episode[:, :2].ravel().tolist(),
        episode[:, 2:4].ravel().tolist(),
        episode[:, 4:].ravel().tolist(),
    ]
    moved = part.to(torch.device("cpu"))
    assert moved.shape == part.shape == max(block.shape for block in part.blocks)


def test_a_part_of_train_has_episodes_of_its_rows(split: Split) -> None:
    part = Part(split, np.arange(0, len(split), 2))
    made = batches(part)
    rows = {row for step in range(20) for episode in made.groups(step) for row in episode.ravel()}
    assert max(rows) < len(part)
    ((first, _), *_) = made.micro_batches(0)
    assert set(first.rows.tolist()) <= {*part.chosen.tolist()}


@pytest.mark.parametrize(
    ("way", "each", "problem"),
    [
        (4, 5, "val has too few classes for an episode[\\s\\S]*3 classes[\\s\\S]*at least 4 \\(x.way"),
        (
            3,
            17,
            "classes of val have too few rows[\\s\\S]*grain 16, ship 16, trade 16[\\s\\S]*at least 17 rows",
        ),
    ],
)
def test_too_few_classes_or_rows_are_named(split: Split, way: int, each: int, problem: str) -> None:
    with pytest.raises(TrainingError, match=problem):
        episodes.rows_of_classes(split.targets, way, each, "val", "x")


def test_novel_splits_are_opened_with_their_own_classes(tmp_path: Path) -> None:
    tiny.write_arrays(tmp_path)
    assert array_splits.open_novel(tmp_path / "arrays") == {}
    tiny_episodes.write(tmp_path)
    found = array_splits.open_novel(tmp_path / "arrays")
    assert [*found] == ["novel_validation", "novel_test"]
    assert found["novel_test"].targets.spec.names == ("money", "oil")
    assert len(found["novel_test"]) == len(found["novel_test"].targets.all) == 24
