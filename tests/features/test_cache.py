import os
import shutil

import pytest
import torch
from PIL import Image

from tltool.data.loading.image_dataset import ImageDataset
from tltool.data.loading.in_memory import IndexedDecoder
from tltool.data.loading.samples import Samples
from tltool.data.transforms.image_transform import ImageTransform
from tltool.features import file_hashes
from tltool.features.cache import cache_root, cached_features


def test_features_are_those_of_the_backbone_in_the_order_of_the_photos(
    photos, tmp_path, make_backbone, make_photos
):
    backbone = make_backbone().eval()
    dataset = make_photos(photos, backbone)
    features = cached_features(backbone, dataset, cache=tmp_path, batch_size=5, num_workers=1)
    images = torch.stack([item["image"] for item in dataset])
    torch.testing.assert_close(features.tensor(), backbone(images).detach())
    assert features.labels.tolist() == [0] * 24


def test_a_second_call_makes_no_forward_pass(
    photos, tmp_path, make_backbone, make_photos, count_images
):
    backbone = make_backbone()
    dataset = make_photos(photos, backbone)
    first = cached_features(backbone, dataset, cache=tmp_path)
    passes = count_images(backbone)
    second = cached_features(backbone, dataset, cache=tmp_path)
    assert (first.num_computed, second.num_computed, passes) == (24, 0, [])
    assert torch.equal(first.tensor(), second.tensor())


@pytest.mark.parametrize(
    ("settled_after", "unused"),
    [
        pytest.param(0.0, "read_content", id="unchanged files are not read"),
        pytest.param(1e9, "ImageDataset.image", id="known images are hashed but not decoded"),
    ],
)
def test_a_second_call_does_only_what_it_must(
    own_photos, tmp_path, make_backbone, make_photos, monkeypatch, settled_after, unused
):
    monkeypatch.setattr(file_hashes, "SETTLED_AFTER", settled_after)
    backbone = make_backbone()
    dataset = make_photos(own_photos, backbone)
    cached_features(backbone, dataset, cache=tmp_path / "c")
    monkeypatch.setattr(f"tltool.data.loading.image_dataset.{unused}", None)
    assert cached_features(backbone, dataset, cache=tmp_path / "c").num_computed == 0


def test_of_one_changed_photo_only_that_is_computed(
    own_photos, tmp_path, make_backbone, make_photos
):
    backbone = make_backbone()
    before = cached_features(backbone, make_photos(own_photos, backbone), cache=tmp_path / "c")
    Image.new("RGB", (48, 48), "green").save(own_photos / "blue" / "03.png")
    after = cached_features(backbone, make_photos(own_photos, backbone), cache=tmp_path / "c")
    changed = (before.tensor() != after.tensor()).any(dim=1).nonzero().flatten()
    assert (after.num_computed, changed.tolist()) == (1, [3])


def test_a_photo_replaced_by_one_of_equal_size_and_date_is_noticed(
    own_photos, tmp_path, make_backbone, make_photos, monkeypatch
):
    monkeypatch.setattr(file_hashes, "SETTLED_AFTER", 0.0)
    backbone, photo = make_backbone(), own_photos / "blue" / "a.png"
    for path in own_photos.rglob("*.png"):
        path.unlink()
    Image.new("L", (32, 32), 10).save(photo)
    cached_features(backbone, make_photos(own_photos, backbone), cache=tmp_path / "c")
    before = photo.stat()
    content = bytearray(photo.read_bytes())
    Image.new("L", (32, 32), 11).save(tmp_path / "b.png")
    other = (tmp_path / "b.png").read_bytes()
    assert len(other) == len(content)
    photo.write_bytes(other)
    os.utime(photo, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert photo.stat()[6] == before[6]
    assert photo.stat().st_mtime_ns == before.st_mtime_ns
    again = cached_features(backbone, make_photos(own_photos, backbone), cache=tmp_path / "c")
    assert again.num_computed == 1


def test_a_cache_that_was_copied_with_its_photos_is_valid(
    own_photos, tmp_path, make_backbone, make_photos
):
    backbone = make_backbone()
    cached_features(backbone, make_photos(own_photos, backbone), cache=tmp_path / "c")
    shutil.move(tmp_path / "c", tmp_path / "elsewhere")
    shutil.move(own_photos, tmp_path / "moved")
    dataset = make_photos(tmp_path / "moved", backbone)
    assert cached_features(backbone, dataset, cache=tmp_path / "elsewhere").num_computed == 0


def test_another_preprocessing_computes_all_anew(photos, tmp_path, make_backbone, make_photos):
    backbone = make_backbone()
    cached_features(backbone, make_photos(photos, backbone), cache=tmp_path)
    dataset = make_photos(photos, backbone, crop_pct=0.5)
    assert cached_features(backbone, dataset, cache=tmp_path).num_computed == 24


def test_one_changed_weight_computes_all_anew(photos, tmp_path, make_backbone, make_photos):
    backbone = make_backbone()
    dataset = make_photos(photos, backbone)
    cached_features(backbone, dataset, cache=tmp_path)
    with torch.no_grad():
        next(backbone.parameters())[0, 0, 0, 0] += 1e-6
    assert cached_features(backbone, dataset, cache=tmp_path).num_computed == 24


def test_views_differ_and_more_of_them_are_added_to_those_that_are_there(
    photos, tmp_path, make_backbone, make_photos
):
    backbone = make_backbone()
    dataset = make_photos(photos, backbone, augmentation="crop")
    two = cached_features(backbone, dataset, cache=tmp_path, num_views=2)
    three = cached_features(backbone, dataset, cache=tmp_path, num_views=3)
    assert (two.num_computed, three.num_computed) == (48, 24)
    assert torch.equal(two.tensor(view=1), three.tensor(view=1))
    assert not torch.equal(three.tensor(view=1), three.tensor(view=2))


def test_equal_photos_are_computed_once(own_photos, tmp_path, make_backbone, make_photos):
    shutil.copytree(own_photos / "red", own_photos / "again")
    backbone = make_backbone()
    dataset = make_photos(own_photos, backbone)
    features = cached_features(backbone, dataset, cache=tmp_path / "c", batch_size=7)
    assert (len(features), features.num_computed) == (36, 24)
    assert torch.equal(features.tensor()[:12], features.tensor()[24:])


def test_photos_without_files_are_found_by_their_pixels(tmp_path, make_backbone):
    backbone = make_backbone()
    sources = {"dots": [(Image.new("L", (32, 32), color), 0) for color in (0, 50, 100)]}
    dataset = ImageDataset(
        Samples(["dots/0", "dots/1", "dots/2"]),
        ImageTransform(backbone.data_config),
        decode=IndexedDecoder(sources),
    )
    cached_features(backbone, dataset, cache=tmp_path)
    sources["dots"][1] = (Image.new("L", (32, 32), 51), 0)
    assert cached_features(backbone, dataset, cache=tmp_path).num_computed == 1


def test_rows_come_in_the_order_of_the_indices_from_several_segments(
    photos, tmp_path, make_backbone, make_photos, monkeypatch
):
    monkeypatch.setattr("tltool.features.store._SEGMENT_BYTES", 1000)
    backbone = make_backbone()
    dataset = make_photos(photos, backbone)
    features = cached_features(backbone, dataset, cache=tmp_path, batch_size=4)
    indices = torch.tensor([23, 0, 7, 7])
    assert torch.equal(features.select(indices), features.tensor()[indices])
    assert len(list(features.store.folder.glob("*.safetensors"))) == 6


def test_half_precision_takes_half_the_disk(photos, tmp_path, make_backbone, make_photos):
    backbone = make_backbone()
    dataset = make_photos(photos, backbone)
    full = cached_features(backbone, dataset, cache=tmp_path)
    half = cached_features(backbone, dataset, cache=tmp_path, precision="bf16-mixed")
    torch.testing.assert_close(half.tensor(), full.tensor(), rtol=0.05, atol=0.05)
    full_size, half_size = (
        sum(path.stat().st_size for path in features.store.folder.glob("*.safetensors"))
        for features in (full, half)
    )
    assert half_size < 0.7 * full_size


def test_modes_of_all_modules_are_left_as_they_were(photos, tmp_path, make_backbone, make_photos):
    backbone = make_backbone().train()
    backbone.model.layer1.eval()
    modes = [module.training for module in backbone.modules()]
    cached_features(backbone, make_photos(photos, backbone), cache=tmp_path)
    assert [module.training for module in backbone.modules()] == modes


def test_what_was_computed_before_a_broken_photo_is_kept(
    own_photos, tmp_path, make_backbone, make_photos
):
    backbone, broken = make_backbone(), own_photos / "red" / "11.png"
    dataset = make_photos(own_photos, backbone)
    content = broken.read_bytes()
    broken.write_bytes(b"")
    with pytest.raises(ValueError, match=r"Cannot read '.*11\.png': it is empty"):
        cached_features(backbone, dataset, cache=tmp_path / "c", batch_size=4)
    broken.write_bytes(content)
    assert cached_features(backbone, dataset, cache=tmp_path / "c").num_computed == 4


def test_the_folder_comes_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("TLTOOL_CACHE", str(tmp_path))
    assert cache_root() == tmp_path
    assert cache_root("other").name == "other"
