"""Tables whose labels are several classes or numbers: what is read, split and refused."""

from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import write_images
from tltool.data.datamodules.digits import DigitsDataModule
from tltool.data.datamodules.elpv import ELPVDataModule
from tltool.data.datamodules.image_folder import ImageFolderDataModule
from tltool.data.datamodules.label_cells import strata
from tltool.data.datamodules.manifest import ManifestDataModule
from tltool.data.loading.labels import TargetStats


def write(folder, cells, header="path,label"):
    (folder / "images.csv").write_text(
        "\n".join([header, *(f"{number:03}.png,{cell}" for number, cell in enumerate(cells))])
    )
    for number in range(len(cells)):
        (folder / f"{number:03}.png").touch()
    return folder / "images.csv"


SEVERAL = ["ants;bees", "ants", "", "bees; wasps", "ants"] * 8
NUMBERS = [f"{0.5 + number / 7:.3f}" for number in range(40)]


def test_a_cell_may_hold_any_number_of_classes(tmp_path):
    data = ManifestDataModule(write(tmp_path, SEVERAL), objective="multi_label")
    assert data.class_names == ["ants", "bees", "wasps"]
    samples = data.samples("train")
    of_path = {Path(p).name: label for p, label in zip(samples.paths, samples.labels, strict=True)}
    for path, label in of_path.items():
        cell = SEVERAL[int(path[:3])]
        assert label == tuple(float(name in cell) for name in data.class_names)


def test_given_classes_decide_the_order_and_others_are_refused(tmp_path):
    table = write(tmp_path, SEVERAL)
    given = ["wasps", "bees", "ants", "flies"]
    data = ManifestDataModule(table, objective="multi_label", class_names=given)
    assert len(data.samples("train").labels[0]) == 4
    fewer = ManifestDataModule(table, objective="multi_label", class_names=["ants", "bees"])
    with pytest.raises(ValueError, match="have the class wasps, which the model does not learn"):
        fewer.samples("train")


def test_a_number_is_read_with_its_mean_and_deviation(tmp_path):
    data = ManifestDataModule(write(tmp_path, NUMBERS), objective="regression")
    stats = data.target_stats
    labels = data.samples("train").labels
    assert stats.mean == pytest.approx(sum(labels) / len(labels))
    assert (data.num_classes, data.class_names, stats.levels) == (1, ["target"], None)


def test_a_number_of_few_values_is_ordinal(tmp_path):
    table = write(tmp_path, ["0", "0.333", "0.667", "1"] * 10, header="path,age")
    data = ManifestDataModule(table, objective="regression", label_column="age")
    assert data.target_stats.levels == (0.0, 0.333, 0.667, 1.0)
    assert data.class_names == ["age"]


@pytest.mark.parametrize(
    ("cells", "objective", "message"),
    [
        (SEVERAL, "single_label", "Set --model.objective multi_label"),
        (NUMBERS, "single_label", "Set --model.objective regression"),
        (SEVERAL, "regression", "set --model.objective multi_label"),
        (
            ["ants"] * 9,
            "regression",
            "row 1, '000.png': 'ants'.*set --model.objective single_label",
        ),
        (["1", "", "2"], "regression", "have no label"),
        (["1", "inf", "2"], "regression", "'inf'. Give each row a number"),
        (["", "", ""], "multi_label", "have no label"),
        (["0.5"] * 12, "regression", "All .* training images have the target 0.5"),
    ],
)
def test_labels_of_another_objective_are_refused(tmp_path, cells, objective, message):
    data = ManifestDataModule(write(tmp_path, cells), objective=objective)
    with pytest.raises(ValueError, match=message):
        data.setup("fit") if message[0] != "A" else data.target_stats


@pytest.mark.parametrize("cells", [["1", "2", "10"] * 9, [f"{number}" for number in range(20)] * 2])
def test_whole_numbers_may_be_names_of_classes(tmp_path, cells):
    data = ManifestDataModule(write(tmp_path, cells))
    assert data.num_classes == len(set(cells))


def test_a_name_with_a_semicolon_is_a_class_where_the_classes_are_given(tmp_path):
    table = write(tmp_path, ["a;b", "c"] * 5)
    assert ManifestDataModule(table, class_names=["a;b", "c"]).samples("train").labels


@pytest.mark.parametrize("objective", ["multi_label", "regression"])
def test_a_folder_of_classes_needs_a_manifest_for_other_labels(tmp_path, objective):
    with pytest.raises(ValueError, match="Write a manifest"):
        ImageFolderDataModule(write_images(tmp_path), objective=objective).samples("train")


def test_a_folder_to_predict_needs_no_labels(tmp_path):
    data = ImageFolderDataModule(write_images(tmp_path), objective="regression")
    assert len(data.unlabeled) == 24


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objective": "multi_label", "sampling": "class_balanced"}, "needs one class"),
        ({"objective": "regression", "sampling": "class_balanced"}, "needs one class"),
        ({"objective": "regression", "mixup": 0.2}, "`mixup` mixes the classes"),
        ({"objective": "regression", "cutmix": 1.0}, "`cutmix` mixes the classes"),
        ({"objective": "regression", "class_names": ["a", "b"]}, "a regression has one target"),
        ({"objective": "multilabel"}, "Did you mean 'multi_label'"),
    ],
)
def test_options_of_one_class_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        DigitsDataModule(**options)


def test_a_split_keeps_the_share_of_the_rarest_class(tmp_path):
    cells = ["common"] * 80 + ["common;rare"] * 10 + ["other;rare"] * 10
    data = ManifestDataModule(write(tmp_path, cells), objective="multi_label", val_fraction=0.2)
    counts = {split: data.samples(split).class_counts(3) for split in ("train", "val")}
    rare = data.class_names.index("rare")
    assert (counts["val"][rare], counts["train"][rare]) == (4, 16)


def test_a_split_keeps_the_spread_of_a_number(tmp_path):
    cells = [f"{number}.5" for number in range(100)]
    data = ManifestDataModule(write(tmp_path, cells), objective="regression", val_fraction=0.2)
    quarters = Counter(int(label // 20) for label in data.samples("val").labels)
    assert quarters == dict.fromkeys(range(5), 4)


def test_what_is_alone_in_its_stratum_is_split_with_its_like():
    assert strata(["a", "b", "c;d", "c"], "multi_label") == ["rare", "rare", "rare", "rare"]


def test_a_target_without_spread_is_refused():
    with pytest.raises(ValueError, match="nothing to learn"):
        TargetStats.of([2.0, 2.0])


def test_solar_cells_have_their_probability_as_a_number():
    data = ELPVDataModule(objective="regression")
    assert data.class_names == ["defect probability"]
    assert len(data.target_stats.levels) == 4
    with pytest.raises(ValueError, match="two classes, and the objective is regression"):
        ELPVDataModule(objective="regression", target="defective")
