"""Params that make no sense for texts as targets are refused, each with its path and what to set instead."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from baton import params
from baton.errors import ParamsError

RECIPES = Path(__file__).parent.parent / "recipes"
SEQUENCE = params.read_raw(RECIPES / "sequence-csv.yaml")
CLASSES = params.read_raw(RECIPES / "csv.yaml")
WINDOWS = {"kind": "windows", "most": 2, "overlap": 0}
MAJORITY = {"kind": "majority"}
LINEAR = {"kind": "linear", "pooling": "mean", "dropout": 0.0}


def problem(path: Path, raw: dict[str, Any], change: Callable[[dict[str, Any]], object]) -> str:
    own = copy.deepcopy(raw)
    change(own)
    YAML(typ="safe", pure=True).dump(own, path / "params.yaml")
    with pytest.raises(ParamsError) as caught:
        params.read(path / "params.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda raw: raw["finetune"].update(class_weights="balanced"),
            "finetune.class_weights is balanced, but task.kind is sequence: set it to none",
        ),
        (
            lambda raw: raw["distill"].update(class_weights="balanced"),
            "distill.class_weights is balanced, but task.kind is sequence",
        ),
        (
            lambda raw: raw["finetune"].update(head=LINEAR),
            "finetune.head.kind is linear, but task.kind is sequence: set finetune.head.kind to decoder",
        ),
        (
            lambda raw: raw["finetune"].update(strategy={"kind": "probe"}),
            "strategy probe makes a linear head",
        ),
        (
            lambda raw: raw["distill"].update(student={"kind": "teacher_layers", "layers": [0]}),
            "but task.kind is sequence: set distill.student.kind to encoder_decoder_layers",
        ),
        (lambda raw: raw["distill"].update(temperature=2.0), "distill.temperature: the student learns the"),
        (
            lambda raw: raw["runtime"].update(packing=True),
            "runtime.packing is true, but task.kind is sequence: set it to auto or false",
        ),
        (
            lambda raw: raw["runtime"].update(sharding="full"),
            "runtime.sharding is full, but task.kind is sequence: set it to none",
        ),
        (
            lambda raw: raw["promotion"].update(max_calibration_error=0.1),
            "promotion.max_calibration_error is 0.1, but task.kind is sequence",
        ),
        (
            lambda raw: raw["promotion"].update(class_floor={"recall": 0.3, "rows": 30, "loss": 0.05}),
            "promotion.class_floor is set, but task.kind is sequence: set it to null",
        ),
        (
            lambda raw: raw["evaluate"]["baselines"].append(MAJORITY),
            "evaluate.baselines.2.kind is majority, but task.kind is sequence: remove it, or set evaluate",
        ),
        (lambda raw: raw["tokenize"].update(truncation=WINDOWS), "tokenize.truncation.kind: windows are"),
        (
            lambda raw: raw["preprocess"].update(label_names={"a": "b"}),
            "preprocess.label_names is set, but task.kind is sequence",
        ),
        (lambda raw: raw["preprocess"].update(keep_columns=["target"]), "keep_columns: target is already"),
        (
            lambda raw: raw["preprocess"].update(text_pair_column="other"),
            "preprocess.text_pair_column is other, but task.kind is sequence: set it to null",
        ),
        (lambda raw: raw["finetune"].update(metric="accuracy"), "set it to one of loss, chrf"),
        (lambda raw: raw["promotion"].update(metric="bleu"), "set it to one of chrf"),
        (lambda raw: raw["task"].update(target_length=3), "task.target_length: input should be greater"),
        (lambda raw: raw["base"].update(width=100), "base: width 100 must be a multiple of 2 * heads"),
        (
            lambda raw: raw["distill"]["student"].update(decoder_layers=[]),
            "distill.student.decoder_layers: [] must name",
        ),
    ],
)
def test_settings_of_other_tasks_are_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    assert message in problem(tmp_path, SEQUENCE, change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda raw: raw["finetune"].update(head={"kind": "decoder"}, strategy={"kind": "full"}),
            "finetune.head.kind is decoder, but task.kind is classes",
        ),
        (
            lambda raw: raw["distill"].update(student=SEQUENCE["distill"]["student"]),
            "distill.student.kind is encoder_decoder_layers, but task.kind is classes",
        ),
        (
            lambda raw: raw.update(base=SEQUENCE["base"]),
            "base.kind is encoder_decoder, but task.kind is classes",
        ),
        (
            lambda raw: raw["evaluate"]["baselines"].append({"kind": "copy"}),
            "evaluate.baselines.3.kind is copy, but task.kind is classes: remove it",
        ),
    ],
)
def test_settings_of_texts_are_refused_elsewhere(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    assert message in problem(tmp_path, CLASSES, change)


def test_a_live_teacher_may_have_a_temperature(tmp_path: Path) -> None:
    raw = copy.deepcopy(SEQUENCE)
    raw["distill"].update(teacher="live", temperature=2.0)
    YAML(typ="safe", pure=True).dump(raw, tmp_path / "params.yaml")
    assert params.read(tmp_path / "params.yaml").distill.temperature == 2
