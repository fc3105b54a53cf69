"""Which modules are activations, of which kind, and which of them are gates."""

import re
import tomllib
from importlib import resources
from typing import NamedTuple

from torch import nn

from tltool.surgery.function_kinds import HOME_OF_TIMM, SQUASHING, kind_of_function

# The modules that define activations as classes of their own. timm is known by its path: nothing
# here imports it, and a model that has none of its classes needs none.
HOMES = ("torch.nn.modules.activation", HOME_OF_TIMM)
_file = resources.files(__package__) / "activation_kinds.toml"
KINDS: dict[str, dict[str, str]] = tomllib.loads(_file.read_text(encoding="utf-8"))
NO_ACTIVATIONS = {"MultiheadAttention"}

NO_FUNCTIONS_OF_ONE_NUMBER = {"softmax", "softmin", "log_softmax", "glu"}
PATTERNS = {name: re.compile(pattern) for name, pattern in KINDS["patterns"].items()}
POSITION_BIAS = "position bias"


class FoundActivation(NamedTuple):
    """One activation of a model, under each of its names."""

    #: Dotted; a function call goes by its method and its kind, ``blocks.0.forward.relu``.
    names: tuple[str, ...]
    #: Its name as in ``ACTIVATIONS``, or as near to it as there is one.
    kind: str
    #: ``None`` where it is a function.
    module: nn.Module | None
    #: ``gate``, ``position bias`` or ``out of reach``, and more after a colon; ``None`` if it can
    #: be replaced.
    why_kept: str | None
    #: Whether it lies in a module that is a gate, as between the layers of a squeeze-excite.
    is_in_gate: bool = False


def kind_of(module: nn.Module) -> str | None:
    """Return the kind of an activation, a name as in ``ACTIVATIONS``; ``None`` for other modules.

    Example:
        >>> kind_of(nn.GELU(approximate="tanh")), kind_of(nn.Linear(2, 2))
        ('gelu_tanh', None)
    """
    if is_gamma_act(module):
        return kind_of_function(module.act_fn)
    for cls in type(module).__mro__:
        elsewhere = KINDS["elsewhere"].get(f"{cls.__module__}.{cls.__name__}")
        if elsewhere:
            return elsewhere
        if cls.__module__.startswith(HOMES) and cls.__name__ not in NO_ACTIVATIONS:
            is_tanh = getattr(module, "approximate", "none") == "tanh"
            kind = KINDS["homes"].get(cls.__name__, cls.__name__.lower())
            return "gelu_tanh" if is_tanh else kind
    return None


def is_gamma_act(module: nn.Module) -> bool:
    """Tell whether a module is timm's ``GammaAct``: a function and a factor behind it."""
    cls = type(module)
    return f"{cls.__module__}.{cls.__name__}" == "timm.models.nfnet.GammaAct"


def same_function(first: nn.Module, second: nn.Module) -> bool:
    """Return whether two activations are of one kind and have the same settings.

    Whether they work in place is no part of what they compute; neither is what they have learned.

    Example:
        >>> same_function(nn.ReLU(inplace=True), nn.ReLU())
        True
        >>> same_function(nn.LeakyReLU(0.01), nn.LeakyReLU(0.2))
        False
    """
    return kind_of(first) == kind_of(second) and _settings(first) == _settings(second)


def why_gate(model: nn.Module, name: str, kind: str) -> str | None:
    """Return why the activation at a dotted name is no activation of a layer, or ``None`` if it is.

    A gate scales what flows through another branch; with another range it would be another model.
    A network of positions alone, as Swin's, is none of the images' layers either.

    Example:
        >>> model = nn.ModuleDict({"act": nn.ReLU(), "gate": nn.Hardsigmoid()})
        >>> why_gate(model, "act", "relu"), why_gate(model, "gate", "hardsigmoid")
        (None, 'gate')
    """
    if kind in NO_FUNCTIONS_OF_ONE_NUMBER:
        return f"gate: {kind}"
    if any(PATTERNS["position_bias"].search(part) for part in name.split(".")):
        return POSITION_BIAS
    owner, path = _owner(model, name)
    if PATTERNS["attention_kernel"].search(path[-1]):
        return "gate: attention kernel"  # linear attention needs it to be non-negative
    if PATTERNS["gate"].search(path[-1]):
        return "gate"
    if kind not in SQUASHING:
        return None
    patterns = PATTERNS["gate"], PATTERNS["gating_attribute"]
    by_attribute = any(pattern.search(part) for part in path for pattern in patterns)
    return "gate" if by_attribute or PATTERNS["gating_class"].search(owner) else None


def _settings(module: nn.Module) -> dict[str, object]:
    # torch lists the attributes that make up an activation for TorchScript.
    names = {*getattr(module, "__constants__", ())} - {"inplace", "approximate"}
    return {name: getattr(module, name, None) for name in names}


def _owner(model: nn.Module, name: str) -> tuple[str, list[str]]:
    """Return the class that an activation belongs to, and the attributes that lead to it.

    Plain containers own nothing. The first attribute is the one that holds the owner.
    """
    parts = name.split(".")
    depth = len(parts) - 1
    owner = model.get_submodule(".".join(parts[:depth]))
    while depth and type(owner).__module__ == "torch.nn.modules.container":
        depth -= 1
        owner = model.get_submodule(".".join(parts[:depth]))
    return type(owner).__name__, parts[max(depth - 1, 0) :]
