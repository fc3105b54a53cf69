"""`tltool predict`: a table of predictions for a folder of images."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from tltool._plain_text import one_line
from tltool.cli.evaluation import Setup, run_evaluation
from tltool.inference.checkpoint_trust import LEAST_IMAGES, read_trust
from tltool.inference.limit_columns import LimitColumns
from tltool.inference.prediction_job import predict_to_file
from tltool.inference.predictor import Predictor

log = logging.getLogger(__name__)


def main(argv: Sequence[str]) -> int:
    """Run ``tltool predict``."""
    return run_evaluation("predict", argv[1:], predict, is_apart=True)


def predict(
    setup: Setup,
    *,
    output: Path = Path("predictions.csv"),
    top_k: int | Literal["all"] | None = None,
    coverage: float | None = None,
    by_class: bool = False,
) -> None:
    """Write the predicted class and the probabilities of each image.

    There is a column for each class; of more than 1,000, for the five most probable ones. Started
    by torchrun or srun, the processes share the images. A run that was killed goes on where it
    stopped.

    Args:
        setup: The checkpoint and the images.
        output: The .csv or .parquet file to write.
        top_k: How many of the most probable classes have columns, or all for a column for each
            class; all, but 5 of more than 1,000.
        coverage: Add a column with the set of classes that holds the true one for such a share of
            the images, such as 0.9; null for none.
        by_class: With --coverage: promise the share for the images of each class.
    """
    predictor = Predictor(setup.task, source=setup.ckpt_path)
    num_images = predict_to_file(
        predictor,
        setup.data,
        output,
        top_k=top_k,
        limits=find_limits(setup, coverage=coverage, by_class=by_class),
        trainer=setup.trainer,
        ranks=setup.ranks,
    )
    if setup.ranks.launch.rank == 0:
        print(f"{num_images} predictions: {one_line(output)}")


def find_limits(setup: Setup, *, coverage: float | None, by_class: bool) -> LimitColumns | None:
    """Return the columns of what the checkpoint knows of its limits, if it knows any.

    Raises:
        ValueError: If sets are asked of one that does not, or from too few images.
    """
    trust = read_trust(setup.ckpt_path)
    if trust is None and coverage is not None:
        raise ValueError(
            f"{setup.ckpt_path} has no scores for prediction sets: `tltool fit` writes them at its "
            f"end, where at least {LEAST_IMAGES} images validate. Leave --coverage out."
        )
    if trust is None:
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
