"""Features of a split are kept where a run keeps them."""

import pytest
import torch

from tltool.data.datamodules.image_folder import ImageFolderDataModule
from tltool.inference.split_features import split_features
from tltool.models.backbone import Backbone


@pytest.mark.parametrize(("max_size", "kept"), [("1kB", False), ("1MB", True)])
def test_they_are_kept_within_the_limit(images, tmp_path, max_size, kept):
    backbone = Backbone("test_resnet", weights="random", img_size=32)
    data = ImageFolderDataModule(images, data_config=backbone.data_config, num_workers=0)
    caching = {"enabled": True, "cache_dir": str(tmp_path), "max_size": max_size}
    found = split_features(backbone.eval(), data, "train", caching=caching)
    plain = split_features(backbone.eval(), data, "train", caching={})
    torch.testing.assert_close(found, plain, rtol=1e-4, atol=1e-4)
    assert any(tmp_path.iterdir()) is kept


def test_one_rank_alone_computes_them(images, tmp_path, monkeypatch):
    ranks = torch.distributed
    monkeypatch.setattr(ranks, "is_initialized", lambda: True)
    monkeypatch.setattr(ranks, "get_rank", lambda: 0)
    monkeypatch.setattr(ranks, "get_world_size", lambda: 2)
    monkeypatch.setattr(ranks, "all_gather_object", None)  # It would wait for the other one.
    backbone = Backbone("test_resnet", weights="random", img_size=32).eval()
    data = ImageFolderDataModule(images, data_config=backbone.data_config, num_workers=0)
    caching = {"enabled": True, "cache_dir": str(tmp_path), "max_size": "1MB"}
    assert len(split_features(backbone, data, "train", caching=caching)) == 20
