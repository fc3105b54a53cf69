"""`tltool validate` and `tltool test`: measure a checkpoint."""

from collections.abc import Sequence

from rich.console import Console

from tltool.cli.evaluation import checkpoint_parser, set_up
from tltool.data.datamodules.image_datamodule import SplitName
from tltool.inference.predictor import Predictor
from tltool.reporting.tables import FactTable, class_table, rich_table

MAX_CLASSES_SHOWN = 20


def main(argv: Sequence[str]) -> int:
    """Run ``tltool validate`` or ``tltool test``."""
    command, *arguments = argv
    parser = checkpoint_parser(command, f"Measure a checkpoint on the {command} images.")
    setup = set_up(parser, arguments)
    split: SplitName = "val" if command == "validate" else "test"
    values, classes = Predictor(setup.task).measure(setup.data, split, trainer=setup.trainer)
    metrics = FactTable(
        ("metric", "value"), [(name, f"{value:.4f}") for name, value in values.items()]
    )
    console = Console()
    console.print(setup.config.ckpt_path, rich_table(metrics), sep="\n")
    if classes:
        console.print(rich_table(class_table(classes, MAX_CLASSES_SHOWN)))
    return 0
