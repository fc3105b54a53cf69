"""`tltool validate` and `tltool test`: measure a checkpoint."""

from collections.abc import Sequence

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from tltool.cli.evaluation import checkpoint_parser, set_up

MAX_CLASSES_SHOWN = 20


def main(argv: Sequence[str]) -> int:
    """Run ``tltool validate`` or ``tltool test``."""
    command, *arguments = argv
    parser = checkpoint_parser(command, f"Measure a checkpoint on the {command} images.")
    setup = set_up(parser, arguments)
    run = setup.trainer.validate if command == "validate" else setup.trainer.test
    (metrics,) = run(setup.task, datamodule=setup.data, verbose=False)
    table = Table("metric", "value")
    for name, value in metrics.items():
        table.add_row(name, f"{value:.4f}")
    console = Console()
    console.print(setup.config.ckpt_path, table, sep="\n")
    if setup.task.confusion is not None:
        console.print(class_table(setup.task.confusion, setup.task.class_names))
    return 0


def class_table(confusion: Tensor, class_names: Sequence[str]) -> Table:
    """Return a table of precision, recall, F1 and the most frequent mistake of each class.

    Of many classes those with the lowest F1 are shown.

    Args:
        confusion: ``(num_classes, num_classes)``, rows are labels.
        class_names: Names of the classes.
    """
    counts = confusion.double()
    right = counts.diag()
    precision = right / counts.sum(dim=0).clamp_min(1)
    recall = right / counts.sum(dim=1).clamp_min(1)
    f1 = 2 * right / (counts.sum(dim=0) + counts.sum(dim=1)).clamp_min(1)
    errors = counts - torch.diag(right)
    shown = f1.argsort()[:MAX_CLASSES_SHOWN] if len(f1) > MAX_CLASSES_SHOWN else range(len(f1))
    table = Table("class", "photos", "precision", "recall", "F1", "most often taken for")
    for index in map(int, shown):
        worst = int(errors[index].argmax())
        mistake = (
            f"{class_names[worst]} ({int(errors[index, worst])})" if errors[index].any() else ""
        )
        table.add_row(
            class_names[index],
            str(int(counts[index].sum())),
            *(f"{values[index]:.3f}" for values in (precision, recall, f1)),
            mistake,
        )
    return table
