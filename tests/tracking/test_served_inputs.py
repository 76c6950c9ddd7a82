"""How a logged model is served follows from its input, also as earlier versions described it."""

from typing import Any

import pytest

from baton.contracts import input_spec
from baton.contracts.input_spec import Head, TextInput, Windows
from baton.tracking import environment, served_inputs
from tests import tiny
from tests.tracking.reading import ROOT

TEXT = {"kind": "text", "max_length": 16}


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({"labels": ["a", "b"], "max_length": 16}, TextInput(16, Head(), 0)),
        ({"input": TEXT}, TextInput(16, Head(), 0)),
        ({"input": TEXT | {"pad": 1}}, TextInput(16, Head(), 1)),
        (
            {"input": TEXT | {"pad": 1, "truncation": {"kind": "windows", "most": 3, "overlap": 2}}},
            TextInput(16, Windows(3, 2), 1),
        ),
        ({"input": input_spec.described(tiny.image_input(16, 3))}, tiny.image_input(16, 3)),
    ],
)
def test_journals_of_earlier_versions_are_read(info: dict[str, Any], expected: input_spec.InputSpec) -> None:
    assert served_inputs.read(info) == expected


@pytest.mark.parametrize("reads", [tiny.TEXT_INPUT, tiny.image_input()], ids=["text", "images"])
def test_its_file_and_its_packages_exist(reads: input_spec.InputSpec) -> None:
    how = served_inputs.of(reads)
    assert (ROOT / "src/baton" / how.main).is_file()
    pins = environment.read_requirements([ROOT / "requirements.lock"], how.packages)
    assert [pin.partition("==")[0].replace("_", "-") for pin in pins] == list(how.packages)
