"""A comparison on Weights & Biases: one run for each head, all in one group."""

import logging
from functools import partial
from pathlib import Path
from typing import Any

from tltool.comparison.result import Comparison
from tltool.reporting.wandb.begin_run import begin_run
from tltool.reporting.wandb.logger import is_disabled, wandb_mode
from tltool.reporting.wandb.lost_service import without_lost_service
from tltool.reporting.wandb.run_identity import new_id

log = logging.getLogger(__name__)


@without_lost_service
def log_group(
    found: Comparison,
    run_dir: Path,
    *,
    project: str | None = None,
    group: str | None = None,
    offline: bool | None = None,
    **options: Any,
) -> str | None:
    """Log each head of a comparison as a run, with its curves and its row of the table.

    The options are those of `wandb_logger`, of which ``log_images`` and ``log_checkpoints`` only
    raise a warning: a comparison has neither.

    Args:
        found: The comparison.
        run_dir: Directory of the comparison; W&B keeps its files there.
        project: Project to log to; ``None`` turns W&B off.
        group: Name of the group; ``None`` for that of the directory.
        offline: See `wandb_logger`.
        **options: All others of `wandb_logger`.

    Returns:
        The group, or ``None`` without a project, where W&B is disabled, or its process is gone.
    """
    if project is None or is_disabled(offline=offline):
        return None
    import wandb

    if any([options.pop("log_images", False), options.pop("log_checkpoints", False)]):
        log.warning("W&B: a comparison sends numbers only, no images and no checkpoints.")
    mode = wandb_mode(run_dir, offline=offline)
    group = group or f"{run_dir.parent.name}/{run_dir.name}"
    for row, plain in zip(found.rows, found.table(), strict=True):
        begin = partial(
            wandb.init,
            id=new_id(),  # WANDB_RUN_ID would make all heads one run.
            project=project,
            group=group,
            name=row.name,
            dir=run_dir,
            reinit="finish_previous",
            settings=wandb.Settings(silent=True),  # Some lines for each of many heads.
            config={"head": dict(found.variants[row.name].head), "learning_rate": row.lr},
            **options,
        )
        begun, mode = begin_run(begin, run_dir, mode=mode)
        with begun as run:
            for epoch, loss in enumerate(row.train_losses):
                val = {"val/loss": row.val_losses[epoch]} if row.val_losses else {}
                run.log({"train/loss": loss, "epoch": epoch, **val})
            known = {key: value for key, value in plain.items() if value is not None}
            run.summary.update({**known, "finding": found.summary()})
    return group
