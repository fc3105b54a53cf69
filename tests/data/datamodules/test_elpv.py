import logging
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from PIL import Image

from tltool.data.datamodules.elpv import ELPVDataModule
from tltool.diagnostics.checks.duplicates import find_duplicates, image_hash


def numbers(samples):
    return [int(Path(path).stem.removeprefix("cell")) for path in samples.paths]


def splits(data):
    return [data.samples(split) for split in ("train", "val", "test")]


def test_each_image_is_in_one_split():
    found = [number for split in splits(ELPVDataModule()) for number in numbers(split)]
    assert sorted(found) == list(range(1, 2625))


def test_the_splits_have_about_their_fractions():
    sizes = [len(split) for split in splits(ELPVDataModule())]
    assert sizes == [1728, 512, 384]


def test_blocks_of_neighbors_stay_together():
    blocks = [
        {(number - 1) // 64 for number in numbers(split)} for split in splits(ELPVDataModule())
    ]
    assert sum(len(block) for block in blocks) == 41


def test_cells_that_were_measured_twice_are_in_one_split():
    for seed in range(3):
        part_of = {
            number: index
            for index, split in enumerate(splits(ELPVDataModule(seed=seed)))
            for number in numbers(split)
        }
        assert all(part_of[number] == part_of[number + 542] for number in range(1690, 1785))


@pytest.mark.slow  # It decodes 2,624 images.
def test_no_image_is_seen_again_in_another_split():
    data = ELPVDataModule()
    hashes, part_of = [], []
    for index, split in enumerate(splits(data)):
        for path in split.paths:
            hashes.append(image_hash(Image.open(path), Path(path).read_bytes()))
            part_of.append(index)
    pairs = find_duplicates(hashes).near
    assert len(pairs) > 0
    assert all(part_of[first] == part_of[second] for first, second in pairs)


def test_another_seed_splits_other_blocks():
    first, second = (ELPVDataModule(seed=seed).samples("val").paths for seed in (0, 1))
    assert first != second


def test_defective_counts_every_probability_above_zero():
    data = ELPVDataModule()
    counts = [split.class_counts(2) for split in splits(data)]
    assert data.class_names == ["intact", "defective"]
    assert [sum(column) for column in zip(*counts, strict=True)] == [1508, 1116]


def test_probability_has_four_classes():
    data = ELPVDataModule(target="probability")
    counts = [split.class_counts(4) for split in splits(data)]
    assert data.class_names == ["0", "1/3", "2/3", "1"]
    assert [sum(column) for column in zip(*counts, strict=True)] == [1508, 295, 106, 715]


def test_given_class_names_decide_the_labels():
    data = ELPVDataModule(class_names=["defective", "intact"])
    assert sum(split.class_counts(2)[0] for split in splits(data)) == 1116


def test_classes_of_another_checkpoint_are_refused():
    with pytest.raises(ValueError, match=r"ants, bees, but .* defective, intact: these are other"):
        ELPVDataModule(class_names=["ants", "bees"]).setup("test")


def test_a_batch_comes_from_the_package(data_config):
    loader = ELPVDataModule(data_config=data_config, num_workers=0, batch_size=4).val_dataloader()
    batch = next(iter(loader))
    assert batch["images"].shape == (4, 3, 32, 32)


def test_the_license_is_logged_once(caplog):
    caplog.set_level(logging.INFO)
    data = ELPVDataModule()
    data.setup("fit")
    data.setup("test")
    assert caplog.text.count("CC-BY-NC-SA-4.0") == 1


def test_a_missing_package_says_what_to_install(monkeypatch):
    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("tltool.data.datamodules.elpv.distribution", missing)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'tltool\[quickstart\]'"):
        ELPVDataModule().setup("fit")


def test_a_test_fraction_outside_zero_and_one_is_refused():
    with pytest.raises(ValueError, match=r"Set .*--data.test_fraction 0.2"):
        ELPVDataModule(test_fraction=15)
