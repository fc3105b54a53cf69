"""What `tltool report` says of the log directory of a plain Lightning Trainer."""

from tltool._plain_text import one_line, plain_console
from tltool.reporting.lightning_log import LightningLog
from tltool.reporting.log_report import log_report
from tltool.reporting.report import Report
from tltool.reporting.tables import rich_table


def print_log(log: LightningLog) -> Report:
    """Print what a log tells and what it does not, and return the report on it."""
    told = log_report(log)
    for sentence in told.warnings:
        print(f"missing      {one_line(sentence)}")
    print(f"{one_line(log.log_dir)}: what a Lightning Trainer has logged")
    assert told.table is not None  # noqa: S101  # a log without metrics is refused
    plain_console().print(rich_table(told.table))
    return told


def check_log_options(*, is_alone: bool, wandb: bool, overlays: int) -> None:
    """Refuse what needs a run of `tltool fit`.

    Raises:
        ValueError: What to leave out.
    """
    asked = {"several directories": not is_alone, "--wandb": wandb, "--overlays": bool(overlays)}
    found = [name for name, is_asked in asked.items() if is_asked]
    if found:
        raise ValueError(
            f"A log of a plain Lightning Trainer can be shown, but not with {found[0]}: that needs "
            "run directories of tltool fit."
        )
