"""Progress of the running phase, kept in checkpoints: its metric, and its best weights."""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor, nn
from torch.optim import Optimizer

from tltool.finetuning.phase import Phase, Until

_warn = rank_zero_only(logging.getLogger(__name__).warning)


@dataclass
class PhaseProgress:
    """State of the running phase: plain data and tensors, stored in checkpoints.

    Args:
        phase: Name of the phase.
        ended: The epoch in front of which a metric ended a phase, by the phase's name.
        best: Best value of the metric in this phase.
        misses: Validations in a row without improvement.
        best_weights: What the phase had changed when the metric was best.
        until: The end that the metric was observed for, as plain data.
    """

    phase: str = ""
    ended: dict[str, int] = field(default_factory=dict)
    best: float | None = None
    misses: int = 0
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    until: dict[str, Any] = field(default_factory=dict)

    def enter(self, phase: str, phases: Sequence[Phase] = ()) -> None:
        """Begin another phase; only the ends of earlier ones are kept.

        Args:
            phase: Its name.
            phases: The schedule. Only a resumed run can come to a phase in front of the one before,
                where the phases have other lengths by then; a warning says so.
        """
        names = [each.name for each in phases]
        if self.phase in names and names.index(phase) < names.index(self.phase):
            _warn(
                "The run had come to phase %r, and goes back to %r: with its options or its number "
                "of epochs, its phases have changed their lengths. To keep them, set those of the "
                "strategy, such as `probe_epochs` of LPFT.",
                self.phase,
                phase,
            )
        self.phase, self.best, self.misses, self.best_weights = phase, None, 0, {}
        self.until = {}

    def forget_changed_end(self, phases: Iterable[Phase]) -> None:
        """Let the phase go on that a metric has ended, where another `until` is to end it now."""
        before = self.until
        now = next((phase.until for phase in phases if phase.name == self.phase), None)
        if not before or (now is not None and asdict(now) == before):
            return
        self.ended.pop(self.phase, None)
        if now is None or now.metric != before["metric"]:
            self.enter(self.phase)

    def observe(self, until: Until, value: float, epoch: int) -> bool:
        """Take a value of the metric, and tell whether it is the best so far.

        Args:
            until: The end of the running phase.
            value: The metric's value.
            epoch: The epoch that it was measured in.

        Example:
            >>> progress, until = PhaseProgress("probe"), Until("loss", max_epochs=9, patience=2)
            >>> [progress.observe(until, loss, epoch) for epoch, loss in enumerate([3, 2, 2, 4])]
            [True, True, False, False]
            >>> progress.ended
            {'probe': 4}
        """
        self.until = asdict(until)
        improved = until.improves(value, self.best)
        if improved:
            self.best, self.misses = value, 0
        else:
            self.misses += 1
        if self.misses >= until.patience:
            self.ended.setdefault(self.phase, epoch + 1)
        return improved


def copy_trained(module: nn.Module, norms: Collection[nn.Module]) -> dict[str, Tensor]:
    """Return copies, on the CPU, of what training changes.

    Args:
        module: The model.
        norms: Batch norms whose running statistics change.
    """
    tensors: dict[str, Tensor] = {n: p for n, p in module.named_parameters() if p.requires_grad}
    for path, member in module.named_modules():
        if member in norms:
            tensors |= {f"{path}.{name}": buffer for name, buffer in member.named_buffers()}
    return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}


def restore_best_(
    module: nn.Module, weights: Mapping[str, Tensor], optimizer: Optimizer
) -> nn.Module:
    """Restore the best weights, in place, and drop the optimizer's state of the later ones.

    Returns:
        ``module``.
    """
    tensors: dict[str, Tensor] = dict(module.named_buffers()) | dict(module.named_parameters())
    with torch.no_grad():
        for name, weight in weights.items():
            tensors[name].copy_(weight)
            optimizer.state.pop(tensors[name], None)
    return module
