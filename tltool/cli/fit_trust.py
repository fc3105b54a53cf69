"""What the best checkpoint of a fit knows of its limits: unknown inputs and prediction sets."""

from lightning.pytorch import Trainer
from torch import Tensor

from tltool.cli.build import Experiment
from tltool.data.loading.batch_loader import BatchLoader
from tltool.inference.checkpoint_trust import (
    KNOWN_SHARE,
    LEAST_IMAGES,
    Trust,
    calibration_split,
    fit_trust,
)
from tltool.models.weight_averaging import differing_tensors
from tltool.reporting.wandb.run_logger import find_logger
from tltool.training.checkpoint_io import read_checkpoint
from tltool.training.head_start import is_limited
from tltool.training.val_predictions import cached_features_of


def trust_fit(experiment: Experiment, trainer: Trainer) -> Trust | None:
    """Fit what the best checkpoint of a fit knows of its limits, and log it.

    It stands behind all that changes the checkpoint.

    Returns:
        ``None`` where it is turned off, nothing was trained, training is a try, or too few images
        validate; and on other ranks than the first.
    """
    path = experiment.run_dir / "checkpoints" / "best.ckpt"
    is_wanted = trainer.is_global_zero and experiment.config.calibrate and not is_limited(trainer)
    if not (is_wanted and path.is_file()):
        return None
    if calibration_split(experiment.data) is None:
        print(
            f"limits   not known: that takes {LEAST_IMAGES} images that validate, of one class each"
        )
        return None
    trust = fit_trust(
        path,
        experiment.data,
        device=trainer.strategy.root_device,
        train_features=_known_features(experiment, trainer),
        has_chosen=experiment.made.ending.choose != "last",
    )
    logger = find_logger(trainer)
    if logger is not None:
        logger.experiment.summary.update(
            {
                "trust/unknown_threshold": trust.threshold,
                "trust/set_size_0.90": trust.set_size,
                "trust/num_images": len(trust.scores.labels),
                "trust/has_chosen": trust.has_chosen,
            }
        )
    return trust


def print_trust(trust: Trust) -> None:
    """Print what predictions will say of unknown inputs, and of what else they may be."""
    print(
        f"limits   is_unknown beyond {trust.threshold:.3g}, which {1 - KNOWN_SHARE:.0%} of known "
        "images are; prediction sets by --coverage: from ".replace("%", " %")
        + trust.describe()
    )


def _known_features(experiment: Experiment, trainer: Trainer) -> Tensor | None:
    """Return the features that training has read, if they are those of the best checkpoint."""
    loader = trainer.train_dataloader
    features = cached_features_of(loader) if isinstance(loader, BatchLoader) else None
    if features is None:
        return None
    path = experiment.run_dir / "checkpoints" / "best.ckpt"
    own, best = experiment.task.state_dict(), read_checkpoint(path)["state_dict"]
    names = [name for name in own if name.startswith("backbone.")]
    states = [{name: state[name].cpu() for name in names} for state in (own, best)]
    return None if differing_tensors(states) else features
