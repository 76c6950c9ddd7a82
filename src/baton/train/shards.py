"""What one process writes and reads of a checkpoint of all: its parts of the tensors, in a file of its own.

The format is that of `torch.distributed.checkpoint`, whose reader puts the parts together for any number of processes.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from baton.errors import OutputError
from baton.runtime import sharding
from baton.train import checkpoint_folders
from baton.train.checkpoint_folders import MANIFEST, STATE
from baton.train.tensors import encoded

PROCESSES = "processes"  # of its state: how many wrote it


def put(temporary: Path, flat: Mapping[str, torch.Tensor], ready: Callable[[], None]) -> dict[str, object]:
    """This process's part, flushed to the disk; its entry of the manifest.

    Not by `torch.distributed.checkpoint.save`, which copies the part twice and then holds Python's lock while it builds the file.
    """
    ready()
    rank = dist.get_rank() if dist.is_initialized() else 0
    tensors: dict[str, torch.Tensor] = {}
    places: dict[str, dict[str, list[int]]] = {}
    for key, tensor in flat.items():
        offset, part = sharding.offset(tensor), sharding.own(tensor)
        # What is not split is written by the main process: statistics of batch normalisation are each process's own, and its count.
        if rank == 0 or (offset is not None and part.numel()):
            tensors[key], places[key] = part, {"saved_offsets": offset or [0] * part.ndim}
    name = f"shard-{rank + 1:05d}.safetensors"
    # As HuggingFaceStorageWriter has it, for its reader.
    metadata = {"DCP_SHARDING_INFO": json.dumps(places), "DCP_VERSION": "1.0", "format": "pt"}
    return {name: checkpoint_folders.put(temporary / name, encoded(tensors, metadata))}


def verify(folder: Path) -> str | None:
    """What is wrong with this process's share of the files; None: nothing."""
    rank, size = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    try:
        expected = json.loads((folder / MANIFEST).read_bytes())
        for name in sorted(expected)[rank::size]:
            if (found := checkpoint_folders.entry(folder / name)) != expected[name]:
                return f"{name} has {found['bytes']:,} bytes, of another sha256 or number than when it was written"
        json.loads((folder / STATE).read_bytes())[PROCESSES]
    except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
        return str(error)
    except OSError as error:
        hint = "mend the permissions or the disk and run again, or delete it to go on from the one before"
        raise OutputError(f"the checkpoint {folder} cannot be read", got=error.strerror, hint=hint) from error
    return None


def empty(key: str, found: Any, like: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Room for a saved tensor: split as the weight of its name, or whole."""
    weight, dtype = like.get(key.partition("/")[2]), found.properties.dtype
    if weight is not None and weight.shape == found.size:
        return torch.empty_like(weight, dtype=dtype, requires_grad=False)
    return torch.empty(found.size, dtype=dtype)
