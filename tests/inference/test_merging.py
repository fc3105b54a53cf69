"""Merging checkpoints: which belong together, what is chosen, and what is written."""

import runpy
from pathlib import Path

import pytest
import torch

from tltool.inference.export.exporting import export
from tltool.inference.loading import load
from tltool.inference.merge_sources import MergeSources, read_sources
from tltool.inference.merging import merge_weights, save_merge
from tltool.models.backbone import Backbone
from tltool.models.weight_averaging import average_weights, interpolate_weights
from tltool.training.callbacks.ending import Ending
from tltool.training.checkpoint_io import TASK
from tltool.training.image_task import ImageTask

job = runpy.run_path(str(Path(__file__).parents[1] / "training" / "ending_job.py"))


@pytest.fixture(scope="module")
def hard_images(tmp_path_factory):
    return job["write_hard_images"](tmp_path_factory.mktemp("hard") / "images")


@pytest.fixture(scope="module")
def run(hard_images, tmp_path_factory):
    """A run that has kept its start and chosen its end."""
    folder = tmp_path_factory.mktemp("run")
    job["train"](hard_images, folder, Ending(average="wise_ft", points=[0, 0.5, 1]))
    return folder


@pytest.fixture(scope="module")
def second(hard_images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("second")
    job["train"](hard_images, folder, None, max_epochs=1)
    return folder


@pytest.fixture
def data(hard_images):
    def make(sources, **options):
        given = {"batch_size": 8, "num_workers": 0, "val_fraction": 0.45, **options}
        config = sources.task.data_config
        return job["ImageFolderDataModule"](hard_images, data_config=config, **given)

    return make


def state(path):
    return torch.load(path, weights_only=True)["state_dict"]


def test_a_run_merges_to_what_its_end_has_chosen(run, data):
    sources = read_sources([run], "wise_ft")
    found = merge_weights(sources, points=[0, 0.5, 1], data=data(sources))
    rows = job["rows"](run)
    expected = [(row["candidate"], pytest.approx(float(row["loss"]), rel=1e-4)) for row in rows]
    measured = [each.candidate for each in found.measured]
    assert [(each.name, each.metrics["val/loss"]) for each in measured] == expected
    assert found.measured.index(found.chosen) == [row["chosen"] for row in rows].index("yes")


def test_a_share_without_images_is_that_point(run, second):
    found = merge_weights(read_sources([run, second], "wise_ft"), share=0.25)
    ends = [state(folder / "checkpoints" / "best.ckpt") for folder in (run, second)]
    expected = interpolate_weights(*ends, 0.25)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.weights.items())
    assert found.num_averaged_norms == 15


def test_the_mean_of_several_is_their_mean(run, second):
    paths = [run / "checkpoints" / "last.ckpt", second]
    found = merge_weights(read_sources(paths, "uniform"), "uniform")
    states = [state(paths[0]), state(second / "checkpoints" / "best.ckpt")]
    expected = average_weights(states)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.weights.items())


def test_a_soup_is_at_least_as_good_as_each_network(run, second, data):
    sources = read_sources([run, second], "soup")
    found = merge_weights(sources, "soup", data=data(sources))
    accuracies = [each.candidate.metrics["val/accuracy"] for each in found.measured]
    assert found.chosen.candidate.metrics["val/accuracy"] == max(accuracies)


def test_a_test_split_reports_on_images_that_chose_nothing(run, hard_images, tmp_path):
    for split, first in (("train", 0), ("val", 7), ("test", 14)):
        for path in sorted(hard_images.glob("*/*.png")):
            if first <= int(path.stem) < first + 7:
                target = tmp_path / split / path.parent.name / path.name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(path)
    sources = read_sources([run], "wise_ft")
    options = {"batch_size": 8, "num_workers": 0, "data_config": sources.task.data_config}
    found = merge_weights(sources, data=job["ImageFolderDataModule"](tmp_path, **options))
    reference, gain = found.gain()
    chosen, best = found.tested[:2]
    assert len(chosen.predictions) == 12
    assert reference == str(best)
    assert gain.mean == pytest.approx(chosen.predictions.accuracy - best.predictions.accuracy)


def test_what_is_written_is_whole_and_predicts(run, second, tmp_path, hard_images):
    sources = read_sources([run, second], "wise_ft")
    found = merge_weights(sources, share=0.5)
    save_merge(sources, found, tmp_path / "merged.ckpt")
    weights = load(tmp_path / "merged.ckpt").task.state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in found.weights.items())
    assert "optimizer_states" not in torch.load(tmp_path / "merged.ckpt", weights_only=True)


def changed(path, folder, change):
    checkpoint = torch.load(path, weights_only=True)
    change(checkpoint["task_config"])
    torch.save(checkpoint, folder / "changed.ckpt")
    return folder / "changed.ckpt"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda task: task["class_names"].reverse(), r"classes was \['0', '1'\] and is"),
        (lambda task: task["data_config"].update(crop_pct=0.5), r"preprocessing\.crop_pct was"),
        (lambda task: task["head"]["init_args"].update(activation="gelu"), r"model\.head\."),
    ],
)
def test_what_does_not_belong_together_is_refused(run, tmp_path, change, message):
    best = run / "checkpoints" / "best.ckpt"
    other = changed(best, tmp_path, change)
    with pytest.raises(ValueError, match=rf"cannot be averaged with .*{message}"):
        read_sources([best, other], "soup")


@pytest.fixture
def adapted(tmp_path):
    """Checkpoints of two networks that differ in their adapters, and their exports."""
    backbone = Backbone("test_resnet", weights="random", img_size=32)
    task = ImageTask(backbone.edit_([{"add_lora": {"rank": 2}}]), num_classes=2)
    paths = [tmp_path / "0.ckpt", tmp_path / "1.ckpt"]
    for path in paths:
        for name, factor in task.named_parameters():
            if "lora" in name:
                torch.nn.init.normal_(factor, std=0.1)
        torch.save({TASK: task.task_config, "state_dict": task.state_dict()}, path)
    return paths, [export(path, to="safetensors").path for path in paths]


def test_adapters_of_several_runs_are_refused(adapted):
    with pytest.raises(ValueError, match=r"adapters .* of their own.*--to safetensors"):
        read_sources(adapted[0], "uniform")


def test_networks_with_merged_adapters_have_a_mean(adapted):
    sources = read_sources(adapted[1], "uniform")
    states = [load(path).task.merge_adapters_().state_dict() for path in adapted[0]]
    found = merge_weights(sources, "uniform").weights
    expected = average_weights(states)
    assert all(torch.allclose(found[name], expected[name]) for name in found)


def test_heads_of_another_scale_of_the_target_are_refused(tmp_path):
    stats = {"mean": 40.0, "std": 12.0}
    backbone = Backbone("test_resnet", weights="random", img_size=32)
    task = ImageTask(backbone, num_classes=1, objective="regression", target_stats=stats)
    age = tmp_path / "age.ckpt"
    torch.save({TASK: task.task_config, "state_dict": task.state_dict()}, age)
    other = changed(age, tmp_path, lambda task: task["target_stats"].update(mean=400.0))
    with pytest.raises(ValueError, match="was of mean 40, deviation 12 and is of mean 400"):
        read_sources([age, other], "uniform")


def test_networks_that_trained_with_another_dropout_belong_together(run, second, tmp_path):
    best = second / "checkpoints" / "best.ckpt"
    other = changed(best, tmp_path, lambda task: task["head"]["init_args"].update(dropout=0.5))
    assert len(read_sources([run, other], "soup").states) == 2


def test_without_a_start_or_images_it_says_what_to_do(run, second):
    with pytest.raises(ValueError, match=r"no start\.pt of this run.* name two checkpoints"):
        read_sources([second], "wise_ft")
    with pytest.raises(ValueError, match=r"Set --data\.root, or --share 0\.5"):
        merge_weights(read_sources([run], "wise_ft"))
    with pytest.raises(ValueError, match=r"two networks, got 3.* --average soup"):
        read_sources([run, second, run / "checkpoints" / "last.ckpt"], "wise_ft")
    with pytest.raises(ValueError, match=r"holds the same weights only"):
        read_sources([run, run / "checkpoints" / "best.ckpt"], "soup")
    with pytest.raises(ValueError, match=r"`share` is for wise_ft"):
        merge_weights(read_sources([run, second], "soup"), "soup", share=0.5)


@pytest.mark.parametrize(
    ("average", "options", "message"),
    [
        ("uniform", {"share": 0.3}, r"`share` is for wise_ft.* the average is uniform"),
        ("uniform", {"share": 7}, r"`share` is for wise_ft"),
        ("wise_ft", {"share": 7}, r"`share` is the share of the end, in \[0, 1\], got 7"),
        ("wise_ft", {"points": [25, 75]}, r"shares of the end, in \[0, 1\], got \[25, 75\]"),
        ("soup", {"points": [0, 1]}, r"`points` are for wise_ft.* the average is soup. Leave out"),
        ("wise_ft", {"points": [0, 1], "share": 0.5}, r"`points` are .* and `share` is 0\.5"),
        ("soup", {"choose": "trained"}, r"the start, which does not compete. Leave it out"),
        ("wise_ft", {"choose": "trained", "share": 0.5}, r"start, which does not compete"),
        ("wise_ft", {"choose": "trained", "points": [0.5]}, r"with 0 among `points`"),
        ("uniform", {"monitor": "val/f1"}, r"`monitor` 'val/f1' is measured on images, and there"),
    ],
)
def test_an_option_that_does_nothing_is_refused(average, options, message):
    sources = MergeSources({}, {}, {}, None)
    with pytest.raises(ValueError, match=message):
        merge_weights(sources, average, **options)
