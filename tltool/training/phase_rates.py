"""Learning rates of an optimizer's parameter groups, phase by phase."""

from collections.abc import Mapping, Sequence

from torch import nn
from torch.optim import Optimizer

from tltool.finetuning.param_groups import LRGroup, lr_groups, split_by_layer_
from tltool.finetuning.phase import Phase
from tltool.models.layer_groups import layers


class PhaseRates:
    """The learning rate of each parameter group: the base times what a phase says.

    Args:
        optimizer: It holds all parameters, at their base learning rates; with a phase that decays
            by layer, its groups are split.
        module: The task.
        groups: The layer groups of the task.
        phases: All phases that will train.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        module: nn.Module,
        groups: Mapping[str, list[str]],
        phases: Sequence[Phase],
    ) -> None:
        has_decay = any(phase.layer_decay < 1 for phase in phases)
        fine = layers(module) if has_decay else {}
        if has_decay:
            split_by_layer_(optimizer, module, fine)
        self._optimizer = optimizer
        self._places: list[LRGroup] = lr_groups(optimizer, module, dict(groups), fine)
        for param_group in optimizer.param_groups:
            param_group.setdefault("initial_lr", param_group["lr"])

    def set_(self, phase: Phase, progress: float) -> dict[str, float]:
        """Set the learning rates at a progress in a phase; return them by name, for a logger."""
        factor = phase.lr_factor(progress)
        named = {}
        groups = zip(self._optimizer.param_groups, self._places, self._of(phase), strict=True)
        for param_group, place, lr in groups:
            param_group["lr"] = named[f"lr/{place.label}"] = lr * factor
        return named

    def trained(self, phase: Phase) -> list[float]:
        """Return the highest rates of the groups that train in a phase."""
        all_lrs = zip(self._places, self._of(phase), strict=True)
        highest = phase.highest_factor
        return [lr * highest for place, lr in all_lrs if place.group in phase.trains]

    def _of(self, phase: Phase) -> list[float]:
        param_groups = zip(self._places, self._optimizer.param_groups, strict=True)
        return [
            param_group["initial_lr"] * phase.group_lr_scale(place.group, place.depth)
            for place, param_group in param_groups
        ]
