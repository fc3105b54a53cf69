"""Parameters that do not reach the features, which DDP would refuse to train."""

from collections.abc import Collection

from torch import Tensor, nn


def unused_parameters(model: nn.Module, output: Tensor) -> list[str]:
    """Return the names of the parameters that an output does not depend on.

    Nothing is computed: the graph that the forward pass has left is walked, which works for tensors
    on the meta device too.

    Args:
        model: One whose parameters all have ``requires_grad``.
        output: What it computed, with gradients enabled.

    Example:
        >>> import torch
        >>> model = nn.ModuleDict({"used": nn.Linear(2, 2), "not": nn.Linear(2, 2)})
        >>> unused_parameters(model, model["used"](torch.randn(1, 2)))
        ['not.weight', 'not.bias']
    """
    seen, nodes, used = set(), [output.grad_fn], set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        used.add(id(getattr(node, "variable", None)))  # of AccumulateGrad, where the graph ends
        nodes += [following for following, _ in node.next_functions]
    return [name for name, value in model.named_parameters() if id(value) not in used]


def freeze_as_buffers_(model: nn.Module, names: Collection[str]) -> None:
    """Turn parameters into buffers of the same names, in place.

    Keys and values of the state dict stay; no optimizer, layer group or reducer sees them anymore.
    """
    for name in names:
        owner, _, attribute = name.rpartition(".")
        module = model.get_submodule(owner)
        values = getattr(module, attribute).detach()
        delattr(module, attribute)
        module.register_buffer(attribute, values)


def modules_of(model: nn.Module, names: Collection[str]) -> list[str]:
    """Return the largest modules that have all of their parameters among some, and what is left.

    Example:
        >>> model = nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), nn.Linear(2, 2))
        >>> modules_of(model, ["0.0.weight", "0.0.bias", "1.bias"])
        ['0', '1.bias']
    """
    found: list[str] = []
    for name, module in model.named_modules():
        own = {f"{name}.{key}".removeprefix(".") for key, _ in module.named_parameters()}
        if own and own <= set(names) and not lies_in(name, found):
            found.append(name)
    return found + [name for name in names if not lies_in(name, found)]


def lies_in(name: str, places: Collection[str]) -> bool:
    """Tell whether a dotted name is one of some, or lies below one."""
    return any(name == place or name.startswith(f"{place}.") for place in places)
