"""Health of each layer over time: the table ``health.csv``, and a few numbers for loggers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tltool._csv_rows import StepRows
from tltool.diagnostics.health.health_watch import LayerHealth, NormHealth

NAME = "health.csv"
COLUMNS = (
    *("step", "epoch", "layer", "activation", "rows", "dead", "dead_is_exact", "saturated"),
    *("mean", "std", "gain", "effective_rank", "one_sign", "gradient_along_mean", "update_cosine"),
    *("gradient", "update", "largest_update", "signal_to_noise", "norm_shift", "norm_factor"),
)
MEANINGS = {
    "health/dead_units_max": "largest share of dead units in a layer",
    "health/saturation_max": "largest share of saturated outputs in a layer",
    "health/update_to_weight_max": "largest update of a layer as a share of its weights",
    "health/gradient_along_mean_max": "largest share of a gradient along the mean input (zig-zag)",
    "health/batch_norm_shift_max": "largest shift of a batch norm from its batches, in deviations",
    "health/effective_rank_min": "smallest effective rank of the outputs of a layer",
    "health/gradient_ratio_first_to_last": "gradient of the first layer over that of the last",
}
"""What the numbers on the dashboard are, by name."""


class HealthTable(StepRows):
    """Writes ``health.csv`` of a run: one row for each layer and window.

    Args:
        run_dir: The run directory.
    """

    def __init__(self, run_dir: Path) -> None:
        super().__init__(run_dir / NAME, COLUMNS)

    def add(
        self, step: int, epoch: int, layers: Sequence[LayerHealth], norms: Sequence[NormHealth]
    ) -> None:
        """Append the rows of a window."""
        lags = [{"layer": n.layer, "norm_shift": n.shift, "norm_factor": n.factor} for n in norms]
        rows = [*map(_cells, layers), *lags]
        self.append([{"step": step, "epoch": epoch} | row for row in rows])


def worst(layers: Sequence[LayerHealth], norms: Sequence[NormHealth]) -> dict[str, float]:
    """Return a few numbers of a window for the dashboard: those of the worst layer.

    Example:
        >>> layers = [LayerHealth("a", largest_update=0.01), LayerHealth("b", largest_update=0.02)]
        >>> worst(layers, [])
        {'health/update_to_weight_max': 0.02}
    """
    units = [layer.units for layer in layers if layer.units is not None]
    gradients = [layer.gradient for layer in layers if layer.gradient]
    columns: dict[str, list[float | None]] = {
        "health/dead_units_max": [layer.dead for layer in layers],
        "health/saturation_max": [each.saturated for each in units],
        "health/update_to_weight_max": [layer.largest_update for layer in layers],
        "health/gradient_along_mean_max": [layer.gradient_along_mean for layer in layers],
        "health/batch_norm_shift_max": [norm.shift for norm in norms],
    }
    found = {name: [v for v in values if v is not None] for name, values in columns.items()}
    numbers = {name: max(values) for name, values in found.items() if values}
    if units:
        numbers["health/effective_rank_min"] = min(each.effective_rank for each in units)
    if len(gradients) > 1:
        numbers["health/gradient_ratio_first_to_last"] = gradients[0] / gradients[-1]
    return numbers


def _cells(health: LayerHealth) -> dict[str, Any]:
    cells = {} if health.units is None else health.units._asdict()
    cells |= {"rows": cells.get("num_rows"), "dead_is_exact": int(health.dead_in_epoch is not None)}
    cells |= vars(health) | {"dead": health.dead}
    cells = {name: cells[name] for name in COLUMNS if cells.get(name) is not None}
    return {name: f"{v:.5g}" if isinstance(v, float) else v for name, v in cells.items()}
