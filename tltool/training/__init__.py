"""Training with Lightning: the task, its callbacks, checkpoints and run directories."""

from typing import TYPE_CHECKING

from tltool._lazy import lazy_exports

if TYPE_CHECKING:
    from tltool.training.callbacks.feature_caching import FeatureCaching as FeatureCaching
    from tltool.training.callbacks.finetuning import Finetuning as Finetuning
    from tltool.training.callbacks.health_monitor import HealthMonitor as HealthMonitor
    from tltool.training.image_task import ImageTask as ImageTask

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "FeatureCaching": "tltool.training.callbacks.feature_caching",
        "Finetuning": "tltool.training.callbacks.finetuning",
        "HealthMonitor": "tltool.training.callbacks.health_monitor",
        "ImageTask": "tltool.training.image_task",
    },
)
