"""The files of a container: complete, exact, and without this project."""

import contextlib
import json
import os
import shlex
import subprocess
import sys
import time
import urllib.error
import urllib.request
import warnings
from pathlib import Path
from typing import Any

import pytest

from baton.errors import ModelError, OutputError
from baton.lifecycle.serving import container
from tests.serve import test_pyfunc as served

ROOT = Path(__file__).parent.parent.parent.parent
SAID = {"model": {"name": "News of Reuters", "version": "3", "sha256": "ab"}}


def test_packages_come_with_all_that_they_need_and_their_digests() -> None:
    lines = container.locked_lines(["tokenizers"], [ROOT / "requirements.lock"])
    names = {line.partition("==")[0] for line in lines.splitlines() if "==" in line}
    assert {"tokenizers", "huggingface-hub", "mlflow", "uvicorn", "starlette", "pandas"} <= names
    assert not {"torch", "transformers", "dvc"} & names
    assert all("--hash=sha256:" in entry for entry in lines.split("\n\n") if entry)


def test_a_package_without_a_lock_is_refused(tmp_path: Path) -> None:
    (tmp_path / "some.lock").write_text("mlflow==1.0 \\\n    --hash=sha256:0\n")
    with pytest.raises(ModelError, match="the locks lack packages"):
        container.locked_lines(["tokenizers"], [tmp_path / "some.lock"])


def test_a_name_becomes_an_image() -> None:
    assert container.tag(SAID) == "news-of-reuters:3"
    assert container.tag({"model": {"id": "m-12"}}) == "m-12"


def asked(port: int, server: subprocess.Popen[bytes]) -> Any:
    """Return the answer of a server that is being started."""
    body = json.dumps({"inputs": ["wheat exports rose"]}).encode()
    kind = {"Content-Type": "application/json"}
    for _ in range(600):
        assert server.poll() is None, "the server ended"
        with contextlib.suppress(urllib.error.URLError):
            sent = urllib.request.Request(f"http://127.0.0.1:{port}/invocations", body, kind)
            return json.loads(urllib.request.urlopen(sent, timeout=60).read())
        time.sleep(0.1)
    raise AssertionError("no answer")


@pytest.mark.usefixtures("quiet_mlflow")
def test_the_server_in_the_folder_answers_without_this_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logged = Path(served.log(served.write_model(tmp_path / "one", seed=1), "one"))
    out = tmp_path / "container"
    container.write(logged, SAID | {"abstain_below": 0.5}, out)
    with pytest.raises(OutputError, match="exists"):
        container.write(logged, SAID, out)
    text = (out / "Dockerfile").read_text()
    assert any(path.stat().st_mode & 0o777 == 0o600 for path in logged.rglob("*")), "only its owner reads it"
    assert all(path.stat().st_mode & 0o444 == 0o444 for path in out.rglob("*"))
    for line in text.splitlines():
        if line.startswith("COPY"):
            assert (out / shlex.split(line)[1]).exists()
    variables = {
        name: json.loads(value)
        for name, _, value in (
            line.removeprefix("ENV ").strip(" \\").partition("=")
            for line in text.splitlines()
            if line.startswith(("ENV ", "    "))
        )
    }
    # An import of this project fails.
    code = "import runpy, sys; sys.modules['baton'] = None; sys.path.insert(0, 'server'); "
    code += "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    port = 20000 + os.getpid() % 20000
    command = [sys.executable, "-B", "-c", code, "server/pyfunc.py", "model", "127.0.0.1", str(port)]
    environment = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"} | variables
    with (tmp_path / "server.log").open("w") as log:
        server = subprocess.Popen(command, cwd=out, env=environment, stdout=log, stderr=log)
    try:
        answer = asked(port, server)
    finally:
        server.kill()
        server.wait()
    assert answer["predictions"][0]["label"] in served.LABELS
    assert answer["model"] == SAID["model"]
    assert {"temperature", "abstain_below"} <= answer.keys()
