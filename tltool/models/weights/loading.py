"""Loading pretrained weights into timm's models: all of them, or an error names what is missing."""

import logging
import re
from collections.abc import Sequence
from typing import Any

import timm
import torch
from torch import Tensor, nn

from tltool.models import pixel_backbone
from tltool.models.timm_models import classifier_names, on_meta_device
from tltool.models.weights import hub
from tltool.models.weights.packages import installed_package_for, read_package
from tltool.models.weights.state_dict_files import read_file

log = logging.getLogger(__name__)


def resolve_auto(weights: str, name: str) -> str:
    """Return a source of weights other than ``auto``."""
    if weights != "auto":
        return weights
    if name == pixel_backbone.NAME:
        return "random"  # It has none.
    package = installed_package_for(name)
    return f"package:{package}" if package else "pretrained"


def create_with_weights(
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
