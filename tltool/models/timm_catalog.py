"""The models of timm: how large, for which images, with which weights; and a search in them."""

import csv
import difflib
import fnmatch
import functools
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from typing import Any

import timm
import timm.models
import torch

from tltool.models.pixel_backbone import NAME as PIXELS

#: Where to begin, by parameters: from a phone's network to a base transformer. From the field's own
#: experience; here only the first one was measured.
GOOD_STARTS = (
    "tf_efficientnet_lite0",
    "mobilenetv4_conv_small",
    "efficientnet_b0",
    "resnet18",
    "resnet50",
    "tf_efficientnetv2_s",
    "vit_small_patch16_224",
    "vit_small_patch14_dinov2",
    "convnext_tiny",
    "swin_tiny_patch4_window7_224",
    "convnext_small",
    "vit_base_patch16_clip_224",
)


@dataclass(frozen=True)
class CatalogEntry:
    """A model of timm.

    Attributes:
        name: Its name without a tag.
        family: The module of timm that it lives in, such as ``resnet``.
        input_size: Channels, height and width in pixels that its usual weights expect; empty where
            it says none.
        tags: The pretrained weights that there are, the usual ones first; empty for none.
    """

    name: str
    family: str
    input_size: tuple[int, ...]
    tags: tuple[str, ...]

    @property
    def img_size(self) -> int:
        """The longer of height and width, or 0."""
        return max(self.input_size[1:], default=0)

    @property
    def num_parameters(self) -> int:
        """The number of parameters without the classifier, see `count_parameters`."""
        return count_parameters(self.name)

    def full_name(self, tag: str) -> str:
        """Return the name with a tag, as `Backbone` takes it."""
        return f"{self.name}.{tag}" if tag else self.name


def search_catalog(
    pattern: str = "",
    *,
    family: str | None = None,
    tag: str | None = None,
    max_params: int | None = None,
    max_size: int | None = None,
    with_untrained: bool = False,
    among: Collection[str] | None = None,
) -> list[CatalogEntry]:
    """Return the models that fit, sorted by name.

    Args:
        pattern: A part of the name, or a pattern with ``*`` and ``?`` for all of it, in lower or
            upper case. A whole name, with or without a tag, finds this model alone.
        family: A module of timm, such as ``convnext``; ``None`` for all.
        tag: A part of the tag of the weights, such as ``in21k``; other weights are left out.
        max_params: The most parameters, without the classifier; ``None`` for any number.
        max_size: The largest height and width in pixels that the usual weights expect.
        with_untrained: Whether to list models too for which timm has no weights.
        among: Names without tags to choose from; ``None`` for all.

    Raises:
        ValueError: If there is no such family; the message names the nearest.

    Example:
        >>> [entry.name for entry in search_catalog("resnet?8", max_params=20_000_000)]
        ['resnet18']
    """
    families = timm.list_modules()
    if family is not None and family not in families:
        near = [known for known in families if family in known]
        near = near or difflib.get_close_matches(family, families, n=3) or families
        such = ", ".join(near[:5])
        raise ValueError(f"timm has no family {family!r}. Choose one such as {such}.")
    pattern = pattern.lower()
    name, _, own_tag = pattern.partition(".")
    glob = pattern if set(pattern) & set("*?[") else f"*{pattern}*"
    names = [name] if timm.is_model(name) else fnmatch.filter(timm.list_models(), glob)
    tag = tag or own_tag or ""
    found = []
    for name in names:
        if among is not None and name not in among:
            continue
        entry = catalog_entry(name)
        kept = replace(entry, tags=tuple(own for own in entry.tags if tag in own))
        if (
            (kept.tags or (with_untrained and not tag))
            and family in (None, entry.family)
            and (max_size is None or entry.img_size <= max_size)
            # The last one, for a model that is not in the table is built.
            and (max_params is None or entry.num_parameters <= max_params)
        ):
            found.append(kept)
    return found


def catalog_entry(name: str) -> CatalogEntry:
    """Return what is known about one model, from timm's tables alone.

    Example:
        >>> catalog_entry("test_resnet")
        CatalogEntry(name='test_resnet', family='resnet', input_size=(3, 160, 160), tags=...)
    """
    config: Any = timm.models.get_pretrained_cfg(name)
    family = timm.models.model_entrypoint(name).__module__.rpartition(".")[2]
    usual = config.tag if config is not None and config.has_weights else None
    tags = [full.partition(".")[2] for full in _pretrained_names().get(name, ())]
    tags.sort(key=lambda tag: tag != usual)  # stable
    return CatalogEntry(name, family, config.input_size if config else (), tuple(tags))


@functools.cache
def _pretrained_names() -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for full in timm.list_pretrained():
        names.setdefault(full.partition(".")[0], []).append(full)
    return names


def count_parameters(name: str) -> int:
    """Return the number of parameters of a model without its classifier.

    The counts of timm's models lie in a table (`scripts/parameter_counts.py`), for building them
    all takes minutes. A model that is newer is built without memory for its weights.

    Example:
        >>> count_parameters("resnet18")
        11176512
    """
    counted = _counted().get(name)
    return build_and_count(name) if counted is None else counted


@functools.cache
def _counted() -> dict[str, int]:
    file = resources.files(__package__) / "parameter_counts.csv"
    rows = csv.reader(file.read_text(encoding="utf-8").splitlines()[1:])
    return {name: int(count) for name, count in rows}


@functools.cache
def build_and_count(name: str) -> int:
    """Build a model without memory for its weights, and count them without the classifier."""
    with torch.device("meta"):
        model = timm.create_model(name, num_classes=0)
    return sum(parameter.numel() for parameter in model.parameters())


def smallest_of_each_family() -> dict[str, str]:
    """Return the model with the fewest parameters of each module of timm, by the module's name.

    Example:
        >>> smallest_of_each_family()["efficientnet"]
        'test_efficientnet'
    """
    families: dict[str, list[str]] = {}
    for name in timm.list_models(exclude_filters=PIXELS):
        family = timm.models.model_entrypoint(name).__module__.rpartition(".")[2]
        families.setdefault(family, []).append(name)
    return {family: min(families[family], key=count_parameters) for family in sorted(families)}


def nearest_names(pattern: str, count: int = 3) -> Sequence[str]:
    """Return the names of models that look most like a pattern.

    Example:
        >>> nearest_names("resnt18", 1)
        ['resnet18']
    """
    return difflib.get_close_matches(pattern.strip("*?"), timm.list_models(), n=count)
