"""Comparison of many heads on one backbone: trained together, and their differences judged."""

from typing import TYPE_CHECKING

from tltool.lazy import lazy_exports

if TYPE_CHECKING:
    from tltool.comparison.compare import compare_heads as compare_heads
    from tltool.comparison.result import Comparison as Comparison
    from tltool.comparison.training_settings import TrainingSettings as TrainingSettings
    from tltool.comparison.variants import Variant as Variant
    from tltool.comparison.variants import cross_axes as cross_axes

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "Comparison": "tltool.comparison.result",
        "TrainingSettings": "tltool.comparison.training_settings",
        "Variant": "tltool.comparison.variants",
        "compare_heads": "tltool.comparison.compare",
        "cross_axes": "tltool.comparison.variants",
    },
)
