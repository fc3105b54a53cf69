"""Health of phases: does one begin by losing what the phase before it had."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tltool.diagnostics.health.alarms import Alarm, messages

Stage = Literal["val", "train"]
CAUSE = "lost accuracy"
METRICS: dict[Stage, tuple[str, ...]] = {
    "val": ("val/accuracy", "val/map"),
    "train": ("train/accuracy",),
}
"""By stage, shares in [0, 1] of which the first that is measured is looked at; more is better."""
#: A smaller fall is none, and one within two standard errors may be chance. Training accuracy is
#: that of images which the head was fitted on: on ants and bees LPFT at the defaults of c989957
#: fell by .03 there, while validation rose, and with batch statistics by .28.
LEAST: dict[Stage, float] = {"val": 0.02, "train": 0.05}


@dataclass
class PhaseLoss:
    """Compare the first measurement of each phase with the last one of the phase before.

    That of training is the mean over an epoch, each batch with the weights as they were then.

    Args:
        phase: The phase of the last measurement; the fields are plain data, for a checkpoint.
        metric: What was looked at.
        value: Its value.
        stage: What is looked at, validation or training.

    Example:
        >>> watch = PhaseLoss()
        >>> watch.look("probe", {"val/accuracy": 0.94}, num_images=153, by_batch=True)
        >>> str(watch.look("full", {"val/accuracy": 0.88}, num_images=153, by_batch=True))
        'phase full: val/accuracy fell from 0.940 to 0.880 when it began. Its batch norms ...'
        >>> watch.look("full", {"val/accuracy": 0.70}, num_images=153, by_batch=True)
    """

    phase: str | None = None
    metric: str = ""
    value: float = math.nan
    stage: Stage = "val"

    def look(
        self, phase: str, metrics: Mapping[str, Any], *, num_images: int | None, by_batch: bool
    ) -> Alarm | None:
        """Look at a measurement; return an alarm if the phase has begun by losing accuracy.

        Args:
            phase: Name of the phase that trains.
            metrics: What was measured, by name.
            num_images: That were measured; ``None`` where that is not known.
            by_batch: Whether the phase normalizes by the statistics of single batches.
        """
        metric = next((name for name in METRICS[self.stage] if name in metrics), None)
        if metric is None:
            return None
        before, self.metric = self.value if metric == self.metric else math.nan, metric
        begins = phase != self.phase and self.phase is not None
        self.phase, self.value = phase, float(metrics[metric])
        if not begins or not before - self.value > self._smallest_fall(before, num_images):
            return None
        remedy = messages()["lost by batch statistics" if by_batch else "lost by its steps"]
        words = {"metric": metric, "before": before, "now": self.value, "remedy": remedy}
        return Alarm(CAUSE, f"phase {phase}", messages()[CAUSE].format(**words))

    def _smallest_fall(self, share: float, num_images: int | None) -> float:
        least = LEAST[self.stage]
        if num_images is None:
            return least
        smoothed = (share * num_images + 1) / (num_images + 2)  # None wrong of few is not certain.
        return max(least, 2 * math.sqrt(smoothed * (1 - smoothed) / num_images))
