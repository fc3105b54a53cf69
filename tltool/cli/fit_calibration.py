"""The temperature that is fitted behind a fit, on the images that validate."""

from lightning.pytorch import Trainer

from tltool.cli.build import Experiment
from tltool.evaluation.temperature import TemperatureFit
from tltool.inference.best_features import BestFeatures
from tltool.inference.checkpoint_calibration import calibrate_checkpoint, can_calibrate
from tltool.inference.tested_images import num_trained_on
from tltool.reporting.wandb.run_logger import log_summary
from tltool.training.calibration import Calibration
from tltool.training.checkpoint_io import read_checkpoint
from tltool.training.head_start import is_limited


def calibrate_fit(
    experiment: Experiment, trainer: Trainer, best: BestFeatures | None
) -> TemperatureFit | None:
    """Fit the temperature of the best checkpoint of a fit, and log it.

    Args:
        experiment: What was trained.
        trainer: Its Trainer.
        best: See `best_features`.

    Returns:
        ``None`` where it is turned off, nothing was trained, training is a try, too few images
        validate, or the checkpoint has trained on one of them; and on other ranks than the first.
    """
    path = experiment.run_dir / "checkpoints" / "best.ckpt"
    is_wanted = trainer.is_global_zero and experiment.config.calibrate and not is_limited(trainer)
    is_wanted = is_wanted and experiment.task.objective == "single_label"
    if not (is_wanted and path.is_file() and can_calibrate(experiment.data)):
        return None
    splits = experiment.data.splits
    checkpoint = read_checkpoint(path)
    if number := num_trained_on(splits, "val", checkpoint):
        if kept := Calibration.of_checkpoint(checkpoint).num_images:
            print(f"sure      the temperature that {kept:,} val images fitted before stays")
            return None
        print(
            f"sure      no temperature is fitted: {number:,} of these "
            f"{len(experiment.data.samples('val')):,} val images have names of images that "
            f"{path.name} was trained on"
        )
        return None
    fit = calibrate_checkpoint(
        path,
        experiment.data,
        device=trainer.strategy.root_device,
        precision=str(trainer.precision),
        features=None if best is None else best.of("val"),
    )
    values = {"temperature": fit.temperature, "val/calibration_error_scaled": fit.error_after}
    log_summary(trainer, values)
    return fit


def print_calibration(fit: TemperatureFit) -> None:
    """Print the temperature and what it does to images that did not fit it."""
    change = f"calibration error {fit.error_before:.3f} to {fit.error_after:.3f}"
    on = f"on {fit.num_images:,} val images, each by a fit to others"
    if fit.temperature == 1:
        print(f"sure      as the network says: temperature {fit.proposed:.2f} did not help ({on})")
    else:
        print(f"sure      temperature {fit.temperature:.2f}: {change} ({on})")
