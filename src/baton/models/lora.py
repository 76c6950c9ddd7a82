"""Low-rank adapters on a classifier's backbone, by peft, and their merging into its weights.

LoRA: Hu et al. 2022, arXiv:2106.09685. Input: a classifier. Output: the same object; while it is adapted its
own weights are frozen, but for the head, and after merging it is a plain classifier again.
"""

from collections.abc import Collection
from typing import TypeVar

from torch import nn

from baton import params
from baton.errors import ModelError

Model = TypeVar("Model", bound=nn.Module)


def adapted(model: Model, strategy: params.LoraStrategy) -> Model:
    """Add an adapter to each linear layer of the backbone; all else but the head is frozen.

    The adapters' first matrices are drawn from torch's global seed, the second are 0.

    Raises:
        ModelError: the backbone has no linear layers.
    """
    from peft import LoraConfig, inject_adapter_in_model  # it takes a second to import

    names = _adaptable(model)
    if not names:
        raise ModelError(
            "finetune.strategy: lora has nothing to adapt",
            got="a base model without linear layers",
            expected="a transformer",
            hint="choose another strategy, such as top",
        )
    head = [name for name, _ in model.named_parameters() if not name.startswith("backbone.")]
    config = LoraConfig(
        r=strategy.rank,
        lora_alpha=strategy.alpha,  # type: ignore[arg-type]  # any number
        lora_dropout=strategy.dropout,
        target_modules=names,
    )
    inject_adapter_in_model(config, model)
    parameters = dict(model.named_parameters())
    for name in head:
        parameters[name].requires_grad_(True)
    return model


def merged(model: Model, frozen: Collection[str] = ()) -> Model:
    """Add the adapters' products to the weights that they adapt, and remove the adapters.

    Afterwards all parameters but the `frozen` ones may be trained, as before.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    found = [(name, module) for name, module in model.named_modules() if isinstance(module, BaseTunerLayer)]
    for name, layer in found:
        layer.merge()
        place, _, own = name.rpartition(".")
        setattr(model.get_submodule(place), own, layer.get_base_layer())
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name not in frozen)
    return model


def _adaptable(model: nn.Module) -> list[str]:
    """Return the names of the backbone's linear layers whose weights are trained and belong to them alone.

    An output layer that shares its weight with the embeddings is left out: what is added to it would also
    change them.
    """
    owners: dict[int, int] = {}
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            owners[id(parameter)] = owners.get(id(parameter), 0) + 1
    return [
        name
        for name, module in model.named_modules()
        if name.startswith("backbone.")
        and isinstance(module, nn.Linear)
        and module.weight.requires_grad
        and owners[id(module.weight)] == 1
    ]


def frozen(model: nn.Module) -> frozenset[str]:
    """Return the names of the parameters that params freeze, before adapters are added."""
    return frozenset(name for name, parameter in model.named_parameters() if not parameter.requires_grad)
