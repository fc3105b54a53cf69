"""What the best checkpoint of a fit knows of its limits: unknown inputs and prediction sets."""

from lightning.pytorch import Trainer

from tltool.cli.build import Experiment
from tltool.inference.best_features import BestFeatures
from tltool.inference.checkpoint_trust import (
    KNOWN_SHARE,
    LEAST_IMAGES,
    Trust,
    calibration_split,
    drawn_rows,
    fit_trust,
)
from tltool.reporting.wandb.run_logger import log_summary
from tltool.training.head_start import is_limited


def trust_fit(experiment: Experiment, trainer: Trainer, best: BestFeatures | None) -> Trust | None:
    """Fit what the best checkpoint of a fit knows of its limits, and log it.

    It stands behind all that changes the checkpoint.

    Args:
        experiment: What was trained.
        trainer: Its Trainer.
        best: See `best_features`.

    Returns:
        ``None`` where it is turned off, nothing was trained, training is a try, or too few images
        validate; and on other ranks than the first.
    """
    path = experiment.run_dir / "checkpoints" / "best.ckpt"
    is_wanted = trainer.is_global_zero and experiment.config.calibrate and not is_limited(trainer)
    if not (is_wanted and path.is_file()):
        return None
    split = calibration_split(experiment.data)
    if split is None:
        print(
            f"limits    not known: it takes {LEAST_IMAGES} images that validate, of one class each"
        )
        return None
    trust = fit_trust(
        path,
        experiment.data,
        device=trainer.strategy.root_device,
        train_features=None if best is None else best.of_training(drawn_rows(experiment.data)),
        features=None if best is None else best.of(split),
        has_chosen=experiment.chooses_on_validation,
    )
    values = {
        "trust/unknown_threshold": trust.threshold,
        "trust/set_size_0.90": trust.set_size,
        "trust/num_images": len(trust.scores.labels),
        "trust/has_chosen": trust.has_chosen,
    }
    log_summary(trainer, values)
    return trust


def print_trust(trust: Trust) -> None:
    """Print what predictions will say of unknown inputs, and of what else they may be."""
    print(
        f"limits    is_unknown beyond {trust.threshold:.3g}, which {1 - KNOWN_SHARE:.0%} of known "
        "images are; prediction sets by --coverage: from ".replace("%", " %")
        + trust.describe()
    )
