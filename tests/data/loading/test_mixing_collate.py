import pytest
import torch
from torch.nn import functional

from tltool.data.datamodules.image_folder import ImageFolderDataModule
from tltool.data.loading.mixing_collate import MixingCollate


def items(count=8, seed=None):
    extra = {} if seed is None else {"seed": seed}
    return [
        {"image": torch.full((3, 8, 8), float(i)), "path": f"{i}.jpg", "label": i, **extra}
        for i in range(count)
    ]


@pytest.fixture(params=[{"mixup": 1.0}, {"cutmix": 1.0}, {"mixup": 1.0, "cutmix": 1.0}])
def batch(request):
    return MixingCollate(8, **request.param)(items(seed=3))


def test_labels_are_shares_that_sum_to_one(batch):
    assert batch["labels"].shape == (8, 8)
    assert torch.allclose(batch["labels"].sum(dim=1), torch.ones(8))


def test_the_share_of_a_class_is_the_share_of_its_image(batch):
    expected = batch["labels"] @ torch.arange(8.0)  # image i is filled with the number i
    assert torch.allclose(batch["images"].mean(dim=(1, 2, 3)), expected, atol=1e-5)


def test_hard_labels_name_the_larger_share(batch):
    shares = batch["labels"].gather(1, batch["hard_labels"][:, None])
    assert (shares >= 0.5).all()


def test_cross_entropy_takes_the_labels(batch):
    loss = functional.cross_entropy(torch.zeros(8, 8), batch["labels"], label_smoothing=0.1)
    assert loss.item() == pytest.approx(torch.tensor(8.0).log().item())


def test_mixup_blends_whole_images():
    mixed = MixingCollate(8, mixup=1.0)(items(seed=3))
    assert (mixed["images"].flatten(1).std(dim=1) < 1e-6).all()


def test_cutmix_pastes_a_rectangle():
    mixed = MixingCollate(8, cutmix=1.0)(items(seed=3))
    assert all(len(image.unique()) <= 2 for image in mixed["images"])


def test_the_seed_of_the_first_image_decides():
    first, again, other = (MixingCollate(8, mixup=1.0)(items(seed=s)) for s in (3, 3, 4))
    assert torch.equal(first["images"], again["images"])
    assert not torch.equal(first["images"], other["images"])


def test_a_batch_of_one_is_left_as_it_is():
    mixed = MixingCollate(8, mixup=1.0)(items(count=1, seed=3))
    assert torch.equal(mixed["images"], items(count=1)[0]["image"][None])
    assert mixed["hard_labels"].tolist() == [0]


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_a_negative_parameter_is_refused(images, name):
    with pytest.raises(ValueError, match=rf"Set --data.{name} 0.2, or 0 to turn it off"):
        ImageFolderDataModule(images({"ants": 3, "bees": 3}), **{name: -0.1})


@pytest.fixture
def data(images, data_config):
    root = images({"ants": 5, "bees": 5})
    return ImageFolderDataModule(
        root, mixup=0.2, batch_size=4, num_workers=0, data_config=data_config
    )


def test_training_batches_are_mixed(data):
    batch = next(iter(data.train_dataloader()))
    assert (batch["labels"].shape, batch["hard_labels"].shape) == ((4, 2), (4,))


def test_validation_batches_are_not_mixed(data):
    batch = next(iter(data.val_dataloader()))
    assert batch["labels"].dtype == torch.int64
    assert "hard_labels" not in batch


def test_mixing_makes_a_datamodule_random(data, images, data_config):
    plain = ImageFolderDataModule(images({"ants": 5, "bees": 5}), data_config=data_config)
    assert (data.is_random, plain.is_random) == (True, False)
