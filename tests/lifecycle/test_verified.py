"""Files of models in the registry that somebody changed: nothing of them runs, wherever a model is loaded."""

import os
from pathlib import Path
from typing import Any

import pytest

from baton import params, storage, tracking
from baton.errors import ModelError, OutputError
from baton.lifecycle import registration, verified
from baton.lifecycle.promotion import promote
from baton.lifecycle.registry import CHAMPION, Registry, number
from baton.lifecycle.serving import launch
from baton.processes import clean_environment
from baton.tracking.model_files import FILES_SHA256
from baton.tracking.store import open_store
from tests.lifecycle.conftest import Publish

MARK = "ran.txt"


@pytest.fixture
def registry(publish: Publish) -> Registry:
    publish(1)
    active = params.read()
    assert isinstance(active.tracking, params.MlflowTracking)
    own = Registry(open_store(active.tracking), active.promotion.name)
    registration.register(own, active.promotion)
    return own


def files_of(registry: Registry) -> Path:
    """Return the folder of the first version in the artifact store."""
    (model,) = registry.store.models("")
    return Path(model.artifact_location.removeprefix("file://"))


def poison(path: Path) -> None:
    """Let the code of a stored model write a file when it runs."""
    mark = Path(MARK).resolve()
    path.write_text(f"import pathlib\npathlib.Path({str(mark)!r}).write_text('x')\n{path.read_text()}")


def refused(call: Any) -> str:
    with pytest.raises(ModelError) as caught:
        call()
    assert not Path(MARK).exists(), "the code of the model ran"
    return str(caught.value)


def test_changed_code_is_not_run_by_gate_drift_verify_or_serve(registry: Registry) -> None:
    version, settings = registry.version("1"), params.read().promotion
    poison(files_of(registry) / "pyfunc.py")
    for call in (
        lambda: promote.promote(registry, settings, enabled=False),
        lambda: verified.load(registry, version),
        lambda: verified.verify(registry.store, registry.uri(version), record=False, out=None),
        lambda: launch.prepared(registry.store, registry.uri(version)),
    ):
        assert "are not those that were recorded" in refused(call)


@pytest.mark.parametrize("file", ["MLmodel", "requirements.txt", "artifacts/student/model.safetensors"])
def test_every_file_counts_and_a_new_one_too(registry: Registry, file: str) -> None:
    uri, folder = "models:/news@challenger".replace("news", registry.name), files_of(registry)
    assert "verified: " in verified.verify(registry.store, uri, record=False, out=None)
    before = (folder / file).read_bytes()
    (folder / file).write_bytes(before + b"\n")
    refused(lambda: verified.verify(registry.store, uri, record=False, out=None))
    (folder / file).write_bytes(before)
    (folder / "code" / "sitecustomize.py").write_text("")
    refused(lambda: verified.verify(registry.store, uri, record=False, out=None))


def test_byte_code_beside_the_code_is_not_taken_over(registry: Registry, tmp_path: Path) -> None:
    """Loading from a local store leaves it there; a forged one would run in place of the source."""
    cache = files_of(registry) / "code" / "__pycache__"
    cache.mkdir()
    (cache / "x.cpython-311.pyc").write_bytes(b"forged")
    out = tmp_path / "out"
    verified.verify(registry.store, f"models:/{registry.name}/1", record=False, out=out)
    assert (out / "MLmodel").is_file() and not list(out.rglob("__pycache__"))
    with pytest.raises(OutputError):
        verified.verify(registry.store, f"models:/{registry.name}/1", record=False, out=out)


def test_a_version_of_an_earlier_baton_gets_one_clear_message(registry: Registry) -> None:
    settings, uri = params.read().promotion, f"models:/{registry.name}/1"
    registry.client.delete_model_version_tag(registry.name, "1", FILES_SHA256)
    told = refused(lambda: promote.promote(registry, settings, enabled=False))
    assert f"{uri} has no digest of its files" in told and f"`baton verify {uri} --record`" in told
    registry.client.set_registered_model_alias(registry.name, CHAMPION, "1")
    assert refused(lambda: verified.check_champion(registry)) == told
    assert "recorded: " in verified.verify(registry.store, uri, record=True, out=None)
    verified.check_champion(registry)
    with verified.fetched(registry, registry.version("1")) as folder:
        assert (folder / "MLmodel").is_file()


def test_recording_refuses_other_weights_and_keeps_what_was_recorded(registry: Registry) -> None:
    uri, weights = f"models:/{registry.name}/1", files_of(registry) / "artifacts/student/model.safetensors"
    recorded = registry.version("1").tags[FILES_SHA256]
    weights.write_bytes(weights.read_bytes() + b"\0")
    refused(lambda: verified.verify(registry.store, uri, record=True, out=None))
    assert registry.version("1").tags[FILES_SHA256] == recorded
    registry.client.delete_model_version_tag(registry.name, "1", FILES_SHA256)
    told = refused(lambda: verified.verify(registry.store, uri, record=True, out=None))
    assert "not the one that was registered" in told


def test_what_was_changed_before_registration_is_not_registered(publish: Publish) -> None:
    publish(1)
    active = params.read()
    assert isinstance(active.tracking, params.MlflowTracking)
    own = Registry(open_store(active.tracking), active.promotion.name)
    poison(files_of(own) / "pyfunc.py")
    refused(lambda: registration.register(own, active.promotion))
    assert own.versions() == []


def test_registering_again_trusts_no_files_that_nobody_decided_on(registry: Registry) -> None:
    registry.client.delete_model_version_tag(registry.name, "1", FILES_SHA256)
    version, new = registration.register(registry, params.read().promotion)
    assert not new and number(version) == "1" and FILES_SHA256 not in version.tags


def test_a_warm_start_takes_no_changed_files(registry: Registry, tmp_path: Path) -> None:
    (model,) = registry.store.models("")
    base = params.RunBase.model_validate(
        {"kind": "run", "run": model.source_run_id, "model": "student", "sha256": "", "licence": ""}
    )
    found = tracking.logged_model(base, tmp_path / "one")
    assert storage.sha256_tree(found) == model.tags["sha256"]
    (files_of(registry) / "pyfunc.py").write_text("")
    refused(lambda: tracking.logged_model(base, tmp_path / "two"))


def test_the_code_of_a_model_gets_no_credentials(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The model's own code, registered as such, looks for them while the gate scores it."""
    names = ("MLFLOW_TRACKING_PASSWORD", "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "SSH_AUTH_SOCK")
    for name in names:
        monkeypatch.setenv(name, "planted")
    seen = tmp_path / "seen.txt"
    code = files_of(registry) / "pyfunc.py"
    looks = f"import os, pathlib\npathlib.Path({str(seen)!r}).write_text(repr(dict(os.environ)))\n"
    code.write_text(looks + code.read_text())
    registry.client.delete_model_version_tag(registry.name, "1", FILES_SHA256)
    verified.verify(registry.store, f"models:/{registry.name}/1", record=True, out=None)
    promote.promote(registry, params.read().promotion, enabled=False)
    environment = seen.read_text()
    assert "planted" not in environment and "PATH" in environment
    assert os.environ["GITHUB_TOKEN"] == "planted"
    assert not {*names} & {*clean_environment.scrubbed(os.environ, tmp_path)}
