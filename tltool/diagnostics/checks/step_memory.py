"""Memory of a training step: weights, gradients, optimizer state and kept activations."""

import os
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tltool.diagnostics.checks.check_result import Check, CheckResult

CHECK = Check("memory")


@dataclass(frozen=True)
class StepMemory:
    """Bytes that a step holds at the same time, in float32.

    Attributes:
        weights: Parameters and buffers.
        training: Gradients and optimizer state of what trains.
        activations: What the forward pass keeps for the backward pass, of a whole batch.
    """

    weights: int
    training: int
    activations: int

    @property
    def total(self) -> int:
        """All of it; the libraries' own buffers come on top."""
        return self.weights + self.training + self.activations


def step_memory(
    model: nn.Module,
    loss_of: Callable[[], Tensor],
    *,
    bytes_per_trained: float,
    scale: float = 1.0,
) -> StepMemory:
    """Measure what a forward pass keeps, and add what is known of the rest.

    Args:
        model: The model, as it trains.
        loss_of: Does a forward pass.
        bytes_per_trained: Of gradient and optimizer state, for each parameter that trains.
        scale: How many times as large the real batch is.

    Example:
        >>> layer, inputs = nn.Linear(10, 1), torch.zeros(5, 10)
        >>> step_memory(layer, lambda: layer(inputs).sum(), bytes_per_trained=12).activations
        200
    """
    storages = [each.untyped_storage() for each in (*model.parameters(), *model.buffers())]
    own = {storage.data_ptr(): storage.nbytes() for storage in storages}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:  # A view is kept once.
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(note, lambda kept: kept):
        loss = loss_of()  # Held, so that nothing is freed and counted twice.
    del loss
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad) * bytes_per_trained
    return StepMemory(sum(own.values()), round(trained), round(sum(kept.values()) * scale))


def memory_suffices(found: StepMemory, available: int, *, batch: str, remedy: str) -> CheckResult:
    """Say how much memory a step needs, and whether the device has it.

    Args:
        found: What a step needs.
        available: Bytes that the device has.
        batch: What was measured, in words.
        remedy: What to type where it does not.

    Example:
        >>> memory_suffices(StepMemory(2**20, 0, 2**20), 2**30, batch="8 images", remedy="").found
        'a step of 8 images needs 2 MiB and more: weights 1, gradients and optimizer 0, ...'
    """
    sizes = (found.total, found.weights, found.training, found.activations, available)
    total, weights, training, activations, device = (f"{size / 2**20:,.0f}" for size in sizes)
    seen = (
        f"a step of {batch} needs {total} MiB and more: weights {weights}, gradients and optimizer "
        f"{training}, kept activations {activations}; the device has {device} MiB"
    )
    if found.total > available:
        return CHECK.problem("too_little", seen=seen, remedy=remedy)
    return CHECK.ok(seen)


def device_memory(device: torch.device) -> int:
    """Return how many bytes a device has."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
