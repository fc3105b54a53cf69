"""A backbone and a linear head as timm's own classifier, where an edit does not forbid it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import timm
from timm.models._hub import save_config_for_hf
from torch import Tensor, nn

from tltool.models.backbone import Backbone
from tltool.models.heads import Head
from tltool.models.pixel_backbone import NAME as PIXELS
from tltool.models.weights.trained_backbone import EDITS_OF_VALUES

#: What timm says about its own weights, and not about others for the same model.
_OF_TIMMS_WEIGHTS = ("description", "license", "notes", "origin_url", "paper_ids", "paper_name")
_PREPROCESSING = ("input_size", "mean", "std", "interpolation", "crop_pct", "crop_mode")


def timm_classifier(
    backbone: Backbone, head: nn.Module, *, data_config: Mapping[str, Any] | None = None
) -> nn.Module:
    """Return timm's model with its classifier, which computes the logits of a backbone and a head.

    Args:
        backbone: Without adapters; in evaluation mode.
        head: A linear layer, or a `Head` that is one, without input norm.
        data_config: The preprocessing of its images; ``None`` for that of the backbone.

    Raises:
        ValueError: If timm has no such model; all that forbids it is named.
    """
    config = backbone.data_config if data_config is None else data_config
    reasons = [*_backbone_reasons(backbone), *_head_reasons(head), *_image_reasons(config)]
    if reasons:
        raise ValueError(_refusal(backbone, reasons))
    linear = _linear(head)
    options = {**backbone._options, "num_classes": linear.out_features}
    # Dropout is for training alone; a growth_rate is part of the architecture.
    options = {k: v for k, v in options.items() if not ("drop" in k and k.endswith("_rate"))}
    model: nn.Module = timm.create_model(backbone.name, **options)
    state, expected = _values(backbone.model), model.state_dict()
    place = _classifier_place(expected, state)
    if place is None:
        why = "linear classifier there: its own is more than that, or shared"
        raise ValueError(_refusal(backbone, [why]))
    classifier = {"weight": linear.weight, "bias": linear.bias}
    for key, value in classifier.items():  # Of a 1x1 convolution in some models.
        state[f"{place}.{key}"] = value.detach().view_as(expected[f"{place}.{key}"])
    model.load_state_dict(state)
    return model.eval()


def write_timm_config(
    path: Path,
    model: nn.Module,
    data_config: Mapping[str, Any],
    *,
    class_names: list[str],
    weights: str,
    license_name: str | None,
) -> None:
    """Write the ``config.json`` from which timm makes a model again.

    Args:
        path: The file.
        model: From `timm_classifier`.
        data_config: The preprocessing of its images.
        class_names: The classes in the order of the logits.
        weights: Where training began, see `Backbone`.
        license_name: Of the weights; ``None`` where it is not known.
    """
    config: Any = model.pretrained_cfg
    if weights != "pretrained":
        for key in (*_OF_TIMMS_WEIGHTS, "tag"):
            config.pop(key, None)
    preprocessing = _preprocessing(data_config)
    license_entry = {} if license_name is None else {"license": license_name}
    own = {"label_names": class_names, "pretrained_cfg": preprocessing | license_entry}
    save_config_for_hf(model, str(path), own, data_config=preprocessing)


def load_timm_folder(folder: Path) -> nn.Module:
    """Return the model of a folder as timm loads it, in evaluation mode."""
    model: nn.Module = timm.create_model(f"local-dir:{folder}", pretrained=True)
    return model.eval()


def _preprocessing(data_config: Mapping[str, Any]) -> dict[str, Any]:
    chosen = {key: data_config[key] for key in _PREPROCESSING if key in data_config}
    return {k: tuple(value) if isinstance(value, list) else value for k, value in chosen.items()}


def _backbone_reasons(backbone: Backbone) -> list[str]:
    """Return what of a backbone timm does not build."""
    names = [edit if isinstance(edit, str) else next(iter(edit)) for edit in backbone.surgery]
    reasons = [f"`surgery: {name}`" for name in names if name not in EDITS_OF_VALUES]
    if backbone.stop is not None:
        reasons.append(f"`stop_at: {backbone.description['init_args']['stop_at']}`")
    if backbone.name == PIXELS:
        reasons.append(f"backbone {PIXELS}")
    return reasons


def _head_reasons(head: nn.Module) -> list[str]:
    """Return what of a head is no linear layer."""
    if isinstance(head, nn.Linear):
        return [] if head.bias is not None else ["classifier without bias"]
    if not isinstance(head, Head):
        return [f"head {type(head).__name__}"]
    init_args = cast(Any, head).description["init_args"]
    reasons = []
    if init_args["hidden_features"]:
        reasons.append(f"`head.hidden_features: {init_args['hidden_features']}`")
    if head.input_norm is not None:
        reasons.append(f"`head.input_norm: {init_args['input_norm']}`")
    return reasons


def _image_reasons(data_config: Mapping[str, Any]) -> list[str]:
    """Return what of the preprocessing timm has no word for: it would give other pixels."""
    reasons = ["`data.preprocessing: mean_image`"] if "mean_image" in data_config else []
    value_range = data_config.get("value_range")
    return reasons if value_range is None else [*reasons, f"`data.value_range: {value_range}`"]


def _linear(head: nn.Module) -> nn.Linear:
    return head.output if isinstance(head, Head) else cast(nn.Linear, head)


def _values(model: nn.Module) -> dict[str, Tensor]:
    """Return the state dict without the marks of norms whose statistics were re-estimated."""
    state = model.state_dict()
    return {key: state[key] for key in state if not key.endswith(".is_calibrated")}


def _classifier_place(expected: Mapping[str, Tensor], backbone: Mapping[str, Tensor]) -> str | None:
    """Return the name of the one layer that a backbone lacks; ``None`` if it is something else."""
    added = [key for key in expected if key not in backbone]
    place = added[0].rpartition(".")[0] if added else ""
    is_layer = sorted(added) == [f"{place}.bias", f"{place}.weight"]
    is_linear = is_layer and expected[f"{place}.weight"][0].numel() == _num_inputs(expected, place)
    return place if is_linear and backbone.keys() <= expected.keys() else None


def _num_inputs(expected: Mapping[str, Tensor], place: str) -> int:
    return expected[f"{place}.weight"].shape[1] if expected[f"{place}.weight"].ndim > 1 else 0


def _refusal(backbone: Backbone, reasons: list[str]) -> str:
    return (
        f"timm cannot rebuild this {backbone.name}, for it knows no {', no '.join(reasons)}. "
        "Export it with --to torch-export or --to onnx, which keep what a run has changed."
    )
