"""Files of the Hugging Face Hub, fetched by the real client from a local server with the Hub's URLs."""

import hashlib
import json
from pathlib import Path
from typing import Literal

import pytest

from baton.errors import SourceError
from baton.sources import hub
from tests.local_server import LocalServer, Page

COMMIT = "0123456789abcdef0123456789abcdef01234567"
BODY = b"label,text\n" + b"a line of text that is long enough to be cut in two\n" * 200


@pytest.fixture
def endpoint(server: LocalServer, cache: Path, monkeypatch: pytest.MonkeyPatch) -> LocalServer:
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    return server


def kept(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir() if path.name not in {"locks", "index"})


@pytest.mark.parametrize(("kind", "name"), [("dataset", "data/train.csv"), ("model", "model.safetensors")])
def test_a_file_is_fetched_once(endpoint: LocalServer, kind: Literal["dataset", "model"], name: str) -> None:
    endpoint.hub_file(kind, "owner/things", COMMIT, name, BODY)
    assert hub.fetch_file(kind, "owner/things", COMMIT, name).read_bytes() == BODY
    asked = len(endpoint.requests)
    assert asked
    assert hub.fetch_file(kind, "owner/things", COMMIT, name).read_bytes() == BODY
    assert len(endpoint.requests) == asked, "the second time no request is sent"


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_shared_cache_does_not_say_which_bytes_belong_to_a_commit(
    endpoint: LocalServer, cache: Path, name: str
) -> None:
    other = b"what somebody wants instead"
    digest = hashlib.sha256(other).hexdigest()
    (cache / "index").mkdir(parents=True)
    (cache / digest).write_bytes(other)
    entry = cache / "index" / f"hub model owner%2Fthings@{COMMIT} {name}.json"
    entry.write_text(json.dumps({"key": "hub", "sha256": digest, "bytes": len(other)}))
    endpoint.hub_file("model", "owner/things", COMMIT, name, BODY)
    assert hub.fetch_file("model", "owner/things", COMMIT, name).read_bytes() == BODY


def test_a_large_file_that_a_shared_cache_has_is_not_fetched_again(
    endpoint: LocalServer, cache: Path
) -> None:
    cache.mkdir()
    (cache / hashlib.sha256(BODY).hexdigest()).write_bytes(BODY)
    endpoint.hub_file("model", "owner/things", COMMIT, "model.safetensors", BODY)
    assert hub.fetch_file("model", "owner/things", COMMIT, "model.safetensors").read_bytes() == BODY
    assert {line.split()[0] for line in endpoint.requests} == {"HEAD"}
    (found,) = [path for path in cache.iterdir() if path.is_file()]
    assert found.read_bytes() == BODY


def test_an_empty_revision_is_refused_with_the_way_to_get_one(endpoint: LocalServer) -> None:
    with pytest.raises(
        SourceError,
        match=r"(?s)no revision.*got: +an empty.*expected:"
        r".*next: +open https://\S+/datasets/owner/things/commits",
    ):
        hub.fetch_file("dataset", "owner/things", "", "train.csv")
    assert endpoint.requests == []


def test_a_connection_that_breaks_is_tried_again(endpoint: LocalServer) -> None:
    endpoint.hub_file("dataset", "owner/things", COMMIT, "train.csv", BODY, breaks=1)
    assert hub.fetch_file("dataset", "owner/things", COMMIT, "train.csv").read_bytes() == BODY


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_bytes_that_are_not_those_of_the_hub_s_digest_are_refused(
    endpoint: LocalServer, cache: Path, name: str
) -> None:
    digest = "a" * (64 if name.endswith("safetensors") else 40)
    endpoint.hub_file("model", "owner/things", COMMIT, name, BODY, etag=digest)
    with pytest.raises(
        SourceError, match=rf"(?s)owner/things@{COMMIT} {name}.*2 attempts.*the Hub reports {digest}"
    ):
        hub.fetch_file("model", "owner/things", COMMIT, name)
    assert kept(cache) == []


def test_a_missing_file_is_named_at_once(endpoint: LocalServer, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(
        SourceError, match=r"(?s)has no file train.csv.*got:.*expected: +train.csv.*next: +check `files`"
    ):
        hub.fetch_file("dataset", "owner/things", COMMIT, "train.csv")
    assert "attempt" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("RepoNotFound", r"does not exist.*next: +check `repository`"),
        ("RevisionNotFound", r"no such revision.*next: +copy a commit"),
        ("GatedRepo", r"is gated.*next: +accept its terms"),
    ],
)
def test_the_hub_s_refusals_have_their_own_advice(endpoint: LocalServer, code: str, message: str) -> None:
    status = 403 if code == "GatedRepo" else 404
    endpoint.pages[f"/owner/things/resolve/{COMMIT}/config.json"] = Page(
        b"no", {"X-Error-Code": code}, status=status
    )
    with pytest.raises(SourceError, match=rf"(?s)hub model owner/things.*{message}"):
        hub.fetch_file("model", "owner/things", COMMIT, "config.json")


def test_no_connection_is_named_after_the_last_attempt(endpoint: LocalServer, cache: Path) -> None:
    endpoint.close()
    with pytest.raises(SourceError, match=r"(?s)2 attempts.*next: +check the connection"):
        hub.fetch_file("model", "owner/things", COMMIT, "config.json")
    assert kept(cache) == []
