"""Shared options of the datamodules: names and types, for the signatures of the children."""

import inspect
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict

from tltool._objective import Objective
from tltool.data.loading.class_balance import Sampling
from tltool.data.transforms.augmentation import Augmentation
from tltool.data.transforms.crop_mode import CropMode
from tltool.data.transforms.normalization import Preprocessing

if TYPE_CHECKING:
    from typing import Unpack as Unpack  # noqa: PLC0414  # exported, says the alias
else:

    class Unpack:
        """``typing.Unpack`` for type checkers; jsonargparse sees ``Any``.

        Of ``Unpack[TypedDict]`` jsonargparse 4.53 takes names and types alone. Of ``Any`` it
        follows ``super().__init__(**options)`` to `ImageDataModule`, and finds the defaults and the
        documentation too.
        """

        def __class_getitem__(cls, options: type) -> Any:
            return Annotated[Any, options]


class SharedOptions(TypedDict, total=False):
    """The options of `ImageDataModule`, where they are documented, for any kind of data."""

    batch_size: int | None
    num_workers: int | None
    value_range: list[float] | None
    preprocessing: Preprocessing
    crop_mode: CropMode | None
    augmentation: Augmentation | None
    crop_area: float
    random_erasing: float
    mixup: float
    cutmix: float
    sampling: Sampling
    seed: int
    val_fraction: float
    tuning_fraction: float | None
    data_config: dict[str, Any] | None
    class_names: list[Any] | None
    objective: Objective


class FileOptions(SharedOptions, total=False):
    """The options of `ImageDataModule`, for data of one file for each image."""

    broken_files: Literal["stop", "skip"]


def whole_signature(init: Any, base_init: Any) -> inspect.Signature:
    """Return the signature of a child's ``__init__`` without ``self``, shared options spelled out.

    Args:
        init: With ``**options: Unpack[SharedOptions]``, or without.
        base_init: The one with the defaults.

    Example:
        >>> def base(self, *, batch_size: int = 32, seed: int = 0): ...
        >>> def child(self, root: str, **options: Unpack[SharedOptions]): ...
        >>> whole_signature(child, base)
        <Signature (root: str, *, batch_size: int = 32, seed: int = 0)>
    """
    _, *own = inspect.signature(init).parameters.values()
    options = getattr(own[-1].annotation, "__metadata__", None) if own else None
    if options:
        shared = inspect.signature(base_init).parameters
        own[-1:] = [shared[name] for name in options[0].__annotations__ if name in shared]
    return inspect.Signature(own)
