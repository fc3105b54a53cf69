"""`tltool report` of the log directory of a plain Lightning Trainer."""

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader, TensorDataset

from tltool.__main__ import main
from tltool.reporting.lightning_log import read_lightning_log
from tltool.reporting.log_report import metric_table


class Foreign(LightningModule):
    """A module that knows nothing of tltool, and names its metrics as tutorials do."""

    def __init__(self, lr=0.1, width=4):
        super().__init__()
        self.save_hyperparameters()
        self.layer = torch.nn.Linear(width, 2)

    def training_step(self, batch, batch_idx):
        loss = torch.nn.functional.cross_entropy(self.layer(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        right = (self.layer(batch[0]).argmax(dim=1) == batch[1]).float().mean()
        self.log("val_acc", right)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.hparams.lr)


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    folder = tmp_path_factory.mktemp("logs")
    pairs = TensorDataset(torch.randn(16, 4), torch.arange(16) % 2)
    loader = DataLoader(pairs, batch_size=8)
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=3,
        logger=CSVLogger(folder, name="mine"),
        log_every_n_steps=1,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Foreign(), loader, loader)
    return folder / "mine" / "version_0"


def test_a_plain_log_is_shown_with_what_is_missing(log, capsys):
    assert main(["report", str(log)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "val_acc" in said
    assert "cannot predict: no checkpoint of tltool" in said
    assert "There is no config.yaml of tltool fit" in said
    assert "next tltool fit --data.root DIRECTORY" in said
    page = (log / "report.html").read_text()
    assert "<h2>Hyperparameters</h2>" in page
    assert "The acc over the epochs; at the end val " in page
    assert page.count("data:image/svg") >= 2


def test_a_folder_of_versions_shows_the_latest(log, capsys):
    (log.parent / "version_10").mkdir()
    (log.parent / "version_10" / "metrics.csv").write_text("epoch,step,val_acc\n0,3,0.5\n")
    assert main(["report", str(log.parent)]) == 0
    assert (log.parent / "version_10" / "report.html").is_file()
    assert "There is no hparams.yaml" in capsys.readouterr().out


def test_each_metric_has_the_last_value_of_each_epoch(log):
    found = read_lightning_log(log)
    assert [epoch for epoch, _ in found.metrics["val_acc"]] == [0, 1, 2]
    assert found.curves["loss"].keys() == {"train"}
    assert found.curves["loss"]["train"] == found.metrics["train_loss_epoch"]
    assert found.hparams == {"lr": 0.1, "width": 4}


def test_a_checkpoint_of_tltool_in_a_plain_log_can_be_measured(
    log, tmp_path, capsys, own_checkpoint
):
    (tmp_path / "metrics.csv").write_text("epoch,step,val/accuracy\n0,3,0.5\n1,7,0.75\n")
    (tmp_path / "best.ckpt").symlink_to(own_checkpoint)
    assert main(["report", str(tmp_path)]) == 0
    place = tmp_path / "best.ckpt"
    expected = f"next         tltool validate --ckpt_path {place} --data.root DIRECTORY"
    assert expected in capsys.readouterr().out


@pytest.fixture
def own_checkpoint(finished):
    return finished / "checkpoints" / "best.ckpt"


@pytest.mark.parametrize(
    ("files", "options", "said"),
    [
        ({"hparams.yaml": "lr: 1"}, [], "no metrics.csv with numbers"),
        ({"metrics.csv": "epoch,step\n"}, [], "no metrics.csv with numbers"),
        ({"metrics.csv": "epoch,a\n0,1\n"}, ["--wandb"], "but not with --wandb"),
    ],
)
def test_what_a_log_cannot_give_is_one_line(files, options, said, tmp_path, capsys):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert main(["report", str(tmp_path), *options]) == 1
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_hyperparameters_that_are_objects_are_not_made(tmp_path):
    (tmp_path / "metrics.csv").write_text("epoch,a\n0,1\n")
    (tmp_path / "hparams.yaml").write_text("x: !!python/object/apply:os.abort []\n")
    found = read_lightning_log(tmp_path)
    assert (found.hparams, "more than plain data" in found.missing[0]) == ({}, True)


def test_the_extremes_of_a_metric_leave_nan_out(tmp_path):
    rows = [(0, "nan"), (1, 0.5), (2, 0.7)]
    lines = ["epoch,step,val_loss", *(f"{epoch},{epoch},{value}" for epoch, value in rows)]
    (tmp_path / "metrics.csv").write_text("\n".join([*lines, ""]))
    (row,) = metric_table(read_lightning_log(tmp_path)).rows
    assert row[4:] == [0.5, 2, 0.7, 3]
