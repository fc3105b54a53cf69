"""timm, as far as tltool needs it: names, blueprints, weights and layers of its models.

timm's models enter tltool here, and what timm knows about them in `timm_catalog` and `weights.hub`.
"""

import difflib
import inspect
import logging
import re
from collections.abc import Collection, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

import timm
import timm.models
import torch
from timm.data.config import resolve_model_data_config
from torch import Tensor, nn

from tltool.models import pixel_backbone
from tltool.models.layer_groups import name_groups
from tltool.models.weights import hub
from tltool.models.weights.packages import installed_package_for, read_package
from tltool.models.weights.state_dict_files import read_file

log = logging.getLogger(__name__)


def check_name(name: str) -> None:
    """Raise a ValueError that offers the nearest name, or the tags, unless timm has this model."""
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        near = difflib.get_close_matches(architecture, timm.list_models(), n=3)
        hint = f" Did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
        raise ValueError(
            f"timm {timm.__version__} has no model {name!r}.{hint} List them: tltool backbones"
        )
    if tag and name not in timm.list_pretrained():
        tags = timm.list_pretrained(f"{architecture}.*")
        raise ValueError(
            f"timm {timm.__version__} has no weights {tag!r} for {architecture!r}. "
            f"Choose one of: {', '.join(tags) or 'none'}."
        )


def model_options(
    name: str, in_chans: int, img_size: int | None, drop_rate: float, drop_path_rate: float
) -> dict[str, Any]:
    """Return the keyword arguments for ``create_model``, without those at their default."""
    options: dict[str, Any] = {"num_classes": 0, "in_chans": in_chans}
    rates = {"drop_rate": drop_rate, "drop_path_rate": drop_path_rate}
    for option, rate in rates.items():
        if not 0 <= rate < 1:
            raise ValueError(f"`{option}` must be in [0, 1), got {rate}.")
    options |= {option: rate for option, rate in rates.items() if rate}
    with torch.device("meta"):
        signature = inspect.signature(
            type(timm.create_model(name, num_classes=0)).__init__
        ).parameters
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in signature.values())
    for option in options:
        if option not in signature and not takes_any:
            raise ValueError(f"{name} has no `{option}`. Leave it out, or choose another backbone.")
    # A convolutional network takes any size; a transformer is built for one.
    if img_size is not None and "img_size" in signature:
        options["img_size"] = img_size
    return options


def on_meta_device(name: str, options: dict[str, Any]) -> nn.Module:
    """Build the model without memory for its weights, to look at its shapes."""
    with torch.device("meta"):
        model: nn.Module = timm.create_model(name, **options)
    return model.eval()


def data_config_of(
    model: nn.Module, in_chans: int, img_size: int | None, own: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the preprocessing that the model's weights expect, for these images.

    Args:
        model: The model, as timm made it.
        in_chans: Number of image channels.
        img_size: Height and width in pixels; ``None`` for that of the weights.
        own: What the weights themselves say otherwise than timm, see `own_preprocessing`.
    """
    # timm does not type this function.
    config: dict[str, Any] = resolve_model_data_config(model)  # type: ignore[no-untyped-call]
    # A transformer that is built for one size takes no other, whatever the weights were saved with.
    fixed = _has_fixed_size(model)
    config |= {key: value for key, value in own.items() if key != "input_size" or not fixed}
    size = (img_size, img_size) if img_size is not None else config["input_size"][1:]
    config["input_size"] = (in_chans, *size)
    for key in ("mean", "std"):
        # Grey or multi-band images: the colors' average for each band.
        if len(config[key]) != in_chans:
            config[key] = (sum(config[key]) / len(config[key]),) * in_chans
    return {
        key: list(value) if isinstance(value, tuple) else value for key, value in config.items()
    }


def _has_fixed_size(model: nn.Module) -> bool:
    """Tell whether a model is built for images of one size."""
    return bool(cast(Any, model).pretrained_cfg.get("fixed_input_size"))


def resolve_auto(weights: str, name: str) -> str:
    """Return a source of weights other than ``auto``."""
    if weights != "auto":
        return weights
    if name == pixel_backbone.NAME:
        return "random"  # It has none.
    package = installed_package_for(name)
    return f"package:{package}" if package else "pretrained"


def create(
    name: str, weights: str, options: dict[str, Any], allow_partial: Sequence[str]
) -> nn.Module:
    """Make a model with its weights.

    Raises:
        ValueError: If the weights belong to another model.
        ConnectionError: If they must be downloaded and the hub is out of reach.
    """
    if weights == "random":
        return timm.create_model(name, **options)
    state_dict = _read(name, weights)
    if state_dict is None:
        log.info("Downloading the pretrained weights of %s.", name)
        try:
            return timm.create_model(name, pretrained=True, **options)
        except OSError as error:  # All of the hub's own errors are.
            raise ConnectionError(
                f"The download of the pretrained weights of {name} failed: {error}. Try again, or "
                "set `weights` to a file or to package:NAME."
            ) from error
    return _create_from_state_dict(name, weights, options, state_dict, allow_partial)


def _read(name: str, weights: str) -> dict[str, Tensor] | None:
    """Return the state dict that ``weights`` names, or ``None`` where timm must download it."""
    if weights.startswith("package:"):
        with torch.device("meta"):
            keys = list(timm.create_model(name).state_dict())
        return read_package(weights.removeprefix("package:"), name, keys)
    if weights != "pretrained":
        return read_file(weights)
    cached = hub.find_cached(name)
    if cached is not None:
        return read_file(cached)  # timm would ask the hub first, and wait for it.
    hub.check_download(name)
    return None


def _create_from_state_dict(
    name: str,
    weights: str,
    options: dict[str, Any],
    state_dict: dict[str, Tensor],
    allow_partial: Sequence[str],
) -> nn.Module:
    """Let timm adapt the weights and load them, all or not at all.

    It adapts the first layer and the position embedding.
    """
    blueprint = on_meta_device(name, options)
    classifier = _classifier_keys(blueprint, state_dict)
    extra = {key for key in state_dict if any(re.fullmatch(p, key) for p in allow_partial)}
    extra -= set(blueprint.state_dict())
    kept = {key: value for key, value in state_dict.items() if key not in classifier | extra}
    missing = [
        key
        for key in blueprint.state_dict()
        if key not in kept and any(re.fullmatch(pattern, key) for pattern in allow_partial)
    ]
    if missing:  # Listed as absent: they keep their random initial values.
        random = timm.create_model(name, **options).state_dict()
        kept |= {key: random[key] for key in missing}
    # num_classes=0 in the overlay makes timm load strictly; otherwise it loads what fits, in
    # silence.
    overlay = {"state_dict": kept, "num_classes": 0, "custom_load": False}
    try:
        model: nn.Module = timm.create_model(
            name, pretrained=True, pretrained_cfg_overlay=overlay, **options
        )
    except (RuntimeError, KeyError, AttributeError) as error:
        raise ValueError(_mismatch(name, weights, blueprint, kept, error)) from error
    pretrained_cfg: Any = model.pretrained_cfg  # a dict, which nn.Module's type does not say
    pretrained_cfg.pop("state_dict", None)  # The weights once are enough.
    log.info(
        "Loaded %d of %d tensors of %s from %s; left out: %s; random: %s.",
        len(blueprint.state_dict()) - len(missing),
        len(blueprint.state_dict()),
        name,
        weights,
        ", ".join(sorted(classifier | extra)) or "none",
        ", ".join(missing) or "none",
    )
    return model


def _classifier_keys(model: nn.Module, state_dict: dict[str, Tensor]) -> set[str]:
    usual = {
        f"{name}.{kind}"
        for name in ("head", "head.fc", "fc", "classifier")
        for kind in ("weight", "bias")
    }
    candidates = usual | set(classifier_names(model))
    return {key for key in candidates & set(state_dict) if key not in model.state_dict()}


def _mismatch(
    name: str, weights: str, model: nn.Module, state_dict: dict[str, Tensor], error: Exception
) -> str:
    own = model.state_dict()
    shared = [key for key in own if key in state_dict]
    fit = [key for key in shared if own[key].shape == state_dict[key].shape]
    missing = [key for key in own if key not in state_dict]
    unexpected = [key for key in state_dict if key not in own]
    wrong = [key for key in shared if own[key].shape != state_dict[key].shape]
    parts = [
        f"{kind}: {', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''} ({len(keys)})"
        for kind, keys in (
            ("missing", missing),
            ("unknown", unexpected),
            ("of another shape", wrong),
        )
        if keys
    ]
    return (
        f"The weights {weights!r} do not belong to {name}: {len(fit)} of its {len(own)} tensors "
        f"fit; {'; '.join(parts) or str(error)}. Set `name` to the model they were saved from, or "
        "list what may be missing or unknown in `allow_partial`."
    )


def layer_groups_of(
    model: nn.Module, *, coarse: bool, added: Collection[str] = ()
) -> dict[str, list[str]]:
    """Return parameter names by layer group, from the input on, as timm's ``group_matcher`` says.

    A model without a matcher gets one group for each top-level child.

    Args:
        model: The model.
        coarse: Whole stages, or the layers inside them.
        added: Names of parameters that surgery brought in, which timm does not know. Each belongs
            to the group of the parameter in front of it.
    """
    groups = _match_groups(model, coarse=coarse, added=added)
    group_of = {parameter: group for group, names in groups.items() for parameter in names}
    last = next(iter(groups), "")
    for parameter, _ in model.named_parameters():
        if parameter in added:
            groups[last].append(parameter)
        last = group_of.get(parameter, last)
    return groups


def _match_groups(
    model: nn.Module, *, coarse: bool, added: Collection[str]
) -> dict[str, list[str]]:
    own = [(key, value) for key, value in model.named_parameters() if key not in added]
    if hasattr(model, "group_matcher"):
        matcher = cast(Any, model).group_matcher(coarse=coarse)
        # timm numbers layers with the classifier among them, so its names must be there.
        classifier = [] if coarse else classifier_names(model)
        named = [*own, *((key, None) for key in classifier)]
        holder = SimpleNamespace(named_parameters=lambda: named)
        return name_groups(timm.models.group_parameters(cast(Any, holder), matcher), classifier)
    groups: dict[str, list[str]] = {}
    for parameter, _ in own:
        groups.setdefault(parameter.partition(".")[0], []).append(parameter)
    return name_groups(groups)


def classifier_names(model: nn.Module) -> list[str]:
    """Return the names of the classifier's parameters, which ``num_classes=0`` has removed."""
    names = cast(Any, model).pretrained_cfg.get("classifier") or ()
    names = (names,) if isinstance(names, str) else names
    return [f"{name}.{kind}" for name in names for kind in ("weight", "bias")]
