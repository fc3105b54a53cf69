"""A run whose W&B process is ended by a signal goes on without it, whenever that happens."""

import time
from types import SimpleNamespace

import pytest
import wandb
from wandb.sdk import wandb_setup
from wandb.sdk.lib.service import service_process
from wandb.sdk.mailbox.mailbox_handle import ServerResponseError

from tltool.__main__ import main
from tltool.cli import fit as fit_command
from tltool.reporting.wandb.logger import wandb_logger
from tltool.reporting.wandb.lost_service import _warn
from tltool.reporting.wandb.run_identity import RunIdentity, find_identity, keep_identity
from tltool.reporting.wandb.run_logger import finish
from tltool.training.distributed.run_status import read_status

SMALL = [
    *("--model.backbone.name", "test_resnet", "--model.backbone.weights", "random"),
    *("--model.backbone.img_size", "32", "--data.batch_size", "8", "--data.num_workers", "0"),
    *("--trainer.max_epochs", "1", "--wandb.project", "test", "--wandb.offline", "true"),
]


@pytest.fixture(autouse=True)
def service():
    """A process of W&B of this test's own."""
    wandb.teardown()
    _warn.cache_clear()
    yield
    wandb.teardown()


@pytest.fixture
def dying(monkeypatch, tmp_path):
    """Let W&B's process die of a signal as soon as it starts."""
    core = tmp_path / "wandb-core"
    core.write_text("#!/bin/sh\nkill -TERM $$\n")
    core.chmod(0o755)
    monkeypatch.setattr(service_process, "get_core_path", lambda: str(core))


@pytest.fixture
def fit(images, tmp_path, capfd):
    def run():
        words = ["fit", "--data.root", str(images), "--run_dir", str(tmp_path / "run"), *SMALL]
        assert main(words) == 0
        return read_status(tmp_path / "run").state, capfd.readouterr().err

    return run


@pytest.mark.slow
def test_a_run_is_trained_whose_process_of_wandb_dies_while_it_starts(fit, dying):
    state, errors = fit()
    assert (state, errors.count("W&B's own process is gone")) == ("finished", 1)


@pytest.mark.slow
def test_a_run_ends_well_whose_process_of_wandb_dies_behind_training(fit, monkeypatch):
    calibrate = fit_command.calibrate_fit

    def kill_first(*args):
        connection = wandb_setup.singleton()._connection
        connection._proc._process.kill()
        while not connection._client._mailbox._closed:
            time.sleep(0.01)
        return calibrate(*args)

    monkeypatch.setattr(fit_command, "calibrate_fit", kill_first)
    state, errors = fit()
    assert (state, errors.count("W&B's own process is gone")) == ("finished", 1)
    assert wandb.run is None  # The next run of this process begins its own.


def test_a_count_of_steps_outlives_the_process_of_wandb(dying, tmp_path):
    keep_identity(tmp_path, RunIdentity("kept", step=5))
    logger = wandb_logger(tmp_path, project="test", offline=True)
    logger.log_metrics({"loss": 1.0}, 0)
    logger.keep_step()
    assert find_identity(tmp_path) == RunIdentity("kept", step=5)
    finish(SimpleNamespace(loggers=[logger]))
    assert wandb.run is None


def test_the_end_of_a_run_that_never_began_begins_none(monkeypatch, tmp_path):
    monkeypatch.setattr(wandb, "init", None)
    logger = wandb_logger(tmp_path, project="test", offline=True)
    finish(SimpleNamespace(loggers=[logger]))
    assert not list(tmp_path.glob("wandb"))


def test_a_run_whose_server_does_not_answer_is_kept_offline(monkeypatch, tmp_path, caplog):
    for name, value in (("BASE_URL", "http://127.0.0.1:9"), ("API_KEY", "a" * 40)):
        monkeypatch.setenv(f"WANDB_{name}", value)
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "2")
    logger = wandb_logger(tmp_path, project="test", offline=False)
    logger.log_metrics({"loss": 1.0}, 0)
    finish(SimpleNamespace(loggers=[logger]))
    assert "the server did not take the run" in caplog.text
    assert "cannot be kept" not in caplog.text
    assert (logger.mode, len(list(tmp_path.glob("wandb/offline-run-*")))) == ("offline", 1)


def test_a_run_that_wandb_refuses_offline_too_keeps_nothing(monkeypatch, tmp_path, caplog):
    begin = wandb.init

    def refuse(**options):
        if options["mode"] != "disabled":
            raise ServerResponseError("run ID is in use")
        return begin(**options)

    monkeypatch.setattr(wandb, "init", refuse)
    logger = wandb_logger(tmp_path, project="test", offline=True)
    logger.log_metrics({"loss": 1.0}, 0)
    assert "the run cannot be kept: run ID is in use" in caplog.text
    finish(SimpleNamespace(loggers=[logger]))
    assert wandb.run is None  # The next run of this process begins its own.
