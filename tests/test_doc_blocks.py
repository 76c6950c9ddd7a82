"""The blocks of commands in README.md and docs/, run as they stand there, in a small project.

Names that a page leaves open are filled in. What a block installs is there already, so `make install` does
nothing; other uses of `make` become the commands of its targets.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests import test_image_pipeline as images
from tests import test_pipeline as texts
from tests.doc_commands import PAGES, blocks
from tests.gate import free_port
from tests.test_pipeline import Project

pytestmark = pytest.mark.slow

# By page and first words: the blocks that this file runs, and why others are not run here.
RUN = [
    ("own_data.md", "cp ~/my/data.csv"),
    ("own_data.md", "cp -r ~/my/pictures"),
    ("comparing.md", "make ui"),
    ("report.md", "baton compare HEAD~1 HEAD"),
    ("estimate.md", "dvc repro tokenize"),
    ("label_errors.md", "baton label-errors"),
    ("labels.md", "baton learning-curve"),
    ("labels.md", "python -c"),
    ("transfer.md", "baton compare --dry-run"),
    ("champion.md", "baton trace models/student"),
    ("export.md", "make install EXTRAS=export"),
    ("export.md", "promotion: {model: export"),
    ("predict.md", "baton predict"),
    ("serving.md", "baton serve models:/NAME@champion --port"),
    ("serving.md", "curl"),
    ("serving.md", "baton serve models:/NAME@champion --dockerfile"),
    ("serving.md", "PATH="),
]
NOT_RUN = {
    ("README.md", "make repro"): "`make repro` in a fresh clone takes 10 minutes and the network: by hand",
    ("README.md", "make install"): "benchmarks/first_minutes.py runs it, with installation",
    ("CONTRIBUTING.md", "make install-dev"): "targets of make, tried one by one in test_makefile.py",
    ("CONTRIBUTING.md", "make test"): "CI",
    ("first_run.md", "make repro"): "as README.md's",
    ("own_project.md", ". ~/baton"): "benchmarks/first_minutes.py: the same commands",
    ("own_project.md", "baton upgrade"): "test_own_project.py: with another version of Baton",
    ("gpu.md", "pip download"): "needs a machine with a GPU",
    ("gpu.md", "python3 -m pip"): "needs a machine with a GPU",
    ("predict.md", "#SBATCH"): "needs SLURM; lifecycle/bulk/test_job.py has --shard",
    ("ray.md", "make install"): "test_ray.py",
    ("spark.md", "make install"): "test_spark.py",
    ("retraining.md", "mkdir"): "test_retrain.py: the same story, with a recipe whose data need no network",
    ("s3.md", "make install"): "needs a bucket; test_s3_retrain.py has a server of its own",
    ("server.md", "make install"): "test_server.py",
    ("server.md", ". .baton/server"): "test_server.py",
    ("tune.md", "make install"): "tune/test_real_stages.py",
    ("tune.md", "export PGUSER"): "needs PostgreSQL; tune/test_real_stages.py has workers that share a file",
}
SECONDS = 900  # for a block
PRELUDE = """
set -e
make() { case "$1" in install) ;; repro) baton repro ;; ui) ui ;; *) exit 1 ;; esac }
ui() { timeout --preserve-status -s INT 40 baton ui --port "$PORT" & await "$PORT"; kill -INT %%; wait; }
await() { for _ in $(seq 120); do (exec 3<> "/dev/tcp/127.0.0.1/$1") 2> /dev/null && return; sleep 0.5; done
  echo "nothing listens on $1"; exit 1; }
"""


def block(page: str, words: str) -> str:
    """Return the only block of a page that begins with these words."""
    path = next(path for path in PAGES if path.name == page)
    (found,) = [text for text in blocks(path) if text.removeprefix(".venv/bin/").startswith(words)]
    return found


def execute(project: Project, page: str, words: str, put: Mapping[str, str] = {}, **own: str) -> str:
    """Run a block in the project with parts replaced, each of which must be there; return its output."""
    assert (page, words) in RUN
    text = re.sub(r"\s+#.*$", "", block(page, words), flags=re.MULTILINE)
    for old, new in put.items():
        assert old in text, f"{page} has no {old!r} in its block any more"
        text = text.replace(old, new)
    path = f"{Path(sys.prefix) / 'bin'}:{os.environ['PATH']}"
    environment = {**project.environment(), "PATH": path, "PORT": str(free_port()), **own}
    done = subprocess.run(
        ["bash", "-c", PRELUDE + text],
        cwd=project.folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{text}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def commit(project: Project, tag: str) -> None:
    who = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    for words in (("add", "--all"), (*who, "commit", "--quiet", "-m", tag), ("tag", tag)):
        result = project.run("git", *words)
        assert result.returncode == 0, result.stderr


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Return the small project of test_pipeline.py, with this environment and two runs, each a commit."""
    made = texts.make_project(tmp_path_factory.mktemp("blocks") / "project")
    (made.folder / ".venv").symlink_to(sys.prefix)
    shutil.copy(texts.ROOT / "strategies.yaml", made.folder)
    shutil.copytree(texts.ROOT / "recipes", made.folder / "recipes")
    made.run("git", "branch", "--move", "main")
    made.edit(lenient)
    made.repro()
    commit(made, "v1")
    made.edit(lambda raw: raw["finetune"].update(learning_rate=2e-3))
    made.repro()
    commit(made, "v2")
    yield made
    shutil.rmtree(made.folder)


def lenient(raw: dict[str, object]) -> None:
    """Ask the gate only for what a tiny model can show."""
    raw["evaluate"]["baselines"] = []
    raw["promotion"] |= {"first_minimum": 0.0, "class_floor": None, "max_calibration_error": None}


def test_compare_runs(project: Project) -> None:
    execute(project, "comparing.md", "make ui")
    said = execute(project, "report.md", "baton compare HEAD~1 HEAD")
    assert "Rows that changed" in said


def test_estimate(project: Project) -> None:
    project.edit(lambda raw: raw["finetune"].update(learning_rate=3e-3))
    assert "Estimate" in execute(project, "estimate.md", "dvc repro tokenize")


def test_labels(project: Project) -> None:
    execute(project, "label_errors.md", "baton label-errors")
    before = project.folder / "params.yaml"
    kept = before.read_text()
    project.edit(lambda raw: raw["preprocess"].update(shots=40))
    project.repro("tokenize")
    execute(project, "labels.md", "baton learning-curve", {"100,400,1000": "10,20"})
    listed = project.folder / "inbox/to_label.csv"
    listed.write_text(listed.read_text().replace(",,", ",email,"))
    execute(project, "labels.md", "python -c")
    assert not listed.exists()
    before.write_text(kept)


def test_strategies(project: Project) -> None:
    put = {
        "baton compare\n": "baton compare --dry-run\n",
        "full,lora,probe --labels 16,all --seeds 0,1,2": "full,probe --labels 8 --seeds 0,1",
    }
    said = execute(project, "transfer.md", "baton compare --dry-run", put)
    assert "experiments" in said


def test_champion(project: Project) -> None:
    project.repro()
    named = {"NAME@": "csv@", "baton promote\n": "baton promote || [ $? = 3 ]\n", "--to 3": "--to 1"}
    served = 'baton serve models:/csv@champion --port "$PORT" & await "$PORT"; kill %1; wait'
    serve = {"baton serve models:/csv@champion": served}
    execute(project, "champion.md", "baton trace models/student", named | serve)
    execute(project, "export.md", "make install EXTRAS=export")
    put = {"promotion: {model: export, …}": ":", **named, **serve}
    execute(
        project, "export.md", "promotion: {model: export", {key: put[key] for key in put if key != "--to 3"}
    )


def test_prediction(project: Project) -> None:
    shutil.copy(project.folder / "inbox/data.csv", project.folder / "rows.csv")
    execute(project, "predict.md", "baton predict", {"NAME@": "csv@"})
    assert (project.folder / "scores.csv").read_text().count("\n") > 100


def test_serving(project: Project) -> None:
    port = str(free_port())
    asked = block("serving.md", "curl").replace(":5000/", f":{port}/")
    for words, given in (
        ("baton serve models:/NAME@champion --port", "--port 5000"),
        ("PATH=", "-p 5000 --env-manager local"),
    ):
        served = f"{given.replace('5000', port)} & await {port}\n{asked}\nkill %1; wait"
        assert '"predictions"' in execute(project, "serving.md", words, {"NAME@": "csv@", given: served})
    put = {"NAME@": "csv@", "FOLDER": "image"}
    execute(project, "serving.md", "baton serve models:/NAME@champion --dockerfile", put)
    assert (project.folder / "image/Dockerfile").is_file()


def write_editor(folder: Path, module: str) -> str:
    """Write a program that edits params.yaml as `small` of a test module does; return its command."""
    path = folder / "editor.py"
    path.write_text(
        "import sys\n"
        f"sys.path[:0] = [{str(texts.ROOT)!r}]\n"
        "from ruamel.yaml import YAML\n"
        f"from tests import {module}\n"
        "yaml = YAML(typ='safe', pure=True)\n"
        "raw = yaml.load(open(sys.argv[1]))\n"
        f"{module}.small(raw)\n"
        "yaml.dump(raw, open(sys.argv[1], 'w'))\n"
    )
    return f"{sys.executable} {path}"


def test_first_steps_with_ones_own_pictures(tmp_path: Path) -> None:
    made = images.make_project(tmp_path / "project")
    (made.folder / ".venv").symlink_to(sys.prefix)
    shutil.copytree(texts.ROOT / "recipes", made.folder / "recipes")
    shutil.move(made.folder / "inbox/images", tmp_path / "my/pictures")
    editor = write_editor(tmp_path, "test_image_pipeline")
    put = {"baton use image-folder": "baton use image-folder --force"}
    said = execute(made, "own_data.md", "cp -r ~/my/pictures", put, HOME=str(tmp_path), EDITOR=editor)
    assert "Next:" in said


def test_first_steps_with_ones_own_table(project: Project, tmp_path: Path) -> None:
    """The last one: its baselines would be in the way of test_champion's, on the same test rows."""
    table = tmp_path / "my/data.csv"
    table.parent.mkdir()
    shutil.copy(project.folder / "inbox/data.csv", table)
    editor = write_editor(tmp_path, "test_pipeline")
    put = {"baton use csv": "baton use csv --force"}
    said = execute(project, "own_data.md", "cp ~/my/data.csv", put, HOME=str(tmp_path), EDITOR=editor)
    assert "Next:" in said and "report.html" in said
