"""Encode tensors as the bytes of a safetensors file, piece by piece, without a second copy in memory.

The library's own `save` copies all tensors into one string while it holds Python's lock, which would stall
training in the meantime. The format (https://github.com/huggingface/safetensors, "Format"): 8 bytes with the
header's length, little-endian; the header, JSON, padded with spaces; the tensors without gaps. Files are read
with the library.
"""

import json
import sys
from collections.abc import Iterator, Mapping

import torch

NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
PIECE = (
    1 << 22
)  # bytes; small enough that a hashed piece is still in the processor's cache when it is written


def encoded(
    tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None = None
) -> Iterator[bytes | memoryview]:
    """Yield the pieces of a file with `tensors`, which must not change in the meantime, and `metadata`.

    Tensors may be on any device and in any memory format; in the file they are contiguous.

    Raises:
        KeyError: a tensor's type has no name in `NAMES`.
    """
    assert sys.byteorder == "little", "safetensors files are little-endian"
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    start = 0
    # In this order each tensor starts at a multiple of its element size.
    ordered = sorted(tensors.items(), key=lambda item: -item[1].element_size())
    for name, tensor in ordered:
        offsets = [start, start + tensor.nbytes]
        header[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": offsets}
        start = offsets[1]
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    for _, tensor in ordered:
        whole = memoryview(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        for place in range(0, len(whole), PIECE):
            yield whole[place : place + PIECE]
