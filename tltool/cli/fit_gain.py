"""The closed-form probe in front of a fit, and behind it the gain over that probe."""

from typing import Any

from lightning.pytorch import Trainer

from tltool._plain_text import one_line
from tltool.cli.build import Experiment
from tltool.evaluation.score import ACCURACY, Score
from tltool.evaluation.score_interval import ScoreInterval
from tltool.features.frozen_front import FrozenFront
from tltool.inference.best_features import BestFeatures
from tltool.inference.refit_start import refit_start
from tltool.inference.run_gain import ProbeBaseline, RunGain, measure_gain, measure_probe
from tltool.inference.start_backbone import changed_weights
from tltool.reporting.wandb.run_logger import log_summary
from tltool.training.backbone_start import calibrate_backbone_
from tltool.training.head_start import is_limited
from tltool.training.image_task import ImageTask

MOST_EVEN = 0.1
"""Accuracies are called even where their difference is this at most: few images cannot tell."""


def print_probe(
    experiment: Experiment, trainer: Trainer, front: FrozenFront | None = None
) -> ProbeBaseline | None:
    """Measure the closed-form probe before training, and print its accuracy.

    Args:
        experiment: What will be trained.
        trainer: Its Trainer.
        front: See `fit_front`.

    Returns:
        ``None`` where features are not cached, training is a try, the fit would take long, or the
        run that is resumed has begun with other weights; and on other ranks than the first.
    """
    caching = experiment.config.features
    if not trainer.is_global_zero or not caching.enabled or is_limited(trainer):
        return None
    resumed = experiment.start.resumed
    if changed := resumed and changed_weights(experiment.backbone, resumed.loaded_hash):
        print(f"probe     left out: {one_line(changed)}")
        return None
    backbone = experiment.backbone.to(trainer.strategy.root_device)
    calibrate_backbone_(backbone, experiment.data)
    probe = measure_probe(
        experiment.task,
        experiment.data,
        caching=vars(caching),
        precision=str(trainer.precision),
        front=front,
    )
    if probe is None:
        print("probe     left out: it would take long with so many images and features")
    else:
        score = probe.predictions.score
        print(f"probe     {_words(probe.score, score)}: closed form, on {_images(probe)}")
    return probe


def measure_fit(
    experiment: Experiment, trainer: Trainer, probe: ProbeBaseline, best: BestFeatures | None
) -> RunGain | None:
    """Measure the best checkpoint of a fit beside the probe, and log the gain.

    Args:
        experiment: What was trained.
        trainer: Its Trainer.
        probe: What it is compared with.
        best: See `best_features`.

    Returns:
        ``None`` where nothing was trained.
    """
    path = experiment.run_dir / "checkpoints" / "best.ckpt"
    is_best = path.is_file()
    path = path if is_best else path.with_name("last.ckpt")
    if not path.is_file():
        return None
    options: dict[str, Any] = {
        "caching": vars(experiment.config.features),
        "precision": str(trainer.precision),
    }
    model = experiment.config.model
    begins_as_probe = model.closed_form_start and not model.log_prior
    device = trainer.strategy.root_device
    if is_best and begins_as_probe and refit_start(path, experiment.data, device=device, **options):
        print("best.ckpt holds the start, its head fitted anew on training and tuning images")
    task = ImageTask.load_from_checkpoint(path).to(device)
    gain = measure_gain(
        task,
        experiment.data,
        probe,
        precision=options["precision"],
        # Without a best epoch, nothing has validated.
        is_optimistic=is_best and probe.split == "val" and experiment.chooses_on_validation,
        features=None if best is None else best.of(probe.split),
    )
    log_summary(trainer, gain_summary(gain))
    return gain


def gain_summary(gain: RunGain) -> dict[str, float]:
    """Return what a logger keeps of a gain, by name; a gain is positive where the run is better.

    The gain has one name whatever its images are, by which columns and sweeps find it; the names of
    the scores say which these are.
    """
    split, score = gain.probe.split, gain.predictions.score
    return {
        f"{split}/{score.name.lower()}_of_best": gain.score.value,
        f"{split}/{score.name.lower()}_of_probe": gain.probe.score.value,
        "gain_over_probe": gain.difference.gain,
        "gain_over_probe_se": gain.difference.estimate.standard_error,
    }


def outcome(gain: RunGain) -> str:
    """Return in one line whether a run won or lost against the probe, if the images can tell.

    Example:
        >>> import torch
        >>> from tltool.evaluation.predictions import PredictionSet
        >>> labels = torch.zeros(100, dtype=torch.long)
        >>> def right(number):
        ...     sure = torch.where(torch.arange(100) < number, 0.9, 0.1)
        ...     return PredictionSet.from_probabilities(torch.stack([sure, 1 - sure], 1), labels)
        >>> probe = ProbeBaseline("val", right(94), None)
        >>> outcome(RunGain(probe, right(70), is_optimistic=True))
        'lost     this run 0.700, the probe without training 0.940: -0.240 (... -0.328 to -0.152)'
    """
    score, estimate = gain.predictions.score, gain.difference.estimate
    can_tell = score is not ACCURACY or max(map(abs, estimate.interval)) <= MOST_EVEN
    word = "even" if can_tell else "unknown"
    if gain.difference.is_finding:
        word = "won" if gain.difference.gain > 0 else "lost"
    name = "" if score is ACCURACY else f"{score.name} "
    run, probe = (score.words(each.score.value) for each in (gain, gain.probe))
    mean, low, high = (score.words(each, "+") for each in (estimate.mean, *estimate.interval))
    direction = ", less is better" if score.smaller_is_better else ""
    return (
        f"{word:<10}this run {name}{run}, the probe without training {probe}: {mean} "
        f"(95 % interval {low} to {high}){direction}"
    )


def where_measured(gain: RunGain) -> str:
    """Return which images the outcome is of, and what makes it doubtful."""
    chose = "; optimistic, for the same chose the epoch" if gain.is_optimistic else ""
    return f"{_images(gain.probe)}{chose or ', which chose nothing'}{_doubt(gain)}"


def _doubt(gain: RunGain) -> str:
    """Return why a difference is no finding: it is small, or too few images or groups differ."""
    difference, estimate = gain.difference, gain.difference.estimate
    if estimate.mean == 0 or difference.is_finding:
        return ""
    low, high = estimate.interval
    if low <= 0 <= high:
        return "; so small a difference may be chance"
    units = "groups" if gain.probe.groups else "images"
    return f"; {estimate.num_differing} {units} that differ are too few to tell"


def _images(probe: ProbeBaseline) -> str:
    of_groups = f" of {len(set(probe.groups)):,} groups" if probe.groups else ""
    return f"{len(probe.predictions):,} {probe.split} images{of_groups}"


def _words(found: ScoreInterval, score: Score) -> str:
    value, low, high = (score.words(number) for number in (found.value, *found.interval))
    named = "" if score is ACCURACY else f"{score.name} "
    return f"{named}{value} (95 % interval {low} to {high})"
