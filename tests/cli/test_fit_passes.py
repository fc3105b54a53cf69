"""How often `tltool fit` decodes an image: what frozen layers compute of it is computed once."""

from collections import Counter
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.conftest import write_images
from tltool.data.loading.image_dataset import ImageDataset
from tltool.models.backbone import Backbone


@pytest.fixture
def folder(tmp_path):
    """Images of three splits, and weights that are not random."""
    torch.manual_seed(0)
    state = Backbone("test_resnet", weights="random").model.state_dict()
    save_file(
        {name: value.contiguous() for name, value in state.items()},
        tmp_path / "weights.safetensors",
    )
    # Of other sizes, for equal images count once.
    for split, number, size in (("train", 8, 32), ("val", 12, 33), ("test", 12, 34)):
        write_images(tmp_path / "images" / split, per_class=number, size=size)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "times"),
    [
        # In front of the fit, for the head's start and the probe, and as augmented in training.
        (["LastBlocks", "--data.augmentation", "none"], {"train": 2, "val": 2, "test": 1}),
        (["LinearProbe"], {"train": 1, "val": 1, "test": 1}),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_measurements_behind_a_fit_decode_no_image_again(
    folder, run_tltool, monkeypatch, words, times
):
    decoded, decode = Counter(), ImageDataset._decoded

    def count(self, index, *content):
        decoded[Path(self.samples.paths[index]).parts[-3]] += 1
        return decode(self, index, *content)

    monkeypatch.setattr(ImageDataset, "_decoded", count)
    status, out, err = run_tltool(
        *("fit", "--data.root", folder / "images", "--data.num_workers", 0),
        *("--model.backbone.name", "test_resnet", "--model.backbone.img_size", 32),
        *("--model.backbone.weights", folder / "weights.safetensors", "--data.batch_size", 8),
        *("--features.cache_dir", folder / "cache", "--trainer.num_sanity_val_steps", 0),
        *("--trainer.accelerator", "cpu", "--health.enabled", "false", "--trainer.max_epochs", 2),
        *("--finetuning", *words),
    )
    assert status == 0, err
    assert all(f"\n{row} " in out for row in ("limits", "on"))
    sizes = {"train": 16, "val": 24, "test": 24}
    assert {split: decoded[split] / sizes[split] for split in sizes} == times
