"""`tltool predict`: a table of predictions for a folder of images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from tltool._plain_text import one_line
from tltool.cli.evaluation import Setup, run_evaluation
from tltool.data.files.path_stream import STANDARD_INPUT
from tltool.inference.prediction_job import predict_to_file
from tltool.inference.predictor import Predictor


def main(argv: Sequence[str]) -> int:
    """Run ``tltool predict``."""
    return run_evaluation("predict", argv[1:], predict, is_apart=True)


def predict(
    setup: Setup,
    *,
    output: Path = Path("predictions.csv"),
    top_k: int | Literal["all"] | None = None,
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
    """
    _check_input(setup)
    predictor = Predictor(setup.task, source=setup.ckpt_path)
    num_images = predict_to_file(
        predictor,
        setup.data,
        output,
        top_k=top_k,
        trainer=setup.trainer,
        ranks=setup.ranks,
    )
    if setup.ranks.launch.rank == 0:
        print(f"{num_images} predictions: {one_line(output)}")


def _check_input(setup: Setup) -> None:
    root = getattr(setup.data, "root", None)
    if str(root) == STANDARD_INPUT and setup.ranks.launch.world_size > 1:
        raise ValueError(
            "Paths on standard input reach one process. Write them into a table with a column "
            "path: --data ManifestDataModule --data.manifest paths.csv."
        )
