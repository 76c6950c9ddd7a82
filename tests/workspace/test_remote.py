"""Faults of the network are not taken for missing outputs: real DVC, a folder and a server as remotes."""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from baton.errors import OutputError, ParamsError
from baton.lifecycle.retraining import prerequisites
from baton.processes import patience
from baton.workspace import remote

ROOT = Path(__file__).parents[2]
PATIENT = "baton.workspace.patient_dvc"
STAGE = """
stages:
  made:
    cmd: mkdir -p out && cat a > out/x && echo ran >> ../log
    deps: [a]
    outs: [out]
"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Http:
    """A remote behind HTTP that can be away."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, 0

    def start(self) -> None:
        self.server = ThreadingHTTPServer(
            ("127.0.0.1", self.port), partial(Quiet, directory=str(self.folder))
        )
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class Place:
    """A DVC project whose only stage ran and was pushed; nothing of it is left but what git would hold."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.store = folder / "project", folder / "store"
        self.folder.mkdir()
        self.store.mkdir()
        (self.folder / "a").write_text("hi")
        (self.folder / "dvc.yaml").write_text(STAGE)
        assert self.dvc("dvc", "init", "--quiet", "--no-scm").returncode == 0
        self.point(str(self.store))
        for words in (("repro", "--quiet"), ("push", "--quiet", "--run-cache")):
            assert self.dvc("dvc", *words).returncode == 0
        self.forget()

    def moved(self, folder: Path) -> "Place":
        """Return a copy of it."""
        shutil.copytree(self.folder.parent, folder)
        made = Place.__new__(Place)
        made.folder, made.store = folder / "project", folder / "store"
        made.point(str(made.store))
        return made

    def point(self, address: str) -> None:
        """Make an address the remote."""
        core = "[core]\n    remote = storage\n    no_scm = True\n    analytics = false\n"
        text = f"{core}['remote \"storage\"']\n    url = {address}\n"
        (self.folder / ".dvc/config").write_text(text)

    def forget(self) -> None:
        shutil.rmtree(self.folder / "out", ignore_errors=True)
        shutil.rmtree(self.folder / ".dvc/cache", ignore_errors=True)

    def dvc(self, module: str, *words: str, patience_seconds: float = 20) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", module, *words]
        own = self.environment(patience_seconds)
        return subprocess.run(command, cwd=self.folder, env=own, capture_output=True, text=True, check=False)

    def told(self, words: str, act: Callable[[], object], *command: str) -> str:
        """Run DVC, patient; act when it says these words for the first time. Return what it says."""
        line = [sys.executable, "-m", PATIENT, *command]
        said = ""
        with subprocess.Popen(
            line,
            cwd=self.folder,
            env=self.environment(300),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            assert process.stdout is not None
            for text in process.stdout:
                if words in text and words not in said:
                    act()
                said += text
        assert process.returncode == 0, said
        assert words in said, said
        return said

    def environment(self, patience_seconds: float) -> dict[str, str]:
        own = {"PYTHONPATH": str(ROOT / "src"), patience.VARIABLE: str(patience_seconds)}
        return os.environ | own | {"DVC_SITE_CACHE_DIR": str(self.folder.parent / "site"), "COLUMNS": "200"}

    def runs(self) -> int:
        return len((self.folder.parent / "log").read_text().splitlines())


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("pushed"))


@pytest.fixture
def place(pushed: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    made = pushed.moved(tmp_path / "own")
    monkeypatch.chdir(made.folder)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "own/site"))
    monkeypatch.setenv(patience.VARIABLE, "20")
    return made


@pytest.fixture
def http(place: Place) -> Iterator[Http]:
    server = Http(place.store)
    server.start()
    place.point(f"http://127.0.0.1:{server.port}")
    yield server
    server.stop()


def later(seconds: float, call: Callable[[], object]) -> threading.Timer:
    timer = threading.Timer(seconds, call)
    timer.start()
    return timer


def test_dvc_itself_runs_the_stage_again_when_its_remote_is_away(place: Place, http: Http) -> None:
    """The fault that `patient_dvc` is there for."""
    http.stop()
    assert place.dvc("dvc", "repro", "--pull").returncode == 0
    assert place.runs() == 2
    http.start()


def test_a_server_that_comes_back_is_waited_for(place: Place, http: Http) -> None:
    http.stop()
    assert "does not answer" in place.told("trying again", http.start, "repro", "--pull")
    assert (place.folder / "out/x").read_text() == "hi" and place.runs() == 1


def test_one_that_stays_away_ends_the_job(place: Place, http: Http) -> None:
    http.stop()
    ended = place.dvc(PATIENT, "repro", "--pull", patience_seconds=1)
    http.start()
    assert ended.returncode == 1 and "the DVC remote cannot be used" in ended.stdout
    assert place.runs() == 1


def test_a_folder_that_is_not_mounted_is_waited_for(place: Place) -> None:
    """Here the run-cache is asked, since the lock is of other inputs."""
    (place.folder / "dvc.lock").unlink()
    aside = place.store.rename(place.store.with_name("aside"))
    said = place.told("trying again", lambda: aside.rename(place.store), "repro", "--pull")
    assert "does not exist" in said
    assert (place.folder / "out/x").read_text() == "hi" and place.runs() == 1


def test_what_the_remote_lacks_is_made_again(place: Place, http: Http) -> None:
    shutil.rmtree(place.store / "files")
    ended = place.dvc(PATIENT, "repro", "--pull")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert place.runs() == 2


# An address that did not answer leaves aiohttp's session open.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_pulling_tells_missing_outputs_from_a_silent_remote(
    place: Place, http: Http, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert remote.pull("out")
    place.forget()
    http.stop()
    back = later(3, http.start)
    assert remote.pull("out")
    back.join()
    place.forget()
    shutil.rmtree(place.store / "files")
    assert not remote.pull("out")
    http.stop()
    monkeypatch.setenv(patience.VARIABLE, "1")
    with pytest.raises(OutputError, match="cannot be used"):
        remote.pull("out")
    http.start()


def test_a_remote_whose_package_is_missing_is_one_error(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the extra were not installed."""
    monkeypatch.setitem(sys.modules, "dvc_s3", None)
    place.point("s3://bucket/project")
    with pytest.raises(ParamsError, match="make install EXTRAS=s3"):
        remote.Remote().trouble()
    monkeypatch.setattr(prerequisites, "run", lambda *_, **__: "storage")
    assert [line for line in prerequisites._remote(push=True) if "requires 'dvc-s3'" in line]


def test_another_failure_of_dvc_is_no_missing_output(place: Place) -> None:
    with pytest.raises(OutputError, match="`dvc pull` failed"):
        remote.pull("nothing-of-that-name")


def test_pushing_waits_for_a_folder(place: Place) -> None:
    assert place.dvc("dvc", "repro", "--quiet", "--force").returncode == 0
    aside = place.store.rename(place.store.with_name("aside"))
    shutil.rmtree(aside / "files")
    back = later(1, lambda: aside.rename(place.store))
    remote.push()
    back.join()
    assert list(place.store.rglob("*.dir"))


def test_a_refusal_is_told(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(patience.VARIABLE, "0.1")
    place.store.rename(place.store.with_name("aside"))
    with pytest.raises(OutputError, match="does not exist"):
        remote.push()
    assert not place.store.exists()


def test_pauses_double_and_end() -> None:
    pauses = list(patience.pauses(100))
    assert sum(pauses) == pytest.approx(100)
    assert all(0.74 * 2**place < pause < 1.26 * 2**place for place, pause in enumerate(pauses[:5]))


def test_persisting_returns_the_last_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(patience.VARIABLE, "0.01")
    answers = iter(["first", "second", "third"])
    assert patience.persist(lambda: next(answers)) == "second"
    answers = iter(["first", None])  # type: ignore[list-item]
    assert patience.persist(lambda: next(answers)) is None


def test_patience_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(patience.VARIABLE, "long")
    with pytest.raises(ParamsError, match="BATON_PATIENCE_SECONDS is not a number"):
        patience.persist(lambda: None)


def test_the_environment_may_ask_for_more_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(patience.time, "sleep", slept.append)
    monkeypatch.setenv(patience.VARIABLE, "1000")
    assert patience.persist(lambda: "away") == "away"
    assert sum(slept) == pytest.approx(1000)
