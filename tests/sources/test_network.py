"""The real sources named in the recipes (`make test-slow`)."""

import socket
from pathlib import Path

import pytest

from baton import params
from baton.sources import fetching, hub

pytestmark = pytest.mark.network


def test_the_active_recipe_s_source(root: Path, workplace: Path) -> None:
    fetching.fetch_source(params.read(root / "params.yaml").source, Path("data/raw"))
    assert sorted(path.name for path in Path("data/raw").iterdir()) == [
        "manifest.json",
        "test.tab",
        "train.tab",
    ]


def test_a_file_of_the_hub_at_a_known_revision(cache: Path) -> None:
    try:
        socket.getaddrinfo("huggingface.co", 443)
    except OSError as error:
        pytest.skip(f"the hub is unreachable: {error}")
    path = hub.fetch_file(
        "model", "google-bert/bert-base-uncased", "86b5e0934494bd15c9632b12f734a8a67f723594", "config.json"
    )
    assert b'"hidden_size": 768' in path.read_bytes()
