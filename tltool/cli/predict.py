"""`tltool predict`: a table of predictions for a folder of images."""

from collections.abc import Sequence
from pathlib import Path

from tltool._plain_text import one_line
from tltool.cli.evaluation import Setup, run_evaluation
from tltool.inference.prediction_table import (
    check_output,
    prediction_columns,
    prediction_rows,
    rank_classes,
    write_prediction_table,
)
from tltool.inference.predictor import Predictor


def main(argv: Sequence[str]) -> int:
    """Run ``tltool predict``."""
    return run_evaluation("predict", argv[1:], predict)


def predict(setup: Setup, *, output: Path = Path("predictions.csv")) -> None:
    """Write the predicted class and the probabilities of each image.

    There is a column for each class; of more than 1,000, for the five most probable ones.

    Args:
        setup: The checkpoint and the images.
        output: The .csv or .parquet file to write.
    """
    check_output(output)
    predictor = Predictor(setup.task, source=setup.ckpt_path)
    batches = predictor.predict_batches(setup.data, rank_classes, trainer=setup.trainer)
    names, labels = predictor.class_names, setup.data.known_labels()
    columns = prediction_columns(names, labeled=bool(labels))
    write_prediction_table(output, columns, prediction_rows(batches, names, labels))
    print(f"{sum(len(batch.paths) for batch in batches)} predictions: {one_line(output)}")
