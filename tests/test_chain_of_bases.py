"""Three tasks through real `dvc repro`, each on the model of the run before it, traced in both directions.

Classes, then numbers on their teacher, then words on the student of the numbers.
"""

import csv
import json
import re
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from baton import params, storage
from tests import tiny, tiny_tokens
from tests.test_pipeline import BATON, ROOT, Project, copy_code, nodes, small, write_docstrings

pytestmark = [pytest.mark.slow, pytest.mark.alone]
UNTIL = "distill"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("chain") / "project"
    copy_code(folder)
    write_docstrings(folder / "inbox/classes.csv")
    with (folder / "inbox/classes.csv").open(encoding="utf-8", newline="") as file:
        texts = [text for text, _ in list(csv.reader(file))[1:]]
    with (folder / "inbox/numbers.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "score"), *((text, len(text.split())) for text in texts)])
    lines: list[str] = []
    for text, tags in tiny_tokens.rows(120, 0, 30):
        tagged = zip(text.split(), tags, strict=True)
        lines += [*(f"{word} X X {tiny_tokens.TASK.tags[tag]}" for word, tag in tagged), ""]
    (folder / "inbox/words.conll").write_text("\n".join(lines))
    tiny.write_base(folder / "inbox/base", layers=3)
    made = Project(folder)
    assert made.run("git", "init").returncode == 0
    use(made, "csv", "classes.csv", {"kind": "local", "folder": "inbox/base", "licence": "none"})
    yield made
    shutil.rmtree(folder)


def use(project: Project, recipe: str, file: str, base: dict[str, Any]) -> None:
    """Make a recipe the active one, on a file of the inbox and a base, and commit it."""
    raw = params.read_raw(ROOT / f"recipes/{recipe}.yaml")
    small(raw)
    raw["source"]["files"], raw["base"] = {"train": f"inbox/{file}"}, base
    raw["tracking"]["experiment"] = "chain"
    raw["distill"]["student"]["layers"] = [0, 2] if recipe == "csv" else [0, 1]
    storage.write_json(project.folder / "params.yaml", raw)  # JSON is YAML
    for command in ("add .", "-c user.name=t -c user.email=t@example.org commit -m x"):
        assert project.run("git", *command.split()).returncode == 0


def traced(project: Project, asked: str) -> dict[str, Any]:
    done = project.run(*BATON, "trace", asked, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def trained(project: Project, model: str) -> dict[str, Any]:
    """Run the pipeline; return the base that a model of it is, with its digest as the refusal says it."""
    project.dvc("repro", UNTIL)
    stage = {"teacher": "finetune", "student": "distill"}[model]
    (own,) = [
        node["facts"]
        for node in nodes(traced(project, f"models/{model}")["made_of"], "stage")
        if node["name"] == stage
    ]
    base = {"kind": "run", "run": own["run"], "model": model, "sha256": "", "licence": "none"}
    text = (project.folder / "params.yaml").read_text()
    project.edit(lambda raw: raw.update(base=base))
    refused = project.run("sh", "stages/run", "download")
    assert refused.returncode == 1 and "no pinned sha256" in refused.stderr
    (project.folder / "params.yaml").write_text(text)
    digest = re.search(r"in\s+params\.yaml\s+to:\s+([0-9a-f]{64})", refused.stderr)
    assert digest and digest[1] == storage.sha256_tree(project.folder / "models" / model)
    return base | {"sha256": digest[1]}


def test_a_chain_of_three_tasks_is_trained_and_traced(project: Project) -> None:
    teacher = trained(project, "teacher")
    use(project, "numbers-csv", "numbers.csv", teacher)
    student = trained(project, "student")
    assert storage.read_json(project.folder / "models/teacher/baton.json")["task"]["kind"] == "numbers"
    use(project, "tokens-conll", "words.conll", student)
    project.dvc("repro", UNTIL)
    assert storage.read_json(project.folder / "models/teacher/baton.json")["task"]["kind"] == "tokens"
    config = storage.read_json(project.folder / "models/teacher/config.json")
    assert config["num_hidden_layers"] == 2, "that of the student, not of its teacher"

    found = traced(project, "models/student")
    named = [f"runs:/{student['run']}, student", f"runs:/{teacher['run']}, teacher"]
    assert [node["name"] for node in found["ancestors"]] == named
    assert found["breaks"] == []
    origins = {file["facts"]["origin"] for node in found["ancestors"] for file in nodes(node, "file")}
    assert {"inbox/numbers.csv", "inbox/classes.csv"} <= origins
    back = traced(project, teacher["run"])
    runs = [node["facts"]["id"] for node in back["descendants"]]
    assert student["run"] in runs and len(runs) == 4  # finetune and distill of the two later tasks
    assert runs.index(student["run"]) < 2
    shown = project.run(*BATON, "trace", "models/student").stdout
    assert "base models that were trained, nearest first" in shown and named[1] in shown


def test_the_rows_of_the_whole_chain_count_as_seen(project: Project) -> None:
    """After the test above: what `baton register` notes for the gate."""
    done = project.run(*BATON, "register")
    assert done.returncode == 0, done.stdout + done.stderr
    (kept,) = (project.folder / "mlartifacts").rglob("training_rows.json")
    clean = project.folder / "data/clean"
    from baton.lifecycle import test_table

    own = set(test_table.training_digests(clean))
    assert own < set(storage.read_json(kept)) and len(storage.read_json(kept)) > len(own) + 200
