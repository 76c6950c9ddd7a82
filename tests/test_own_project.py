"""`baton new`, `baton upgrade`: a project that runs the installed package, and reruns what changed in it."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from baton import params, resources
from baton.cli import app, new_project, project_code, table_guess
from baton.errors import DataError, ParamsError

ROOT = Path(__file__).parent.parent
FETCHED = os.environ.get("BATON_FETCHED") or str(ROOT / ".baton/fetched")
STAGES = ["download", "preprocess", "tokenize", "finetune", "distill", "evaluate", "export"]


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BATON_FETCHED", str(tmp_path / "fetched"))


def baton(*words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app.app, [*words], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a new project, which no test may change."""
    path = tmp_path_factory.mktemp("made") / "mine"
    baton("new", str(path))
    return path


@pytest.fixture
def project(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of a new project; it is the working directory."""
    shutil.copytree(made, tmp_path / "mine")
    monkeypatch.chdir(tmp_path / "mine")
    return tmp_path / "mine"


@pytest.fixture
def newer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the root of another version of Baton, which is taken for the installed one."""
    root = tmp_path / "newer"
    for name in ("src", "stages", "recipes"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    shutil.copytree(ROOT / ".github", root / ".github")
    for path in (*ROOT.glob("requirements*.lock"), ROOT / "dvc.yaml"):
        shutil.copy(path, root)
    monkeypatch.setattr(resources, "root", lambda: root)
    monkeypatch.setattr(resources, "package", lambda: root / "src/baton")
    monkeypatch.setattr(project_code, "version", lambda: "9.9")
    return root


def git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True).stdout


def test_a_new_project_is_a_repository_without_source(project: Path) -> None:
    assert (
        git(project, "status", "--porcelain") == ""
        and git(project, "log", "--format=%s").strip() == "baton new"
    )
    assert not (project / "src").exists() and not (project / "stages").exists()
    assert params.read(project / "params.yaml").description.startswith("320 Reuters R8 documents")
    stages = params.read_raw(project / "dvc.yaml")["stages"]
    ours = params.read_raw(ROOT / "dvc.yaml")["stages"]
    assert list(stages) == STAGES
    assert params.read_raw(project / "dvc.yaml")["plots"] == params.read_raw(ROOT / "dvc.yaml")["plots"]
    for name, entry in stages.items():
        assert entry["cmd"] == f"baton stage {name}" and f"baton_code/{name}" in entry["deps"]
        assert not [path for path in entry["deps"] if path.startswith(("src/", "stages/"))]
        assert {key: entry.get(key) for key in ("outs", "metrics", "plots", "params")} == {
            key: ours[name].get(key) for key in ("outs", "metrics", "plots", "params")
        }
        assert set(ours[name]["deps"]) - set(entry["deps"]) == {
            path for path in ours[name]["deps"] if path.startswith(("src/", "stages/"))
        }
    retrain = (project / ".github/workflows/retrain.yml").read_text()
    assert (
        "make" not in re.sub(r"#.*", "", retrain)
        and retrain.count("BATON_PACKAGE: ${{ vars.BATON_PACKAGE }}") == 2
    )
    assert "src/" not in retrain and retrain.count('"baton_code/**"') == 2
    assert params.parse(retrain, "retrain.yml")["jobs"]["retrain"]["steps"][2]["env"] == {
        "BATON_PACKAGE": "${{ vars.BATON_PACKAGE }}",
        "EXTRAS": "${{ vars.BATON_EXTRAS }}",
    }
    assert (project / ".github/workflows/retrain-comment.yml").is_file()
    words = [sys.executable, "-m", "dvc", "status"]
    status = subprocess.run(words, cwd=project, capture_output=True, text=True, check=True).stdout
    assert "baton_code/finetune" in status, "DVC reads the graph"


def test_a_folder_with_files_is_refused_and_stays(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("words")
    output = baton("new", "mine", code=1).output
    assert "is there already" in output
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_a_place_in_another_repository_is_refused(project: Path) -> None:
    assert "lies in another git repository" in baton("new", "inner", code=1).output
    assert not (project / "inner").exists() and git(project, "status", "--porcelain") == ""


def test_two_ways_to_begin_are_refused(tmp_path: Path) -> None:
    assert "two ways to begin" in baton("new", "mine", "--recipe", "quick", "--from", "x.csv", code=1).output


def test_recipes_of_ones_own_stand_beside_the_installed_ones(project: Path) -> None:
    (project / "recipes").mkdir()
    shutil.copy(project / "params.yaml", project / "recipes/mine.yaml")
    output = baton("recipes").output
    assert "mine  (active)" in output and "csv" in output
    baton("use", "csv")
    assert baton("use", "mine").exit_code == 0


@pytest.mark.parametrize(
    ("file", "changed"),
    [
        ("src/baton/evaluate/report/terminal.py", ["evaluate", "export"]),
        ("src/baton/evaluate/report/html/templates/*.html*", ["evaluate", "export"]),
        ("src/baton/distill/*.py", ["distill"]),
        ("stages/tokenize.py", ["tokenize"]),
        ("src/baton/console.py", []),
    ],
)
def test_an_upgrade_reruns_the_stages_whose_code_changed(
    project: Path, newer: Path, file: str, changed: list[str]
) -> None:
    path = next(newer.glob(file))
    path.write_text(path.read_text() + "\n")
    before = project_code.pinned()
    said = " ".join(baton("upgrade").output.split())
    assert "wrote this project; 9.9 is installed" in said
    assert (f"installed {', '.join(changed)} will run again" if changed else "nothing will run again") in said
    assert project_code.pinned() == before, "only told"
    baton("upgrade", "--apply")
    after = project_code.pinned()
    assert [name for name in STAGES if before[name] != after[name]] == changed
    assert (project / "baton_code/version").read_text() == "9.9\n"


def test_an_upgrade_takes_a_new_lock_and_says_that_all_runs_again(project: Path, newer: Path) -> None:
    (newer / "requirements-export.lock").write_text("onnx==3.0\n")
    assert "installed export will run again" in " ".join(baton("upgrade").output.split())
    (newer / "requirements.lock").write_text("torch==3.0\n")
    assert f"{', '.join(STAGES)} will run again" in " ".join(baton("upgrade", "--apply").output.split())
    assert (project / "requirements.lock").read_text() == "torch==3.0\n"


def test_an_upgrade_sees_another_graph_and_leaves_the_users_files(project: Path, newer: Path) -> None:
    text = (newer / "dvc.yaml").read_text()
    (newer / "dvc.yaml").write_text(text.replace("params: [tokenize]", "params: [tokenize, preprocess]"))
    (project / "baton_code/mine").mkdir()
    (project / "baton_code/notes.txt").write_bytes(b"\xff")
    assert "installed tokenize will run again" in " ".join(baton("upgrade", "--apply").output.split())
    assert params.read_raw(project / "dvc.yaml")["stages"]["tokenize"]["params"] == ["tokenize", "preprocess"]
    assert (project / "baton_code/notes.txt").read_bytes() == b"\xff" and (
        project / "baton_code/mine"
    ).is_dir()


def test_other_code_than_the_project_depends_on_does_not_run(project: Path, newer: Path) -> None:
    project_code.check("evaluate")
    (newer / "stages/evaluate.py").write_text("print('other')\n")
    project_code.check("finetune")
    with pytest.raises(ParamsError, match="the installed Baton has other code for evaluate"):
        project_code.check("evaluate")
    output = baton("stage", "evaluate", code=1).output
    assert "there is no stage evaluat" in baton("stage", "evaluat", code=1).output
    assert "`baton upgrade` takes the new code" in output and not (project / "reports").exists()


def test_in_a_checkout_the_stages_are_its_own(tmp_path: Path) -> None:
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    for command in (("stage", "evaluate"), ("upgrade",)):
        assert "has Baton's source" in baton(*command, code=1).output


def table(path: Path, **columns: list[object]) -> Path:
    frame = pd.DataFrame(columns)
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, sep="\t" if path.suffix == ".tsv" else ",", index=False)
    return path


TEXTS = [f"the {animal} sat on the mat number {number}" for number in range(20) for animal in ("cat", "dog")]
KINDS = ["feline", "canine"] * 20


@pytest.mark.parametrize(
    "name", ["own.csv", *(pytest.param(name, marks=pytest.mark.slow) for name in ("own.tsv", "own.parquet"))]
)
def test_a_table_of_ones_own_proposes_the_params(tmp_path: Path, name: str) -> None:
    columns = {"id": [*range(40)], "said": TEXTS, "kind": KINDS, "short": [f"x{row}" for row in range(40)]}
    source = table(tmp_path / name, **columns)
    output = baton("new", "mine", "--from", name).output
    assert "preprocess.text_column: said (the longest texts, 8 words on average)" in output
    made = params.read(tmp_path / "mine/params.yaml")
    assert isinstance(made.preprocess, params.TextPreprocess) and made.task.kind == "classes"
    assert (made.preprocess.text_column, made.preprocess.label_column) == ("said", "kind")
    assert made.tokenize.max_length == 32 and made.promotion.name == "mine"
    assert (tmp_path / "mine/inbox" / name).read_bytes() == source.read_bytes()
    text = (tmp_path / "mine/params.yaml").read_text()
    for line in (
        "text_column: said # the longest texts",
        "label_column: kind # the column with the fewest values, 2",
    ):
        assert line in text
    assert "max_length: 32 # tokens; 95% of the texts have at most 8 words" in text
    assert git(tmp_path / "mine", "status", "--porcelain") == ""


def test_odd_names_are_written_as_they_are(tmp_path: Path) -> None:
    rows = [number // 2 for number in range(40)]
    table(
        tmp_path / "we: ird #1.csv", **{"kind #1": KINDS, "said: 'what'": TEXTS, "author_id": rows, "#": rows}
    )
    baton("new", "m y's", "--from", "we: ird #1.csv")
    made = params.read(tmp_path / "m y's/params.yaml")
    assert isinstance(made.preprocess, params.TextPreprocess)
    assert (made.preprocess.text_column, made.preprocess.label_column) == ("said: 'what'", "kind #1")
    assert made.preprocess.group_column == "author_id" and made.promotion.name == "m-y-s"
    text = (tmp_path / "m y's/params.yaml").read_text()
    assert "# by its name; 20 values, each in one split only" in text
    assert "# the part of a longer text to read" in text, "the comment of the next key stays"


@pytest.mark.parametrize("delimiter", ["|", ";"])
def test_other_delimiters(tmp_path: Path, delimiter: str) -> None:
    lines = [
        delimiter.join(("text", "label")),
        *(delimiter.join(row) for row in zip(TEXTS, KINDS, strict=True)),
    ]
    (tmp_path / "own.txt").write_text("\n".join(lines))
    found = table_guess.choices(tmp_path / "own.txt")
    assert (found["preprocess.text_column"].value, found["preprocess.label_column"].value) == (
        "text",
        "label",
    )


def test_a_large_table_is_kept_by_dvc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new_project, "LARGE", 1000)
    table(tmp_path / "own.csv", text=TEXTS, label=KINDS)
    output = baton("new", "mine", "--from", "own.csv").output
    assert "put your data" not in output
    tracked = git(tmp_path / "mine", "ls-files").splitlines()
    assert "inbox/own.csv.dvc" in tracked and "inbox/own.csv" not in tracked
    assert (tmp_path / "mine/inbox/own.csv").is_file()


def test_parquet_with_lists_and_numbers_as_names(tmp_path: Path) -> None:
    columns = {"vector": [[0.0, 1.0]] * 40, "2": TEXTS, "label": KINDS}
    pd.DataFrame(columns).to_parquet(tmp_path / "own.parquet")
    assert table_guess.choices(tmp_path / "own.parquet")["preprocess.text_column"].value == "2"


def test_numbers_are_a_task_of_numbers(tmp_path: Path) -> None:
    table(tmp_path / "own.csv", review=TEXTS, rating=[row / 7 for row in range(40)])
    baton("new", "mine", "--from", "own.csv")
    assert params.read(tmp_path / "mine/params.yaml").task.kind == "numbers"


@pytest.mark.parametrize(
    ("name", "columns", "said"),
    [
        ("own.csv", {"said": TEXTS, "other": TEXTS[::-1]}, "no column that looks like labels"),
        ("own.csv", {"label": KINDS, "size": [*range(40)]}, "no column that looks like texts"),
        ("own.csv", {"label": KINDS}, "does not name two or more different columns"),
        ("own.parquet", {}, "own.parquet cannot be read as a table"),
        ("own.xlsx", {}, "is no table that --from can look at"),
        ("none.csv", {}, "none.csv is missing"),
    ],
)
def test_a_table_that_cannot_be_one_is_one_error(
    tmp_path: Path, name: str, columns: dict[str, list[object]], said: str
) -> None:
    if columns:
        table(tmp_path / name, **columns)
    elif not name.startswith("none"):
        (tmp_path / name).write_bytes(b"PK")
    output = baton("new", "mine", "--from", name, code=1).output
    assert said in " ".join(output.split()) and not (tmp_path / "mine").exists()
    assert [*tmp_path.glob(".*")] == [], "nothing half-written is left"


def test_an_empty_table_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("")
    with pytest.raises(DataError, match=r"own\.csv"):
        table_guess.choices(tmp_path / "own.csv")


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_a_bare_environment_with_the_package_runs_a_project_and_upgrades_it(
    tmp_path: Path, kind: str
) -> None:
    """`quick`, then a version with another stages/evaluate.py: only `evaluate` runs again.

    The environment has the locked packages of this one, and Baton from the wheel or the sdist alone.
    """
    source = tmp_path / "source"
    names = git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    for name in names:
        if name and (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, source / name)
    python = environment(tmp_path)
    install(python, source, kind)
    run(python, tmp_path, "new", "mine", "--recipe", "quick")
    output = run(python, tmp_path / "mine", "repro")
    assert "Recommended:" in output and (tmp_path / "mine/reports/report.html").is_file()
    assert "didn't change, skipping" in run(python, tmp_path / "mine", "repro")

    for path, old, new in (
        ("pyproject.toml", VERSION, 'version = "0.9.9"'),
        ("stages/evaluate.py", '"""', '"""A newer one. '),
    ):
        text = (source / path).read_text()
        assert old in text
        (source / path).write_text(text.replace(old, new, 1))
    install(python, source, kind)
    assert "other code for evaluate" in run(python, tmp_path / "mine", "stage", "evaluate", code=1)
    assert "evaluate will run again, and later" in run(python, tmp_path / "mine", "upgrade", "--apply")
    output = run(python, tmp_path / "mine", "repro")
    assert re.findall(r"Running stage '(\w+)'", output) == ["evaluate"]

    if kind == "wheel":  # a second project, from the same environment
        run(python, tmp_path, "new", "second", "--recipe", "quick")
        output = run(python, tmp_path / "second", "repro", "preprocess")
        assert re.findall(r"Running stage '(\w+)'", output) == ["download", "preprocess"]
        assert "didn't change, skipping" in run(python, tmp_path / "mine", "repro")


VERSION = f'version = "{importlib.metadata.version("baton")}"'


def environment(folder: Path) -> Path:
    """Return the Python of a new environment with the packages of this one, but not Baton."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
    libraries = Path(pd.__file__).parents[1]
    inside = next((folder / "venv/lib").glob("python*/site-packages"))
    (inside / "locked.pth").write_text(f"{libraries}\n")
    return folder / "venv/bin/python"


def install(python: Path, source: Path, kind: str) -> None:
    """Build a wheel or an sdist, and install it."""
    built = source.parent / "built"
    shutil.rmtree(built, ignore_errors=True)
    build = f"from setuptools import build_meta as own; own.build_{kind}({str(built)!r})"
    subprocess.run([python, "-c", build], cwd=source, check=True, capture_output=True)
    (package,) = built.iterdir()
    words = ["install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--force-reinstall"]
    subprocess.run([python, "-m", "pip", *words, str(package)], check=True, capture_output=True)


def run(python: Path, folder: Path, *words: str, code: int = 0) -> str:
    """Return what `baton` prints, called by its path, without the environment on PATH."""
    own = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "OMP_NUM_THREADS")}
    ended = subprocess.run(
        [python.parent / "baton", *words],
        cwd=folder,
        env={**own, "PATH": os.defpath, "BATON_FETCHED": FETCHED},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == code, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr
