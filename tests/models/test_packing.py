"""`runtime.packing`: the choice in each situation, and its reason."""

from dataclasses import replace
from typing import Any

import pytest

from baton.errors import ModelError
from baton.models.packing import Facts, decided, settled
from tests import tiny

H100 = Facts(capability=(9, 0), precision="bf16", attention="sdpa", unpackable=None, attention_dropout=0.0)


@pytest.mark.parametrize(
    ("wanted", "changes", "packs", "reason"),
    [
        ("auto", {}, True, "no padding is computed"),
        (False, {}, False, "set in params"),
        (True, {}, True, "set in params"),
        ("auto", {"capability": None}, False, "the CPU has no variable-length attention"),
        (True, {"capability": None}, True, "padded for attention only: the CPU"),
        (
            "auto",
            {"capability": (7, 5), "precision": "fp16"},
            False,
            "needs compute capability 8.0, but this GPU has 7.5",
        ),
        ("auto", {"precision": "fp16"}, True, "no padding"),
        ("auto", {"precision": "tf32"}, False, "computes in 16 bits, but precision is tf32"),
        (
            True,
            {"precision": "fp32"},
            True,
            "padded for attention only: FlashAttention-2 computes in 16 bits",
        ),
        ("auto", {"attention": "matmul"}, False, "attention is matmul"),
        ("auto", {"attention_dropout": 0.1}, False, "no dropout of probabilities"),
        (
            True,
            {"attention_dropout": 0.1},
            True,
            "padded for attention only: variable-length attention has no dropout",
        ),
        ("auto", {"unpackable": "mpnet is not one of bert"}, False, "mpnet is not one of bert"),
    ],
)
def test_the_choice_is_a_function_of_facts(
    wanted: Any, changes: dict[str, Any], packs: bool, reason: str
) -> None:
    found, why = decided(wanted, replace(H100, **changes))
    assert found is packs
    assert reason in why


@pytest.mark.parametrize(
    "changes", [{"unpackable": "mpnet is not one of bert"}, {"capability": (7, 0), "precision": "fp16"}]
)
def test_what_cannot_be_is_refused_where_params_ask_for_it(changes: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=r"runtime\.packing") as caught:
        decided(True, replace(H100, **changes))
    assert "set runtime.packing to auto or false" in str(caught.value)


class Able:
    def unpackable(self) -> None:
        return


def test_documents_that_are_mixed_are_padded() -> None:
    auto, wanted = (tiny.machine(packing=packing) for packing in ("auto", True))
    assert settled(auto, Able(), mixes=True) == (False, "mixup mixes the tokens of padded documents")
    with pytest.raises(ModelError, match=r"cannot be packed here[\s\S]*mixup mixes the tokens of padded"):
        settled(wanted, Able(), mixes=True)
    assert settled(wanted, Able())[0], "negative control"
