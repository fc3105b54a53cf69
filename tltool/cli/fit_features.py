"""What the measurements in front of a fit and behind it share: activations and features."""

from lightning.pytorch import Trainer

from tltool.cli.build import Experiment
from tltool.features.frozen_front import FrozenFront
from tltool.features.sizes import parse_size
from tltool.inference.best_features import BestFeatures
from tltool.training.backbone_start import calibrate_backbone_
from tltool.training.evaluation_front import evaluation_front
from tltool.training.head_start import is_limited


def fit_front(experiment: Experiment, trainer: Trainer) -> FrozenFront | None:
    """Return the layers whose activations the measurements share, see `evaluation_front`.

    Returns:
        ``None`` also where nothing is cached or training is a try; and on other ranks than the
        first.
    """
    caching = experiment.config.features
    is_on = caching.enabled and caching.activations
    if not trainer.is_global_zero or not is_on or is_limited(trainer):
        return None
    backbone = experiment.backbone.to(trainer.strategy.root_device)
    calibrate_backbone_(backbone, experiment.data)
    return evaluation_front(
        experiment.task,
        experiment.schedule,
        experiment.data,
        max_bytes=parse_size(caching.max_size),
    )


def best_features(
    experiment: Experiment, trainer: Trainer, front: FrozenFront | None
) -> BestFeatures | None:
    """Return the features of the images in the network of ``best.ckpt``.

    Returns:
        ``None`` where there is no such file, training is a try, or the network computes in other
        than 32 bits; and on other ranks than the first.
    """
    path = experiment.run_dir / "checkpoints" / "best.ckpt"
    is_exact = str(trainer.precision) == "32-true"
    if not (trainer.is_global_zero and is_exact and path.is_file()) or is_limited(trainer):
        return None
    device = trainer.strategy.root_device
    experiment.backbone.to(device)  # Where the front is, too.
    caching = vars(experiment.config.features)
    return BestFeatures(path, experiment.data, device=device, caching=caching, front=front)
