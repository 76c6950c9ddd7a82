"""Write and read one process's file of a sharded checkpoint, with its parts of the tensors.

The format is that of `torch.distributed.checkpoint`, whose reader reassembles the parts for any number of
processes.
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

PROCESSES = "processes"  # key in the state: how many processes wrote it


def put(temporary: Path, flat: Mapping[str, torch.Tensor], ready: Callable[[], None]) -> dict[str, object]:
    """Write this process's part, flush it to disk, and return its manifest entry.

    `torch.distributed.checkpoint.save` is not used, because it copies the part twice and then holds Python's
    lock while it builds the file.
    """
    ready()
    rank = dist.get_rank() if dist.is_initialized() else 0
    tensors: dict[str, torch.Tensor] = {}
    places: dict[str, dict[str, list[int]]] = {}
    for key, tensor in flat.items():
        offset, part = sharding.offset(tensor), sharding.own(tensor)
        # The main process writes tensors that are not split. Batch normalisation statistics differ between
        # processes; those of the main process count.
        if rank == 0 or (offset is not None and part.numel()):
            tensors[key], places[key] = part, {"saved_offsets": offset or [0] * part.ndim}
    name = f"shard-{rank + 1:05d}.safetensors"
    # The same metadata as HuggingFaceStorageWriter's, for its reader.
    metadata = {"DCP_SHARDING_INFO": json.dumps(places), "DCP_VERSION": "1.0", "format": "pt"}
    return {name: checkpoint_folders.put(temporary / name, encoded(tensors, metadata))}


def verify(folder: Path) -> str | None:
    """Return what is wrong with this process's share of the files; None if nothing is."""
    rank, size = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    try:
        expected = json.loads((folder / MANIFEST).read_bytes())
        for name in sorted(expected)[rank::size]:
            if (found := checkpoint_folders.entry(folder / name)) != expected[name]:
                return f"{name} ({found['bytes']:,} bytes) differs in size or sha256 from when it was written"
        json.loads((folder / STATE).read_bytes())[PROCESSES]
    except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
        return str(error)
    except OSError as error:
        hint = "fix its permissions or the disk and run again, or delete it to resume from the previous one"
        raise OutputError(f"the checkpoint {folder} cannot be read", got=error.strerror, hint=hint) from error
    return None


def empty(key: str, found: Any, like: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Return an empty tensor for a saved one: split like the weight of the same name, or whole."""
    weight, dtype = like.get(key.partition("/")[2]), found.properties.dtype
    if weight is not None and weight.shape == found.size:
        return torch.empty_like(weight, dtype=dtype, requires_grad=False)
    return torch.empty(found.size, dtype=dtype)
