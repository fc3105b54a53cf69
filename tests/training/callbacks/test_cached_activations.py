"""Training on cached activations is training on images: the same losses, over the seam too."""

from dataclasses import dataclass, field

import pytest
import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from torch import nn

from tltool.data.datamodules.image_folder import ImageFolderDataModule
from tltool.data.loading.image_dataset import ImageDataset
from tltool.data.loading.shuffled_sampler import Draw
from tltool.features.file_hashes import hash_content
from tltool.features.row_lookup import seed_of, view_keys
from tltool.features.segments import read_segment
from tltool.finetuning.phase import Phase
from tltool.finetuning.schedule import Schedule
from tltool.finetuning.strategies import FinetuningStrategy, LastBlocks
from tltool.models.backbone import Backbone
from tltool.training.callbacks.feature_caching import FeatureCaching
from tltool.training.callbacks.finetuning import Finetuning
from tltool.training.image_task import ImageTask

VIEWS = 2
#: Names and sizes of images; of Swin there is no smaller one.
NETWORKS = {
    "test_resnet": 32,
    "test_efficientnet": 32,
    "test_convnext": 64,
    "test_vit": 32,
    "swin_tiny_patch4_window7_224": 32,
}


@dataclass
class Noted(Callback):
    """The losses of a run, what its batches held, and its last validation losses."""

    losses: list = field(default_factory=list)
    kinds: list = field(default_factory=list)
    val_losses: list = field(default_factory=list)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.losses.append(float(outputs["loss"]))
        self.kinds.append("activations" if "activations" in batch else "images")

    def on_validation_end(self, trainer, pl_module):
        self.val_losses.append(float(trainer.callback_metrics["val/loss"]))


class ViewsOfTheCache(ImageDataset):
    """Images as they come, of which each visit draws one of the views that the cache would hold."""

    def __getitem__(self, key):
        if isinstance(key, Draw):
            digest = hash_content(self.content(key.position))
            keys = view_keys(digest, VIEWS, is_random=True)
            key = Draw(key.position, seed_of(keys[key.seed % VIEWS]))
        return super().__getitem__(key)


@pytest.fixture
def train(images, tmp_path):
    def run(
        strategy,
        *,
        name="test_resnet",
        img_size=32,
        max_epochs=4,
        change=None,
        precision="32-true",
        **options,
    ):
        seed_everything(0, verbose=False)
        backbone = Backbone(name, weights="random", img_size=img_size)
        if change is not None:
            change(backbone.model)
        task = ImageTask(backbone, num_classes=2, label_smoothing=0.1)
        data = ImageFolderDataModule(
            images,
            batch_size=4,
            num_workers=0,
            data_config=backbone.data_config,
            augmentation="crop",
        )
        noted = Noted()
        defaults = {"cache_dir": str(tmp_path / "cache"), "views": VIEWS}
        trainer = Trainer(
            max_epochs=max_epochs,
            accelerator="cpu",
            precision=precision,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            gradient_clip_val=1.0,  # As `tltool fit` does.
            callbacks=[Finetuning(strategy), FeatureCaching(**defaults | options), noted],
        )
        trainer.fit(task, data)
        return noted

    return run


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if "swin" in n else ()) for n in NETWORKS]
)
def test_the_losses_of_20_steps_are_those_with_images(train, name, monkeypatch):
    network = {"name": name, "img_size": NETWORKS[name]}
    cached = train(LastBlocks(2), **network)
    module = "tltool.data.datamodules.prepared_images.ImageDataset"
    monkeypatch.setattr(module, ViewsOfTheCache)
    uncached = train(LastBlocks(2), **network, enabled=False)
    assert cached.kinds == ["activations"] * 20
    assert uncached.kinds == ["images"] * 20
    assert cached.losses == pytest.approx(uncached.losses, abs=1e-3)


@pytest.mark.parametrize("precision", ["bf16-true", "64-true"])
def test_weights_of_another_type_train_on_activations(train, precision):
    assert train(LastBlocks(2), precision=precision).kinds == ["activations"] * 20


class Seam(FinetuningStrategy):
    """The last groups for three epochs; then everything, so slowly that nothing changes."""

    def schedule(self, group_names, max_epochs):
        last = Phase("last", (-2, -1), epochs=3, batch_norm="eval")
        return Schedule((last, Phase("all", ("*",), lr_scale=1e-12, batch_norm="eval")))


def test_the_validation_loss_does_not_jump_where_images_follow(train):
    noted = train(Seam())
    assert noted.kinds == ["activations"] * 15 + ["images"] * 5
    assert noted.val_losses[3] == pytest.approx(noted.val_losses[2], abs=1e-3)


def enlarge(model):
    """Let the layers in front of the cut give more than fp16 holds, and those behind take it."""
    nn.init.constant_(model.layer2[-1].bn2.bias, 1e5)
    with torch.no_grad():
        model.layer3[0].conv1.weight.mul_(1e-5)
        model.layer3[0].downsample[1].weight.mul_(1e-5)


def test_what_fp16_does_not_hold_is_kept_in_bf16_with_a_line(train, caplog):
    caplog.set_level("INFO", "tltool")
    noted = train(LastBlocks(2), change=enlarge)
    assert caplog.text.count("fp16 ends at 65504. Keep activations in bf16. So they are.") == 1
    assert noted.kinds == ["activations"] * 20
    assert torch.tensor(noted.losses).isfinite().all()


@pytest.mark.parametrize(("name", "dtype"), [("fp16", torch.float16), ("bf16", torch.bfloat16)])
def test_activations_are_kept_in_the_type_that_is_asked_for(train, tmp_path, name, dtype):
    train(LastBlocks(2), activation_dtype=name)
    segments = (tmp_path / "cache").glob("*/*.safetensors")
    dtypes = {read_segment(path).features.dtype for path in segments}
    assert dtypes == {dtype, torch.float32}  # The head has begun from features.


def test_an_unknown_type_is_refused_with_the_choices():
    with pytest.raises(ValueError, match="Choose one of: bf16, fp16, fp32"):
        FeatureCaching(activation_dtype="fp8")


def test_the_size_is_said_before_activations_are_computed(train, caplog):
    caplog.set_level("INFO", "tltool")
    train(LastBlocks(2))
    said = [record.getMessage() for record in caplog.records]
    sizes = [number for number, line in enumerate(said) if "rows to compute, at most" in line]
    (used,) = [number for number, line in enumerate(said) if "read activations of" in line]
    assert sizes
    assert max(sizes) < used


def test_images_are_read_where_the_disk_is_too_full_for_activations(
    train, caplog, tmp_path, monkeypatch
):
    caplog.set_level("INFO", "tltool")
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("tltool.features.store.shutil.disk_usage", lambda _: usage)
    noted = train(LastBlocks(2))
    assert noted.kinds == ["images"] * 20
    assert caplog.text.count("Images are read in each epoch: activations cannot be kept in") == 1
    assert "No space left on device. Free some disk" in caplog.text
    assert not list((tmp_path / "cache").glob("*/*.safetensors"))
