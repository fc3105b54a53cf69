"""One file of predictions: over ranks, after a kill, with other options."""

import csv

import pyarrow.parquet as pq
import pytest
import torch
from lightning.pytorch import Trainer

from tltool.data.datamodules.image_folder import ImageFolderDataModule
from tltool.inference import prediction_job
from tltool.inference.prediction_chunks import PredictionChunks
from tltool.inference.prediction_job import predict_to_file
from tltool.inference.predictor import Predictor
from tltool.models.backbone import Backbone
from tltool.training.distributed.launch import Launch
from tltool.training.distributed.rank_watch import RankWatch
from tltool.training.image_task import ImageTask


@pytest.fixture(scope="module")
def task():
    torch.manual_seed(0)
    backbone = Backbone("test_resnet", weights="random", img_size=32)
    return ImageTask(backbone, num_classes=3, class_names=["blue", "green", "red"]).eval()


@pytest.fixture
def predict(task, images, tmp_path):
    """Return a function that predicts 24 images in batches of 2 and returns the file's bytes."""

    def run(name, launch=None, *, batch_size=2, root=images, weights=task, limit=None, **options):
        options_of_task = {"data_config": weights.data_config, "class_names": weights.class_names}
        data = ImageFolderDataModule(root, batch_size=batch_size, num_workers=0, **options_of_task)
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        trainer = Trainer(
            **quiet, accelerator="cpu", enable_model_summary=False, limit_predict_batches=limit
        )
        output = tmp_path / name
        ranks = RankWatch(launch) if launch else None  # Not entered: one rank after the other.
        predict_to_file(Predictor(weights), data, output, trainer=trainer, ranks=ranks, **options)
        return output.read_bytes() if output.is_file() else b""

    return run


class Killed(BaseException):
    """What nothing catches, in place of SIGKILL."""


@pytest.fixture
def kill_after(monkeypatch):
    """Return a function that lets a prediction end after so many chunks."""
    write = PredictionChunks.write

    def arrange(num_chunks):
        left = iter(range(num_chunks))

        def write_some(chunks, number, batches):
            if next(left, None) is None:
                raise Killed
            write(chunks, number, batches)

        monkeypatch.setattr(PredictionChunks, "write", write_some)

    yield arrange
    monkeypatch.setattr(PredictionChunks, "write", write)


def written(monkeypatch):
    """Return a list that will hold the numbers of the chunks that are written."""
    numbers, write = [], PredictionChunks.write

    def note(chunks, number, batches):
        numbers.append(number)
        write(chunks, number, batches)

    monkeypatch.setattr(PredictionChunks, "write", note)
    return numbers


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("world_size", [2, 5])
def test_ranks_write_the_file_of_one_process(predict, suffix, world_size):
    alone = predict(f"alone.{suffix}")
    for rank in reversed(range(world_size)):
        found = predict(f"ranks.{suffix}", Launch("srun", rank, world_size))
    assert found == alone


def test_a_rank_predicts_its_share_alone(predict, monkeypatch):
    numbers = written(monkeypatch)
    predict("a.csv", Launch("srun", 1, 3))
    assert numbers == [1, 4, 7, 10]


def test_each_image_has_one_row_in_order(predict, images):
    predict("a.csv")
    for rank in (1, 0):
        table = predict("b.csv", Launch("srun", rank, 2)).decode()
    paths = [row["path"] for row in csv.DictReader(table.splitlines())]
    assert paths == sorted(map(str, images.rglob("*.png")))


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_killed_prediction_goes_on_and_writes_the_same_file(
    predict, kill_after, monkeypatch, suffix
):
    whole = predict(f"whole.{suffix}")
    kill_after(5)
    with pytest.raises(Killed):
        predict(f"killed.{suffix}")
    monkeypatch.undo()
    numbers = written(monkeypatch)
    assert predict(f"killed.{suffix}") == whole
    assert numbers == list(range(5, 12))


def test_a_killed_prediction_goes_on_with_another_number_of_ranks(predict, kill_after, monkeypatch):
    whole = predict("whole.csv")
    kill_after(5)
    with pytest.raises(Killed):
        predict("killed.csv")
    monkeypatch.undo()
    numbers = written(monkeypatch)
    for rank in (2, 1, 0):
        found = predict("killed.csv", Launch("srun", rank, 3))
    assert found == whole
    assert sorted(numbers) == list(range(5, 12))


def test_chunks_of_other_options_are_not_used(predict, kill_after, monkeypatch):
    kill_after(5)
    with pytest.raises(Killed):
        predict("a.csv")
    monkeypatch.undo()
    assert predict("a.csv", batch_size=4) == predict("b.csv", batch_size=4)
    numbers = written(monkeypatch)
    predict("a.csv")
    assert numbers == list(range(12))


def test_chunks_of_other_weights_are_not_used(predict, task, kill_after, monkeypatch):
    kill_after(5)
    with pytest.raises(Killed):
        predict("a.csv")
    monkeypatch.undo()
    other = ImageTask.rebuilt(task.task_config, task.state_dict())
    torch.nn.init.constant_(other.head.output.bias, 1.0)
    numbers = written(monkeypatch)
    predict("a.csv", weights=other)
    assert numbers == list(range(12))


def test_chunks_of_an_image_that_was_replaced_are_not_used(
    predict, images, kill_after, monkeypatch, tmp_path
):
    folder = tmp_path / "new"
    folder.mkdir()
    for path in (images / "red").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    kill_after(2)
    with pytest.raises(Killed):
        predict("a.csv", root=folder)
    monkeypatch.undo()
    (folder / "00.png").write_bytes((images / "blue" / "00.png").read_bytes())
    numbers = written(monkeypatch)
    predict("a.csv", root=folder)
    assert numbers == list(range(6))


def test_nothing_but_the_file_is_left(predict, tmp_path):
    for rank in (1, 0):
        predict("a.csv", Launch("srun", rank, 2))
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_chunks_that_cannot_be_written_are_named(predict, tmp_path):
    (tmp_path / "a.csv.chunks").touch()
    with pytest.raises(OSError, match=r"Cannot write finished .*a\.csv\.chunks': Not a directory"):
        predict("a.csv")


def test_a_folder_in_the_place_of_the_output_is_refused_before_the_work(
    predict, tmp_path, monkeypatch
):
    (tmp_path / "a.csv").mkdir()
    numbers = written(monkeypatch)
    with pytest.raises(IsADirectoryError, match=r"a\.csv' is a folder. Name a file for --output"):
        predict("a.csv")
    assert not numbers


def test_a_limit_of_batches_counts_all_ranks(predict):
    alone = predict("alone.csv", limit=0.25)  # Of 12 batches.
    for rank in (1, 0):
        found = predict("ranks.csv", Launch("srun", rank, 2), limit=0.25)
    assert found == alone
    assert len(found.splitlines()) == 7


def test_top_k_gives_columns_of_the_most_probable_classes(predict, tmp_path):
    predict("a.parquet", top_k=2)
    predict("b.parquet")
    row, all_classes = (pq.read_table(tmp_path / f"{n}.parquet").to_pylist()[0] for n in "ab")
    ranked = sorted(("blue", "green", "red"), key=lambda name: -all_classes[f"probability:{name}"])
    assert list(row)[3:] == ["top1", "probability1", "top2", "probability2"]
    assert [row["top1"], row["top2"]] == ranked[:2]
    assert row["probability2"] == all_classes[f"probability:{ranked[1]}"]


def test_a_long_prediction_says_how_far_it_is(predict, monkeypatch, caplog):
    monkeypatch.setattr(prediction_job, "SAY_EVERY", 0.0)
    with caplog.at_level("INFO", logger="tltool"):
        predict("a.csv")
    assert "Predicted 12 of 24 images, about 0 minutes left." in caplog.text
