"""LightningModules: what is learned from a batch."""

from typing import TYPE_CHECKING

from tltool.lazy import lazy_exports

if TYPE_CHECKING:
    from tltool.tasks.image_task import ImageTask as ImageTask

__getattr__, __dir__, __all__ = lazy_exports(__name__, {"ImageTask": "tltool.tasks.image_task"})
