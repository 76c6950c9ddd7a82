"""Test that safetensors reads the encoded tensors: all types, shapes and memory formats, in pieces."""

import json

import pytest
import torch
from safetensors.torch import load, save

from baton.train import tensors


def examples() -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    found = {str(dtype): torch.randint(0, 2, (3, 5), generator=random).to(dtype) for dtype in tensors.NAMES}
    picture = torch.randn(2, 3, 4, 5, generator=random).to(memory_format=torch.channels_last)
    others = {
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 5),
        "transposed": torch.randn(4, 6, generator=random).T,
    }
    return found | others | {"channels_last": picture, 'a "name"': torch.ones(1, requires_grad=True)}


@pytest.mark.parametrize("piece", [7, tensors.PIECE])
def test_safetensors_reads_it(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensors, "PIECE", piece)
    given = examples()
    read = load(b"".join(tensors.encoded(given)))
    assert read.keys() == given.keys()
    for name, tensor in given.items():
        assert (
            read[name].dtype == tensor.dtype
            and read[name].shape == tensor.shape
            and torch.equal(read[name], tensor)
        ), name


def test_nothing_is_a_file_too() -> None:
    assert load(b"".join(tensors.encoded({}))) == {}


def test_the_data_is_laid_out_as_by_the_library() -> None:
    """Each tensor begins at a multiple of its element size, and the header ends at a multiple of 8."""
    content = b"".join(tensors.encoded(examples()))
    length = int.from_bytes(content[:8], "little")
    assert length % 8 == 0
    header = json.loads(content[8 : 8 + length])
    own = {name: entry["data_offsets"] for name, entry in header.items()}
    for name, tensor in examples().items():
        assert own[name][0] % tensor.element_size() == 0, name
    assert (
        len(content) - length
        == len(save({name: tensor.contiguous() for name, tensor in examples().items()})) - library_header()
    )


def library_header() -> int:
    content = save({name: tensor.contiguous() for name, tensor in examples().items()})
    return int.from_bytes(content[:8], "little")
