"""What a checkpoint knows of its limits: fitted on its images, kept as plain tensors, predicted."""

import csv

import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image

import tltool
from tests.conftest import write_images
from tltool.data.datamodules.image_folder import ImageFolderDataModule
from tltool.data.loading.samples import Samples, Splits
from tltool.inference.checkpoint_trust import calibration_split, fit_trust, read_trust
from tltool.inference.data_prediction import single_device_trainer
from tltool.inference.export.onnx_runner import OnnxModel
from tltool.inference.export.verification import verify_export
from tltool.inference.limit_columns import LimitColumns
from tltool.inference.prediction_job import predict_to_file
from tltool.inference.predictor import Predictor
from tltool.inference.split_limits import SplitLimits, listening
from tltool.models.backbone import Backbone
from tltool.training.image_task import ImageTask

QUIET = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}


def data_of(folder, task, **options):
    given = {"data_config": task.data_config, "class_names": task.class_names}
    return ImageFolderDataModule(folder, num_workers=0, batch_size=8, **given, **options)


@pytest.fixture(scope="module")
def task():
    torch.manual_seed(0)
    backbone = Backbone("test_resnet", weights="random", img_size=32)
    return ImageTask(backbone, num_classes=2, class_names=["blue", "red"]).eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("trust") / "images", per_class=60)


@pytest.fixture(scope="module")
def checkpoint(task, folder, tmp_path_factory):
    """Write a checkpoint that knows its limits."""
    path = tmp_path_factory.mktemp("run") / "best.ckpt"
    trainer = Trainer(**QUIET, accelerator="cpu", enable_model_summary=False)
    trainer.strategy.connect(task)
    trainer.save_checkpoint(path)
    fit_trust(path, data_of(folder, task, val_fraction=0.4))
    return path


def rows_of(path, folder, output, **options):
    predictor = Predictor(ImageTask.load_from_checkpoint(path), source=path)
    limits = LimitColumns(read_trust(path), predictor.class_names, **options)
    predict_to_file(predictor, data_of(folder, predictor.task), output, limits=limits)
    with output.open() as file:
        return list(csv.DictReader(file))


def test_one_in_twenty_of_the_images_that_set_the_threshold_is_unknown(checkpoint, folder, task):
    data = data_of(folder, task, val_fraction=0.4)
    limits = SplitLimits(read_trust(checkpoint), 2)
    trainer = single_device_trainer()
    with listening(trainer, limits):
        Predictor(task).measure(data, "val", trainer=trainer)
    found = limits.result(data, "val")
    assert (found.num_images, found.num_shared) == (48, 48)
    assert found.unknown_share == pytest.approx(0.04, abs=0.03)
    assert found.sets[0.9].coverage >= 0.9


def test_images_that_set_no_threshold_are_not_counted_as_shared(checkpoint, folder, task):
    data = data_of(folder, task, val_fraction=0.4)
    limits = SplitLimits(read_trust(checkpoint), 2)
    limits.add(torch.tensor([[0.9, 0.1]]), torch.zeros(1, 96), torch.tensor([0]))
    assert limits.result(data, "train").num_shared == 0


def test_the_table_has_score_mark_and_set(checkpoint, images, tmp_path):
    rows = rows_of(checkpoint, images, tmp_path / "a.csv", coverage=0.9)
    names = ["is_unknown", "unknown_score", "prediction_set"]
    assert list(rows[0])[2:6] == ["prediction", *names] or list(rows[0])[3:6] == names
    assert {row["is_unknown"] for row in rows} <= {"true", "false"}
    assert all(row["prediction"] in row["prediction_set"].split(" | ") for row in rows)


def test_scores_are_those_of_whole_features(checkpoint, images, tmp_path):
    rows = rows_of(checkpoint, images, tmp_path / "a.csv")
    trust, task = read_trust(checkpoint), ImageTask.load_from_checkpoint(checkpoint)
    transform = Predictor(task).transform
    decoded = Image.open(rows[0]["path"]).convert("RGB")
    with torch.inference_mode():
        features = task.backbone(transform(decoded)[None])
        expected = trust.unknown.score(features, task.head(features).softmax(dim=1))
    assert float(rows[0]["unknown_score"]) == pytest.approx(float(expected), rel=1e-3, abs=1e-3)


def test_noise_is_unknown(checkpoint, tmp_path):
    folder = tmp_path / "noise"
    folder.mkdir()
    for seed in range(4):
        pixels = torch.randint(0, 256, (48, 48, 3), generator=torch.Generator().manual_seed(seed))
        Image.fromarray(pixels.to(torch.uint8).numpy()).save(folder / f"{seed}.png")
    rows = rows_of(checkpoint, folder, tmp_path / "a.csv")
    assert [row["is_unknown"] for row in rows] == ["true"] * 4


def test_a_loaded_checkpoint_says_of_an_image_what_the_table_says(checkpoint, images, tmp_path):
    rows = rows_of(checkpoint, images, tmp_path / "a.csv")
    found = tltool.load(checkpoint).predict([row["path"] for row in rows])
    scores = [float(row["unknown_score"]) for row in rows]
    assert [each.unknown_score for each in found] == pytest.approx(scores, rel=1e-3, abs=1e-3)
    assert [str(each.is_unknown).lower() for each in found] == [row["is_unknown"] for row in rows]


def test_averages_over_views_have_no_score(checkpoint, images):
    found = tltool.load(checkpoint, tta="flip").predict(images / "red" / "00.png")
    assert (found.unknown_score, found.is_unknown) == (None, None)


@pytest.mark.slow
def test_the_exported_file_gives_the_score_of_the_checkpoint(checkpoint, images, tmp_path):
    paths = sorted((images / "red").iterdir())[:3]
    output = tmp_path / "m.onnx"
    exported = tltool.export(checkpoint, output=output, images=paths, resize="runner")
    found = OnnxModel(output).unknown_scores(paths)
    expected = [each.unknown_score for each in exported.predictor.predict(paths)]
    assert found.tolist() == pytest.approx(expected, rel=1e-3, abs=1e-3)
    assert verify_export(output).agrees
    assert any(line.startswith("Its output unknown_score is off by") for line in exported.lines)


def test_a_format_without_the_score_says_so(checkpoint, tmp_path):
    lines = tltool.export(checkpoint, to="safetensors", output=tmp_path / "m.safetensors").lines
    assert "not part of safetensors: it stays with the checkpoint" in lines[-1]


def test_the_checkpoint_stays_plain_data_and_loads_as_before(checkpoint, task):
    loaded = ImageTask.load_from_checkpoint(checkpoint)
    state = task.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in loaded.state_dict().items())
    kept = torch.load(checkpoint, weights_only=True)["trust"]
    assert isinstance(kept["unknown"]["distance"]["means"], torch.Tensor)


def test_fitting_again_gives_the_same(checkpoint, folder, task):
    before = read_trust(checkpoint)
    again = fit_trust(checkpoint, data_of(folder, task, val_fraction=0.4))
    assert again.threshold == before.threshold
    assert torch.equal(again.scores.scores, before.scores.scores)


def test_features_that_are_known_are_not_computed_again(checkpoint, folder, task, monkeypatch):
    data = data_of(folder, task, val_fraction=0.4)
    known = torch.randn(72, 96, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr("tltool.inference.checkpoint_trust.extract_features", None)
    path = checkpoint.with_name("copy.ckpt")
    path.write_bytes(checkpoint.read_bytes())
    trust = fit_trust(path, data, train_features=known)
    labels = torch.tensor(data.samples("train").labels)
    torch.testing.assert_close(trust.unknown.distance.means[0], known[labels == 0].mean(dim=0))


@pytest.mark.parametrize(("has_tuning", "split"), [(True, "test"), (False, "val")])
def test_images_that_chose_nothing_set_the_limits(has_tuning, split):
    samples = Samples([f"{number}.png" for number in range(30)], [0, 1] * 15)
    data = ImageFolderDataModule("images")
    data.splits = Splits(samples, samples, samples, has_tuning=has_tuning)
    assert calibration_split(data) == split


def test_too_few_images_set_no_limits(images, task, checkpoint):
    data = data_of(images, task)
    assert calibration_split(data) is None
    with pytest.raises(ValueError, match="fewer than 20 images"):
        fit_trust(checkpoint, data)
