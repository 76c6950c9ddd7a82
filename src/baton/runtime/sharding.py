"""A model whose weights, gradients and optimizer state are split over the processes: none holds all of it (`runtime.sharding: full`).

FSDP2 (`torch.distributed.fsdp.fully_shard`; the method is ZeRO's third stage, Rajbhandari et al. 2020, arXiv:1910.02054): each encoder
layer is a unit, whose weights are gathered when it computes and dropped after it; what is left (embeddings, head) is one more. Weights are
DTensors then. All processes must compute alike, in validation and prediction too: each forward pass is an exchange.

In: a whole model on the host, the `Runtime`. Out: the same model, split; names, groups of parameters and forward pass stay as they were.
"""

from collections.abc import Iterable, Mapping
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import nn

from baton.errors import ModelError
from baton.runtime.resolve import Runtime, takes_statistics


def place(model: nn.Module, runtime: Runtime) -> Any:
    """The model, on the runtime's device; split where `runtime.sharding` says so and there are processes to share it.

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
    """The model, split over the processes of the default group.

    The device never holds the whole model: units move there one after another, and leave what is not theirs. On the host each process has
    the whole model until then.

    Raises:
        ModelError: this architecture cannot be split.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    _check(model)
    # Weights are gathered in the precision that they are used in, which halves the exchange; sums of gradients are in 32 bits. Not in fp16:
    # scaled gradients of norms and biases, 32 bits wide in a whole model, would overflow, and steps be skipped. Statistics of batch
    # normalisation want their weights in their own precision.
    low = torch.bfloat16 if runtime.precision == "bf16" and not takes_statistics(model) else None
    # Inputs stay as they are: a mask's lowest number, or a pixel, is no 16-bit number. Autocast converts what it has to.
    policy = MixedPrecisionPolicy(
        param_dtype=low, reduce_dtype=low and torch.float32, cast_forward_inputs=False
    )
    mesh = init_device_mesh(runtime.device.type, (dist.get_world_size(),))
    for parameter in model.parameters():
        parameter.data = parameter.data.contiguous()  # FSDP takes no other memory format
    for unit in units(model):
        fully_shard(unit, mesh=mesh, mp_policy=policy)
    return fully_shard(model, mesh=mesh, mp_policy=policy)


def _check(model: nn.Module) -> None:
    """That each weight has a first dimension to be split along, and is of one unit."""
    owners: dict[nn.Parameter, set[int]] = {}
    for index, unit in enumerate(units(model)):
        for parameter in unit.parameters():
            owners.setdefault(parameter, set()).add(index)
    inside = {id(module) for unit in units(model) for module in unit.modules()}
    for module in model.modules():
        for parameter in module.parameters(recurse=False) if id(module) not in inside else ():
            owners.setdefault(parameter, set()).add(-1)  # what is of no layer is one more unit
    problem, hint = "this model cannot be split over processes", "set runtime.sharding to none"
    for name, parameter in model.named_parameters():
        if parameter.ndim == 0:
            raise ModelError(
                problem, got=f"{name} is a single number", expected="weights with a dimension", hint=hint
            )
        if len(owners[parameter]) > 1:
            raise ModelError(
                problem, got=f"several layers share {name}", expected="weights of one layer each", hint=hint
            )


def units(model: nn.Module) -> list[nn.Module]:
    """The model's layers that are gathered, and compiled, one by one; none: it is one unit."""
    return list(cast("Iterable[nn.Module]", getattr(model, "shards", list)()))


def is_split(model: nn.Module) -> bool:
    """Whether its forward pass is an exchange between all processes."""
    if not dist.is_initialized():
        return False
    from torch.distributed.fsdp import FSDPModule

    return isinstance(model, FSDPModule)


def rest(model: nn.Module) -> None:
    """Drop what a forward pass without a backward pass has left gathered; before weights are read or written."""
    if is_split(model):
        cast("Any", model).reshard()


def own(tensor: torch.Tensor) -> torch.Tensor:
    """This process's part of a tensor, in the same memory; all of it where it is not split."""
    if not dist.is_initialized():
        return tensor
    from torch.distributed.tensor import DTensor

    return tensor._local_tensor if isinstance(tensor, DTensor) else tensor


def offset(tensor: torch.Tensor) -> list[int] | None:
    """Where this process's part lies in the whole tensor: the place of its first element; None where it is not split."""
    if own(tensor) is tensor:
        return None
    from torch.distributed.tensor import DTensor
    from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

    split = cast("DTensor", tensor)
    return list(compute_local_shape_and_global_offset(split.shape, split.device_mesh, split.placements)[1])


def like(tensor: torch.Tensor, part: torch.Tensor) -> torch.Tensor:
    """A tensor split as `tensor` is, of which this process has `part`, wherever that lies; `part` itself where it is not split."""
    if own(tensor) is tensor:
        return part
    from torch.distributed.tensor import DTensor

    return DTensor(part, cast("DTensor", tensor)._spec, requires_grad=False)


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """All of a tensor, on every process, which must all call this; the host waits for nothing."""
    if not dist.is_initialized():
        return tensor
    from torch.distributed.tensor import DTensor

    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def fill(target: torch.Tensor, values: torch.Tensor) -> None:
    """Write `values`, whole and the same on every process, into a tensor that may be split."""
    if own(target) is target:
        target.copy_(values)
        return
    from torch.distributed.tensor import DTensor, distribute_tensor

    split = cast("DTensor", target)
    split.copy_(distribute_tensor(values.to(split.device), split.device_mesh, split.placements))


def gather(model: nn.Module) -> Mapping[str, torch.Tensor]:
    """The model's whole state, on the host of the main process; the others, which must take part, get nothing.

    Tensors come one at a time: a device needs room for the largest.
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
