"""Numbers in the summary of a W&B run that say how far it can be trusted."""

from collections.abc import Mapping
from typing import Any

from tltool.reporting.wandb.account import readable_errors
from tltool.reporting.wandb.logged_run import LoggedRun

PREFIX = "trust/"


def write_trust_summary(api: Any, run: LoggedRun, numbers: Mapping[str, float]) -> None:
    """Add numbers to the summary of a run, beside those that `fit` has logged.

    Args:
        api: See `connect`.
        run: The run.
        numbers: By name, see `MeasuredSplit.trust_numbers`; none leave the summary alone.

    Raises:
        PermissionError: If the account may not write to the project.
        ConnectionError: If no server answers.
    """
    if not numbers:
        return
    with readable_errors():
        found = api.run(f"{run.entity}/{run.project}/{run.id}")
        found.summary.update({f"{PREFIX}{name}": value for name, value in numbers.items()})
