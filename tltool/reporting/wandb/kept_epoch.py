"""Which epoch ``best.ckpt`` is of: by the metric that chooses it, or the last one."""

import math
from collections.abc import Mapping

from lightning.pytorch import Trainer

from tltool.training.callbacks.checkpoints import TIES, BestCheckpoint
from tltool.training.callbacks.ending import Ending
from tltool.training.find_callback import find_callback
from tltool.training.head_start import is_limited


def is_kept(trainer: Trainer, found: Mapping[str, float], best: Mapping[str, float]) -> bool:
    """Tell whether an epoch takes the place of the best one so far, as it does in ``best.ckpt``.

    See `BestCheckpoint`, whose metric decides, of equal ones the loss; and `Ending`, which may ask
    for the last epoch. Without them the accuracy decides.

    Args:
        trainer: Has measured the epoch.
        found: What was measured, by name, such as ``best/loss``.
        best: The same of the best epoch so far.
    """
    ending = find_callback(trainer, Ending)
    if ending is not None and ending.choose == "last" and not is_limited(trainer):
        return True
    checkpoint = find_callback(trainer, BestCheckpoint)
    monitor = "val/accuracy" if checkpoint is None else str(checkpoint.monitor)
    sign = -1 if checkpoint is not None and checkpoint.mode == "min" else 1

    def goodness(metrics: Mapping[str, float]) -> tuple[float, float]:
        value, loss = (metrics.get(_name(name), math.nan) for name in (monitor, TIES))
        return _or_worst(sign * value), _or_worst(-loss)

    return goodness(found) > goodness(best)


def _name(monitor: str) -> str:
    return monitor.replace("val/", "best/")


def _or_worst(value: float) -> float:
    return -math.inf if math.isnan(value) else value
