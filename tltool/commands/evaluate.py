"""`tltool validate` and `tltool test`: measure a checkpoint."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from tltool.commands.checkpoint import checkpoint_parser, set_up


def main(argv: Sequence[str]) -> int:
    """Run ``tltool validate`` or ``tltool test``."""
    command, *arguments = argv
    parser = checkpoint_parser(command, f"Measure a checkpoint on the {command} images.")
    setup = set_up(parser, arguments)
    run = setup.trainer.validate if command == "validate" else setup.trainer.test
    (metrics,) = run(setup.task, datamodule=setup.data, verbose=False)
    table = Table("metric", "value", title=setup.config.ckpt_path, title_justify="left")
    for name, value in metrics.items():
        table.add_row(name, f"{value:.4f}")
    Console().print(table)
    return 0
