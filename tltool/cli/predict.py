"""`tltool predict`: a table of predictions for a folder of images."""

from collections.abc import Sequence
from pathlib import Path

from tltool.cli.evaluation import Setup, run_evaluation
from tltool.inference.prediction_table import check_output, prediction_rows, write_prediction_table
from tltool.inference.predictor import Predictor


def main(argv: Sequence[str]) -> int:
    """Run ``tltool predict``."""
    return run_evaluation("predict", argv[1:], predict)


def predict(setup: Setup, *, output: Path = Path("predictions.csv")) -> None:
    """Write the predicted class and all probabilities of each image.

    Args:
        setup: The checkpoint and the images.
        output: The .csv or .parquet file to write.
    """
    check_output(output)
    predictor = Predictor(setup.task, source=setup.ckpt_path)
    predicted = predictor.predict_data(setup.data, trainer=setup.trainer)
    rows = prediction_rows(predicted, predictor.class_names, setup.data.known_labels())
    write_prediction_table(output, rows)
    print(f"{len(rows)} predictions: {output}")
