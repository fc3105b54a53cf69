"""`tltool predict`: a table of predictions for a folder of images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tltool.cli.evaluation import checkpoint_parser, set_up
from tltool.inference.table import check_output, table_rows, write_table


def main(argv: Sequence[str]) -> int:
    """Run ``tltool predict``."""
    parser = checkpoint_parser(
        "predict", "Write the predicted class and all probabilities of each image."
    )
    parser.add_argument(
        "--output", type=str, default="predictions.csv", help="The .csv or .parquet file to write."
    )
    setup = set_up(parser, argv[1:])
    if setup.trainer.world_size > 1:
        raise ValueError(
            "Prediction runs on one device: leave out --trainer.devices and --trainer.num_nodes."
        )
    output = Path(setup.config.output)
    check_output(output)
    batches: list[Any] = setup.trainer.predict(setup.task, datamodule=setup.data) or []
    rows = table_rows(batches, setup.task.class_names, setup.data.known_labels())
    write_table(output, rows)
    print(f"{len(rows)} predictions: {output}")
    return 0
