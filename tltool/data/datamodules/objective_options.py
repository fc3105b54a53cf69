"""Options of a datamodule that are about one class for each image."""

from typing import Any


def refuse_class_options(data: Any) -> None:
    """Raise if an option does not fit the objective of a datamodule.

    Args:
        data: With its options set.

    Raises:
        ValueError: It names the option.

    Example:
        >>> from tltool import ManifestDataModule
        >>> ManifestDataModule("images.csv", objective="regression", mixup=0.2)
        Traceback (most recent call last):
        ...
        ValueError: `mixup` mixes the classes of two images, and the objective is regression. Set...
    """
    if data.objective == "single_label":
        return
    if data.sampling == "class_balanced":
        raise ValueError(
            "`sampling: class_balanced` needs one class for each image, and the objective is "
            f"{data.objective}. Set --data.sampling shuffled; several classes can be weighted "
            "instead: --model.class_weights balanced."
        )
    if data.objective == "regression":
        for name in ("mixup", "cutmix"):
            if getattr(data, name):
                raise ValueError(
                    f"`{name}` mixes the classes of two images, and the objective is regression. "
                    f"Set --data.{name} 0."
                )
        names = data.given_class_names or []
        if len(names) > 1:
            raise ValueError(
                f"`class_names` are {len(names)} names, and a regression has one target, no "
                "classes. Leave them out."
            )


def need_one_class(data: Any, what: str) -> None:
    """Raise unless each image of a datamodule has one class.

    Args:
        data: The datamodule.
        what: What needs it, as the sentence begins.

    Raises:
        ValueError: It names the objective.
    """
    if data.objective != "single_label":
        raise ValueError(
            f"{what} is for one class of each image, and the objective is {data.objective}. Leave "
            "it out."
        )
