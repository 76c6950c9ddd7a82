"""The file of strategies: what is read, and what is refused."""

from pathlib import Path

import pytest

from baton import params
from baton.compare import strategies
from baton.errors import ParamsError
from baton.params import editing

ROOT = Path(__file__).parents[2]


def written(folder: Path, text: str) -> Path:
    path = folder / "strategies.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_what_ships() -> None:
    found = strategies.read(ROOT / "strategies.yaml")
    names = "full head top gradual lora probe prototypes pairs auto"
    assert [own.name for own in found.all] == names.split()
    assert (found.stage, found.unit, found.stages) == ("finetune", "labels per class", ("finetune",))
    assert found.all[0].changes == {"finetune.strategy": {"kind": "full"}}
    assert [own.name for own in found.named(["probe", "full"]).all] == ["probe", "full"]


def test_what_ships_is_valid() -> None:
    raw = params.read_raw(ROOT / "params.yaml")
    for own in strategies.read(ROOT / "strategies.yaml").all:
        params.checked(editing.replaced(raw, own.changes), Path(own.name))


def test_values_by_section_and_by_dotted_key(tmp_path: Path) -> None:
    text = """
        stage: distill
        labels: preprocess.limit.train
        strategies:
          a:
            finetune: {learning_rate: 1e-5, head: {kind: linear, pooling: cls, dropout: 0.0}}
            finetune.dropout: 0.1
            base: {kind: local, folder: inbox/base, licence: none}
        """
    found = strategies.read(written(tmp_path, text))
    assert (found.unit, found.stages) == ("rows of train", ("finetune", "distill"))
    assert found.all[0].changes == {
        "finetune.learning_rate": 1e-5,
        "finetune.head": {"kind": "linear", "pooling": "cls", "dropout": 0.0},
        "finetune.dropout": 0.1,
        "base": {"kind": "local", "folder": "inbox/base", "licence": "none"},
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stage: evaluate\nlabels: preprocess.shots\nstrategies: {a: {}}", "stage: input should be"),
        ("stage: finetune\nlabels: preprocess.seed\nstrategies: {a: {}}", "labels: input should be"),
        ("stage: finetune\nlabels: preprocess.shots\nstrategy: {a: {}}", "strategy: unknown key"),
        ("stage: finetune\nlabels: preprocess.shots\nstrategies: {A b: {}}", "got:      'A b'"),
        ("stage: finetune\nlabels: preprocess.shots\nstrategies: {a: 3}", "strategies.a: input should be"),
        ("[1", "is not valid YAML"),
    ],
)
def test_problems_are_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ParamsError) as error:
        strategies.read(written(tmp_path, text))
    assert said in str(error.value) and "strategies.yaml" in str(error.value)


def test_a_missing_file_and_a_missing_strategy(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"nothing\.yaml is missing"):
        strategies.read(tmp_path / "nothing.yaml")
    with pytest.raises(ParamsError, match="did you mean lora"):
        strategies.read(ROOT / "strategies.yaml").named(["loro"])
