"""`tltool predict`: a table of predictions for a folder of images, a table, or a list of paths."""

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from tltool._plain_text import one_line
from tltool.cli.evaluation import Setup, run_evaluation
from tltool.data.files.path_stream import STANDARD_INPUT
from tltool.data.loading.image_dataset import decode_with
from tltool.inference.augmented_views import TestTimeAugmentation
from tltool.inference.checkpoint_trust import LEAST_IMAGES, read_trust
from tltool.inference.class_maps import check_can_map, class_maps
from tltool.inference.limit_columns import LimitColumns
from tltool.inference.prediction_job import predict_to_file
from tltool.inference.predictor import Predictor
from tltool.models.feature_map import last_feature_map
from tltool.reporting.figures.overlay import draw_overlay

MOST_OVERLAYS = 100
"""Overlays that are written without being asked for more."""

log = logging.getLogger(__name__)


def main(argv: Sequence[str]) -> int:
    """Run ``tltool predict``."""
    return run_evaluation("predict", argv[1:], predict, is_apart=True)


def predict(
    setup: Setup,
    *,
    output: Path = Path("predictions.csv"),
    top_k: int | Literal["all"] | None = None,
    tta: TestTimeAugmentation = "none",
    reject_below: float | None = None,
    reject_risk: float | None = None,
    overlays: Path | None = None,
    num_overlays: int = MOST_OVERLAYS,
    coverage: float | None = None,
    by_class: bool = False,
) -> None:
    """Write the predicted class and the probabilities of each image.

    There is a column for each class; of more than 1,000, for the five most probable ones. Where
    an image may have several, the predicted ones are joined by a semicolon; a number has one column
    with the name of its target. Started by torchrun or srun, the processes share the images. A run
    that was killed goes on where it stopped.

    Args:
        setup: The checkpoint and the images.
        output: The .csv or .parquet file to write.
        top_k: How many of the most probable classes have columns, or all for a column for each
            class; all, but 5 of more than 1,000.
        coverage: Add a column with the set of classes that holds the true one for such a share of
            the images, such as 0.9; null for none.
        by_class: With --coverage: promise the share for the images of each class.
        tta: Test-time augmentation: average the probabilities of an image and its mirror image
            (flip), or of it and its four corners (five_crops).
        reject_below: A column rejected says which predictions are less probable than this.
        reject_risk: The same with the threshold that leaves so large a share wrong among the
            others, such as 0.02, as the validation images of the training show.
        overlays: Write pictures of what speaks for the predicted class into this folder
            (Grad-CAM).
        num_overlays: Of how many images, the first ones.
    """
    _check_input(setup)
    if overlays is None and num_overlays != MOST_OVERLAYS:
        raise ValueError("--num_overlays is about --overlays, a folder. Give that too.")
    value_range = setup.data.known_value_range
    predictor = Predictor(setup.task, value_range=value_range, source=setup.ckpt_path, tta=tta)
    _check_objective(predictor, rejects=reject_below or reject_risk, overlays=overlays)
    threshold = _threshold(predictor, reject_below, reject_risk)
    if overlays is not None:  # What cannot be is said before the work.
        check_can_map()
        last_feature_map(predictor.task.backbone)
    if output.is_file() and setup.ranks.launch.rank == 0:
        log.warning("%s is there and is replaced. Name another file by --output.", output)
    num_images = predict_to_file(
        predictor,
        setup.data,
        output,
        top_k=top_k,
        reject_below=threshold,
        limits=find_limits(setup, predictor, coverage=coverage, by_class=by_class),
        trainer=setup.trainer,
        ranks=setup.ranks,
    )
    if setup.ranks.launch.rank != 0:
        return
    print(f"{num_images} predictions: {one_line(output)}")
    if threshold is not None:
        print(f"rejected are those below a probability of {threshold:.4g}")
    if overlays is not None:
        number = write_overlays(predictor, setup, overlays, num_overlays)
        print(f"{number} overlays: {one_line(overlays)}")


def _check_objective(predictor: Predictor, **asked: object) -> None:
    """Refuse what is of one class for each image alone."""
    kind = {"multi_label": "several classes", "regression": "a number"}.get(predictor.objective)
    if kind and any(asked.values()):
        raise ValueError(
            f"This checkpoint predicts {kind} for each image; --reject_below, --reject_risk and "
            "--overlays are of one class. Leave them out."
        )


def find_limits(
    setup: Setup, predictor: Predictor, *, coverage: float | None, by_class: bool
) -> LimitColumns | None:
    """Return the columns of what the checkpoint knows of its limits, if it knows any.

    Raises:
        ValueError: If sets are asked of one that does not, or from too few images, or of averages
            over views, of which it knows nothing.
    """
    if by_class and coverage is None:
        raise ValueError("--by_class is about the sets of --coverage. Give that too.")
    trust = read_trust(setup.ckpt_path)
    if coverage is not None and predictor.tta != "none":
        raise ValueError(
            "Prediction sets rest on images without test-time augmentation. Leave out --tta or "
            "--coverage."
        )
    if trust is None and coverage is not None:
        raise ValueError(
            f"{setup.ckpt_path} has no scores for prediction sets: `tltool fit` writes them at its "
            f"end, where at least {LEAST_IMAGES} images validate. Leave --coverage out."
        )
    if trust is None or predictor.tta != "none":
        return None
    names = setup.task.class_names
    limits = LimitColumns(trust, names, coverage=coverage, by_class=by_class)
    if coverage is not None and setup.ranks.launch.rank == 0:
        print(f"sets     {coverage:g} of them hold the class, by {trust.describe()}")
        if limits.always_in:
            log.warning(
                "Too few images set a threshold for %d of %d classes, which are in every set: %s.",
                *(len(limits.always_in), len(names), ", ".join(limits.always_in[:5])),
            )
    return limits


def write_overlays(predictor: Predictor, setup: Setup, folder: Path, most: int) -> int:
    """Write where the network looks, for the first images; return for how many."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = list(setup.data.unlabeled.paths[:most])
    maps = class_maps(predictor, paths, decode=partial(decode_with, setup.data.decoder))
    for number, (path, found) in enumerate(zip(paths, maps, strict=True), start=1):
        picture = draw_overlay(found.image, found.values)
        picture.save(folder / f"{number:06}_{Path(path).stem}.png")
    return len(paths)


def _threshold(
    predictor: Predictor, reject_below: float | None, reject_risk: float | None
) -> float | None:
    if reject_below is not None and reject_risk is not None:
        raise ValueError("--reject_below and --reject_risk both set the threshold. Leave one out.")
    if reject_below is not None and not 0 < reject_below <= 1:
        raise ValueError(
            f"--reject_below is a probability, in (0, 1], got {reject_below}. Set 0.9, or the "
            "share that may be wrong by --reject_risk."
        )
    return reject_below if reject_risk is None else predictor.rejection_threshold(reject_risk)


def _check_input(setup: Setup) -> None:
    root = getattr(setup.data, "root", None)
    if str(root) == STANDARD_INPUT and setup.ranks.launch.world_size > 1:
        raise ValueError(
            "Paths on standard input reach one process. Write them into a table with a column "
            "path: --data ManifestDataModule --data.manifest paths.csv."
        )
