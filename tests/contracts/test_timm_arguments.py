"""Test which of timm's arguments describe an architecture."""

import inspect

import timm

from baton.contracts import timm_arguments


def test_foreign_arguments_are_those_that_timm_gives_no_architecture() -> None:
    """All that `timm.create_model` names itself, and one that its constructors take from the rest."""
    own = inspect.signature(timm.create_model).parameters
    named = {name for name, parameter in own.items() if parameter.kind != parameter.VAR_KEYWORD}
    assert named - {"model_name"} | {"features_only"} == timm_arguments.FOREIGN


def test_what_other_params_set_is_named() -> None:
    arguments = ["depth", "drop_rate", "attn_drop_rate", "num_classes", "scriptable", "img_size", "dropout"]
    found = timm_arguments.set_elsewhere(arguments)
    assert found == ["attn_drop_rate", "drop_rate", "num_classes", "scriptable"]
    assert timm_arguments.set_elsewhere(["img_size", "depth"], "img_size") == ["img_size"]
