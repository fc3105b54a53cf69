"""What surgery does to the features of a backbone, said before training."""

from lightning.pytorch import Trainer

from tltool.cli.build import Experiment
from tltool.diagnostics.surgery_damage import (
    NUM_DRIFT,
    SurgeryDamage,
    measure_damage,
    measure_drift,
)
from tltool.training.backbone_start import calibrate_backbone_
from tltool.training.head_start import is_limited


def print_surgery(experiment: Experiment, trainer: Trainer) -> None:
    """Print what edits changed and how far they move the features of a few images.

    It loads the weights once more and passes these images twice, on the first rank alone. Nothing
    is said where no edit changes features, the run is a try, or it is resumed.
    """
    is_resumed = experiment.start.ckpt_path is not None
    if not trainer.is_global_zero or is_limited(trainer) or is_resumed:
        return
    backbone = experiment.backbone
    reports = [str(report) for report in backbone.surgery_reports if report.changed]
    if not reports:
        return
    calibrate_backbone_(backbone.to(trainer.strategy.root_device), experiment.data)
    drift = measure_drift(backbone, experiment.data)
    num_images = min(NUM_DRIFT, len(experiment.data.samples("train")))
    print(
        f"surgery   {' '.join(reports)} It moves the features by {drift.length:.2f} of their "
        f"length (cosine {drift.cosine:.2f}, {num_images} images); tltool plan --measure_surgery "
        "probes them"
    )


def check_surgery(experiment: Experiment) -> None:
    """Check that there are edits to measure.

    Raises:
        ValueError: If none changes the features.
    """
    if not any(report.changed for report in experiment.backbone.surgery_reports):
        raise ValueError(
            "--measure_surgery measures what edits do to the features, and no edit changes them. "
            "Set --model.backbone.surgery '[{swap_activations: gelu}]', or leave the option out."
        )


def print_damage(experiment: Experiment) -> SurgeryDamage:
    """Measure the damage of the edits and print it."""
    device = experiment.device_trainer().strategy.root_device
    experiment.data.setup("fit")
    backbone = calibrate_backbone_(experiment.backbone.to(device), experiment.data)
    damage = measure_damage(backbone, experiment.data)
    (before, after), difference = damage.accuracies, damage.difference.estimate
    verdict = ", within noise" if damage.is_within_noise else ""
    drift = list(damage.drifts.values())[-1]
    print(f"probe    {before} without the edits, {after} with them: closed form, untrained")
    print(
        f"damage   {difference.mean:+.3f} +- {difference.standard_error:.3f}{verdict}, on "
        f"{len(damage.after):,} validation images ({damage.num_train:,} to train on)"
    )
    print(
        f"drift    {drift.length:.2f} of the length of the features, cosine {drift.cosine:.2f}; "
        "by layer: --plot FILE.png"
    )
    return damage
