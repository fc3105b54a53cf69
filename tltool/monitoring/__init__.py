"""What the activations, gradients and updates of a network do while it trains."""

from typing import TYPE_CHECKING

from tltool.lazy import lazy_exports

if TYPE_CHECKING:
    from tltool.monitoring.callback import HealthMonitor as HealthMonitor

__getattr__, __dir__, __all__ = lazy_exports(
    __name__, {"HealthMonitor": "tltool.monitoring.callback"}
)
