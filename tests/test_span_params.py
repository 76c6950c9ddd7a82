"""What params may not ask for where answers are found in contexts, or only there."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.test_token_params import problems


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (
            lambda raw: raw["preprocess"].update(text_pair_column=None),
            "preprocess.text_pair_column is null, but task.kind is spans: set it to the column of contexts",
        ),
        (
            lambda raw: raw["preprocess"].update(group_column=None),
            "preprocess.group_column is null, but task.kind is spans: questions about one context must not",
        ),
        (lambda raw: raw["preprocess"].update(keep_columns=["answers"]), "answers is already a column"),
        (lambda raw: raw["preprocess"].update(label_names={"a": "b"}), "preprocess.label_names is set"),
        (lambda raw: raw["finetune"].update(label_smoothing=0.1), "finetune.label_smoothing is 0.1"),
        (lambda raw: raw["distill"].update(class_weights="balanced"), "distill.class_weights is balanced"),
        (lambda raw: raw["finetune"]["head"].update(pooling="pooler"), "finetune.head.pooling is pooler"),
        (lambda raw: raw["promotion"].update(metric="accuracy"), "set it to one of f1, exact_match"),
        (lambda raw: raw["task"].update(max_answer_words=0), "task.max_answer_words"),
        (
            lambda raw: raw.update(task={"kind": "classes"}),
            "preprocess.format.kind is squad, but task.kind is classes",
        ),
    ],
)
def test_what_answers_do_not_have(
    tmp_path: Any, edit: Callable[[dict[str, Any]], object], problem: str
) -> None:
    assert problem in problems(tmp_path, "spans-squad", edit)
