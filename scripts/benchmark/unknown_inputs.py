"""Can unknown inputs be told better? Earlier layers, more images, and networks after a fit.

Each class in turn is left out of training, and the AUROC says how well a score tells its images
from the others. `layers`: with pretrained features, scores that also look at the means and standard
deviations of the channels of earlier blocks, on the sets of trust.py and on 10,000 other images of
Fashion-MNIST, which may choose among them. `fits`: what a checkpoint of `tltool fit` says, one fit
for each class, 1 to 3 minutes of one core each. Results are kept, and a later call resumes there.

Run: python scripts/benchmark/unknown_inputs.py layers --folders brain_mri=DIR
     python scripts/benchmark/unknown_inputs.py fits --sets brain_mri fashion
     python scripts/benchmark/unknown_inputs.py print
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from fashion_mnist import images_of
from image_sets import Item, drawn, make_set, write_set
from results import FOLDER, Row, kept
from torch import Tensor
from trust_judges import auroc, probabilities_of

from tltool.data.datamodules.image_folder import ImageFolderDataModule
from tltool.evaluation.unknown_inputs import (
    LEAST_SIGN,
    FeatureDistance,
    fit_feature_distance,
    ledoit_wolf_shrinkage,
)
from tltool.inference.loading import load
from tltool.models.backbone import Backbone
from tltool.models.ridge_probe import fit_ridge_probe

SETS = ("brain_mri", "digits", "fashion")
MANY = "fashion_10000"
NUM_TRAIN, NUM_VAL = 10_000, 2_000
BACKBONE, IMG_SIZE = "tf_efficientnet_lite0", 160
EARLIER = ("blocks.2", "blocks.3", "blocks.4", "blocks.5")
RESULTS = FOLDER / "unknown_inputs.jsonl"
MIXED = 0.3
"""Share of a class's own covariance in `covariance of each class`."""
Columns = Mapping[str, Tensor]
"""Of a split: ``features``, ``earlier`` and ``labels``."""


def main() -> None:
    """Measure what is missing, and print what is there."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("verb", choices=("layers", "fits", "print"))
    parser.add_argument("--sets", nargs="+", choices=(*SETS, MANY), default=(*SETS, MANY))
    parser.add_argument("--folders", nargs="*", default=[], metavar="SET=DIR")
    args = parser.parse_args()
    given = {name: Path(path) for name, _, path in (pair.partition("=") for pair in args.folders)}
    for name in args.sets if args.verb != "print" else ():
        if name == MANY and args.verb == "fits":
            continue
        folder = many_images() if name == MANY else make_set(name, given, FOLDER / "data")
        measure = partial(measure_fits, name, folder)
        if args.verb == "layers":
            measure = partial(measure_layers, name, folder)
        measure()
    print_table()


def many_images() -> Path:
    """Return the folder of images of Fashion-MNIST that no other set has."""
    folder = FOLDER / "data" / MANY
    if folder.is_dir():
        return folder
    splits = {}
    for split, source, number in (("train", "train", NUM_TRAIN), ("val", "t10k", NUM_VAL)):
        used = {
            file.name for file in (make_set("fashion", {}, FOLDER / "data") / split).glob("*/*")
        }
        items = [Item(*parts) for parts in images_of(source) if parts[0] not in used]
        splits[split] = drawn(items, number)
    write_set(folder, splits)
    return folder


def measure_layers(name: str, folder: Path) -> None:
    """Measure the scores on pretrained features, without each class in turn."""
    columns: dict[str, Columns] = {}
    for label in range(len(ImageFolderDataModule(folder).class_names)):
        key = {"what": "layers", "set": name, "class": label}

        def measure(label: int = label) -> Row:
            if not columns:
                columns.update(kept_columns(name, folder))
            return score_layers(columns["train"], columns["val"], label)

        kept(RESULTS, key, measure)


def kept_columns(name: str, folder: Path) -> dict[str, Columns]:
    """Return what the pretrained network says of the images of each split, computed once."""
    file = FOLDER / "unknown_inputs" / f"{name}.npz"
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        arrays = {
            f"{split} {column}": values.numpy()
            for split, columns in compute_columns(folder).items()
            for column, values in columns.items()
        }
        unfinished = file.with_name(f".{file.name}")
        np.savez(unfinished, **arrays)
        unfinished.rename(file)
    found: dict[str, dict[str, Tensor]] = defaultdict(dict)
    with np.load(file) as kept_arrays:
        for key in kept_arrays:
            split, column = key.split()
            found[split][column] = torch.from_numpy(kept_arrays[key])
    return dict(found)


@torch.inference_mode()
def compute_columns(folder: Path) -> dict[str, Columns]:
    """Pass the images of both splits through the pretrained network."""
    backbone = Backbone(BACKBONE, img_size=IMG_SIZE).eval()
    data = ImageFolderDataModule(folder, num_workers=0, data_config=backbone.data_config)
    outputs: list[Tensor] = []
    for block in EARLIER:
        backbone.model.get_submodule(block).register_forward_hook(
            lambda _module, _inputs, output: outputs.append(output)
        )
    found: dict[str, Columns] = {}
    for split in ("train", "val"):
        columns: dict[str, list[Tensor]] = defaultdict(list)
        for batch in data.evaluation_dataloader(split):
            columns["features"].append(backbone(batch["images"]).float())
            maps = [output.float() for output in outputs]
            statistics = [f(each, dim=(2, 3)) for each in maps for f in (torch.mean, torch.std)]
            columns["earlier"].append(torch.cat(statistics, dim=1))
            columns["labels"].append(batch["labels"])
            outputs.clear()
        found[split] = {column: torch.cat(parts) for column, parts in columns.items()}
    return found


def score_layers(train: Columns, val: Columns, label: int) -> Row:
    """Return the AUROC of each score where a class is left out.

    Half of the known validation images say how the signs spread; the other half is judged.
    """
    trains, known = train["labels"] != label, val["labels"] != label
    labels = train["labels"][trains]
    labels = labels - (labels > label).long()
    rows = known.nonzero()[:, 0]
    rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))]
    first, judged = rows[::2], torch.cat([rows[1::2], (~known).nonzero()[:, 0]])

    features = train["features"][trains]
    probe = fit_ridge_probe(features, labels, int(labels.max()) + 1)
    probabilities = probabilities_of(probe, val["features"])
    distance = fit_feature_distance(features, labels)
    center, scale = train["earlier"][trains].mean(dim=0), train["earlier"][trains].std(dim=0) + 1e-6
    earlier = (train["earlier"][trains] - center) / scale
    signs = {
        "far": distance.score(val["features"]),
        "mixed": distance_by_class(features, labels, distance, val["features"]),
        "earlier": fit_feature_distance(earlier, labels).score((val["earlier"] - center) / scale),
        "doubt": 1 - probabilities.max(dim=1).values + 1e-4,
    }
    logs = {name: sign.clamp_min(1e-12).log() for name, sign in signs.items()}
    spreads = {name: (log[first].mean(), log[first].std()) for name, log in logs.items()}
    far, mixed, early, doubt = (
        ((log - spreads[name][0]) / spreads[name][1]).clamp_min(LEAST_SIGN)
        for name, log in logs.items()
    )
    scores = {
        "maximum softmax": logs["doubt"],
        "today's": far + doubt,
        "covariance of each class": mixed + doubt,
        "earlier blocks": early + doubt,
        "both": (far + early) / 2 + doubt,
    }
    return {name: auroc(score[judged], ~known[judged]) for name, score in scores.items()}


def distance_by_class(
    features: Tensor, labels: Tensor, distance: FeatureDistance, others: Tensor
) -> Tensor:
    """Return the distance ``(N,)`` where a part of the covariance is that of the class alone."""
    centered = (features - distance.means[labels]).double()
    shrinkage, width = ledoit_wolf_shrinkage(centered), features.shape[1]
    shared = (1 - shrinkage) * centered.T @ centered / len(centered)
    shared += shrinkage * centered.square().mean() * torch.eye(width).double()
    found = []
    for label, center in enumerate(distance.means):
        own = centered[labels == label]
        factor = torch.linalg.cholesky((1 - MIXED) * shared + MIXED * own.T @ own / len(own))
        parts = torch.linalg.solve_triangular(factor, (others - center).T.double(), upper=False)
        found.append(parts.square().sum(dim=0))
    return torch.stack(found).min(dim=0).values.float()


def measure_fits(name: str, folder: Path) -> None:
    """Measure what a checkpoint says of a class that its fit has not seen, each class in turn."""
    class_names = ImageFolderDataModule(folder).class_names
    for class_name in class_names:
        key = {"what": "fits", "set": name, "class": class_name}
        kept(RESULTS, key, partial(score_fit, folder, class_name))


def score_fit(folder: Path, class_name: str) -> Row:
    """Fit without a class, and return the AUROC of the scores of its checkpoint."""
    with tempfile.TemporaryDirectory() as place:
        known = Path(place) / "known"
        for source in linked_folders(folder, class_name):
            target = known / source.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(source.resolve())
        words = [f"--data.root={known}", f"--model.backbone.name={BACKBONE}"]
        words += [f"--model.backbone.img_size={IMG_SIZE}", f"--runs_dir={place}", "--name=run"]
        subprocess.run(
            [sys.executable, "-m", "tltool", "fit", *words],
            check=True,
            capture_output=True,
            env=os.environ | {"TLTOOL_CACHE": f"{place}/cache"},
        )
        best = Path(place) / "run" / "0" / "checkpoints" / "best.ckpt"
        predicted = load(best).predict_folder(folder / "val")
    is_unknown = torch.tensor([Path(path).parent.name == class_name for path in predicted])
    scores = {
        "maximum softmax": torch.tensor([-each.confidence for each in predicted.values()]),
        "today's": torch.tensor([each.unknown_score or 0.0 for each in predicted.values()]),
    }
    return {name: auroc(score, is_unknown) for name, score in scores.items()}


def linked_folders(folder: Path, class_name: str) -> Iterator[Path]:
    """Yield the class folders of both splits but that of a class."""
    for path in sorted(folder.glob("*/*")):
        if path.name != class_name:
            yield path


def print_table() -> None:
    """Print the mean over the classes of each score and set."""
    rows: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for line in RESULTS.read_text().splitlines():
        found = json.loads(line)
        rows[found["key"]["what"], found["key"]["set"]].append(found["result"])
    names = list(dict.fromkeys(name for results in rows.values() for name in results[0]))
    print(
        f"| network | set | classes | {' | '.join(names)} |\n|---|---|" + "---|" * (len(names) + 1)
    )
    networks = {"layers": "pretrained", "fits": "after `tltool fit`"}
    for (what, image_set), results in rows.items():
        means = [
            f"{mean(each[name] for each in results):.3f}" if name in results[0] else "-"
            for name in names
        ]
        print(f"| {networks[what]} | {image_set} | {len(results)} | {' | '.join(means)} |")


if __name__ == "__main__":
    main()
