"""`tltool predict`: a table of predictions for a folder of images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from jsonargparse import Namespace

from tltool._plain_text import one_line
from tltool.cli.evaluation import Setup, run_evaluation
from tltool.inference.prediction_chunks import chunks_folder
from tltool.inference.prediction_job import predict_to_file
from tltool.inference.prediction_table import check_output
from tltool.inference.predictor import Predictor
from tltool.inference.rank_files import RankFiles
from tltool.training.distributed.launch import Launch


def main(argv: Sequence[str]) -> int:
    """Run ``tltool predict``."""
    return run_evaluation("predict", argv[1:], predict, apart=_rank_files)


def predict(
    setup: Setup,
    *,
    output: Path = Path("predictions.csv"),
    top_k: int | Literal["all"] | None = None,
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
    """
    predictor = Predictor(setup.task, source=setup.ckpt_path)
    num_images = predict_to_file(
        predictor,
        setup.data,
        output,
        top_k=top_k,
        trainer=setup.trainer,
        launch=setup.launch,
    )
    if setup.launch.rank == 0:
        print(f"{num_images} predictions: {one_line(output)}")


def _rank_files(config: Namespace, launch: Launch) -> RankFiles:
    check_output(config.output)
    return RankFiles(chunks_folder(config.output), launch)
