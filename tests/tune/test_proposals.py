"""What is proposed and what is stopped, as functions of earlier trials."""

from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from baton import params
from baton.tune import proposals, space
from tests.tune.made_up import RATE, RECIPE, WORD, asked, figure

SPACE = space.distributions(asked().ranges)


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def trial(number: int, values: dict[str, Any], curve: tuple[float, ...] = ()) -> FrozenTrial:
    made = create_trial(
        state=TrialState.COMPLETE,
        value=figure(values),
        params=values,
        distributions=dict(SPACE),
        intermediate_values=dict(enumerate(curve)),
    )
    made.number = number
    return made


def of_random(count: int) -> list[FrozenTrial]:
    return [trial(number, proposals.propose(number, SPACE, asked(), 1, [], [])) for number in range(count)]


def test_a_proposal_is_a_function_of_seed_number_and_earlier_trials() -> None:
    earlier = of_random(8)
    first = proposals.propose(8, SPACE, asked(), 1, earlier, [])
    assert proposals.propose(8, SPACE, asked(), 1, list(reversed(earlier)), []) == first
    assert proposals.propose(9, SPACE, asked(), 1, earlier, []) != first
    assert proposals.propose(8, SPACE, asked(seed=4), 1, earlier, []) != first
    without_best = sorted(earlier, key=lambda own: own.value or 0)[:-1]
    assert proposals.propose(8, SPACE, asked(), 1, without_best, []) != first, "results count"
    assert proposals.propose(8, SPACE, asked(), -1, earlier, []) != first, "and which way is better"


def test_the_sampler_learns_from_results() -> None:
    earlier = of_random(24)
    drawn = [proposals.propose(number, SPACE, asked(), 1, earlier, []) for number in range(24, 44)]
    mean = sum(figure(own) for own in drawn) / len(drawn)
    assert mean > sum(own.value or 0 for own in earlier) / len(earlier) + 0.05


def test_no_values_are_tried_twice_while_there_are_others() -> None:
    few = asked(
        ranges={
            WORD: {"kind": "choice", "values": ("linear", "cosine")},
            RATE: {"kind": "choice", "values": (1e-3, 1e-2)},
        }
    )
    space_, known = space.distributions(few.ranges), list[dict[str, Any]]()
    for number in range(4):
        known.append(proposals.propose(number, space_, few, 1, [], known))
    assert len({str(own) for own in known}) == 4
    assert proposals.propose(4, space_, few, 1, [], known) in known, "it does not search for ever"


def test_a_trial_below_the_median_is_stopped() -> None:
    """Of four complete trials with 1, 2, 3 and 4 at the second validation the median is 2.5."""
    earlier = [trial(number, RECIPE, (0.0, float(number + 1))) for number in range(4)]
    prune = params.Prune(keep=0.5, trials=4, validations=1)
    assert proposals.stopped_at([0.0, 2.4], prune, 1, earlier) == 1
    assert proposals.stopped_at([0.0, 2.6], prune, 1, earlier) is None
    assert proposals.stopped_at([3.0, 2.4], prune, 1, earlier) is None, "its best so far counts"
    assert proposals.stopped_at([0.0, 2.4], prune, -1, earlier) is None, "its best is 0, and lower is better"
    assert proposals.stopped_at([2.6, 2.6], prune, -1, earlier) == 1
    assert proposals.stopped_at([0.0, 2.4, 9.0], prune, 1, earlier) == 1, "what came later does not count"
    assert proposals.stopped_at([0.0, 2.4], prune, 1, earlier[:3]) is None, "too few trials"
    late = params.Prune(keep=0.5, trials=4, validations=2)
    assert proposals.stopped_at([0.0, 2.4], late, 1, earlier) is None


def test_the_best_are_those_of_lower_numbers_among_equals() -> None:
    assert proposals.best({0: 0.5, 3: 0.7, 1: 0.7}, 1, 2) == [1, 3]
    assert proposals.best({0: 0.5, 3: 0.7, 1: 0.7}, -1, 1) == [0]
