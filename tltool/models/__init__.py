"""Backbones and heads as plain modules."""

from typing import TYPE_CHECKING

from tltool.lazy import lazy_exports

if TYPE_CHECKING:
    from tltool.models.backbone import Backbone as Backbone
    from tltool.models.description import described as described
    from tltool.models.heads import LinearHead as LinearHead
    from tltool.models.heads import MLPHead as MLPHead

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "Backbone": "tltool.models.backbone",
        "LinearHead": "tltool.models.heads",
        "MLPHead": "tltool.models.heads",
        "described": "tltool.models.description",
    },
)
