import importlib.util
import io
import json
import pickle

import numpy as np
import pyarrow.parquet
import pytest
import torch
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, List, Value
from PIL import Image as Pillow

from tltool.data.datamodules.hf_dataset import HFDataModule

CLASSES = ["wasps", "ants", "bees"]  # Not sorted: an order of the data's own.
LABEL = ClassLabel(names=CLASSES)


def png(shade, size=24):
    file = io.BytesIO()
    Pillow.new("RGB", (size, size), (shade, 0, 0)).save(file, "png")
    return {"bytes": file.getvalue(), "path": None}


def rows(count, label=LABEL, values=None, **more):
    """Return a data set of images of one shade each, and columns beside them."""
    values = values or [number % 2 for number in range(count)]
    columns = {"image": [png(255 - number) for number in range(count)], "label": values}
    features = {"image": Image(), "label": label}
    for name, (feature, cells) in more.items():
        columns[name], features[name] = cells, feature
    return Dataset.from_dict(columns, features=Features(features))


@pytest.fixture
def save(tmp_path):
    """Return a function that saves splits, or one data set, and opens what it saved."""

    def save(data, **options):
        data = DatasetDict(data) if isinstance(data, dict) else data
        data.save_to_disk(tmp_path / "flowers")
        return HFDataModule(tmp_path / "flowers", num_workers=0, **options)

    return save


def sizes(data):
    return {split: len(samples) for split, samples in data.splits.by_name().items()}


def test_the_splits_are_those_of_the_data(save):
    data = save({"train": rows(6), "validation": rows(4), "test": rows(2)})
    assert sizes(data) == {"train": 6, "val": 4, "test": 2}


@pytest.mark.parametrize("pack", [lambda data: data, lambda data: {"train": data}])
def test_training_images_are_split_where_none_validate(save, pack):
    assert sizes(save(pack(rows(20)))) == {"train": 16, "val": 4}


def test_splits_that_are_none_are_left_out(save, caplog):
    data = save({"train": rows(10), "unsupervised": rows(4)})
    assert sizes(data) == {"train": 8, "val": 2}
    assert "Left out splits of" in caplog.text


def test_splits_of_unknown_names_are_refused(save):
    data = save({"fold_a": rows(2), "fold_b": rows(2)})
    with pytest.raises(ValueError, match=r"known: fold_a, fold_b\. Call them train, validation"):
        data.setup("fit")


def test_classes_keep_the_order_of_the_data_and_those_without_images_are_left_out(save):
    assert save(rows(20)).class_names == ["wasps", "ants"]


@pytest.mark.parametrize(
    ("feature", "values", "classes"),
    [
        (Value("string"), ["b", "a"], ["a", "b"]),
        (Value("int64"), [10, 9], ["9", "10"]),
        (Value("bool"), [True, False], ["False", "True"]),
    ],
)
def test_classes_of_text_and_numbers_are_sorted(save, feature, values, classes):
    assert save(rows(10, feature, values * 5), class_names=None).class_names == classes


def test_images_are_decoded_from_their_bytes(save, data_config):
    data = save({"train": rows(10), "validation": rows(4)}, data_config=data_config)
    image = data.dataset("val")[3]["image"]
    red = (252 / 255 - 0.5) / 0.2
    torch.testing.assert_close(image[0], torch.full((32, 32), red))


def test_images_of_12_bits_need_a_range(save):
    file = io.BytesIO()
    Pillow.fromarray(np.full((8, 8), 4000, np.uint16)).save(file, "png")
    deep = {"image": [{"bytes": file.getvalue(), "path": None}] * 10, "label": [0, 1] * 5}
    data = save(Dataset.from_dict(deep, features=rows(1).features))
    check_refused(data, r"values need 12 bits, in files of 16 bits")


def test_rows_keep_their_label(save):
    data = save({"train": rows(4, values=[1, 0, 0, 1]), "validation": rows(2)})
    assert list(data.samples("train").labels) == [1, 0, 0, 1]


def test_processes_that_decode_give_the_same(save, data_config):
    data = save({"train": rows(10), "validation": rows(6)}, data_config=data_config, batch_size=2)
    alone = torch.cat([batch["images"] for batch in data.val_dataloader()])
    data.num_workers = 1
    assert torch.equal(torch.cat([batch["images"] for batch in data.val_dataloader()]), alone)


def test_a_data_set_is_sent_to_processes_that_start_anew(save):
    decode = save(rows(4)).decoder
    sent = pickle.loads(pickle.dumps(decode))
    assert sent("flowers/all/000002").getpixel((0, 0)) == (253, 0, 0)


def test_a_data_set_that_has_moved_is_split_alike(save, tmp_path):
    before = save(rows(20)).samples("val").labels, save(rows(20)).samples("val").paths
    (tmp_path / "flowers").rename(tmp_path / "moved")
    after = HFDataModule(tmp_path / "moved").samples("val")
    moved = [path.replace("flowers", "moved") for path in before[1]]
    assert (after.labels, after.paths) == (before[0], moved)


def test_a_group_is_on_one_side(save):
    groups = [f"patient {number // 4}" for number in range(40)]
    data = save(rows(40, patient=(Value("string"), groups)), group_column="patient")
    assert not set(data.samples("train").groups) & set(data.samples("val").groups)


def test_lists_of_class_labels_are_several_classes(save):
    values = [[0, 2], [1], [], [2], [1]] * 4
    data = save(rows(20, List(ClassLabel(names=CLASSES)), values), objective="multi_label")
    assert data.class_names == CLASSES
    assert set(data.samples("train").labels) >= {(1.0, 0.0, 1.0), (0.0, 0.0, 0.0)}


def test_numbers_are_a_target(save):
    values = [number / 10 for number in range(20)]
    data = save(rows(20, Value("float64"), values), objective="regression")
    assert set(data.samples("train").labels) <= set(values)


def test_a_split_without_labels_is_to_predict_alone(save, caplog):
    data = save({"train": rows(10), "test": rows(4, values=[-1] * 4)})
    assert sizes(data) == {"train": 8, "val": 2}
    assert len(data.find_unlabeled()) == 14
    assert "No image of ['test']" in caplog.text


def test_a_broken_image_is_named(save, data_config):
    data = rows(4).cast_column("image", Image(decode=False)).to_list()
    data[1]["image"] = {"bytes": b"no image", "path": None}
    data = save(Dataset.from_list(data, rows(1).features), data_config=data_config)
    with pytest.raises(ValueError, match="Cannot read 'flowers/all/000001'"):
        data.decoder("flowers/all/000001")


def test_broken_images_are_left_out_on_request(save):
    data = rows(20).cast_column("image", Image(decode=False)).to_list()
    data[1]["image"] = {"bytes": b"no image", "path": None}
    data = save(Dataset.from_list(data, rows(1).features), broken_files="skip")
    assert sum(sizes(data).values()) == 19


def check_refused(data, match):
    with pytest.raises(ValueError, match=match):
        data.setup("fit")


def test_data_without_images_are_refused(save):
    data = Dataset.from_dict({"text": ["a", "b"], "label": ["x", "y"]})
    check_refused(save(data), r"has no column with images; it has text, label\. Cast one to")


def test_several_columns_with_images_are_refused(save):
    data = rows(4, mask=(Image(), [png(0)] * 4))
    check_refused(save(data), r"image, mask\. Set --data\.image_column to one")


def test_a_column_without_images_is_refused(save):
    check_refused(save(rows(4), image_column="label"), r"holds no images.* with images: image")


def test_several_columns_with_classes_are_refused(save):
    data = rows(4, coarse=(ClassLabel(names=["insects"]), [0] * 4))
    check_refused(save(data), r"labels: label, coarse\. Set --data\.label_column to one")


def test_data_without_labels_are_refused(save):
    data = rows(4).rename_column("label", "caption").cast_column("caption", Value("string"))
    check_refused(save(data), r"has no column with labels; it has image, caption\. Set")


def test_a_misspelled_column_offers_the_nearest(save):
    check_refused(save(rows(4), label_column="labl"), "Did you mean 'label'")


def test_parquet_files_are_read(tmp_path):
    for split in ("train", "validation"):
        rows(4).to_parquet(tmp_path / "data" / f"{split}-00000-of-00001.parquet")
    data = HFDataModule(tmp_path)
    assert sizes(data) == {"train": 4, "val": 4}
    assert data.class_names == ["wasps", "ants"]


def test_parquet_files_of_others_are_read(tmp_path):
    table = rows(4).with_format("arrow")[:].replace_schema_metadata(None)
    pyarrow.parquet.write_table(table, tmp_path / "train.parquet")
    decode = HFDataModule(tmp_path).decoder
    assert decode(f"{tmp_path.name}/train/000003").getpixel((0, 0)) == (252, 0, 0)


def test_a_folder_that_is_no_data_set_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"has neither dataset_dict\.json nor state\.json"):
        HFDataModule(tmp_path).setup("fit")


def test_a_missing_folder_offers_the_nearest(tmp_path):
    (tmp_path / "flowers").mkdir()
    with pytest.raises(FileNotFoundError, match=r"Did you mean '.*flowers'"):
        HFDataModule(tmp_path / "flower").setup("fit")


def test_a_damaged_data_set_is_refused(save, tmp_path):
    data = save(rows(4))
    for file in (tmp_path / "flowers").glob("*.arrow"):
        file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"is damaged \(.*\)\. Save or copy it again"):
        data.setup("fit")


@pytest.mark.parametrize("name", ["dataset_info.json", "state.json"])
def test_a_damaged_description_is_refused(save, tmp_path, name):
    data = save(rows(4))
    (tmp_path / "flowers" / name).write_text("{")
    with pytest.raises(ValueError, match="is damaged"):
        data.setup("fit")


def test_a_type_that_the_package_does_not_know_is_not_made(save, tmp_path):
    data = save(rows(4))
    path = tmp_path / "flowers" / "dataset_info.json"
    info = json.loads(path.read_text())
    info["features"]["label"] = {"_type": "subprocess.Popen", "args": ["touch", "no"]}
    path.write_text(json.dumps(info))
    with pytest.raises(ValueError, match="is damaged"):
        data.setup("fit")


def test_a_missing_package_is_named(save, monkeypatch):
    data = save(rows(4))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'tltool\[huggingface\]'"):
        data.setup("fit")
