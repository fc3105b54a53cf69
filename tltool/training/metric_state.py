"""State of the metrics of a begun epoch, for checkpoints: its mean is then of the whole epoch."""

from collections.abc import Callable, Mapping

from torch import Tensor
from torchmetrics import MetricCollection

from tltool.training.distributed.collectives import gather_over_ranks


def gather_sums(
    metrics: MetricCollection, gather: Callable[[Tensor], Tensor] = gather_over_ranks
) -> dict[str, dict[str, Tensor]]:
    """Return what each rank has counted so far, ``(num_ranks, ...)``, by metric and state.

    Args:
        metrics: Metrics whose states are sums.
        gather: Stacks a tensor of each rank; all ranks must call it.
    """
    return {
        name: {
            key: gather(value.detach()).cpu()
            for key, value in metric.metric_state.items()
            if isinstance(value, Tensor)  # No list: those are for metrics that are no sums.
        }
        for name, metric in metrics.items(keep_base=True)
    }


def set_sums_(
    metrics: MetricCollection,
    sums: Mapping[str, Mapping[str, Tensor]],
    *,
    rank: int = 0,
    num_ranks: int = 1,
) -> MetricCollection:
    """Set what this rank has counted so far, as `gather_sums` gave it; return the metrics.

    With another number of ranks than then, the first one takes all.
    """
    for name, states in sums.items():
        metric = metrics[name]
        metric._update_count = 1  # It would warn at the end of an epoch that has no batch left.
        for key, value in states.items():
            of_rank = value[rank] if len(value) == num_ranks else value.sum(0) * (rank == 0)
            setattr(metric, key, of_rank.to(metric.device))
    return metrics
