"""Loading pretrained weights into timm's models: all of them, or an error names what is missing."""

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

import timm
from torch import Tensor, nn

from tltool.models import pixel_backbone
from tltool.models.non_finite import listed_tensors, non_finite_tensors
from tltool.models.timm_models import on_meta_device
from tltool.models.weights import hub
from tltool.models.weights.model_folder import is_model_folder, weights_path
from tltool.models.weights.packages import installed_package_for, read_package
from tltool.models.weights.state_dict_files import read_file
from tltool.models.weights.tensor_checks import check_tensors

log = logging.getLogger(__name__)

_NO_FILES = ("pretrained", "random")
_NAMES = ("head", "head.fc", "fc", "classifier")
USUAL_CLASSIFIERS = {f"{name}.{kind}" for name in _NAMES for kind in ("weight", "bias")}


def resolve_auto(weights: str, name: str) -> str:
    """Return a source of weights other than ``auto``."""
    if weights != "auto":
        return weights
    if name == pixel_backbone.NAME:
        return "random"  # It has none.
    package = installed_package_for(name)
    return f"package:{package}" if package else "pretrained"


def weights_in_words(weights: str, name: str) -> str:
    """Return a source of weights as it was given, and of ``auto`` what that is here.

    Example:
        >>> weights_in_words("random", "resnet18"), weights_in_words("auto", "pixels")
        ('random', 'auto (random)')
    """
    return weights if weights != "auto" else f"auto ({resolve_auto(weights, name)})"


def check_weights_key(weights: str, weights_key: str | None) -> None:
    """Raise a ValueError if a key is set for weights that are no file."""
    if weights_key is not None and (weights in _NO_FILES or weights.startswith("package:")):
        raise ValueError(
            f"`weights_key` chooses among the weights of a file, and `weights` is {weights!r}. "
            "Leave it out, or set `weights` to the file."
        )


def create_with_weights(
    name: str,
    weights: str,
    options: dict[str, Any],
    allow_partial: Sequence[str],
    weights_key: str | None = None,
    *,
    input_size: Sequence[int] | None = None,
) -> nn.Module:
    """Make a model with its weights.

    Args:
        name: The model.
        weights: See `Backbone`, with ``auto`` resolved.
        options: What it is made with.
        allow_partial: See `Backbone`.
        weights_key: See `Backbone`.
        input_size: Channels, height and width that the weights were trained with, for timm to adapt
            them from; ``None`` for those that timm knows.

    Raises:
        ValueError: If the weights belong to another model, or hold NaN.
        ConnectionError: If they must be downloaded and the hub is out of reach.
    """
    if weights == "random":
        return timm.create_model(name, **options)
    own = on_meta_device(name, options).state_dict()
    state_dict = _read(name, weights, own, weights_key)
    if state_dict is None:
        return with_finite_weights(_download(name, options), weights)
    check_tensors(state_dict, own, weights)
    _check_without_adapters(state_dict, weights)
    allowed = [key for key in own | state_dict if any(re.fullmatch(p, key) for p in allow_partial)]
    left_out = {*allowed, *classifier_keys(name, options, own, state_dict)} - set(own)
    left_out &= set(state_dict)
    kept = {key: value for key, value in state_dict.items() if key not in left_out}
    missing = [key for key in allowed if key in own and key not in kept]
    if missing:  # Listed as absent: they keep their random initial values.
        random = timm.create_model(name, **options).state_dict()
        kept |= {key: random[key] for key in missing}
    model = with_finite_weights(_create(name, weights, options, kept, input_size), weights)
    rest = f"left out: {_listed(sorted(left_out))}; random: {_listed(missing)}"
    loaded = len(own) - len(missing)
    log.info("Loaded %d of %d tensors of %s from %s; %s.", loaded, len(own), name, weights, rest)
    return model


def with_finite_weights(model: nn.Module, weights: str) -> nn.Module:
    """Return a model, or refuse weights that hold NaN or infinity: training cannot mend them.

    Raises:
        ValueError: If there are such; the message names their tensors.
    """
    found = non_finite_tensors(model)
    if found:
        raise ValueError(
            f"The weights {weights!r} hold NaN or infinity in {listed_tensors(found)}. The file "
            "was saved after a training had diverged, or is damaged: take another, or download it "
            "anew."
        )
    return model


def classifier_keys(
    name: str,
    options: Mapping[str, Any],
    own: Mapping[str, Tensor],
    state_dict: Mapping[str, Tensor],
) -> set[str]:
    """Return the keys of a classifier: those of timm's, of several layers in its place, the usual.

    Args:
        name: The model.
        options: What it is made with, which leaves the classifier out.
        own: Its state dict.
        state_dict: What was read.
    """
    others = {option: value for option, value in options.items() if option != "num_classes"}
    timms = on_meta_device(name, others).state_dict().keys() - own.keys()
    places = {key.rpartition(".")[0] for key in timms}
    below = {key for key in state_dict if any(key.startswith(f"{place}.") for place in places)}
    return timms | below | USUAL_CLASSIFIERS


def _check_without_adapters(state_dict: Mapping[str, Tensor], weights: str) -> None:
    adapters = [key for key in state_dict if key.endswith(".lora_a")]
    if adapters:
        raise ValueError(
            f"The weights {weights!r} have {len(adapters)} adapters beside them, as LoRA leaves "
            "them. Merge these first: tltool.merge_adapters(task) of a loaded task."
        )


def _read(
    name: str, weights: str, own: Mapping[str, Tensor], key: str | None
) -> dict[str, Tensor] | None:
    """Return the state dict that ``weights`` names, or ``None`` where timm must download it."""
    if weights.startswith("package:"):
        keys = list(on_meta_device(name, {}).state_dict())
        return read_package(weights.removeprefix("package:"), name, keys)
    if weights != "pretrained":
        path = weights_path(weights) if is_model_folder(weights) else weights
        return read_file(path, own, key)
    cached = hub.find_cached(name)
    if cached is not None:
        return read_file(cached, own)  # timm would ask the hub first, and wait for it.
    hub.check_download(name)
    return None


def _download(name: str, options: dict[str, Any]) -> nn.Module:
    log.info("Downloading the pretrained weights of %s.", name)
    try:
        return timm.create_model(name, pretrained=True, **options)
    except OSError as error:  # All of the hub's own errors are.
        raise ConnectionError(
            f"The download of the pretrained weights of {name} failed: {error}. Try again, or set "
            "`weights` to a file or to package:NAME."
        ) from error


def _create(
    name: str,
    weights: str,
    options: dict[str, Any],
    state_dict: dict[str, Tensor],
    input_size: Sequence[int] | None,
) -> nn.Module:
    """Let timm adapt the first layer and the position embedding, and load all or nothing."""
    # num_classes=0 in the overlay makes timm load strictly; otherwise it loads what fits, in
    # silence.
    overlay = {"state_dict": state_dict, "num_classes": 0, "custom_load": False}
    if input_size is not None:
        overlay["input_size"] = tuple(input_size)
    try:
        model: nn.Module = timm.create_model(
            name, pretrained=True, pretrained_cfg_overlay=overlay, **options
        )
    except (RuntimeError, KeyError, AttributeError) as error:
        own = on_meta_device(name, options).state_dict()
        wrong = [k for k in own if k in state_dict and own[k].shape != state_dict[k].shape]
        missing = [key for key in own if key not in state_dict]
        unknown = [key for key in state_dict if key not in own]
        kinds = {"missing": missing, "unknown": unknown, "of another shape": wrong}
        found = [
            f"{kind}: {_listed(keys, 3)} ({len(keys)})" for kind, keys in kinds.items() if keys
        ]
        fit = f"{len(own) - len(missing) - len(wrong)} of its {len(own)} tensors fit"
        if wrong and not missing and not unknown and "img_size" in options:
            raise ValueError(
                f"timm does not adapt the weights of {name} to another image size: {fit}; "
                f"{found[0]}. Leave `img_size` out, or choose another backbone."
            ) from error
        raise ValueError(
            f"The weights {weights!r} do not belong to {name}: {fit}; "
            f"{'; '.join(found) or error}. Set `name` to the model they were saved from, or list "
            "what may be missing or unknown in `allow_partial`."
        ) from error
    pretrained_cfg: Any = model.pretrained_cfg  # a dict, which nn.Module's type does not say
    pretrained_cfg.pop("state_dict", None)  # The weights once are enough.
    return model


def _listed(keys: Sequence[str], limit: int | None = None) -> str:
    more = ", ..." if limit is not None and len(keys) > limit else ""
    return (", ".join(keys[:limit]) or "none") + more
