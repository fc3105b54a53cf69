"""Refit of the closed-form start on training and tuning images, where the start was chosen."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from tltool.data.datamodules.image_datamodule import ImageDataModule, SplitName
from tltool.data.loading.samples import Samples, Splits
from tltool.inference.split_features import split_features
from tltool.models.heads import Head
from tltool.training.callbacks.checkpoints import BestCheckpoint
from tltool.training.callbacks.ending_files import ENDING
from tltool.training.checkpoint_io import AtomicCheckpointIO, read_checkpoint
from tltool.training.class_frequencies import fit_options
from tltool.training.head_start import has_closed_form, leaves_start, start_from_probe_
from tltool.training.image_task import ImageTask
from tltool.training.resume_facts import image_hashes
from tltool.training.weight_blends import START

REFIT = f"{START}, refit with tuning images"
"""What a checkpoint that has learned them says of its weights."""
_SPLITS: tuple[SplitName, ...] = ("train", "val")


def refit_start(
    path: Path,
    data: ImageDataModule,
    *,
    caching: Mapping[str, Any],
    precision: str,
    device: str | torch.device = "cpu",
) -> bool:
    """Fit the head of a checkpoint on the tuning images too, if it is the start of a run.

    A tuning split has told that training does not pay, and is not needed any more: the probe that
    is left learns from all images. The checkpoint is replaced, whole or not at all, counts them
    among its training images, and has no scores any more: they were of the head before.

    Args:
        path: ``best.ckpt``.
        data: The images of the run.
        caching: The options of the feature cache.
        precision: As in Lightning's Trainer.
        device: Where the features were computed: the cache keeps those of a GPU by another name.

    Returns:
        Whether it was done: not for other weights, without a tuning split, or for a head that has
        no closed form or does not begin by it.
    """
    checkpoint = read_checkpoint(path)
    chosen = checkpoint.get(ENDING, {}).get("candidate")
    if chosen != START or not data.splits.has_tuning:
        return False
    task = ImageTask.load_from_checkpoint(path).to(device)
    head = task.head
    if not isinstance(head, Head) or not has_closed_form(head) or not leaves_start(head):
        return False
    reads: dict[str, Any] = {"caching": caching, "precision": precision}
    rows = [split_features(task.backbone, data, split, **reads).float() for split in _SPLITS]
    labels = torch.cat([torch.tensor(data.samples(split).labels) for split in _SPLITS]).to(device)
    options = fit_options(task, labels, data.sampling)
    start_from_probe_(head, torch.cat(rows).to(device), task.standardized(labels), **options)
    checkpoint["state_dict"] |= {
        f"head.{name}": tensor.cpu() for name, tensor in head.state_dict().items()
    }
    checkpoint[ENDING] = {"candidate": REFIT}
    if state := BestCheckpoint.state_in(checkpoint):
        state["best_model_score"] = None
    images = image_hashes(learned_splits(data.splits))
    checkpoint["run_facts"] = {**checkpoint["run_facts"], "images": images}
    AtomicCheckpointIO().save_checkpoint(checkpoint, path)
    return True


def learned_splits(splits: Splits) -> Splits:
    """Return splits with the tuning images among the training images, as a refit start has them.

    Example:
        >>> splits = Splits(Samples(["a.jpg"]), Samples(["b.jpg"]), Samples(["c.jpg"]))
        >>> {name: samples.paths for name, samples in learned_splits(splits).by_name().items()}
        {'train': ['a.jpg', 'b.jpg'], 'test': ['c.jpg']}
    """
    learned = [samples.paths for samples in (splits.train, splits.val) if samples]
    return Splits(Samples([path for paths in learned for path in paths]), test=splits.test)
