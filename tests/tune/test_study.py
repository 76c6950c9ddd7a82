"""A study that workers share: the same trials whatever their number and however often they are killed."""

from pathlib import Path

import pytest
from optuna.trial import TrialState

from baton.tune import proposals, study
from baton.tune.claims import Release
from tests.tune import made_up
from tests.tune.made_up import asked, finish, open_study, told


@pytest.mark.parametrize(("workers", "kills"), [(2, 0.3), (7, 0.4)])
def test_neither_workers_nor_kills_change_a_study(tmp_path: Path, workers: int, kills: float) -> None:
    alone, together = finish(tmp_path / "a", asked()), finish(tmp_path / "b", asked(), workers, kills, 1)
    assert told(alone.trials) == told(together.trials)
    assert [own.number for own in alone.trials] == list(range(12)), "none is lost or doubled"
    assert alone.winner() == together.winner() and alone.repeated() == together.repeated()
    assert TrialState.PRUNED in {own.state for own in alone.trials}


def test_without_generations_the_order_in_which_trials_end_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control: a trial that may see all that has ended by then depends on the time."""
    monkeypatch.setattr(study.Study, "_plan", eager)
    found = [finish(tmp_path / str(seed), asked(prune=None), 3, 0.0, seed) for seed in range(2)]
    assert told(found[0].trials) != told(found[1].trials)


def eager(self: study.Study, recipe: object) -> bool:
    there = self.trials
    if not self.open or len(there) == self.asked.trials:
        return False
    ended = [own for own in there if own.state in study.ENDED]
    running = [dict(own.params) for own in there if own.state not in study.ENDED]
    values = proposals.propose(len(there), self.space, self.asked, 1, ended, running)
    self._add(self.trials_kept, values, {})
    return True


def test_another_seed_is_another_study(tmp_path: Path) -> None:
    first, second = (finish(tmp_path / str(seed), asked(seed=seed)) for seed in (1, 2))
    assert told(first.trials)[0] == told(second.trials)[0], "the recipe as it is"
    assert told(first.trials) != told(second.trials)


def test_more_trials_go_on_from_the_same_ones(tmp_path: Path) -> None:
    """Also from the middle of a generation; the budget is no part of a study."""
    whole = finish(tmp_path / "a", asked(trials=12))
    finish(tmp_path / "b", asked(trials=6))
    grown = finish(tmp_path / "b", asked(trials=12), workers=2)
    assert told(whole.trials) == told(grown.trials)


def test_a_claimed_trial_is_given_to_no_other_worker(tmp_path: Path) -> None:
    first, second = (open_study(tmp_path / "a", asked(trials=2)) for _ in range(2))
    one, other = first.next(made_up.RECIPE), second.next(made_up.RECIPE)
    assert one is not None and other is not None and (one.number, other.number) == (0, 1)
    assert first.next(made_up.RECIPE) is None and not first.done, "it waits for the other"
    one.release()  # killed
    again = second.next(made_up.RECIPE)
    assert again is not None and again.number == 0 and again.values == made_up.RECIPE
    assert {own.state for own in first.trials} == {TrialState.RUNNING}


def test_a_result_that_comes_twice_counts_once(tmp_path: Path) -> None:
    one = open_study(tmp_path / "a", asked(trials=1))
    work = one.next(made_up.RECIPE)
    assert work is not None
    one.ended(work, made_up.outcome(work, asked()))
    before = told(one.trials)
    one.ended(work, made_up.outcome(work, asked()))
    assert told(one.trials) == before


def test_minutes_end_the_search(tmp_path: Path) -> None:
    """Each trial takes a second: after six of them a tenth of a minute is over."""
    found = finish(tmp_path / "a", asked(trials=None, minutes=0.1))
    assert sum(own.state in study.ENDED for own in found.trials) == 6
    assert found.winner() is not None
    more = finish(tmp_path / "a", asked(trials=None, minutes=0.2))
    assert told(finish(tmp_path / "b", asked(trials=12)).trials) == told(more.trials)


def test_the_winner_is_that_of_the_mean_over_seeds(tmp_path: Path) -> None:
    found = finish(tmp_path / "a", asked())
    repeated = found.repeated()
    assert len(repeated) == 3 and 0 in repeated and all(len(own) == 2 for own in repeated.values())
    means = {number: sum(own) / 2 for number, own in repeated.items()}
    assert found.winner() == max(means, key=lambda number: means[number])
    lucky = finish(tmp_path / "a", asked(seeds=()))
    assert lucky.winner() == proposals.best(lucky.values, 1, 1)[0]


def test_a_trial_that_failed_counts_and_is_not_tried_again(tmp_path: Path) -> None:
    one = open_study(tmp_path / "a", asked(trials=2, finalists=1, seeds=()))
    for number in range(2):
        work = one.next(made_up.RECIPE)
        assert work is not None and work.number == number
        if number:
            one.ended(work, study.Outcome(TrialState.FAIL, None, (), (), 1.0, error="training diverged"))
        else:
            one.ended(work, made_up.outcome(work, asked()))
    assert one.done and one.winner() == 0
    assert one.trials[1].user_attrs[study.ERROR] == "training diverged"


def test_a_trial_that_ends_meanwhile_is_not_given_out_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its worker records the end and gives the lock back after another worker has read it as running."""
    first, second = open_study(tmp_path / "study", asked()), open_study(tmp_path / "study", asked())
    begun = first.next(made_up.RECIPE)
    assert begun is not None and begun.number == 0
    take = second.claims.take

    def late(name: str) -> Release | None:
        if first.trials[0].state is TrialState.RUNNING:
            first.ended(begun, made_up.outcome(begun, asked()))
        return take(name)

    monkeypatch.setattr(second.claims, "take", late)
    found = second.next(made_up.RECIPE)
    assert found is not None and found.number == 1
    released = take("trial-0")
    assert released is not None, "the lock of the ended trial is free"
    released()
