"""Optimizer groups: is each parameter that trains in the optimizer, once?"""

from collections import Counter

from torch import nn
from torch.optim import Optimizer

from tltool.diagnostics.checks.check_result import Check, CheckResult, listed

CHECK = Check("optimizer groups")


def optimizer_groups(model: nn.Module, optimizer: Optimizer, trained: set[str]) -> CheckResult:
    """Look for each parameter that any phase trains in the groups of the optimizer.

    Args:
        model: The model.
        optimizer: Its optimizer.
        trained: Names of the parameters that any phase trains.

    Example:
        >>> import torch
        >>> layer = nn.Linear(2, 1)
        >>> optimizer_groups(layer, torch.optim.SGD([layer.bias]), {"weight", "bias"}).found
        'The optimizer lacks 1 of 2 parameters that train: weight.'
    """
    # By identity: two fresh layers have equal values.
    held = Counter(id(p) for group in optimizer.param_groups for p in group["params"])
    parameters = dict(model.named_parameters())
    missing = [name for name in parameters if name in trained and not held[id(parameters[name])]]
    if missing:
        names = listed(missing)
        return CHECK.problem("missing", number=len(missing), trained=len(trained), names=names)
    twice = [name for name, parameter in parameters.items() if held[id(parameter)] > 1]
    if twice:
        return CHECK.problem("twice", number=len(twice), names=listed(twice))
    number = len(optimizer.param_groups)
    return CHECK.ok(f"each of {len(trained):,} trainable tensors is in exactly one of {number}")
