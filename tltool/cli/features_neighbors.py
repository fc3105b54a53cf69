"""`tltool features neighbors`: which of your images look most like one, to a network."""

from collections.abc import Sequence
from pathlib import Path

import torch
from jsonargparse import Namespace

from tltool._plain_text import one_line
from tltool.cli.build import Experiment, run_experiment
from tltool.cli.frozen_backbone import (
    FROZEN_BACKBONE,
    features_of,
    set_up_frozen_backbone,
    split_names,
)
from tltool.data.files.decoding import opened
from tltool.data.files.image_sources import read_image
from tltool.data.loading.labels import label_text
from tltool.evaluation.neighbors import nearest_neighbors
from tltool.features.extraction import frozen_pass


def main(words: Sequence[str]) -> int:
    """Run ``tltool features neighbors``."""
    first = ["--image"] if words and not words[0].startswith("-") else []
    command = "features neighbors"
    return run_experiment(
        command, [*first, *words], neighbors, check=_check, defaults=FROZEN_BACKBONE
    )


def _check(config: Namespace) -> None:
    if not config.image:
        raise ValueError(
            "Nothing says which image. Type: tltool features neighbors IMAGE --data.root images"
        )
    if config.num_neighbors < 1:
        raise ValueError(f"`num_neighbors` must be at least 1, got {config.num_neighbors}.")
    with opened(config.image):  # Before anything takes time.
        pass


def neighbors(
    experiment: Experiment,
    *,
    image: str = "",
    cache: Path | None = None,
    num_neighbors: int = 5,
) -> None:
    """List those of your images whose features are most like those of one image.

    Args:
        experiment: The backbone and the images.
        image: The image, which may be the first word too; among your images it is left out.
        cache: Directory of the cache; without it TLTOOL_CACHE, or ~/.cache/tltool/features.
        num_neighbors: How many images to list.
    """
    data = experiment.data
    options = set_up_frozen_backbone(experiment, cache)
    transform = data.transform()
    pixels = transform(read_image(image, **transform.decode_options))
    with frozen_pass(experiment.backbone, options["precision"]) as network:
        query = network(pixels[None])
    rows, found = list[tuple[str, str, str]](), []
    for split in split_names(data):
        samples = data.samples(split)
        labels = [label_text(label, data.class_names) for label in samples.labels or []]
        rows += zip([split] * len(samples), labels, samples.paths, strict=True)
        found.append(features_of(experiment, data.dataset(split), **options).tensor())
    own = Path(image).resolve()
    others = [index for index, (*_, path) in enumerate(rows) if Path(path).resolve() != own]
    best = nearest_neighbors(query, torch.cat(found)[others], num_neighbors)
    chosen = [rows[others[index]] for index in best.indices[0].tolist()]
    width = max(len(one_line(label)) for _, label, _ in chosen)
    # No table, for a path is there to be copied, however long it is.
    print(f"cosine  split  {'label':<{width}}  image")
    for cosine, (split, label, path) in zip(best.similarities[0].tolist(), chosen, strict=True):
        print(f"{cosine:>6.3f}  {split:<5}  {one_line(label):<{width}}  {one_line(path)}")
