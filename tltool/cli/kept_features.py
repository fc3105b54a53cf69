"""Features that training has read, where they are those of the best checkpoint too."""

from typing import Any

import torch
from torch import Tensor

from tltool.cli.build import Experiment
from tltool.data.loading.batch_loader import BatchLoader
from tltool.models.weight_averaging import differing_tensors
from tltool.training.checkpoint_io import read_checkpoint
from tltool.training.val_predictions import cached_features_of


def kept_features(experiment: Experiment, loader: Any) -> Tensor | None:
    """Return the features that stand for the images of a loader, ``(N, D)``.

    Args:
        experiment: What was trained; its backbone must be that of ``best.ckpt``.
        loader: Of the Trainer.

    Returns:
        ``None`` where there are none, or the checkpoint has another backbone.
    """
    features = cached_features_of(loader) if isinstance(loader, BatchLoader) else None
    if features is None:
        return None
    path = experiment.run_dir / "checkpoints" / "best.ckpt"
    own, best = experiment.task.state_dict(), read_checkpoint(path)["state_dict"]
    names = [name for name in own if name.startswith("backbone.")]
    states = [{name: state[name].cpu() for name in names} for state in (own, best)]
    return None if differing_tensors(states) else torch.as_tensor(features)
