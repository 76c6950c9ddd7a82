"""Test that steps belong to tasks by their shares, as a pure function of seed and step."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from baton import params
from baton.batches import array_splits
from baton.batches.alternating_batches import AlternatingBatches, shares
from baton.batches.sampler import TrainingBatches
from tests import tiny, tiny_tasks

PROPORTIONAL = params.ProportionalMixing(kind="proportional")
ROWS = [1000, 10, 100]


def tempered(temperature: float) -> params.TemperatureMixing:
    return params.TemperatureMixing(kind="temperature", temperature=temperature)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("several") / "data"
    tiny.write_arrays(folder)  # 48 rows of train
    tiny_tasks.write(folder, "length", "letters")  # 24 each
    return folder


def made(
    data: Path,
    asked: tuple[float, ...] = (0.5, 0.25, 0.25),
    seed: int = 0,
    accumulation: int = 1,
    rank: int = 0,
    ranks: int = 1,
) -> AlternatingBatches:
    def of(folder: Path) -> TrainingBatches:
        split = array_splits.open_splits(folder)["train"]
        ids = partial(array_splits.read_ids, folder, "train")
        return TrainingBatches(split, 8, accumulation, seed, ids, rank, ranks)

    tasks = {"main": of(data / "arrays")}
    tasks |= {name: of(data / "arrays/tasks" / name) for name in ("length", "letters")}
    return AlternatingBatches(tasks, asked, seed)


def test_shares_are_those_of_t5() -> None:
    assert shares(tiny_tasks.UNIFORM, ROWS) == pytest.approx((1 / 3,) * 3)
    assert shares(PROPORTIONAL, ROWS) == pytest.approx((1000 / 1110, 10 / 1110, 100 / 1110))
    roots = np.sqrt(ROWS)
    assert shares(tempered(2.0), ROWS) == pytest.approx(tuple(roots / roots.sum()))
    assert shares(tempered(1.0), ROWS) == pytest.approx(shares(PROPORTIONAL, ROWS))
    assert shares(tempered(1e6), ROWS) == pytest.approx((1 / 3,) * 3, abs=1e-4)


@pytest.mark.parametrize("asked", [(0.5, 0.25, 0.25), (1 / 3, 1 / 3, 1 / 3), (0.9, 0.05, 0.05)])
def test_each_task_has_its_share_of_the_steps(data: Path, asked: tuple[float, ...]) -> None:
    batches = made(data, asked)
    steps = batches.steps_per_epoch
    assert steps == round(6 / asked[0])
    for epoch in range(20):
        before, after = batches.counts(epoch * steps), batches.counts((epoch + 1) * steps)
        found = [after[name] - before[name] for name in after]
        assert sum(found) == steps
        assert all(abs(count - share * steps) < 1 for count, share in zip(found, asked, strict=True))
    found = list(batches.counts(400 * steps).values())
    assert np.array(found) / (400 * steps) == pytest.approx(asked, abs=0.01)


def test_a_task_reads_its_own_batches_in_their_order(data: Path) -> None:
    batches, seen = made(data), {"main": 0, "length": 0, "letters": 0}
    alone = made(data).tasks
    for step in range(3 * batches.steps_per_epoch + 2):
        ((part, share),) = batches.micro_batches(step)
        task, place = batches.place(step)
        assert (part.task, place, share) == (task, seen[task], 1.0)
        assert part.inputs[-1] == task
        assert part.rows.tolist() == alone[task].rows(place).tolist()
        assert batches.size(step) == len(part) == len(batches.names(step))
        assert batches.names(step)[0] == f"{task} train:{part.rows[0] + 1}"
        assert batches.counts(step) == seen
        seen[task] += 1
    assert all(seen.values())


def test_a_step_does_not_depend_on_those_before(data: Path) -> None:
    whole, steps = made(data), range(5 * made(data).steps_per_epoch)
    parts = [whole.micro_batches(step)[0][0] for step in steps]
    for step in reversed(steps):
        assert tiny_tasks.same(made(data).micro_batches(step)[0][0], parts[step])
    other = made(data, seed=1)
    assert [other.place(step) for step in steps] != [whole.place(step) for step in steps]


def test_the_order_changes_from_epoch_to_epoch(data: Path) -> None:
    batches = made(data)
    steps = batches.steps_per_epoch
    orders = {tuple(batches.place(epoch * steps + step)[0] for step in range(steps)) for epoch in range(9)}
    assert len(orders) > 6


def test_ranks_and_parts_share_the_step_of_one_task(data: Path) -> None:
    whole = made(data)
    for step in range(whole.steps_per_epoch):
        ((part, _),) = whole.micro_batches(step)
        found = [
            given
            for rank in (0, 1)
            for given in made(data, (0.5, 0.25, 0.25), 0, 2, rank, 2).micro_batches(step)
        ]
        assert {own.task for own, _ in found} == {part.task}
        assert sum(share for _, share in found) == pytest.approx(1.0)
        rows = np.concatenate([own.rows for own, _ in found])
        assert sorted(rows) == sorted(part.rows.tolist())


def test_samples_of_an_epoch(data: Path) -> None:
    batches = made(data, (1 / 3, 1 / 3, 1 / 3))
    assert batches.samples == 144 == sum(map(batches.size, range(batches.steps_per_epoch)))
    lengths = [own.split.lengths.mean() for own in batches.tasks.values()]
    assert batches.mean_length == pytest.approx(np.mean(lengths))
