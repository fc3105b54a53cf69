"""A comparison on Weights & Biases: one run for each head, all in one group."""

import logging
from collections.abc import Sequence
from pathlib import Path

from tltool.comparison.result import Comparison
from tltool.reporting.wandb.logger import wandb_mode

log = logging.getLogger(__name__)


def log_group(
    found: Comparison,
    run_folder: Path,
    *,
    project: str | None = None,
    entity: str | None = None,
    group: str | None = None,
    job_type: str | None = None,
    tags: Sequence[str] = (),
    offline: bool | None = None,
    log_images: bool = False,
    log_checkpoints: bool = False,
) -> str | None:
    """Log each head of a comparison as a run, with its curves and its row of the table.

    Args:
        found: The comparison.
        run_folder: Folder of the comparison; W&B keeps its files there.
        project: Project to log to; ``None`` turns W&B off.
        entity: User or team; ``None`` for the account's default.
        group: Name of the group; ``None`` for that of the folder.
        job_type: What the runs are in their group.
        tags: Labels to filter by.
        offline: See `wandb_logger`.
        log_images: As in `wandb_logger`, but a comparison has nothing to send, and says so.
        log_checkpoints: The same.

    Returns:
        The group, or ``None`` without a project.
    """
    if project is None:
        return None
    import wandb

    if log_images or log_checkpoints:
        log.warning("W&B: a comparison sends numbers only, no photos and no checkpoints.")
    mode = wandb_mode(run_folder, offline=offline)
    group = group or f"{run_folder.parent.name}/{run_folder.name}"
    for row, plain in zip(found.rows, found.table(), strict=True):
        with wandb.init(
            project=project,
            entity=entity,
            group=group,
            job_type=job_type,
            name=row.name,
            tags=list(tags),
            dir=run_folder,
            mode=mode,
            reinit="finish_previous",
            settings=wandb.Settings(silent=True),  # Some lines for each of many heads.
            config={"head": dict(found.variants[row.name].head), "learning_rate": row.rate},
        ) as run:
            for epoch, loss in enumerate(row.train_losses):
                losses = {"train/loss": loss, "epoch": epoch}
                if row.val_losses:
                    losses["val/loss"] = row.val_losses[epoch]
                run.log(losses)
            run.summary.update({key: value for key, value in plain.items() if value is not None})
            run.summary["finding"] = found.summary()
    return group
