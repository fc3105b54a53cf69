"""All activations of a model, with the reason where one cannot or should not be replaced."""

from itertools import accumulate

from torch import nn

from tltool.surgery.activation_kinds import FoundActivation, kind_of, why_gate
from tltool.surgery.activation_replacement import plain_activation
from tltool.surgery.functional_activations import find_functional
from tltool.surgery.module_replacement import outermost, shortened, walk


def find_activations(model: nn.Module) -> list[FoundActivation]:
    """Return the activations below ``model``: modules in the order of definition, then functions.

    One inside another counts as part of it. A shared one is a gate if any of its uses is.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Softmax(dim=1))
        >>> [(a.names, a.kind, a.why_kept) for a in find_activations(model)]
        [(('1',), 'relu', None), (('2',), 'softmax', 'gate: softmax')]
    """
    found = []
    for place in outermost(p for p in walk(model) if kind_of(plain_activation(p.module))):
        kind = str(kind_of(plain_activation(place.module)))
        reasons = [why_gate(model, name, kind) for name in place.names]
        reason = next((reason for reason in reasons if reason), None)
        found.append(FoundActivation(place.names, kind, place.module, reason))
    gated = {
        name.rpartition(".")[0] for each in found if each.why_kept == "gate" for name in each.names
    }
    return [
        each._replace(is_in_gate=any(not gated.isdisjoint(_owners(n)) for n in each.names))
        for each in (*found, *find_functional(model))
    ]


def _owners(name: str) -> list[str]:
    """Return the names of what an activation lies in, but for the model."""
    return list(accumulate(name.split(".")[:-1], "{}.{}".format))


def summarize(activations: list[FoundActivation]) -> str:
    """Return which activations there are, for a message.

    Example:
        >>> summarize(find_activations(nn.Sequential(nn.ReLU(), nn.ReLU(), nn.Softmax(dim=1))))
        'relu (0, 1), softmax (2; gate: softmax)'
    """
    names: dict[tuple[str, str | None], list[str]] = {}
    for activation in activations:
        key = activation.kind, activation.why_kept
        names.setdefault(key, []).extend(activation.names)
    return ", ".join(
        f"{kind} ({shortened(group, 3)}{f'; {reason}' if reason else ''})"
        for (kind, reason), group in names.items()
    )
