"""From the journal to a real SQLite store: everything exactly once, whichever process dies in between."""

import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from baton import tracking
from baton.errors import DataError
from baton.tracking import delivery, journal, recorder
from tests import tiny
from tests.tracking.reading import REASONS, client, history, journals, runs, settle, tree
from tests.tracking.test_processes import start

WRITES = (
    *(
        "create_run",
        "log_batch",
        "log_inputs",
        "log_outputs",
        "log_artifact",
        "log_text",
        "set_terminated",
        "update_run",
        "delete_tag",
    ),
    *("create_logged_model", "set_logged_model_tags", "log_model_artifacts", "finalize_logged_model"),
)


@pytest.fixture
def store_down(project: Path) -> Callable[[bool], None]:
    """`store_down(True)` breaks the store, `store_down(False)` repairs it."""
    path = project / "mlflow.db"
    good = b""

    def switch(down: bool) -> None:
        nonlocal good
        if down:
            good = path.read_bytes()
            path.write_bytes(b"no database" * 1000)
        elif path.read_bytes().startswith(b"no database"):
            path.write_bytes(good)

    return switch


def everything(project: Path, teacher: Path) -> None:
    """A stage that records one entry of each kind."""
    tiny.write_clean(project / "data" / "clean")
    (project / "picture.png").write_bytes(b"\x89PNG")
    with tracking.stage("finetune", REASONS) as run:
        run.dataset("val", Path("data/clean/val.parquet"), "validation")
        for step in (1, 2):
            run.metrics({"teacher/loss": 1 / step}, step)
        run.figure(Path("picture.png"))
        run.artifact(Path("picture.png"), "extra")
        run.model("teacher", teacher, ["wheat exports rose"])
        run.final({"teacher/val_accuracy": 0.9})
    with tracking.stage("evaluate", REASONS) as run:
        run.model_metrics("teacher", teacher, {"test/accuracy": 0.8})


def doubles() -> dict[str, int]:
    """Count the occurrences of every record of `everything`."""
    pipelines = tree()
    children = [child for _, own in pipelines.values() for child in own]
    first = [run for run in children if run.info.run_name == "finetune"]
    last = [run for run in children if run.info.run_name == "evaluate"]
    models = client().search_logged_models([first[0].info.experiment_id])
    assert all(model.status == "READY" for model in models)
    return {
        "pipelines": len(pipelines),
        "finetune": len(first),
        "evaluate": len(last),
        "models": len(models),
        "outputs": sum(len(run.outputs.model_outputs) for run in first),
        "inputs": sum(len(client().get_run(run.info.run_id).inputs.model_inputs) for run in last),
        "datasets": sum(len(run.inputs.dataset_inputs) for run in first),
        "loss": sum(len(history(run.info.run_id, "teacher/loss")) for run in first),
        "system": len(
            {
                len(history(first[0].info.run_id, f"system/{key}"))
                for key in ("cpu_utilization_percentage", "disk_usage_percentage")
            }
        ),
        "figures of the model": sum(len(model.metrics or ()) for model in models),
    }


ONCE = {
    "finetune": 1,
    "evaluate": 1,
    "models": 1,
    "outputs": 1,
    "inputs": 1,
    "datasets": 1,
    "loss": 2,
    "system": 1,
    "figures of the model": 2,
}


@pytest.fixture
def waiting(project: Path, teacher: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Journals of two stages of one repro, entirely undelivered."""
    monkeypatch.setenv("BATON_REPRO_ID", "r1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delivery.Deliverer, "_deliver", lambda _: None)
        everything(project, teacher)
        settle()
    assert len(journals()) == 2
    assert runs() == []


def deliver_until_done(project: Path, most: int = 200) -> int:
    """Sync until nothing waits, as after as many crashes; return the count."""
    for count in range(most):
        done = delivery.deliver_left()
        assert not done.refused
        if not done.waiting:
            return count
    raise AssertionError(f"still waiting: {done.waiting}")


def test_a_store_whose_every_answer_is_lost_once_holds_everything_once(
    project: Path, waiting: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each write is applied and then fails: the same writes are repeated.

    So it is when the server or the stage dies before the answer.
    """
    from mlflow.tracking import MlflowClient

    lost = set()

    def losing(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            answer = original(*arguments, **more)
            # By file name only, and of tags their keys: temporary folders and the time in a model change.
            shown = [sorted(item) if isinstance(item, dict) else item for item in arguments[1:]]
            known = f"{name} {[str(item).rpartition('/')[2] for item in shown]} {more}"
            if known not in lost:
                lost.add(known)
                raise ConnectionError("the answer was lost")
            return answer

        return call

    for name in WRITES:
        monkeypatch.setattr(MlflowClient, name, losing(name, getattr(MlflowClient, name)))
    assert deliver_until_done(project) > 10
    assert doubles() == ONCE | {"pipelines": 1}
    assert journals() == []
    assert {run.info.status for run in runs()} == {"FINISHED"}


def test_all_figures_of_a_stage_go_in_one_request_for_each_run(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store writes each request to disk before it answers; `evaluate` has a hundred figures."""
    from mlflow.tracking import MlflowClient

    values, sent = {f"student/test/figure_{place}": place / 100 for place in range(100)}, list[int]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delivery.Deliverer, "_deliver", lambda _: None)
        with tracking.stage("evaluate", REASONS) as run:
            run.final(values)
    original = MlflowClient.log_batch

    def counting(self: Any, run: str, metrics: Any = (), **more: Any) -> Any:
        sent.append(sum("figure_" in metric.key for metric in metrics))
        return original(self, run, metrics=metrics, **more)

    monkeypatch.setattr(MlflowClient, "log_batch", counting)
    settle()
    delivery.deliver_left()
    assert [count for count in sent if count] == [100, 100], "the stage's run, and the pipeline's"
    for one in runs():
        assert {key: value for key, value in one.data.metrics.items() if "figure_" in key} == values


@pytest.mark.parametrize(
    ("broken", "doubled"),
    [("", set()), ("runs", {"finetune", "evaluate"}), ("models", {"models", "outputs"})],
)
def test_a_crash_before_each_step_of_the_cursor_makes_no_doubles(
    project: Path, waiting: None, broken: str, doubled: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each entry is applied twice. Duplicates would appear if existing objects were not looked up."""
    from baton.tracking import pipelines
    from baton.tracking.store import Store

    crashed = set()
    original = journal.Journal.save

    def crashing(self: journal.Journal, cursor: journal.Cursor) -> None:
        if (self.id, cursor.offset) not in crashed:
            crashed.add((self.id, cursor.offset))
            raise ConnectionError("killed")
        original(self, cursor)

    monkeypatch.setattr(journal.Journal, "save", crashing)
    known, found = Store.runs, Store.models
    if broken == "runs":
        monkeypatch.setattr(
            Store,
            "runs",
            lambda self, text="", limit=200: [] if pipelines.JOURNAL in text else known(self, text, limit),
        )
    if broken == "models":
        monkeypatch.setattr(
            Store, "models", lambda self, text: [] if "source_run_id" in text else found(self, text)
        )
    assert deliver_until_done(project) > 10
    counts = doubles()
    assert {key for key, count in ONCE.items() if counts[key] > count} == doubled


def test_the_next_stage_delivers_what_an_earlier_one_left(
    project: Path, store_down: Callable[[bool], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATON_REPRO_ID", "r1")
    store_down(True)
    before = journal.now()
    with tracking.stage("finetune", REASONS) as run:
        run.metrics({"loss": 1.0}, step=1)
        run.final({"finetune/val_accuracy": 0.5})
    after = journal.now()
    store_down(False)
    time.sleep(0.05)
    with tracking.stage("distill", REASONS):
        pass
    assert journals() == []
    [(pipeline, children)] = tree().values()
    first, second = sorted(children, key=lambda item: item.info.start_time)
    assert (first.info.run_name, second.info.run_name) == ("finetune", "distill")
    # All times are those of the stage, not of the delivery.
    assert (
        before - 1
        <= pipeline.info.start_time
        <= first.info.start_time
        <= first.info.end_time
        <= after
        <= second.info.start_time
    )
    [point] = client().get_metric_history(first.info.run_id, "loss")
    assert before <= point.timestamp <= after
    assert pipeline.data.metrics["finetune/val_accuracy"] == 0.5
    assert pipeline.data.tags["baton.distill.run_id"] == second.info.run_id
    assert pipeline.data.tags["baton.finetune.run_id"] == first.info.run_id


def test_a_killed_stage_is_delivered_and_ended_by_sync(project: Path) -> None:
    process = start(project, "finetune", "wait")
    assert process.stdout is not None
    assert any(line == "READY\n" for line in process.stdout)
    assert tracking.sync().entries == 0  # a running stage delivers its own journal
    process.kill()
    process.communicate()
    killed = journal.now()
    time.sleep(0.3)
    report = tracking.sync()
    assert report.entries > 0
    assert report.ended == 2
    [(pipeline, [child])] = tree().values()
    assert (pipeline.info.status, child.info.status, child.data.tags["baton.error"]) == (
        "KILLED",
        "KILLED",
        journal.GONE,
    )
    assert child.info.end_time <= killed
    assert history(child.info.run_id, "finetune/loss") == [(1, 0.5)]
    assert len(journals()) == 1  # it may be resumed
    assert tracking.sync() == tracking.SyncReport()


def killed(resume: str | None = None, last: int = 3) -> str:
    """Run a stage that ends by Ctrl-C after some steps; return its run's id."""
    identifier = ""
    with pytest.raises(KeyboardInterrupt), tracking.stage("finetune", REASONS, resume) as run:
        identifier = run.id
        for step in range(1, last + 1):
            run.metrics({"loss": 1 / step}, step, time=1_700_000_000_000 + step)
        raise KeyboardInterrupt
    return identifier


@pytest.mark.parametrize("before", ["delivered", "never delivered", "removed"])
def test_a_resumed_stage_goes_on_in_its_run(
    project: Path, before: str, store_down: Callable[[bool], None]
) -> None:
    store_down(before == "never delivered")
    first = killed()
    settle()
    store_down(False)
    if before == "removed":
        shutil.rmtree(project / ".baton/journal" / first)
    with tracking.stage("finetune", REASONS, first) as run:
        assert run.id == first
        for step in range(1, 6):
            run.metrics({"loss": 1 / step}, step, time=1_700_000_000_000 + step)
        run.final({"accuracy": 0.5})
    [(pipeline, [child])] = tree().values()
    assert (pipeline.info.status, child.info.status) == ("FINISHED", "FINISHED")
    points = client().get_metric_history(child.info.run_id, "loss")
    assert sorted((point.step, point.timestamp) for point in points) == [
        (step, 1_700_000_000_000 + step) for step in range(1, 6)
    ]
    assert not {"baton.error", "mlflow.note.content"} & child.data.tags.keys()
    assert child.info.end_time > child.info.start_time
    assert journals() == []


def test_a_resumed_stage_records_no_point_again(project: Path) -> None:
    """The store cannot recognise duplicates here, since the times differ."""
    first = killed()
    with tracking.stage("finetune", REASONS, first) as run:
        for step in range(1, 5):
            run.metrics({"loss": 1 / step}, step)
            run.metrics({"loss": 1 / step}, step)
    [(_, [child])] = tree().values()
    assert history(child.info.run_id, "loss") == [(step, 1 / step) for step in (4, 3, 2, 1)][::-1]
    machine = [step for step, _ in history(child.info.run_id, "system/cpu_utilization_percentage")]
    assert machine == list(range(len(machine)))


def test_a_stage_killed_twice_and_resumed(project: Path) -> None:
    first = killed(last=2)
    assert killed(first, last=4) == first
    with tracking.stage("finetune", REASONS, first) as run:
        run.metrics({"loss": 0.0}, 5)
    [(_, [child])] = tree().values()
    assert [step for step, _ in history(child.info.run_id, "loss")] == [1, 2, 3, 4, 5]
    assert child.info.status == "FINISHED"


def test_a_resumed_stage_joins_the_repro_that_runs_it(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATON_REPRO_ID", "first")
    identifier = killed()
    monkeypatch.setenv("BATON_REPRO_ID", "second")
    with tracking.stage(
        "finetune", REASONS, identifier
    ) as run:  # this repro has no runs: the earlier pipeline run is reopened
        run.final({"finetune/accuracy": 0.5})
    [(pipeline, [_])] = tree().values()
    assert (pipeline.info.status, pipeline.data.tags["baton.repro"]) == ("FINISHED", "second")
    with tracking.stage("evaluate", REASONS):
        pass
    [(pipeline, children)] = tree().values()
    assert (pipeline.info.status, len(children)) == ("FINISHED", 2)

    monkeypatch.setenv("BATON_REPRO_ID", "third")
    identifier = killed()
    monkeypatch.setenv("BATON_REPRO_ID", "fourth")
    with tracking.stage("distill", REASONS):
        pass
    with tracking.stage("finetune", REASONS, identifier):
        pass
    own = {
        pipeline.data.tags["baton.repro"]: sorted(run.info.run_name for run in children)
        for pipeline, children in tree().values()
    }
    assert own == {"second": ["evaluate", "finetune"], "third": [], "fourth": ["distill", "finetune"]}


def test_a_run_that_goes_on_under_other_params_gets_a_pipeline_run_that_says_so(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATON_REPRO_ID", "first")
    identifier = killed()
    settle()  # on a busy machine the first attempt still writes its journal
    monkeypatch.setenv("BATON_REPRO_ID", "second")
    params = project / "params.yaml"
    params.write_text(params.read_text().replace("calibration_bins: 15", "calibration_bins: 7"))
    with tracking.stage("finetune", REASONS, identifier):
        pass
    (_, none), (pipeline, [child]) = tree().values()
    assert not none
    assert (
        pipeline.data.params["evaluate.calibration_bins"],
        child.data.params["evaluate.calibration_bins"],
    ) == ("7", "15")


def test_another_store_gets_a_run_of_its_own(project: Path) -> None:
    identifier = killed()
    params = project / "params.yaml"
    params.write_text(params.read_text().replace("experiment: ", "experiment: other-"))
    with tracking.stage("finetune", REASONS, identifier) as run:
        assert run.id != identifier
        run.metrics({"loss": 1.0}, 1)
    assert [history(run.info.run_id, "loss") for run in runs() if run.data.tags["baton.kind"] == "stage"][
        -1
    ] == [(1, 1.0)]


def test_what_the_store_never_takes_is_said_and_holds_up_nothing(
    project: Path, store_down: Callable[[bool], None], capsys: pytest.CaptureFixture[str]
) -> None:
    store_down(True)
    with tracking.stage("finetune", REASONS) as run:
        run.artifact(project / "params.yaml")
        run.metrics({"a": 1.0}, 1)
        run.metrics({"b/../c": 1.0}, 1)  # not a valid metric name
        run.metrics({"c": 1.0}, 1)
    settle()
    store_down(False)
    [one] = journal.left()
    shutil.rmtree(one.folder / "files")
    lines = (one.folder / "entries.jsonl").read_text().splitlines(keepends=True)
    (one.folder / "entries.jsonl").write_text("".join([*lines[:2], "no entry\n", *lines[2:]]))
    report = tracking.sync()
    assert report.waiting == ()
    assert sorted(text.partition(" of ")[0] for text in report.refused) == ["artifact", "broken", "points"]
    [child] = [run for run in runs() if run.info.run_name == "finetune"]
    assert (child.info.status, child.data.metrics["a"], child.data.metrics["c"]) == ("FINISHED", 1.0, 1.0)
    assert journals() == []


def test_two_that_deliver_take_turns(project: Path, waiting: None) -> None:
    done: list[delivery.Delivered] = []
    threads = [threading.Thread(target=lambda: done.append(delivery.deliver_left())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert doubles() == ONCE | {"pipelines": 1}
    assert not [text for one in done for text in one.waiting]
    assert journals() == []


def test_an_interrupted_wait_loses_nothing(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go = threading.Event(), threading.Event()
    original = delivery.Deliverer._deliver

    def slow(self: delivery.Deliverer) -> None:
        begun.set()
        go.wait(30)
        original(self)

    monkeypatch.setattr(delivery.Deliverer, "_deliver", slow)
    main = threading.main_thread().ident
    assert main is not None

    def interrupt() -> None:
        begun.wait(30)
        time.sleep(0.2)
        signal.pthread_kill(main, signal.SIGTERM)

    for error, seen in ((None, SystemExit), (DataError("a row is broken"), DataError)):
        begun.clear()
        go.clear()
        helper = threading.Thread(target=interrupt)
        with pytest.raises(seen), tracking.stage("finetune", REASONS) as run:
            run.metrics({"loss": 1.0}, step=1)
            helper.start()
            if error:
                raise error
        helper.join()
        go.set()
        settle()
    tracking.sync()
    children = [run for run in runs() if run.info.run_name == "finetune"]
    assert [(run.info.status, history(run.info.run_id, "loss")) for run in children] == [
        ("FINISHED", [(1, 1.0)]),
        ("FAILED", [(1, 1.0)]),
    ]


def test_journals_of_stages_that_did_not_finish_are_kept_a_while(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed()
    assert len(journals()) == 1
    delivery.deliver_left()
    assert len(journals()) == 1
    monkeypatch.setattr(delivery, "KEEP_SECONDS", -1.0)
    delivery.deliver_left()
    assert journals() == []


def test_mlflow_is_imported_by_the_thread_and_tracking_costs_little(project: Path) -> None:
    program = (
        "import sys, time\n"
        "from baton import tracking\n"
        "from baton.tracking import delivery\n"
        "delivery.Deliverer._rounds = lambda self: None\n"
        "with tracking.stage('finetune', {}) as run:\n"
        "    for step in range(1000):\n"
        "        run.metrics({'loss': 1.0, 'rate': 2.0}, step)\n"
        "run._deliverer._thread.join()\n"
        "print(sorted({'mlflow', 'pandas', 'sqlalchemy'} & set(sys.modules)), run.seconds)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=project, capture_output=True, text=True, check=True
    )
    modules, _, seconds = done.stdout.splitlines()[-1].rpartition(" ")
    assert modules == "[]"
    assert float(seconds) < 1


def test_the_seconds_of_a_stage_in_tracking_are_on_its_run(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        recorder.datasets,
        "describe",
        lambda path: (time.sleep(0.2), {"columns": [], "rows": 0, "uri": ""})[1],
    )
    (project / "x.parquet").write_bytes(b"x")
    with tracking.stage("finetune", REASONS) as run:
        time.sleep(0.3)  # the stage's own
        run.dataset("train", Path("x.parquet"), "training")
    seconds = float(runs()[-1].data.tags["baton.tracking_seconds"])
    assert 0.2 < seconds < 0.2 + 0.3
