"""Options of timm's models: which of them a model takes, and whether they have an effect."""

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from tltool.models.timm_models import on_meta_device, output_on_meta

ImageSize = int | Sequence[int] | None
"""Height and width in pixels, or one number for both; ``None`` for the size of the weights."""

#: What a backbone sets by arguments of its own.
BACKBONE_OPTIONS = {"num_classes", "in_chans", "img_size", "drop_rate", "drop_path_rate"}
# What timm's `create_model` does beside building a model: nothing that a file may ask for.
_NO_OPTIONS = {
    *("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "pretrained_model_args"),
    *("checkpoint_path", "cache_dir", "features_only", "out_indices", "device", "dtype"),
    *("scriptable", "exportable", "no_jit", "pretrained_strict"),
}


def height_and_width(img_size: ImageSize) -> tuple[int, int] | None:
    """Return an image size as height and width, after a look at it.

    Raises:
        ValueError: If it is not one or two whole numbers of at least 1.

    Example:
        >>> height_and_width(224), height_and_width([160, 224])
        ((224, 224), (160, 224))
    """
    if img_size is None:
        return None
    edges = [img_size, img_size] if isinstance(img_size, int) else list(img_size)
    if len(edges) != 2 or min(edges) < 1:
        raise ValueError(
            f"`img_size` must be one number of pixels, or height and width, got {img_size}. Set "
            "--model.backbone.img_size 224, or 160 224."
        )
    return edges[0], edges[1]


def model_options(
    name: str,
    in_chans: int,
    img_size: ImageSize,
    drop_rate: float = 0.0,
    drop_path_rate: float = 0.0,
    *,
    model_args: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the keyword arguments for ``create_model``, without those at their default.

    Raises:
        ValueError: If the model does not take one.
    """
    options: dict[str, Any] = {"num_classes": 0, "in_chans": in_chans}
    if model_args:
        _check_model_args(name, model_args)
        options |= model_args
    for option, rate in (("drop_rate", drop_rate), ("drop_path_rate", drop_path_rate)):
        if not 0 <= rate < 1:
            raise ValueError(f"`{option}` must be in [0, 1), got {rate}.")
        options |= {option: rate} if rate else {}
    cls = model_class(name)
    for option in options.keys() - (model_args or {}).keys():
        if not takes_option(cls, option):
            raise ValueError(f"{name} has no `{option}`. Leave it out, or choose another backbone.")
    # A convolutional network takes any size; a transformer is built for one.
    size = height_and_width(img_size)
    if size is not None and takes_option(cls, "img_size"):
        options["img_size"] = size if size[0] != size[1] else size[0]  # Some take squares alone.
    return options


def _check_model_args(name: str, model_args: Mapping[str, Any]) -> None:
    """Refuse what is an argument of the backbone itself, or none of the model."""
    refused = sorted((BACKBONE_OPTIONS | _NO_OPTIONS) & model_args.keys())
    if refused:
        raise ValueError(
            f"`model_args` of {name} sets {refused[0]}, which is not for the model alone to say. "
            "Leave it out, or set the argument of the backbone that has its name."
        )
    try:
        on_meta_device(name, {"num_classes": 0, **model_args})
    except (TypeError, ValueError, AssertionError, RuntimeError, LookupError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"timm cannot make {name} with `model_args` {dict(model_args)}: {reason}. Leave out "
            "what it does not take."
        ) from error


@functools.cache
def model_class(name: str) -> type[nn.Module]:
    """Return the class of a model, which building it without memory for its weights tells.

    Example:
        >>> model_class("test_resnet").__name__
        'ResNet'
    """
    return type(on_meta_device(name, {"num_classes": 0}))


def takes_option(cls: type[nn.Module], option: str) -> bool:
    """Tell whether a class has an option, itself or through ``**kwargs`` for the class above it.

    ``**kwargs`` may also end in a configuration object, whose fields count then. Nothing else does
    (`scripts/timm_options.py` builds all models of timm).

    Example:
        >>> from timm.models.deit import VisionTransformerDistilled
        >>> takes_option(VisionTransformerDistilled, "img_size")
        True
        >>> takes_option(VisionTransformerDistilled, "img_sise")
        False
    """
    for owner in cls.__mro__:
        if "__init__" not in vars(owner):
            continue
        init = vars(owner)["__init__"]
        parameters = inspect.signature(init).parameters
        if option in parameters:
            return True
        if all(p.kind is not inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
            return False
        if option in _config_fields(init):
            return True
    return False


def _config_fields(init: Callable[..., Any]) -> set[str]:
    """Return the fields of the configuration object that an ``__init__`` takes, if it takes one."""
    hint = typing.get_type_hints(init).get("cfg")
    classes = [hint, *typing.get_args(hint)]  # Optional[Config] too
    return {
        field.name
        for cls in classes
        if isinstance(cls, type) and dataclasses.is_dataclass(cls)
        for field in dataclasses.fields(cls)
    }


def check_rates(
    name: str,
    model: nn.Module,
    features: Callable[[Tensor], object],
    input_size: Sequence[int],
    **rates: float,
) -> None:
    """Refuse a rate that drops nothing, as where the dropout lies in the classifier that is gone.

    Args:
        name: The model.
        model: Its blueprint on the meta device, without the layers that are dropped.
        features: What is computed with it.
        input_size: Of images that it takes: channels, height and width.
        **rates: ``drop_rate`` and ``drop_path_rate`` that it was built with.

    Raises:
        ValueError: Naming what to set instead.
    """
    if rates["drop_path_rate"] and not any(getattr(m, "drop_prob", 0) for m in model.modules()):
        raise ValueError(
            f"`drop_path_rate` has no effect on {name}: this part of it has no stochastic depth. "
            "Leave it out, or set `stop_at` to a later layer."
        )
    if not rates["drop_rate"]:
        return
    model.train()
    with _DropoutRates() as used:
        output_on_meta(name, features, 2, input_size)
    model.eval()
    if rates["drop_rate"] not in used.rates:
        raise ValueError(
            f"`drop_rate` has no effect on the features of {name}: its dropout lies behind them. "
            "Leave it out, or set `dropout` of the head."
        )


def check_grad_checkpointing(name: str, model: nn.Module) -> None:
    """Raise a ValueError if a model, here its blueprint, cannot recompute activations."""
    try:
        if hasattr(model, "set_grad_checkpointing"):
            cast(Any, model).set_grad_checkpointing(True)
            return
    except AssertionError:  # timm's way of saying it
        pass
    raise ValueError(f"{name} has no gradient checkpointing. Leave `grad_checkpointing` out.")


class _DropoutRates(TorchFunctionMode):
    """The rates that dropout was called with, by layers and by functions."""

    def __init__(self) -> None:
        super().__init__()
        self.rates = set[float]()

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is functional.dropout:
            self.rates.add(kwargs["p"] if "p" in kwargs else [*args, 0.5][1])
        return func(*args, **kwargs)
