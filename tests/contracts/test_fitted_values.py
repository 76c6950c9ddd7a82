"""Fitted values of every version's baton.json are read alike."""

import pytest

from baton.contracts import fitted_values


def test_values_are_read_as_written_and_an_earlier_temperature_is_one() -> None:
    assert fitted_values.read({"fitted": {"quantiles": [0.5]}, "temperature": 3.0}) == {"quantiles": [0.5]}
    assert fitted_values.read({"labels": ["a"], "temperature": 1.25}) == {"temperature": 1.25}
    with pytest.raises(KeyError):
        fitted_values.read({"labels": ["a"]})
