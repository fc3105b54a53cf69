"""`tltool predict`: a table of predictions for a folder of images."""

from collections.abc import Sequence
from pathlib import Path

from tltool.cli.evaluation import checkpoint_parser, set_up
from tltool.inference.prediction_table import check_output, prediction_rows, write_prediction_table
from tltool.inference.predictor import Predictor


def main(argv: Sequence[str]) -> int:
    """Run ``tltool predict``."""
    parser = checkpoint_parser(
        "predict", "Write the predicted class and all probabilities of each image."
    )
    parser.add_argument(
        "--output", type=str, default="predictions.csv", help="The .csv or .parquet file to write."
    )
    setup = set_up(parser, argv[1:])
    output = Path(setup.config.output)
    check_output(output)
    predictor = Predictor(setup.task)
    predicted = predictor.predict_data(setup.data, trainer=setup.trainer)
    rows = prediction_rows(predicted, predictor.class_names, setup.data.known_labels())
    write_prediction_table(output, rows)
    print(f"{len(rows)} predictions: {output}")
    return 0
