"""A served model reads long texts as in training: the same truncation, windows and mean over them."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from baton import params
from baton.contracts import input_spec
from baton.models import model_folder
from baton.texts import document_windows
from tests import tiny

pytestmark = pytest.mark.usefixtures("quiet_mlflow")

WINDOWS = {"kind": "windows", "most": 3, "overlap": 2}
RULES_OF_MODELS: list[dict[str, Any]] = [
    {"kind": "head"},
    {"kind": "tail"},
    {"kind": "head_tail", "head": 0.3},
    WINDOWS,
    {"kind": "windows", "most": 100, "overlap": 0},
]
WORDS = [word for texts in tiny.TEXTS.values() for one in texts for word in one.split()]
TEXTS = [
    "",
    "wheat",
    *(" ".join(np.random.default_rng(size).choice(WORDS, size)) for size in (5, 14, 15, 20, 28, 40, 80)),
]


def write_model(folder: Path, pooling: str, rule: dict[str, Any]) -> Path:
    head = params.LinearHead(kind="linear", pooling=pooling, dropout=0.0)  # type: ignore[arg-type]
    base, labels = tiny.write_base(folder / "base"), sorted(tiny.TEXTS)
    with_habits(base / "tokenizer.json")
    read = replace(tiny.TEXT_INPUT, truncation=input_spec.truncation(rule))
    torch.manual_seed(1)
    model = model_folder.create(base, head, len(labels), tiny.training(), "matmul", read)
    for parameter in (*model.backbone.embeddings.parameters(), *model.head.parameters()):
        torch.nn.init.normal_(parameter, std=1.0)
    model_folder.save(model, model_folder.ModelInfo(tiny.task(*labels), head, read), base, folder / "model")
    return folder / "model"


def with_habits(path: Path) -> None:
    """Make a tokenizer pad and truncate, like those of sentence transformers and unlike `tokenize`."""
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.enable_padding(length=24)
    tokenizer.enable_truncation(12)
    tokenizer.save(str(path))


def expected(folder: Path) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return probabilities (texts, classes) by the definition.

    Each window passes through the encoder alone; then the mean over all tokens or windows is taken.
    """
    model, info = model_folder.load(folder, "matmul")
    with document_windows.untruncated(
        tokenizer := document_windows.open_tokenizer(folder, info.input.max_length)
    ) as frame:
        read = [
            frame.read(tokenizer.encode(one, add_special_tokens=False).ids, info.input.truncation)[0]
            for one in TEXTS
        ]
    rows = []
    with torch.no_grad():
        for windows in read:
            states = [model.backbone(input_ids=torch.tensor([window])) for window in windows]
            match info.head.pooling:
                case "mean":
                    pooled = torch.cat([state.last_hidden_state[0] for state in states]).mean(0)
                case "cls":
                    pooled = torch.stack([state.last_hidden_state[0, 0] for state in states]).mean(0)
                case _:
                    pooled = torch.stack([state.pooler_output[0] for state in states]).mean(0)
            rows.append(model.head(pooled).double().softmax(-1).numpy())
    assert len({len(windows) for windows in read}) > (
        2 if isinstance(info.input.truncation, input_spec.Windows) else 0
    )
    return np.stack(rows)


@pytest.mark.parametrize("rule", RULES_OF_MODELS, ids=str)
def test_probabilities_are_those_of_the_definition(tmp_path: Path, rule: dict[str, Any]) -> None:
    from baton.serve.pyfunc import TextClassifier

    for pooling in ("mean", "cls", "pooler"):
        folder = write_model(tmp_path / pooling, pooling, rule)
        served = TextClassifier()
        served.load_context(
            SimpleNamespace(artifacts={"model": str(folder)}, model_config={"accept_empty": True})
        )
        wanted = expected(folder)
        for size in (1, 2, 100):  # windows at a time
            found = served.predict(TEXTS, {"batch_size": size}).drop(columns="label").to_numpy()
            np.testing.assert_allclose(found, wanted, atol=1e-6)
        alone = np.stack([served.predict([one]).drop(columns="label").to_numpy()[0] for one in TEXTS])
        np.testing.assert_allclose(alone, wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"kind": "head"}, "Reads at most 16 tokens."),
        ({"kind": "tail"}, "Reads at most 16 tokens, of a longer text the last ones."),
        (
            {"kind": "head_tail", "head": 0.25},
            "Reads at most 16 tokens, of a longer text the first 25% of them and the last ones.",
        ),
        (WINDOWS, "Reads at most 3 windows of 16 tokens."),
    ],
)
def test_the_models_page_says_what_is_read(rule: dict[str, Any], said: str) -> None:
    from baton.tracking import logged_models

    info = {
        "labels": ["grain", "ship"],
        "input": input_spec.described(tiny.TEXT_INPUT) | {"truncation": rule},
        "temperature": 1.0,
    }
    store: Any = SimpleNamespace(client=SimpleNamespace(tracking_uri="sqlite://"))
    assert said in logged_models.describe(store, "m-1", info)
