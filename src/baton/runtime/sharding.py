"""Split a model's weights, gradients and optimizer state over the processes (`runtime.sharding: full`).

This uses FSDP2 (`torch.distributed.fsdp.fully_shard`; the method is ZeRO stage 3, Rajbhandari et al. 2020,
arXiv:1910.02054). Each encoder layer is a unit whose weights are gathered for its computation and freed
afterwards; the rest (embeddings, head) is one more unit. Weights become DTensors. Every forward pass is a
collective operation, so all processes must make the same passes, in validation and prediction too.

Input: a whole model on the host, the `Runtime`. Output: the same model, split; its names, parameter groups
and forward pass are unchanged.
"""

from collections.abc import Iterable, Mapping
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import nn

from baton.errors import ModelError
from baton.runtime.resolve import Runtime, takes_statistics


def place(model: nn.Module, runtime: Runtime) -> Any:
    """Move the model to the runtime's device; split it if `runtime.sharding` asks for that.

    With a single process it stays whole.

    Args:
        model: on the host. Its `shards()` are its units, from input to output.
        runtime: device, precision, processes, sharding.

    Raises:
        ModelError: this architecture cannot be split.
    """
    if runtime.sharding == "none" or runtime.processes == 1:
        return model.to(runtime.device)
    return split(model, runtime)


def split(model: nn.Module, runtime: Runtime) -> Any:
    """Split the model over the processes of the default group.

    The device never holds the whole model: units are moved there one by one, and each process keeps only its
    part. Until then each process holds the whole model on the host.

    Raises:
        ModelError: this architecture cannot be split.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    _check(model)
    # In bf16, weights are gathered in the precision they are used in, which halves the communication;
    # gradients are summed in 32 bits. Not in fp16: the scaled gradients of norms and biases, which have 32
    # bits in a whole model, would overflow, and steps would be skipped. Batch normalisation needs its weights
    # in full precision.
    low = torch.bfloat16 if runtime.precision == "bf16" and not takes_statistics(model) else None
    # Inputs are not cast: a mask's lowest number, or a pixel, is not representable in 16 bits. Autocast
    # converts what it has to.
    policy = MixedPrecisionPolicy(
        param_dtype=low, reduce_dtype=low and torch.float32, cast_forward_inputs=False
    )
    mesh = init_device_mesh(runtime.device.type, (dist.get_world_size(),))
    for parameter in model.parameters():
        parameter.data = parameter.data.contiguous()  # FSDP supports no other memory format
    for unit in units(model):
        fully_shard(unit, mesh=mesh, mp_policy=policy)
    return fully_shard(model, mesh=mesh, mp_policy=policy)


def _check(model: nn.Module) -> None:
    """Check that each weight has a first dimension to split along, and belongs to a single unit."""
    owners: dict[nn.Parameter, set[int]] = {}
    for index, unit in enumerate(units(model)):
        for parameter in unit.parameters():
            owners.setdefault(parameter, set()).add(index)
    inside = {id(module) for unit in units(model) for module in unit.modules()}
    for module in model.modules():
        for parameter in module.parameters(recurse=False) if id(module) not in inside else ():
            owners.setdefault(parameter, set()).add(-1)  # weights outside the layers form one more unit
    problem, hint = "this model cannot be split over processes", "set runtime.sharding to none"
    for name, parameter in model.named_parameters():
        if parameter.ndim == 0:
            raise ModelError(
                problem, got=f"{name} is a scalar", expected="weights with a dimension", hint=hint
            )
        if len(owners[parameter]) > 1:
            raise ModelError(
                problem, got=f"several layers share {name}", expected="no weights shared by layers", hint=hint
            )


def units(model: nn.Module) -> list[nn.Module]:
    """Return the layers that are gathered, and compiled, one by one; empty if the model is a single unit."""
    return list(cast("Iterable[nn.Module]", getattr(model, "shards", list)()))


def is_split(model: nn.Module) -> bool:
    """Return whether the model is split, so that its forward pass is a collective operation."""
    if not dist.is_initialized():
        return False
    from torch.distributed.fsdp import FSDPModule

    return isinstance(model, FSDPModule)


def rest(model: nn.Module) -> None:
    """Free the weights that a forward pass without a backward pass left gathered.

    Call this before reading or writing weights.
    """
    if is_split(model):
        cast("Any", model).reshard()


def own(tensor: torch.Tensor) -> torch.Tensor:
    """Return this process's part of a tensor, in the same memory; the tensor itself if it is not split."""
    if not dist.is_initialized():
        return tensor
    from torch.distributed.tensor import DTensor

    return tensor._local_tensor if isinstance(tensor, DTensor) else tensor


def offset(tensor: torch.Tensor) -> list[int] | None:
    """Return the index of this process's first element in the whole tensor; None if it is not split."""
    if own(tensor) is tensor:
        return None
    from torch.distributed.tensor import DTensor
    from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

    split = cast("DTensor", tensor)
    return list(compute_local_shape_and_global_offset(split.shape, split.device_mesh, split.placements)[1])


def like(tensor: torch.Tensor, part: torch.Tensor) -> torch.Tensor:
    """Return a tensor split like `tensor`, with `part` as this process's part.

    `part` may be on any device; if `tensor` is not split, `part` itself is returned.
    """
    if own(tensor) is tensor:
        return part
    from torch.distributed.tensor import DTensor

    return DTensor(part, cast("DTensor", tensor)._spec, requires_grad=False)


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """Return the whole tensor on every process; all must call this, and the host does not wait."""
    if not dist.is_initialized():
        return tensor
    from torch.distributed.tensor import DTensor

    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def fill(target: torch.Tensor, values: torch.Tensor) -> None:
    """Write `values`, whole and identical on every process, into a tensor that may be split."""
    if own(target) is target:
        target.copy_(values)
        return
    from torch.distributed.tensor import DTensor, distribute_tensor

    split = cast("DTensor", target)
    split.copy_(distribute_tensor(values.to(split.device), split.device_mesh, split.placements))


def gather(model: nn.Module) -> Mapping[str, torch.Tensor]:
    """Return the model's whole state on the main process's host; the others must take part but get nothing.

    Tensors are gathered one at a time: a device needs room only for the largest.
    """
    rest(model)
    if not is_split(model):
        return model.state_dict()
    found = {}
    for name, tensor in model.state_dict().items():
        values = whole(tensor)
        if dist.get_rank() == 0:
            found[name] = values.cpu()
    return found
