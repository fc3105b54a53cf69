"""Names that W&B does not allow are refused with what to type."""

import pytest

from tltool.reporting.wandb.account import check_names
from tltool.reporting.wandb.logger import wandb_logger, wandb_mode


@pytest.mark.parametrize("entity", [None, "team"])
def test_a_team_in_front_of_the_project_is_an_option_of_its_own(entity):
    with pytest.raises(ValueError, match=r"--wandb\.entity team --wandb\.project bees"):
        check_names("team/bees", entity)


@pytest.mark.parametrize("project", ["a/b/c", "/bees", "bees/", "50%", "a:b", "", "x" * 129])
def test_a_project_that_cannot_be_is_refused(project):
    with pytest.raises(ValueError, match=r"Set --wandb\.project to another name"):
        check_names(project)


def test_a_second_team_is_no_option():
    with pytest.raises(ValueError, match=r"Set --wandb\.project to another name"):
        check_names("team/bees", "others")


@pytest.mark.parametrize("project", ["bees", "my bees", "b-ees_2.0", "Bienen Grün"])
def test_usual_names_are_allowed(project):
    check_names(project, "team")


def test_a_disabled_mode_keeps_no_run(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert wandb_logger(tmp_path, project="bees") is None
    assert (list(tmp_path.iterdir()), "WANDB_MODE is disabled" in caplog.text) == ([], True)
    assert wandb_logger(tmp_path, project="bees", offline=True).mode == "offline"


def test_an_offline_mode_is_not_called_a_missing_account(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert wandb_mode(tmp_path, offline=None) == "offline"
    assert "W&B: WANDB_MODE is offline, the run is kept" in caplog.text
