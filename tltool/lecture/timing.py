"""Times of layers and of steps of training."""

import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class Step:
    """A step of training: forward, loss, backward, and SGD with momentum.

    Args:
        network: What trains.
        features: ``(B, num_features)``, the same in each step.
        labels: ``(B,)``.
    """

    def __init__(self, network: nn.Module, features: Tensor, labels: Tensor) -> None:
        self.network, self.features, self.labels = network.train(), features, labels
        self.optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9)

    def time(self) -> float:
        """Make it and return its time in seconds."""
        start = time.perf_counter()
        self.optimizer.zero_grad()
        loss = functional.cross_entropy(self.network(self.features), self.labels)
        loss.backward()  # type: ignore[no-untyped-call]  # torch's own
        self.optimizer.step()
        return time.perf_counter() - start


def time_passes(module: nn.Module, inputs: Tensor, gradient: Tensor) -> tuple[float, float]:
    """Return the seconds of a forward and of a backward pass.

    Args:
        module: It keeps the shape of its input.
        inputs: A leaf that wants a gradient; it has none afterwards.
        gradient: The gradient of the output, of its shape.
    """
    start = time.perf_counter()
    outputs = module(inputs)
    middle = time.perf_counter()
    outputs.backward(gradient)
    end = time.perf_counter()
    for leaf in (inputs, *module.parameters()):
        leaf.grad = None  # Adding to a gradient would take time of its own.
    return middle - start, end - middle


def ratios(times: Sequence[float], others: Sequence[float]) -> list[float]:
    """Return the ratio in each round.

    Example:
        >>> ratios([2.0, 3.0], [1.0, 2.0])
        [2.0, 1.5]
    """
    return [one / other for one, other in zip(times, others, strict=True)]
