import os
import random

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything

from tltool.data.datamodules.image_folder import ImageFolderDataModule
from tltool.data.files.decoding import BrokenImageError
from tltool.data.loading.device_share import DeviceShare
from tltool.data.loading.shuffled_sampler import Draw


@pytest.fixture
def data(images, data_config):
    def make(counts=None, **kwargs):
        root = images(counts or {"ants": 10, "bees": 10})
        options = {"data_config": data_config, "batch_size": 6, "num_workers": 0} | kwargs
        return ImageFolderDataModule(root, **options)

    return make


@pytest.fixture(autouse=True)
def _restore_seed():
    before, environment = torch.get_rng_state(), dict(os.environ)
    python = random.getstate()
    yield
    torch.set_rng_state(before)
    random.setstate(python)
    os.environ.clear()
    os.environ.update(environment)


def one_epoch(data, epoch=0, **changes):
    loader = data.train_dataloader()
    loader.batch_sampler.sampler.set_epoch(epoch)
    for name, value in changes.items():
        setattr(loader.images, name, value)
    batches = list(loader)
    return torch.cat([batch["images"] for batch in batches]), batches


def test_a_batch_has_images_labels_and_paths(data):
    batch = next(iter(data().train_dataloader()))
    assert batch["images"].shape == (6, 3, 32, 32)
    assert (batch["labels"].dtype, batch["labels"].shape) == (torch.int64, (6,))
    assert len(batch["paths"]) == 6


def test_an_image_and_its_label_stay_together(data):
    batch = next(iter(data().train_dataloader()))
    from_paths = ["bees" in path for path in batch["paths"]]
    assert batch["labels"].bool().tolist() == from_paths


def test_the_last_training_batch_is_kept(data):
    assert [len(batch["paths"]) for batch in data().train_dataloader()] == [6, 6, 4]


def test_validation_is_in_order(data):
    paths = [path for batch in data().val_dataloader() for path in batch["paths"]]
    assert paths == sorted(paths)


def test_one_channel_on_request(data, data_config):
    gray = data_config | {"input_size": (1, 32, 32), "mean": (0.5,), "std": (0.2,)}
    batch = next(iter(data(data_config=gray).val_dataloader()))
    assert batch["images"].shape[1] == 1


def test_validation_images_are_not_augmented(data):
    plain, augmented = (
        next(iter(data(augmentation=name).val_dataloader())) for name in ("none", "crop")
    )
    assert torch.equal(plain["images"], augmented["images"])


def test_the_seed_decides_order_and_augmentation(data):
    seed_everything(3)
    first, _ = one_epoch(data(augmentation="crop"))
    torch.rand(10)
    again, _ = one_epoch(data(augmentation="crop"))
    assert torch.equal(first, again)


def test_another_seed_gives_another_order(data):
    seed_everything(3)
    first, _ = one_epoch(data())
    seed_everything(4)
    assert not torch.equal(first, one_epoch(data())[0])


def test_another_epoch_gives_another_order(data):
    assert not torch.equal(one_epoch(data())[0], one_epoch(data(), epoch=1)[0])


@pytest.mark.parametrize("num_workers", [1, 2])
def test_workers_change_neither_order_nor_augmentation(data, num_workers):
    seed_everything(3)
    alone, _ = one_epoch(data(augmentation="crop"))
    shared, _ = one_epoch(data(augmentation="crop", num_workers=num_workers))
    assert torch.equal(alone, shared)


def test_spawned_workers_give_the_same_batches(data):
    seed_everything(3)
    alone, _ = one_epoch(data(augmentation="crop"))
    spawned, _ = one_epoch(
        data(augmentation="crop", num_workers=1), multiprocessing_context="spawn"
    )
    assert torch.equal(alone, spawned)


def test_a_draw_leaves_the_random_numbers_of_the_model_alone(data):
    augmented = data(augmentation="crop").dataset("train", augment=True)
    before = torch.get_rng_state()
    augmented[Draw(0, seed=17)]
    assert torch.equal(torch.get_rng_state(), before)


def test_a_plain_index_draws_from_the_random_numbers_of_all(data):
    augmented = data(augmentation="crop").dataset("train", augment=True)
    assert not torch.equal(augmented[0]["image"], augmented[0]["image"])


def test_without_a_data_config_the_remedy_is_said(data):
    with pytest.raises(ValueError, match=r"data_config=backbone.data_config"):
        data(data_config=None).val_dataloader()


def test_a_batch_size_of_zero_is_refused(data):
    with pytest.raises(ValueError, match=r"Set --data.batch_size 32"):
        data(batch_size=0).val_dataloader()


def test_a_train_loader_cannot_be_made_of_fewer_images_than_a_batch(data):
    with pytest.raises(ValueError, match=r"Set --data.batch_size 16"):
        data(batch_size=17).train_dataloader()


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_broken_file_stops_the_run_and_is_named(data, images, truncated, num_workers):
    truncated(images({"ants": 10, "bees": 10}) / "ants" / "broken.jpg")
    with pytest.raises(BrokenImageError, match=r"broken.jpg.*set --data.broken_files skip"):
        one_epoch(data(batch_size=5, num_workers=num_workers, val_fraction=0.01))


def test_skipped_files_are_counted_and_named_once(data, images, truncated, caplog):
    folder = images({"ants": 10, "bees": 10}) / "ants"
    truncated(folder / "broken.jpg")
    (folder / "empty.png").touch()
    (folder / "text.jpg").write_text("no image")
    data(broken_files="skip").setup("fit")
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "Left out 3 of 23 images that cannot be read" in warnings[0]
    assert all(name in warnings[0] for name in ("broken.jpg", "empty.png", "text.jpg"))


def test_skipping_changes_nothing_for_the_other_images(data, images):
    whole = data().samples("val").paths
    (images({"ants": 10, "bees": 10}) / "ants" / "zzz.png").touch()
    assert set(data(broken_files="skip").samples("val").paths) == set(whole)


def test_skipping_leaves_broken_files_out_of_prediction(data, images):
    (images({"ants": 10, "bees": 10}) / "ants" / "empty.png").touch()
    assert len(data(broken_files="skip").dataset("predict")) == 20


class Recorder(LightningModule):
    """Learn nothing; remember which images came."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.epochs = []

    def on_train_epoch_start(self):
        self.epochs.append([])

    def training_step(self, batch):
        self.epochs[-1] += batch["paths"]
        return self.weight.sum()

    def validation_step(self, batch):
        assert batch["labels"].shape == (len(batch["paths"]),)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.fixture
def trainer(tmp_path):
    return Trainer(max_epochs=2, accelerator="cpu", barebones=True, default_root_dir=tmp_path)


@pytest.mark.filterwarnings("ignore:.*does not have many workers:UserWarning")
@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # asked by Lightning 2.6 itself
def test_lightning_trains_on_every_image_in_a_new_order_each_epoch(data, trainer):
    module, images = Recorder(), data()
    trainer.fit(module, images)
    first, second = module.epochs
    assert sorted(first) == sorted(second) == sorted(images.samples("train").paths)
    assert first != second


def test_each_device_takes_its_share_of_the_batch(data, monkeypatch):
    shared = data()
    monkeypatch.setattr(type(shared), "_share", DeviceShare(shared.batch_size, 0, world_size=3))
    assert len(next(iter(shared.train_dataloader()))["paths"]) == 2
    assert len(next(iter(shared.val_dataloader()))["paths"]) == 2


def test_a_checkpoint_keeps_the_seed_of_order_and_augmentation(data):
    torch.manual_seed(1)
    first, resumed = data(), data()
    paths = [batch["paths"] for batch in first.train_dataloader()]
    torch.manual_seed(2)
    resumed.load_state_dict(first.state_dict())
    assert [batch["paths"] for batch in resumed.train_dataloader()] == paths


def test_another_run_takes_the_seed_of_its_time(data):
    torch.manual_seed(1)
    twice = data()
    paths = [batch["paths"] for batch in twice.train_dataloader()]
    torch.manual_seed(2)
    twice.setup("fit")
    assert [batch["paths"] for batch in twice.train_dataloader()] != paths


def test_a_batch_that_cannot_be_shared_names_the_nearest_sizes(data, monkeypatch):
    shared = data(batch_size=10)
    monkeypatch.setattr(type(shared), "_share", DeviceShare(10, 0, world_size=4))
    with pytest.raises(ValueError, match=r"Set --data.batch_size 8 or 12"):
        shared.train_dataloader()
