"""`baton …`: recipes are listed and activated, edits are never lost, errors have no traceback."""

import csv
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from baton import params, tracking
from baton.cli import app
from baton.errors import ParamsError

ROOT = Path(__file__).parent.parent


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a committed project that is the working directory."""
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    git(tmp_path, "init", "--quiet")
    commit(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, stdout=subprocess.DEVNULL)


def commit(folder: Path) -> None:
    git(folder, "add", ".")
    git(folder, "commit", "--message", "x")


def baton(*arguments: str) -> Result:
    return CliRunner().invoke(app.app, arguments)


def test_recipes_lists_every_recipe_with_its_line(project: Path) -> None:
    shutil.copy(project / "recipes/csv.yaml", project / "params.yaml")
    result = baton("recipes")
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert {path.stem for path in (project / "recipes").iterdir()} <= {
        line.split()[0] for line in lines if line and line[0] != " "
    }
    assert [line.split()[0] for line in lines if "(active)" in line] == ["csv"]
    assert "Your own inbox/data.csv" in " ".join(result.output.split())


@pytest.mark.parametrize("command", [[], ["recipes"], ["use"], ["summary"], ["sync"]])
def test_help_everywhere(command: list[str]) -> None:
    result = baton(*command, "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.output


def test_use_activates(project: Path) -> None:
    result = baton("use", "quick")
    assert result.exit_code == 0, result.output
    assert (project / "params.yaml").read_bytes() == (project / "recipes/quick.yaml").read_bytes()
    assert "params.yaml is now quick" in result.output
    assert baton("use", "csv").exit_code == 0  # not committed, but equal to a recipe: nothing is lost
    assert (project / "params.yaml").read_bytes() == (project / "recipes/csv.yaml").read_bytes()


def test_use_works_in_a_subfolder(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project / "recipes")
    assert baton("use", "quick").exit_code == 0
    assert (project / "params.yaml").read_bytes() == (project / "recipes/quick.yaml").read_bytes()


def test_use_keeps_edits_that_are_not_committed(project: Path) -> None:
    edited = (project / "params.yaml").read_text().replace("epochs: 2", "epochs: 7")
    (project / "params.yaml").write_text(edited)
    result = baton("use", "quick")
    assert result.exit_code == 1
    assert (project / "params.yaml").read_text() == edited
    commit(project)
    assert baton("use", "quick").exit_code == 0  # git has them now


def test_use_force_overwrites(project: Path) -> None:
    (project / "params.yaml").write_text("mine: 1\n")
    assert baton("use", "quick", "--force").exit_code == 0
    assert (project / "params.yaml").read_bytes() == (project / "recipes/quick.yaml").read_bytes()


def test_use_without_git_keeps_edits(project: Path) -> None:
    shutil.rmtree(project / ".git")
    (project / "params.yaml").write_text("mine: 1\n")
    assert baton("use", "quick").exit_code == 1
    assert (project / "params.yaml").read_text() == "mine: 1\n"


def test_use_without_params_writes_them(project: Path) -> None:
    (project / "params.yaml").unlink()
    assert baton("use", "quick").exit_code == 0
    assert (project / "params.yaml").is_file()


def test_use_refuses_a_broken_recipe(project: Path) -> None:
    before = (project / "params.yaml").read_bytes()
    (project / "recipes/broken.yaml").write_text("description: x\n")
    assert baton("use", "broken").exit_code == 1
    assert (project / "params.yaml").read_bytes() == before


# ---- task: {kind: auto} ------------------------------------------------------------------------------------


def auto(project: Path, recipe: str, rows: list[tuple[str, str]]) -> Result:
    """Activate a recipe whose task is `auto`, on such texts and labels."""
    (project / "inbox").mkdir(exist_ok=True)
    lines = [f"{text},{label}" for text, label in [("text", "label"), *rows]]
    (project / "inbox/data.csv").write_text("\n".join(lines) + "\n")
    content = (project / f"recipes/{recipe}.yaml").read_text()
    own = re.sub(r"^task:.*?\n(?=\S|\n)", "task: {kind: auto}\n", content, flags=re.MULTILINE | re.DOTALL)
    assert own != content
    (project / "recipes/own.yaml").write_text(own)
    return baton("use", "own", "--force")


def test_auto_freezes_the_kind_and_leaves_the_rest(project: Path) -> None:
    result = auto(project, "csv", [(f"text {n}", "ab"[n % 2]) for n in range(60)])
    assert result.exit_code == 0, result.output
    assert "task: classes, since 'label' has 2 different names in 60 rows" in " ".join(result.output.split())
    given = (project / "recipes/own.yaml").read_text().splitlines()
    written = (project / "params.yaml").read_text().splitlines()
    assert [line for line in written if line not in given] == ["task: {kind: classes}"]
    assert len(written) == len(given)
    assert params.read(project / "params.yaml").task.kind == "classes"


def shown(result: Result) -> str:
    return " ".join(result.output.split())


def differing(project: Path) -> tuple[list[str], list[str]]:
    """Return the lines that only the recipe has, and those that only params.yaml has."""
    given = (project / "recipes/own.yaml").read_text().splitlines()
    written = (project / "params.yaml").read_text().splitlines()
    return [line for line in given if line not in written], [line for line in written if line not in given]


def test_auto_sets_what_only_fits_another_kind(project: Path) -> None:
    result = auto(project, "csv", [(f"text {n}", ["a|b", "b", "c|a", "b|c"][n % 4]) for n in range(60)])
    assert result.exit_code == 0, result.output
    active = params.read(project / "params.yaml")
    assert active.task == params.LabelsTask(kind="labels", separator="|")
    assert (active.finetune.metric, active.distill.metric, active.promotion.metric) == ("micro_f1",) * 3
    _, new = differing(project)
    assert new == [
        "task: {kind: labels, separator: '|'}",
        *["  metric: micro_f1"] * 3,
    ]  # the baselines of classes are those of labels, so they stay as they are
    for line in (
        "write `task: {kind: classes}` if each cell is one name, into recipes/own.yaml",
        "finetune.metric: accuracy -> micro_f1",
        "distill.metric: accuracy -> micro_f1",
        "promotion.metric: accuracy -> micro_f1",
    ):
        assert line in shown(result)


RIDGE = "- {kind: tfidf, model: ridge, min_df: 2, max_ngram: 1, stop_words: english, C: [0.1, 0.3, 1, 3, 10]}"


def test_auto_sets_what_numbers_need_and_says_so(project: Path) -> None:
    result = auto(project, "csv", [(f"text {n}", f"{n / 7:.3f}") for n in range(60)])
    assert result.exit_code == 0, result.output
    assert "task: numbers, since 'label' has 60 different decimal numbers in 60 rows" in shown(result)
    active = params.read(project / "params.yaml")
    assert (active.task.kind, active.finetune.metric, active.promotion.metric) == ("numbers", "mae", "r2")
    assert [baseline.kind for baseline in active.evaluate.baselines] == ["mean", "tfidf"]
    old, new = differing(project)
    for line in new:
        assert "#" not in line, "the comment was about another value"
    lines = {line.strip() for line in new}
    assert lines == {
        "task: {kind: numbers, loss: smooth_l1, coverage: 0.9}",
        "small_class: keep",
        "metric: mae",
        "metric: r2",
        "strategy: {kind: full}",
        "temperature: 1.0",
        "attributions: null",
        "- {kind: mean}",
        RIDGE,
        "class_floor: null",
    }
    assert not [line for line in old if line.strip().startswith("#")]  # comments of their own stay
    for line in (
        "evaluate.baselines: [majority, tfidf svm, tfidf logistic] -> [mean, tfidf ridge]",
        "distill.temperature: 2.0 -> 1.0",
        "promotion.class_floor: set -> null",
        "preprocess.checks.small_class: fail -> keep",
    ):
        assert line in shown(result)
    assert baton("use", "quick").exit_code == 0, "baton wrote params.yaml: nothing of the user's is lost"


def test_auto_keeps_baselines_that_fit(project: Path) -> None:
    content = (project / "recipes/csv.yaml").read_text()
    features = "{kind: features, model: knn, neighbours: 5, C: [1.0]}"
    own = f"  baselines:\n    - {{kind: majority}} # mine\n    - {features}\n"
    changed = re.sub(r"  baselines:\n(    - .*\n)+", own, content)
    assert changed != content
    (project / "recipes/csv.yaml").write_text(changed)
    spans = '"[{""start"": 0, ""end"": 4, ""label"": ""X""}]"'
    result = auto(project, "csv", [(f"text {n}", spans) for n in range(60)])
    assert result.exit_code == 0, result.output
    assert [one.kind for one in params.read(project / "params.yaml").evaluate.baselines] == ["majority"]
    assert "    - {kind: majority} # mine" in (project / "params.yaml").read_text().splitlines()


def test_auto_asks_if_two_kinds_fit(project: Path) -> None:
    before = (project / "params.yaml").read_bytes()
    result = auto(project, "csv", [(f"text {n}", str(n)) for n in range(60)])
    assert result.exit_code == 1
    for line in (
        "write into recipes/own.yaml",
        "- `task: {kind: numbers, loss: smooth_l1, coverage: 0.9}` if they measure or count something",
        "- `task: {kind: classes}` if each is a name",
    ):
        assert line in shown(result)
    assert (project / "params.yaml").read_bytes() == before


def test_errors_of_auto_name_the_users_files(project: Path) -> None:
    result = auto(project, "csv", [])
    assert "inbox/data.csv has no rows" in shown(result)
    content = (project / "recipes/own.yaml").read_text().replace("  epochs: ", "  epochs: two #", 1)
    assert "epochs: two #" in content
    (project / "recipes/own.yaml").write_text(content)
    (project / "inbox/data.csv").write_text("text,label\n" + "one,a\ntwo,b\n" * 30)
    assert "recipes/own.yaml: 1 problem - finetune.epochs" in shown(baton("use", "own"))


def test_auto_needs_no_data_if_the_source_leaves_one_kind(project: Path) -> None:
    result = auto(project, "digits-vit", [])
    assert result.exit_code == 0, result.output
    assert "task: classes, since source.kind digits is for no other kind of task" in shown(result)
    assert differing(project)[1] == ["task: {kind: classes}"]


def test_auto_sets_what_answers_need(project: Path) -> None:
    """Questions about one context stay in one split."""
    path, answer = project / "recipes/csv.yaml", json.dumps([{"text": "a", "answer_start": 0}])
    path.write_text(path.read_text().replace("text_pair_column: null", "text_pair_column: context"))
    result = auto(project, "csv", [])
    with (project / "inbox/data.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "context", "label"])
        writer.writerows((f"what {n}?", f"a context {n}", "[]" if n % 2 else answer) for n in range(60))
    result = baton("use", "own", "--force")
    assert result.exit_code == 0, result.output
    assert "task: spans, since 30 of 60 cells of 'label' hold text and answer_start" in shown(result)
    active = params.read(project / "params.yaml")
    assert (active.finetune.metric, active.promotion.metric) == ("f1", "f1")
    assert active.preprocess.group_column == "context" and active.finetune.strategy.kind == "full"


def test_auto_is_refused_outside_of_recipes(project: Path) -> None:
    content = (project / "params.yaml").read_text().replace("task: {kind: classes}", "task: {kind: auto}")
    (project / "params.yaml").write_text(content)
    with pytest.raises(ParamsError, match=r"task: auto is for recipes.*`baton use NAME`"):
        params.read(project / "params.yaml")


def test_auto_without_data_says_so(project: Path) -> None:
    result = auto(project, "csv", [])
    assert result.exit_code == 1
    assert "has no rows" in result.output
    assert baton("recipes").exit_code == 0


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = "from baton.cli.app import app; app()"
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["use", "quik"], ["there is no recipe quik", "expected: one of", "did you mean quick?"]),
        (["use", "zzz"], ["there is no recipe zzz", "`baton recipes` lists them"]),
        (["use", "../params"], ["there is no recipe ../params"]),
        (["summary"], ["reports/metrics.json", "got:", "expected:", "next:"]),
    ],
)
def test_errors_have_no_traceback(project: Path, arguments: list[str], parts: list[str]) -> None:
    result = run(project, *arguments)
    assert result.returncode == 1
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    for part in parts:
        assert part in result.stderr


def test_sync_tells_what_it_did(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = tracking.SyncReport(
        2, 1, 3, ("distill",), 1234, 5678, ("figure of run x: too large",), ("journal y: [no answer]",)
    )
    monkeypatch.setattr(tracking, "sync", lambda: report)
    result = baton("sync")
    assert result.exit_code == 0
    text = " ".join(result.output.split())
    assert "delivered 1,234 journal entries with 5,678 points" in text
    assert "put DVC's digests on 2 runs, linked 1 skipped stages, ended 3 dead runs" in text
    assert all(
        part in text
        for part in ("figure of run x: too large", "journal y: [no answer]", "made the outputs of distill")
    )


def test_outside_a_project(tmp_path: Path) -> None:
    result = run(tmp_path, "recipes")
    assert result.returncode == 1
    assert "not inside a Baton project" in result.stderr
    assert "Traceback" not in result.stderr


def test_ui_becomes_mlflow_on_the_projects_own_store(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda _, words: started.append(words))
    result = baton("ui", "--port", "5003")
    assert "open http://127.0.0.1:5003/" in result.output
    assert f"sqlite:///{project}/mlflow.db" in started[0] and started[0][-1] == "5003"
    text = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(text.replace("  uri: null", "  uri: https://mlflow.example.org"))
    monkeypatch.setattr(tracking, "sync", lambda: tracking.SyncReport(0, 0, 0, (), 0, 0, (), ()))
    result = baton("ui")
    assert result.exit_code == 1 and len(started) == 1
    assert "open https://mlflow.example.org" in result.output


def test_the_version_is_that_of_the_package_also_outside_a_project(tmp_path: Path) -> None:
    result = run(tmp_path, "--version")
    assert (result.returncode, result.stdout) == (0, f"baton {importlib.metadata.version('baton')}\n")


def test_a_shell_completes_commands_and_recipes(project: Path) -> None:
    def completed(*words: str) -> set[str]:
        variables = {"COMP_WORDS": " ".join(("baton", *words)), "COMP_CWORD": str(len(words))}
        result = subprocess.run(
            [sys.executable, "-c", "from baton.cli.app import app; app(prog_name='baton')"],
            cwd=project,
            env={**os.environ, **variables, "_BATON_COMPLETE": "complete_bash"},
            capture_output=True,
            text=True,
            check=True,
        )
        return set(result.stdout.split())

    assert {"recipes", "compare", "tune"} <= completed("")
    assert completed("use", "reuters-r5") == {"reuters-r52-minilm"}


def test_imports_are_light() -> None:
    heavy = "{'torch', 'mlflow', 'pandas', 'sklearn', 'transformers', 'matplotlib', 'dvc', 'pyarrow'}"
    program = f"import sys, baton.cli.app; print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
