"""`baton compare` around made-up stages: what runs, what is kept, what a kill or a failure leaves."""

import csv
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.compare import fake_project
from tests.compare.fake_project import run

SMALL = ("--strategies", "full,low", "--labels", "20,60", "--seeds", "1")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project; the tests in this file build on each other, in this order."""
    return fake_project.make(tmp_path_factory.mktemp("compare") / "project")


def git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True).stdout


def dvc(folder: Path, *words: str) -> str:
    command = [sys.executable, "-m", "dvc", *words]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def experiments(folder: Path) -> set[str]:
    references = git(folder, "for-each-ref", "--format=%(refname)", "refs/exps").split()
    return {name.split("/")[-1] for name in references if name.count("/") == 4}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def logs(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob(".baton/compare/logs/*")}


def test_a_dry_run_lists_what_would_run(project: Path) -> None:
    output = run(project, *SMALL, "--dry-run")
    assert "0 are done, 4 would run" in output and "full-20-seed1-" in output
    assert experiments(project) == set() and not (project / "reports").exists()


def test_each_experiment_runs_once(project: Path) -> None:
    (project / "params.yaml").write_text((project / "params.yaml").read_text() + "# edited\n")
    before = (git(project, "status", "--porcelain"), (project / "params.yaml").stat().st_mtime_ns)
    output = run(project, *SMALL)
    assert (git(project, "status", "--porcelain"), (project / "params.yaml").stat().st_mtime_ns) == before
    assert "[4/4]" in output and "left" in output
    assert "Running stage 'preprocess'" in (project / f".baton/compare/logs/{first(project)}.log").read_text()
    names = {name.rsplit("-", 1)[0] for name in experiments(project)}
    assert names == {f"{name}-{labels}-seed1" for name in ("full", "low") for labels in (20, 60)}
    ran = logs(project)
    output = run(project, *SMALL)
    assert "4 experiments, 4 are done" in output and "[" not in output.split("accuracy")[0]
    assert logs(project) == ran
    assert "4 are done, 4 would run" in run(project, *SMALL[:4], "--seeds", "1,2", "--dry-run")
    assert set(dvc(project, "exp", "list", "--name-only").split()) == experiments(project)


def first(folder: Path) -> str:
    return next(name for name in experiments(folder) if name.startswith("full-20-seed1-"))


def test_figures_are_those_of_the_predictions(project: Path) -> None:
    trials = rows(project / "reports/compare/trials.csv")
    one = next(row for row in trials if (row["name"], row["labels"], row["seed"]) == ("full", "60", "1"))
    (copy,) = project.glob(".baton/compare/copy")
    (name,) = [own for own in experiments(project) if own.startswith("full-60-seed1-")]
    dvc(project, "exp", "apply", name)
    logits = pq.read_table(project / "data/predictions/teacher/test.parquet")["logits"].to_pylist()
    labels = pq.read_table(project / "data/clean/test.parquet")["label"].to_pylist()
    right = [own.index(max(own)) == label for own, label in zip(logits, labels, strict=True)]
    assert float(one["accuracy"]) == pytest.approx(sum(right) / len(right), abs=1e-5)
    git(project, "checkout", "--", ".")
    assert (one["labels_used"], one["seconds"], one["trained_parameters"]) == ("60", "61", "10")
    kinds = {row["name"]: row["kind"] for row in trials}
    assert kinds == {
        "full": "strategy",
        "low": "strategy",
        "tfidf_svm": "baseline",
        "tfidf_logistic": "baseline",
    }
    cells = rows(project / "reports/compare/comparison.csv")
    assert {row["seconds"] for row in cells if row["name"] == "full"} == {"61"}
    assert len({row["accuracy"] for row in cells if row["name"] == "tfidf_svm"}) == 2, (
        "own rows for each draw"
    )
    assert copy.is_dir()


@pytest.mark.slow
def test_costs_and_figures_outlive_the_cache_and_the_experiments(project: Path) -> None:
    before = rows(project / "reports/compare/comparison.csv")
    dvc(project, "exp", "remove", min(experiments(project)))
    kept, aside = project / ".baton/compare/results", project / ".baton/aside"
    output = run(project, *SMALL, "--no-baseline", "--output", "elsewhere")
    assert "4 are done" in output and "tfidf" not in output
    assert (project / "elsewhere/comparison.png").is_file()
    shutil.move(kept, aside)
    output = run(project, *SMALL)
    assert "4 experiments, 3 are done" in output, "without kept results they are read from the experiments"
    assert rows(project / "reports/compare/comparison.csv") == before, "costs are those of the first run"
    shutil.rmtree(aside)


@pytest.mark.slow
def test_tracking_is_off_unless_asked_for(project: Path) -> None:
    run(project, "--strategies", "full", "--labels", "20", "--seeds", "5", "--no-baseline")
    run(project, "--strategies", "full", "--labels", "20", "--seeds", "6", "--no-baseline", "--track")
    said = {
        path.name.split("-")[2]: path.read_text()
        for path in project.glob(".baton/compare/logs/full-20-seed[56]*")
    }
    assert "track off" in said["seed5"] and "track on" in said["seed6"]


@pytest.mark.slow
def test_weights_need_not_be_kept(project: Path) -> None:
    def weights() -> int:
        files = project.glob(".dvc/cache/files/md5/*/*")
        return sum(path.is_file() and b"'kind': 'linear'" in path.read_bytes() for path in files)

    before = weights()
    run(project, "--strategies", "full", "--labels", "20", "--seeds", "7", "--no-baseline", "--no-models")
    assert weights() == before > 0
    run(project, "--strategies", "full", "--labels", "20", "--seeds", "8", "--no-baseline")
    assert weights() == before + 1
    # Weights that were there before belong to others.
    (kept,) = project.glob(".baton/compare/results/full-20-seed8*.json")
    kept.unlink()
    git(
        project,
        "update-ref",
        "-d",
        git(project, "for-each-ref", "--format=%(refname)", f"refs/exps/*/*/{kept.stem}").strip(),
    )
    run(project, "--strategies", "full", "--labels", "20", "--seeds", "8", "--no-baseline", "--no-models")
    assert weights() == before + 1


@pytest.mark.slow
def test_a_failure_is_told_and_the_others_are_compared(project: Path) -> None:
    output = run(project, "--strategies", "unlucky,full", "--labels", "20", "--seeds", "1", code=1)
    assert "unlucky number of epochs" in output and "1 of 2 experiments failed" in output
    assert "1 is done" in output or "1 are done" in output
    assert "unlucky" in (project / "reports/compare/comparison.md").read_text()
    assert not any(name.startswith("unlucky") for name in experiments(project))


def test_other_rows_are_refused_as_soon_as_they_are_there(project: Path) -> None:
    """Not when all experiments have run: `full` on 40 labels is left."""
    text = fake_project.STRATEGIES + "  moved: {preprocess: {checks.duplicate: keep}}\n"
    (project / "moved.yaml").write_text(text)
    asked = ("--file", "moved.yaml", "--strategies", "full,moved", "--labels", "20,40", "--seeds", "1")
    output = run(project, *asked, code=1)
    assert "full and moved cannot be compared" in output and "different train rows at 20 labels" in output
    assert not any("-40-" in name for name in experiments(project))
    assert "cannot be compared" in run(project, *asked, code=1), "nor by the next call"
    assert not any("-40-" in name for name in experiments(project))
    (project / "moved.yaml").unlink()


def test_bad_options_are_one_error(project: Path) -> None:
    for arguments, said in (
        (("--strategies", "ful"), "did you mean full?"),
        (("--labels", "8,x"), "--labels cannot be read"),
        (("--file", "nothing.yaml"), "nothing.yaml is missing"),
    ):
        output = run(project, *arguments, code=1)
        assert said in output and "Traceback" not in output


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_stopped_it_goes_on_from_there(project: Path, number: signal.Signals) -> None:
    """The third experiment is stopped; no process is left, and it and the fourth run in the next call."""
    seed = {signal.SIGKILL: "10", signal.SIGINT: "11", signal.SIGTERM: "12"}[number]
    asked = ("--strategies", "full,low", "--labels", "20,60", "--seeds", seed, "--no-baseline")
    slow, started = project / ".baton/slow", project / ".baton/started"
    with fake_project.start(project, *asked) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("[2/4]"):
                break
        slow.write_text("")
        deadline = time.monotonic() + 60
        while not started.is_file():
            assert time.monotonic() < deadline, "the third experiment does not start"
            time.sleep(0.05)
        process.send_signal(number)
        output = process.stdout.read()
    slow.unlink()
    started.unlink()
    while left := fake_project.working(project):
        assert time.monotonic() < deadline + 10, [item.cmdline() for item in left]
        time.sleep(0.05)
    assert process.returncode == (-9 if number == signal.SIGKILL else 128 + number), output
    done = len([name for name in experiments(project) if f"seed{seed}-" in name])
    assert done in (1, 2)
    if number != signal.SIGKILL:
        assert f"stopped with {done} of 4 done" in output
    assert git(project, "status", "--porcelain", "--untracked-files=no") == ""
    output = run(project, *asked)
    assert f"4 experiments, {done} are done" in output and "[4/4]" in output
    assert len([name for name in experiments(project) if f"seed{seed}-" in name]) == 4
