"""How much faster is an epoch on cached activations, and how much of that does the compute allow?

The last two layer groups train on the images of a folder with `train` and `val`, with crops (batch
32, SGD, 5 epochs of which the first two warm up): with images, decoded by the process that trains,
and on cached activations of 2 views. Measured is the median time of a step with all that is around
it in a later epoch, in three rounds in turn. The compute allows the ratio of two steps on batches
that are in memory, forward and backward: through the whole network, and behind the cut; beside it
stands that of the operations (`compute_factor`). `share`: measured by allowed, .8 is the goal; it
gains from what decoding adds to a step with images. `busy`: the part of a cached step that is the
compute behind the cut, which is what is left of `share` where decoding costs nothing. Random
weights do, for only times are measured. Results are kept in runs/benchmark/activation_speed.jsonl,
so that the script goes on where it stopped. Run it on an idle machine; takes 20 minutes.

Run: python scripts/benchmark/activation_speed.py FOLDER [NETWORK ...]
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from fits import quiet
from lightning.pytorch import Callback, Trainer, seed_everything
from results import FOLDER, Row, kept
from rounds import in_turn, median_ratio
from torch import Tensor

from tltool.data.datamodules.image_folder import ImageFolderDataModule
from tltool.features.activation_cut import activations_in_front, features_behind
from tltool.features.cut_search import find_cut
from tltool.features.cut_survey import compute_factor
from tltool.finetuning.freeze import set_trainable_
from tltool.finetuning.strategies import LastBlocks
from tltool.models.backbone import Backbone
from tltool.models.layer_groups import layer_groups
from tltool.training.callbacks.feature_caching import FeatureCaching
from tltool.training.callbacks.finetuning import Finetuning
from tltool.training.image_task import ImageTask

#: Heights of images; the last one is to try the script.
NETWORKS = {"tf_efficientnet_lite0": 160, "vit_tiny_patch16_224": 160, "test_resnet": 64}
BATCH, VIEWS, EPOCHS, WARM = 32, 2, 5, 2


class StepTimes(Callback):
    """The median time from the end of a step to that of the next, in the later epochs."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._ended: float | None = None

    def on_train_epoch_start(self, *args: Any) -> None:
        """Leave out what lies between epochs."""
        self._ended = None

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        """Take the time."""
        now = time.perf_counter()
        if self._ended is not None and trainer.current_epoch >= WARM:
            self.seconds.append(now - self._ended)
        self._ended = now


def main() -> None:
    """Print a row for each network."""
    folder, *names = sys.argv[1:]
    print(
        "| network | with images, ms | cached, ms | times | compute | operations | share | busy |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name in names or list(NETWORKS)[:2]:
        key = {"name": name, "img_size": NETWORKS[name], "data": Path(folder).name, "batch": BATCH}
        row = kept(FOLDER / "activation_speed.jsonl", key, partial(measure, name, folder))
        print(
            f"| {name} | {1000 * row['images']:.0f} | {1000 * row['cached']:.1f} "
            f"| {row['times']:.2f} | {row['allowed']:.2f} | {row['operations']:.2f} "
            f"| {row['times'] / row['allowed']:.2f} | {row['behind'] / row['cached']:.2f} |"
        )


def measure(name: str, folder: str) -> Row:
    """Return the seconds of steps of both kinds, and of their compute alone."""
    with tempfile.TemporaryDirectory() as cache, quiet():
        steps, operations = compute_steps(name)
        seconds = in_turn(
            {
                "images": partial(step_seconds, name, folder, cache, enabled=False),
                "cached": partial(step_seconds, name, folder, cache, enabled=True),
                **{kind: partial(repeated, step) for kind, step in steps.items()},
            }
        )
    return {
        **{kind: statistics.median(values) for kind, values in seconds.items()},
        "times": median_ratio(seconds["images"], seconds["cached"]),
        "allowed": median_ratio(seconds["whole"], seconds["behind"]),
        "operations": operations,
    }


def step_seconds(name: str, folder: str, cache: str, *, enabled: bool) -> float:
    """Return the median time of a step of a training."""
    task = make_task(name)
    data = ImageFolderDataModule(
        folder,
        batch_size=BATCH,
        num_workers=0,
        data_config=task.backbone.data_config,
        augmentation="crop",
    )
    times = StepTimes()
    caching = FeatureCaching(enabled=enabled, views=VIEWS, cache_dir=cache)
    trainer = Trainer(
        max_epochs=EPOCHS,
        accelerator="cpu",
        callbacks=[Finetuning(LastBlocks(2)), caching, times],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(task, data)
    if (task.activation_cut is not None) != enabled:
        raise SystemExit(f"{name} did not read what it was to read. Free some disk, or memory.")
    return statistics.median(times.seconds)


def make_task(name: str) -> ImageTask:
    """Return a network of random weights with a linear head, the same each time."""
    seed_everything(0, verbose=False)
    backbone = Backbone(name, "random", img_size=NETWORKS[name])
    optimizer = partial(torch.optim.SGD, lr=1e-3)
    return ImageTask(backbone, num_classes=2, optimizer=optimizer, closed_form_start=False)


def compute_steps(name: str) -> tuple[dict[str, Callable[[], None]], float]:
    """Return training steps on batches in memory, and the factor of their operations."""
    task = make_task(name)
    groups = layer_groups(task)
    phase = LastBlocks(2).schedule(list(groups), EPOCHS).phases[0]
    set_trainable_(task, groups, phase.groups, batch_norm=phase.batch_norm)
    backbone, optimizer = task.backbone, torch.optim.SGD(task.parameters(), lr=1e-3)
    images = torch.randn(BATCH, *backbone.data_config["input_size"])
    cut = find_cut(backbone, images[:2])
    assert not isinstance(cut, str), cut  # noqa: S101  # the two networks are known to have one
    with torch.no_grad():
        activations = activations_in_front(backbone, cut, images)
    labels = torch.arange(BATCH) % 2

    def step(features_of: Callable[[], Tensor]) -> None:
        optimizer.zero_grad()
        task.training_loss(task.head(features_of()), labels).backward()
        optimizer.step()

    whole = partial(step, lambda: backbone(images))
    behind = partial(step, lambda: features_behind(backbone, cut, activations))
    return {"whole": whole, "behind": behind}, compute_factor(backbone, cut, images[:2])


def repeated(step: Callable[[], None]) -> float:
    """Return the median time of ten steps, after two that warm up."""
    seconds = []
    for _ in range(12):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[2:])


if __name__ == "__main__":
    main()
