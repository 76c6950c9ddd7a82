"""Send plain values and arrays between the ranks: as JSON and as bytes, never as pickles.

The ranks meet over sockets, and whoever reaches one could send a pickle, which is code for the rank that
opens it. What is read here can only be a wrong value. Values are None, booleans, numbers, texts, and lists
and mappings (by texts) of these.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray

Group = dist.ProcessGroup | None  # None: the group of all ranks
KINDS = "biuf"  # of arrays: numbers only
DTYPES = {str(dtype): dtype for dtype in vars(torch).values() if isinstance(dtype, torch.dtype)}


def share(value: Any, group: Group = None) -> Any:
    """Return rank 0's value on every rank of a group of processes; the other ranks' is ignored.

    Raises:
        TypeError: the value is not plain.
    """
    if dist.get_rank() == 0:
        _send(json.dumps(_plain(value)).encode(), group)
        return value
    return json.loads(_receive(group))


def gather(value: Any, group: Group = None) -> list[Any]:
    """Return the values of all ranks, by rank, on each.

    Raises:
        TypeError: the value is not plain.
    """
    own = torch.frombuffer(bytearray(json.dumps(_plain(value)).encode()), dtype=torch.uint8)
    count = dist.get_world_size(group)
    sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(count)]
    dist.all_gather(sizes, torch.tensor([len(own)]), group=group)
    longest = max(int(size) for size in sizes)
    padded = torch.cat([own, torch.zeros(longest - len(own), dtype=torch.uint8)])
    found = [torch.empty(longest, dtype=torch.uint8) for _ in range(count)]
    dist.all_gather(found, padded, group=group)
    return [json.loads(each[: int(size)].numpy().tobytes()) for each, size in zip(found, sizes, strict=True)]


def share_arrays(arrays: Mapping[str, NDArray[Any]] | None) -> dict[str, NDArray[Any]]:
    """Return rank 0's arrays of numbers on every rank; the other ranks' are ignored."""
    own = {name: np.ascontiguousarray(array) for name, array in (arrays or {}).items()}
    described = share([[name, array.dtype.str, list(array.shape)] for name, array in own.items()])
    found = {}
    for name, kind, shape in described:
        dtype = np.dtype(str(kind))
        if dtype.kind not in KINDS:
            raise TypeError(f"arrays of {dtype} are not exchanged")
        array = own[name] if dist.get_rank() == 0 else np.empty(shape, dtype)
        if array.size:
            dist.broadcast(torch.from_numpy(array.reshape(-1).view(np.uint8)), 0)
        found[name] = array
    return found


def described(tensor: torch.Tensor) -> list[Any]:
    """Return a tensor's shape and type as a plain value."""
    return [list(tensor.shape), str(tensor.dtype)]


def like(description: list[Any], device: torch.device) -> torch.Tensor:
    """Return an empty tensor of a shape and type from `described`."""
    shape, dtype = description
    return torch.empty([int(size) for size in shape], dtype=DTYPES[dtype], device=device)


def _send(content: bytes, group: Group) -> None:
    dist.broadcast(torch.tensor([len(content)]), 0, group=group)
    dist.broadcast(torch.frombuffer(bytearray(content), dtype=torch.uint8), 0, group=group)


def _receive(group: Group) -> bytes:
    size = torch.zeros(1, dtype=torch.int64)
    dist.broadcast(size, 0, group=group)
    content = torch.empty(int(size), dtype=torch.uint8)
    dist.broadcast(content, 0, group=group)
    return content.numpy().tobytes()


def _plain(value: Any) -> Any:
    """Return the value with NumPy's numbers as Python's; refuse what JSON would not give back equal."""
    match value:
        case np.generic():
            return value.item()
        case None | bool() | int() | float() | str():
            return value
        case list():
            return [_plain(item) for item in value]
        case dict() if all(isinstance(key, str) for key in value):
            return {key: _plain(item) for key, item in value.items()}
    raise TypeError(f"a value of type {type(value).__name__} is not exchanged between ranks: {value!r}")
