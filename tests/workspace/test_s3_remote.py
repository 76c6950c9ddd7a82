"""A DVC remote on S3: real DVC, and a real object store that is away, refuses, or delivers nothing."""

import os
from pathlib import Path

import pytest

from baton.errors import OutputError
from baton.processes import patience
from baton.workspace import remote
from tests.gate import Gate
from tests.object_store import (
    BUCKET,
    KEY,
    READER,
    READING,
    SECRET,
    ObjectStore,
    at_the_first_pause,
    needs_store,
)
from tests.workspace.test_remote import PATIENT, Place

pytestmark = [pytest.mark.slow, *needs_store]
OBJECTS = f"GET /{BUCKET}/project/files/md5/".encode()
WRONG = {
    "a wrong secret": {"AWS_SECRET_ACCESS_KEY": "planted-wrong"},
    "an unknown key": {"AWS_ACCESS_KEY_ID": "planted:nobody"},
    "no credentials": {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("pushed"))


@pytest.fixture
def place(
    folder: Place, object_store: ObjectStore, gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Place:
    """A checkout without outputs; the remote has what its stage made, and the run-cache."""
    object_store.remove("")
    for path in folder.store.rglob("*"):
        if path.is_file():
            name = path.relative_to(folder.store).as_posix()
            object_store.client().put_object(Bucket=BUCKET, Key=f"project/{name}", Body=path.read_bytes())
    return clone(folder, tmp_path / "own", monkeypatch)


def clone(folder: Place, to: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    made = folder.moved(to)
    made.point(f"s3://{BUCKET}/project")
    monkeypatch.chdir(made.folder)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(to / "site"))
    monkeypatch.setenv(patience.VARIABLE, "20")
    return made


def secrets(text: str) -> list[str]:
    return [word for word in (SECRET, READING, "planted-wrong") if word in text]


def test_what_one_checkout_pushes_another_pulls_and_runs_nothing(
    place: Place, object_store: ObjectStore, folder: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    object_store.remove("")
    assert place.dvc("dvc", "repro", "--quiet", "--force").returncode == 0
    remote.push()
    assert len(object_store.names("project/files/")) == 2 and object_store.names("project/runs/")
    object_store.stop()
    object_store.start()
    other = clone(folder, tmp_path / "other", monkeypatch)
    (other.folder / "dvc.lock").unlink()  # so that the run-cache is asked
    ended = other.dvc(PATIENT, "repro", "--pull")
    assert ended.returncode == 0, ended.stderr
    assert (other.folder / "out/x").read_text() == "hi" and other.runs() == 1
    other.forget()
    assert remote.pull("out") and (other.folder / "out/x").read_text() == "hi"


@pytest.mark.parametrize(("module", "runs"), [("dvc", 2), (PATIENT, 1)])
def test_a_store_that_goes_away_while_outputs_are_fetched(
    place: Place, gate: Gate, module: str, runs: int
) -> None:
    """DVC itself runs the stage again; a patient one waits."""
    (place.folder / "dvc.lock").unlink()
    gate.shut_at(OBJECTS)
    if module == PATIENT:
        assert "does not answer" in place.told("trying again", gate.open, "repro", "--pull")
    else:
        assert place.dvc(module, "repro", "--pull").returncode == 0
    assert gate.shuts == 1 and place.runs() == runs
    assert (place.folder / "out/x").read_text() == "hi"


@pytest.mark.parametrize("words", [b"GET /baton/project/runs", b"HEAD /baton/project", b"GET /baton?list"])
def test_it_may_go_away_at_any_request(place: Place, gate: Gate, words: bytes) -> None:
    (place.folder / "dvc.lock").unlink()
    gate.shut_at(words)
    place.told("trying again", gate.open, "repro", "--pull")
    assert gate.shuts == 1 and place.runs() == 1


@pytest.mark.parametrize(("module", "runs"), [("dvc", 2), (PATIENT, 1)])
def test_an_object_that_is_there_and_not_delivered(place: Place, gate: Gate, module: str, runs: int) -> None:
    """The store answers all else, so that its answers do not show that the object is missing."""
    (place.folder / "dvc.lock").unlink()
    gate.withheld = OBJECTS

    def deliver() -> None:
        gate.withheld = b""

    if module == PATIENT:
        assert "does not deliver it" in place.told("trying again", deliver, "repro", "--pull")
    else:
        assert place.dvc(module, "repro", "--pull").returncode == 0
    assert place.runs() == runs


def test_what_the_store_lacks_is_made_again(place: Place, object_store: ObjectStore) -> None:
    object_store.remove("project/files/")
    ended = place.dvc(PATIENT, "repro", "--pull")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert place.runs() == 2
    place.forget()
    assert not remote.pull("out")


def test_a_part_of_the_store_that_is_away_is_waited_for(place: Place, object_store: ObjectStore) -> None:
    """It lists its objects, and delivers none."""
    object_store.stop("object")
    place.told("trying again", lambda: object_store.start("object"), "repro", "--pull")
    assert place.runs() == 1


@pytest.mark.parametrize("wrong", WRONG)
def test_credentials_that_are_refused_end_the_job_at_once(
    place: Place, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in WRONG[wrong].items():
        monkeypatch.setenv(name, value)
    ended = place.dvc(PATIENT, "repro", "--pull", patience_seconds=3000)
    said = ended.stdout + ended.stderr
    assert ended.returncode == 1 and "the DVC remote refuses" in said and "trying again" not in said
    assert place.runs() == 1 and not secrets(said)
    slept = at_the_first_pause(lambda: None, monkeypatch)
    for use in (remote.push, lambda: remote.pull("out"), remote.Remote().check_writing):
        with pytest.raises(OutputError, match="give credentials that may list, read and write"):
            use()
    assert not slept


def test_a_bucket_that_does_not_exist_lacks_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.point("s3://no-such-bucket/project")
    ended = place.dvc(PATIENT, "repro", "--pull", patience_seconds=3000)
    assert ended.returncode == 1 and "bucket does not exist" in ended.stdout and place.runs() == 1
    slept = at_the_first_pause(lambda: None, monkeypatch)
    for use in (remote.push, lambda: remote.pull("out")):
        with pytest.raises(OutputError, match="bucket does not exist"):
            use()
    assert not slept


def test_a_key_that_may_only_read(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is refused after the training is refused before it."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", READER)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", READING)
    assert remote.pull("out")
    (place.folder / "a").write_text("something else")
    assert place.dvc("dvc", "repro").returncode == 0
    slept = at_the_first_pause(lambda: None, monkeypatch)
    for use in (remote.push, remote.Remote().check_writing):
        with pytest.raises(OutputError, match=r"refuses\n.*Access Denied") as caught:
            use()
        assert not secrets(str(caught.value))
    assert not slept


def test_a_store_that_goes_away_in_the_middle_of_a_push(
    place: Place, object_store: ObjectStore, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    object_store.remove("")
    assert place.dvc("dvc", "repro", "--quiet", "--force").returncode == 0
    gate.shut_at(f"PUT /{BUCKET}/project/files/md5/".encode())
    slept = at_the_first_pause(gate.open, monkeypatch)
    remote.push()
    assert gate.shuts == 1 and slept
    assert len(object_store.names("project/files/")) == 2 and object_store.names("project/runs/")


def test_one_that_stays_away_ends_the_job(place: Place, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    gate.shut()
    ended = place.dvc(PATIENT, "repro", "--pull", patience_seconds=1)
    assert ended.returncode == 1 and "the DVC remote cannot be used" in ended.stdout and place.runs() == 1
    monkeypatch.setenv(patience.VARIABLE, "1")
    for use in (remote.push, lambda: remote.pull("out")):
        with pytest.raises(OutputError, match="does not answer"):
            use()


def test_one_that_hangs_is_away(
    place: Place, object_store: ObjectStore, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "ANSWER_SECONDS", 1)
    gate.hangs = True
    assert "does not answer" in (remote.Remote().trouble() or "")
    gate.hangs = False
    assert remote.Remote().trouble() is None


def test_variables_without_a_value_are_none(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """As GitHub sets those of secrets and variables that are not there."""
    for name in ("AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
        monkeypatch.setenv(name, "")
    assert remote.pull("out")
    place.forget()
    monkeypatch.setenv("AWS_DEFAULT_REGION", "")  # for which retrain.yml has a default
    with pytest.raises(OutputError, match="correct the remote's address, region or bucket"):
        remote.pull("out")


def test_the_address_may_be_in_the_configuration(
    place: Place, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3")
    assert os.environ["AWS_ACCESS_KEY_ID"] == KEY
    ended = place.dvc("dvc", "remote", "modify", "--local", "storage", "endpointurl", gate.address)
    assert ended.returncode == 0, ended.stderr
    assert remote.pull("out")
