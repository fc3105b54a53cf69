"""Whether a run is over, told before anything is built."""

from jsonargparse import Namespace

from tltool._plain_text import one_line
from tltool.cli.run_start import RunStart
from tltool.training.distributed.run_status import read_status

# What can make a run longer that is over.
_LENGTHS = (
    *("finetuning", "trainer.callbacks", "trainer.limit_train_batches"),
    *(f"trainer.max_{unit}" for unit in ("epochs", "steps", "time")),
)


def find_end(start: RunStart, config: Namespace) -> str | None:
    """Return what to say of a run that is over, whose directory is given; ``None`` if it is not.

    Its ``status.json`` decides, not its progress: behind the last epoch too there is something to
    do, such as averages of weights. A longer training, such as more ``max_epochs``, or other
    callbacks let it train on.

    Args:
        start: What the run begins with.
        config: The configuration.
    """
    if not start.is_found or config.trainer.fast_dev_run or not _is_over(start, config):
        return None
    resumed, run_dir = start.resumed, start.run_dir
    assert resumed is not None  # noqa: S101  # for it is found
    limit = "max_steps" if 0 < config.trainer.max_steps <= resumed.num_steps else "max_epochs"
    end = (
        f"finished  {one_line(run_dir)}: {resumed.num_epochs} epochs, {resumed.num_steps} steps; "
        f"with more --trainer.{limit} it trains on"
    )
    return "\n".join([end, *(f"unused    {one_line(change)}" for change in start.changes)])


def _is_over(start: RunStart, config: Namespace) -> bool:
    resumed, trainer = start.resumed, config.trainer
    assert resumed is not None  # noqa: S101  # for it is found
    assert start.run_dir is not None  # noqa: S101
    status = read_status(start.run_dir)
    if status is None or status.state != "finished":
        return False
    has_epochs = 0 <= trainer.max_epochs <= resumed.num_epochs
    has_all = bool(has_epochs or 0 < trainer.max_steps <= resumed.num_steps)
    is_longer = any(change.key.startswith(_LENGTHS) for change in start.changes)
    return has_all or not is_longer
