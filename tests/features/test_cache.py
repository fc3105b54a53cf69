import os
import shutil

import pytest
import torch
from PIL import Image

from tltool.data.loading.image_dataset import ImageDataset
from tltool.data.loading.in_memory import InMemoryDecoder
from tltool.data.loading.samples import Samples
from tltool.data.transforms.image_transform import ImageTransform
from tltool.features import file_hashes
from tltool.features.cache import cache_root, cached_features
from tltool.features.frozen_front import ActivationRangeError
from tltool.features.row_lookup import PassStoppedError
from tltool.features.store import NotKeptError


def test_features_are_those_of_the_backbone_in_the_order_of_the_images(
    images, tmp_path, make_backbone, make_images
):
    backbone = make_backbone().eval()
    dataset = make_images(images, backbone)
    features = cached_features(backbone, dataset, cache=tmp_path, batch_size=5, num_workers=1)
    stacked = torch.stack([item["image"] for item in dataset])
    torch.testing.assert_close(features.tensor(), backbone(stacked).detach())
    assert features.labels.tolist() == [0] * 24


def test_a_second_call_makes_no_forward_pass(
    images, tmp_path, make_backbone, make_images, count_images
):
    backbone = make_backbone()
    dataset = make_images(images, backbone)
    first = cached_features(backbone, dataset, cache=tmp_path)
    passes = count_images(backbone)
    second = cached_features(backbone, dataset, cache=tmp_path)
    assert (first.num_computed, second.num_computed, passes) == (24, 0, [])
    assert torch.equal(first.tensor(), second.tensor())


def test_a_stopped_pass_keeps_what_it_has_computed(images, tmp_path, make_backbone, make_images):
    backbone = make_backbone()
    dataset = make_images(images, backbone)
    with pytest.raises(PassStoppedError):
        cached_features(backbone, dataset, cache=tmp_path, batch_size=5, is_stopped=lambda: True)
    assert cached_features(backbone, dataset, cache=tmp_path).num_computed == 24 - 5


@pytest.mark.parametrize(
    ("settled_after", "unused"),
    [
        pytest.param(0.0, "read_content", id="unchanged files are not read"),
        pytest.param(1e9, "ImageDataset.image", id="known images are hashed but not decoded"),
    ],
)
def test_a_second_call_does_only_what_it_must(
    own_images, tmp_path, make_backbone, make_images, monkeypatch, settled_after, unused
):
    monkeypatch.setattr(file_hashes, "SETTLED_AFTER", settled_after)
    backbone = make_backbone()
    dataset = make_images(own_images, backbone)
    cached_features(backbone, dataset, cache=tmp_path / "c")
    monkeypatch.setattr(f"tltool.data.loading.image_dataset.{unused}", None)
    assert cached_features(backbone, dataset, cache=tmp_path / "c").num_computed == 0


def test_of_one_changed_image_only_that_is_computed(
    own_images, tmp_path, make_backbone, make_images
):
    backbone = make_backbone()
    before = cached_features(backbone, make_images(own_images, backbone), cache=tmp_path / "c")
    Image.new("RGB", (48, 48), "green").save(own_images / "blue" / "03.png")
    after = cached_features(backbone, make_images(own_images, backbone), cache=tmp_path / "c")
    changed = (before.tensor() != after.tensor()).any(dim=1).nonzero().flatten()
    assert (after.num_computed, changed.tolist()) == (1, [3])


def test_an_image_replaced_by_one_of_equal_size_and_date_is_noticed(
    own_images, tmp_path, make_backbone, make_images, monkeypatch
):
    monkeypatch.setattr(file_hashes, "SETTLED_AFTER", 0.0)
    backbone, image = make_backbone(), own_images / "blue" / "a.png"
    for path in own_images.rglob("*.png"):
        path.unlink()
    Image.new("L", (32, 32), 10).save(image)
    cached_features(backbone, make_images(own_images, backbone), cache=tmp_path / "c")
    before = image.stat()
    content = bytearray(image.read_bytes())
    Image.new("L", (32, 32), 11).save(tmp_path / "b.png")
    other = (tmp_path / "b.png").read_bytes()
    assert len(other) == len(content)
    image.write_bytes(other)
    os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert image.stat()[6] == before[6]
    assert image.stat().st_mtime_ns == before.st_mtime_ns
    again = cached_features(backbone, make_images(own_images, backbone), cache=tmp_path / "c")
    assert again.num_computed == 1


def test_a_cache_that_was_copied_with_its_images_is_valid(
    own_images, tmp_path, make_backbone, make_images
):
    backbone = make_backbone()
    cached_features(backbone, make_images(own_images, backbone), cache=tmp_path / "c")
    shutil.move(tmp_path / "c", tmp_path / "elsewhere")
    shutil.move(own_images, tmp_path / "moved")
    dataset = make_images(tmp_path / "moved", backbone)
    assert cached_features(backbone, dataset, cache=tmp_path / "elsewhere").num_computed == 0


def test_another_preprocessing_computes_all_anew(images, tmp_path, make_backbone, make_images):
    backbone = make_backbone()
    cached_features(backbone, make_images(images, backbone), cache=tmp_path)
    dataset = make_images(images, backbone, crop_pct=0.5)
    assert cached_features(backbone, dataset, cache=tmp_path).num_computed == 24


def test_one_changed_weight_computes_all_anew(images, tmp_path, make_backbone, make_images):
    backbone = make_backbone()
    dataset = make_images(images, backbone)
    cached_features(backbone, dataset, cache=tmp_path)
    with torch.no_grad():
        next(backbone.parameters())[0, 0, 0, 0] += 1e-6
    assert cached_features(backbone, dataset, cache=tmp_path).num_computed == 24


def test_views_differ_and_more_of_them_are_added_to_those_that_are_there(
    images, tmp_path, make_backbone, make_images
):
    backbone = make_backbone()
    dataset = make_images(images, backbone, augmentation="crop")
    two = cached_features(backbone, dataset, cache=tmp_path, num_views=2)
    three = cached_features(backbone, dataset, cache=tmp_path, num_views=3)
    assert (two.num_computed, three.num_computed) == (48, 24)
    assert torch.equal(two.tensor(view=1), three.tensor(view=1))
    assert not torch.equal(three.tensor(view=1), three.tensor(view=2))


def test_equal_images_are_computed_once(own_images, tmp_path, make_backbone, make_images):
    shutil.copytree(own_images / "red", own_images / "again")
    backbone = make_backbone()
    dataset = make_images(own_images, backbone)
    features = cached_features(backbone, dataset, cache=tmp_path / "c", batch_size=7)
    assert (len(features), features.num_computed) == (36, 24)
    assert torch.equal(features.tensor()[:12], features.tensor()[24:])


def test_images_without_files_are_found_by_their_pixels(tmp_path, make_backbone):
    backbone = make_backbone()
    sources = {"dots": [(Image.new("L", (32, 32), color), 0) for color in (0, 50, 100)]}
    dataset = ImageDataset(
        Samples(["dots/0", "dots/1", "dots/2"]),
        ImageTransform(backbone.data_config),
        decode=InMemoryDecoder(sources),
    )
    cached_features(backbone, dataset, cache=tmp_path)
    sources["dots"][1] = (Image.new("L", (32, 32), 51), 0)
    assert cached_features(backbone, dataset, cache=tmp_path).num_computed == 1


def test_rows_come_in_the_order_of_the_indices_from_several_segments(
    images, tmp_path, make_backbone, make_images, monkeypatch
):
    monkeypatch.setattr("tltool.features.store._SEGMENT_BYTES", 1000)
    backbone = make_backbone()
    dataset = make_images(images, backbone)
    features = cached_features(backbone, dataset, cache=tmp_path, batch_size=4)
    indices = torch.tensor([23, 0, 7, 7])
    assert torch.equal(features.select(indices), features.tensor()[indices])
    assert len(list(features.store.directory.glob("*.safetensors"))) == 6


def test_half_precision_takes_half_the_disk(images, tmp_path, make_backbone, make_images):
    backbone = make_backbone()
    dataset = make_images(images, backbone)
    full = cached_features(backbone, dataset, cache=tmp_path)
    half = cached_features(backbone, dataset, cache=tmp_path, precision="bf16-mixed")
    torch.testing.assert_close(half.tensor(), full.tensor(), rtol=0.05, atol=0.05)
    full_size, half_size = (
        sum(path.stat().st_size for path in features.store.directory.glob("*.safetensors"))
        for features in (full, half)
    )
    assert half_size < 0.7 * full_size


def test_modes_of_all_modules_are_left_as_they_were(images, tmp_path, make_backbone, make_images):
    backbone = make_backbone().train()
    backbone.model.layer1.eval()
    modes = [module.training for module in backbone.modules()]
    cached_features(backbone, make_images(images, backbone), cache=tmp_path)
    assert [module.training for module in backbone.modules()] == modes


def test_what_was_computed_before_a_broken_image_is_kept(
    own_images, tmp_path, make_backbone, make_images
):
    backbone, broken = make_backbone(), own_images / "red" / "11.png"
    dataset = make_images(own_images, backbone)
    content = broken.read_bytes()
    broken.write_bytes(b"")
    with pytest.raises(ValueError, match=r"Cannot read '.*11\.png': it is empty"):
        cached_features(backbone, dataset, cache=tmp_path / "c", batch_size=4)
    broken.write_bytes(content)
    assert cached_features(backbone, dataset, cache=tmp_path / "c").num_computed == 4


@pytest.mark.parametrize("refusal", [ActivationRangeError("too large"), NotKeptError("full")])
def test_what_another_rank_refuses_is_refused_here(
    images, tmp_path, make_backbone, make_images, monkeypatch, refusal
):
    ranks = torch.distributed
    monkeypatch.setattr(ranks, "is_initialized", lambda: True)
    monkeypatch.setattr(ranks, "get_rank", lambda: 0)
    monkeypatch.setattr(ranks, "get_world_size", lambda: 2)
    monkeypatch.setattr(
        ranks,
        "all_gather_object",
        lambda found, own: found.__setitem__(slice(None), [own, refusal]),
    )
    backbone = make_backbone()
    with pytest.raises(type(refusal), match=str(refusal)):
        cached_features(backbone, make_images(images, backbone), cache=tmp_path)


def test_the_folder_comes_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("TLTOOL_CACHE", str(tmp_path))
    assert cache_root() == tmp_path
    assert cache_root("other").name == "other"
