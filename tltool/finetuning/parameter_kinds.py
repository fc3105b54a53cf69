"""Which parameters inside a layer group: all, those of norms, biases, or adapters."""

from collections.abc import Callable

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from tltool._lookup import lookup
from tltool.finetuning.phase import ParameterKind
from tltool.surgery.adapters import LowRankUpdate

_TORCH_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def parameters_of_kind(module: nn.Module, kind: ParameterKind) -> set[str]:
    """Return the names of a model's parameters of one kind.

    Args:
        module: The model.
        kind: ``all``; ``norms``, weights and biases of normalization layers; ``biases``, also those
            of norms; ``adapters``, what `add_lora` or peft has added; ``adapters_and_norms``.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
        >>> sorted(parameters_of_kind(model, "norms"))
        ['1.bias', '1.weight']
        >>> sorted(parameters_of_kind(model, "biases"))
        ['0.bias', '1.bias']
    """
    return lookup(_KINDS, kind, kind="parameters")(module)


def is_norm(module: nn.Module) -> bool:
    """Tell whether a module normalizes, by its type or by its name, as timm's own norms have it.

    Example:
        >>> is_norm(nn.BatchNorm2d(2)), is_norm(nn.Linear(2, 2))
        (True, False)
    """
    # A NormFreeBlock of timm owns a gain and normalizes nothing.
    name = type(module).__name__.replace("NormFree", "")
    return isinstance(module, _TORCH_NORMS) or "Norm" in name


def _all(module: nn.Module) -> set[str]:
    return {name for name, _ in module.named_parameters()}


def parameters_of_modules(module: nn.Module, where: Callable[[nn.Module], bool]) -> set[str]:
    """Return the names of the parameters that the modules inside which ``where`` accepts own.

    Not those of modules inside them: timm's BatchNormAct2d holds an activation, whose slope is no
    part of the norm.
    """
    return {
        f"{path}.{name}".removeprefix(".")
        for path, member in module.named_modules()
        if where(member)
        for name, _ in member.named_parameters(recurse=False)
    }


def _biases(module: nn.Module) -> set[str]:
    # BEiT and EVA name the biases of queries and values q_bias and v_bias.
    return {n for n in _all(module) if n.rpartition(".")[2] == "bias" or n.endswith("_bias")}


def _adapters(module: nn.Module) -> set[str]:
    own = parameters_of_modules(module, lambda member: isinstance(member, LowRankUpdate))
    own = {name for name in own if name.rpartition(".")[2] in {"lora_a", "lora_b"}}
    # Each layer that peft has changed lists its additions in `adapter_layer_names`.
    prefixes = tuple(
        f"{path}.{addition}.".removeprefix(".")
        for path, member in module.named_modules()
        for addition in getattr(member, "adapter_layer_names", ())
    )
    return own | {name for name in _all(module) if name.startswith(prefixes)}


def _norms(module: nn.Module) -> set[str]:
    return parameters_of_modules(module, is_norm)


_KINDS: dict[str, Callable[[nn.Module], set[str]]] = {
    "all": _all,
    "norms": _norms,
    "biases": _biases,
    "adapters": _adapters,
    "adapters_and_norms": lambda module: _adapters(module) | _norms(module),
}
