"""State of an optimizer step that is begun: accumulated gradients, for checkpoints."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from torch import Tensor, nn

from tltool.training.distributed.collectives import gather_over_ranks

M = TypeVar("M", bound=nn.Module)


def gather_gradients(
    module: nn.Module, gather: Callable[[Tensor], Tensor] = gather_over_ranks
) -> dict[str, Tensor]:
    """Return what each rank has accumulated, ``(num_ranks, ...)``, by parameter.

    Args:
        module: The model; its parameters are not sharded.
        gather: Stacks a tensor of each rank; all ranks must call it.
    """
    return {
        name: gather(parameter.grad).cpu()
        for name, parameter in module.named_parameters()
        if parameter.grad is not None
    }


def set_gradients_(
    module: M, gradients: Mapping[str, Tensor], *, rank: int = 0, num_ranks: int = 1
) -> M:
    """Set what this rank has accumulated, as `gather_gradients` gave it.

    With another number of ranks than then, each takes the mean, which is what the step takes.

    Returns:
        ``module``.
    """
    parameters = dict(
        module.named_parameters()
    )  # `get_parameter` fails at a weight with an adapter.
    for name, value in gradients.items():
        parameter = parameters[name]
        own = value[rank] if len(value) == num_ranks else value.mean(0)
        parameter.grad = own.to(parameter.device)
    return module
