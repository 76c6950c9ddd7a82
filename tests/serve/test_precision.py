"""A served model in bf16: near to fp32, and fp32 where an encoder cannot be computed in bf16."""

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from baton.serve import packed_linear, precision
from baton.tracking import served_inputs
from tests.serve import files, test_pyfunc, test_pyfunc_image

pytestmark = pytest.mark.usefixtures("quiet_mlflow")
CPU = torch.device("cpu")


def text_model(folder: Path, config: dict[str, Any] | None) -> Any:
    from baton.serve import pyfunc

    model = pyfunc.TextClassifier()
    model.load_context(SimpleNamespace(artifacts={"model": str(folder)}, model_config=config))
    return model


def test_texts_in_bf16_are_near_to_fp32(tmp_path: Path) -> None:
    folder = test_pyfunc.write_model(tmp_path / "one", seed=1)
    models = {name: text_model(folder, {"precision": name}) for name in ("fp32", "bf16")}
    assert {name: own.precision for name, own in models.items()} == {"fp32": "fp32", "bf16": "bf16"}
    packed = [type(layer) for layer in models["bf16"].encoder.backbone.modules()]
    assert packed.count(packed_linear.PackedLinear) == 12 and nn.Linear not in packed
    answers = {name: own.predict(test_pyfunc.TEXTS) for name, own in models.items()}
    probabilities = {name: test_pyfunc.probabilities(own) for name, own in answers.items()}
    np.testing.assert_allclose(probabilities["bf16"], probabilities["fp32"], atol=0.2)
    assert np.abs(probabilities["bf16"] - probabilities["fp32"]).mean() < 0.02
    assert not np.array_equal(probabilities["bf16"], probabilities["fp32"])  # or it did not compute in bf16


def test_a_model_without_the_setting_keeps_its_bits(tmp_path: Path) -> None:
    folder = test_pyfunc.write_model(tmp_path / "one", seed=1)
    earlier, now = text_model(folder, None), text_model(folder, {"precision": "fp32"})
    assert earlier.precision == "fp32"
    assert earlier.predict(test_pyfunc.TEXTS).equals(now.predict(test_pyfunc.TEXTS))


def test_images_in_bf16_are_near_to_fp32(tmp_path: Path) -> None:
    folder = test_pyfunc_image.write_model(tmp_path / "one", seed=1)
    pictures = [*files.kinds().values()][:8]
    answers = {
        name: test_pyfunc_image.opened(folder, {"precision": name}).predict(pictures)
        for name in ("fp32", "bf16")
    }
    both = [own.drop(columns="label").to_numpy() for own in answers.values()]
    np.testing.assert_allclose(*both, atol=0.1)
    assert not np.array_equal(*both)


def test_an_unknown_precision_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="precision 'int4'"):
        precision.split({"precision": "int4"})
    assert precision.split({"max_rows": 5}) == ({"max_rows": 5}, "fp32")


class Mixed(nn.Module):
    """An encoder with a product in 32 bits."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.outer(self.inner(values).float() @ torch.eye(4).to(torch.float64).float())


class NotFinite(nn.Linear):
    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return super().forward(values) / 0


@pytest.mark.parametrize(
    ("encoder", "expected"), [(nn.Linear(4, 2), "bf16"), (Mixed(), "fp32"), (NotFinite(4, 2), "fp32")]
)
def test_an_encoder_that_cannot_stays_in_fp32(
    encoder: nn.Module, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed_linear, "usable", lambda: False)
    before = copy.deepcopy(encoder.state_dict())
    trial = lambda own: own(torch.zeros(1, 4, dtype=torch.bfloat16))  # noqa: E731
    found, used = precision.prepared(lambda dtype: copy.deepcopy(encoder), "bf16", CPU, trial)
    assert used == expected
    assert {own.dtype for own in found.parameters()} == {precision.dtype(used)}
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


@pytest.mark.parametrize("shape", [(3, 8), (2, 3, 8), (1, 8)])
@pytest.mark.parametrize("gelu", [False, True])
def test_a_packed_layer_computes_what_torch_does(shape: tuple[int, ...], gelu: bool) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(8, 5).to(torch.bfloat16).requires_grad_(False)
    values = torch.randn(shape).to(torch.bfloat16)
    expected = layer(values.transpose(0, -2) if len(shape) == 3 else values).float()
    expected = nn.functional.gelu(expected) if gelu else expected
    packed = packed_linear.PackedLinear(layer, gelu)
    found = packed(values.transpose(0, -2) if len(shape) == 3 else values)
    assert found.dtype == torch.bfloat16 and packed.weight.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, atol=0.02, rtol=0.01)


def test_logged_models_have_the_setting_where_it_is_read() -> None:
    text = {"kind": "text", "max_length": 16, "truncation": {"kind": "head"}, "pad": 0, "pair": False}
    classes = {"task": {"kind": "classes", "names": ["a", "b"]}, "input": text}
    assert served_inputs.settings(classes, {})["precision"] == "fp32"
