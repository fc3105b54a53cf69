"""Health of the weights of one layer: gradients, updates, and whether they zig-zag."""

import math
import statistics
from collections import defaultdict
from typing import Any

from torch import Tensor, nn

from tltool.diagnostics.health import health_statistics as stats

#: Of the length that weights of variance ``1 / fan_in`` have: below it those that began at zero, as
#: with a log prior, have yet to grow.
SHORT = 0.1


class WeightWatch:
    """Looks at the inputs, the gradient and the update of a layer's weights on sampled steps.

    Args:
        layer: A linear layer or a convolution. Only of a linear one the inputs are looked at.
    """

    def __init__(self, layer: nn.Linear | nn.Conv2d) -> None:
        self.layer = layer
        self._before: Tensor | None = None
        self._last_update: Tensor | None = None
        self._began_at_zero: bool | None = None
        self._input_mean: Tensor | None = None
        self._gradient_sum: Tensor | None = None
        self._values: defaultdict[str, list[float]] = defaultdict(list)

    def see_inputs(self, inputs: Tensor) -> None:
        """Look at what the layer is given."""
        if isinstance(self.layer, nn.Linear):
            rows = stats.as_rows(inputs.detach(), stats.unit_dim_of(self.layer)).float()
            self._values["one_sign"].append(stats.one_sign_share(rows))
            self._input_mean = rows.mean(dim=0)

    def before_step(self) -> None:
        """Note the weights."""
        self._before = _whole(self.layer.weight.detach()).clone()
        if self._began_at_zero is None:
            self._began_at_zero = not bool(self._before.any())

    def after_backward(self) -> None:
        """Look at the gradient, if there is one: of a weight with an adapter none is kept."""
        weight = self.layer.weight
        if not weight.is_leaf or weight.grad is None:
            return
        gradient = _whole(weight.grad.detach()).float()
        self._values["gradient"].append(float(gradient.norm()))
        total = self._gradient_sum
        self._gradient_sum = gradient.clone() if total is None else total + gradient
        if self._input_mean is not None:
            self._values["gradient_along_mean"].append(
                stats.energy_along(gradient, self._input_mean)
            )
            self._input_mean = None

    def after_step(self, *, is_sampled: bool) -> None:
        """Look at the update, and at its direction against that of the step before.

        Args:
            is_sampled: Whether this step is one; else it is the one behind.
        """
        before, self._before = self._before, None
        if before is None:
            return
        size = float(before.float().norm())
        if is_sampled and self._began_at_zero:
            self._values["is_short"].append(size < SHORT * math.sqrt(len(before)))
        # In its place, and so turned around, as all of them are.
        update = before.sub_(_whole(self.layer.weight.detach())).float()
        length = float(update.norm())
        if self._last_update is not None and length > 0:
            self._values["update_cosine"].append(stats.cosine(self._last_update, update))
        self._last_update = update if is_sampled else None
        if is_sampled and size > 0:
            self._values["update"].append(length / size)

    def close(self) -> dict[str, Any]:
        """Return medians over the window, by the names of `LayerHealth`, and begin a new one."""
        values, self._values = self._values, defaultdict(list)
        total, self._gradient_sum = self._gradient_sum, None
        found: dict[str, Any] = {name: statistics.median(each) for name, each in values.items()}
        found["is_short"] = any(values["is_short"])
        if "update" in values:
            found["largest_update"] = max(values["update"])
        norms = values["gradient"]
        if total is not None and len(norms) > 1:
            mean_square = statistics.fmean(norm**2 for norm in norms)
            found["signal_to_noise"] = stats.signal_to_noise(total / len(norms), mean_square)
        return found


def _whole(tensor: Tensor) -> Tensor:
    """Return a sharded tensor as a whole one, which all ranks gather."""
    gathered: Tensor = getattr(tensor, "full_tensor", lambda: tensor)()
    return gathered
