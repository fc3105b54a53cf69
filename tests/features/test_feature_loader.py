import pytest
import torch

from tltool.data.datamodules.image_folder import ImageFolderDataModule
from tltool.data.loading.shuffled_sampler import Draw
from tltool.features.feature_loader import FeatureLoader, FeatureMixing


@pytest.fixture
def loaders(images):
    """The training loader of 20 images, on images and on features that number the images."""
    config = {
        "input_size": (3, 32, 32),
        "interpolation": "bicubic",
        "mean": (0.5,) * 3,
        "std": (0.5,) * 3,
        "crop_pct": 1.0,
        "crop_mode": "center",
    }

    def make(num_views=1, done=0, mixing=None):
        torch.manual_seed(0)
        data = ImageFolderDataModule(images, batch_size=4, num_workers=0, data_config=config)
        loader, other = data.train_dataloader(), data.train_dataloader()
        numbers = torch.arange(len(loader.images.dataset)).float()[:, None]
        views = [numbers + 1000 * view for view in range(num_views)]
        other.substitute = FeatureLoader(other, views, mixing=mixing)
        loader.batches_done = other.batches_done = lambda: done
        return loader, other

    return make


@pytest.mark.parametrize("done", [0, 2])
def test_features_come_in_the_order_of_the_images_with_their_seeds(loaders, done):
    on_images, on_features = (list(loader) for loader in loaders(done=done))
    assert len(on_features) == 5 - done
    for key in ("paths", "seed"):
        assert [batch[key] for batch in on_images] == [batch[key] for batch in on_features]
    assert torch.equal(*(torch.cat([b["labels"] for b in x]) for x in (on_images, on_features)))


def test_the_seed_of_a_draw_chooses_the_view(loaders):
    _, loader = loaders(num_views=3)
    draws = [Draw(4, seed=7), Draw(2, seed=9)]
    loader.substitute.batch_sampler = [draws]
    (batch,) = loader.substitute
    assert batch["features"].tolist() == [[1004.0], [2.0]]


def test_a_resumed_epoch_mixes_as_a_straight_one(loaders):
    mixing = FeatureMixing(2, alpha=0.4)
    (_, straight), (_, resumed) = (loaders(done=done, mixing=mixing) for done in (0, 3))
    for a, b in zip(list(straight)[3:], resumed, strict=True):
        assert torch.equal(a["features"], b["features"])
        assert torch.equal(a["labels"], b["labels"])


def test_a_ranks_empty_batch_has_only_paths(loaders):
    images, _ = loaders()
    images.batch_sampler = [[]]
    assert list(FeatureLoader(images, [torch.zeros(20, 1)])) == [{"paths": []}]
