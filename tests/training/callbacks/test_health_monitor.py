"""The health of a run."""

import csv

import pytest

import tltool.__main__
from tltool.__main__ import main
from tltool._csv_rows import read_rows
from tltool.diagnostics.health.alarm_table import AlarmTable
from tltool.diagnostics.health.alarms import Alarm
from tltool.diagnostics.health.health_table import HealthTable
from tltool.diagnostics.health.health_watch import LayerHealth
from tltool.diagnostics.health.unit_window import is_sampled

DIGITS = [
    *("--data", "DigitsDataModule", "--data.preprocessing", "none", "--data.num_workers", "0"),
    *("--model.backbone.name", "pixels"),
    *("--model.backbone.img_size", "8", "--model.backbone.in_chans", "1"),
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def fit(tmp_path, monkeypatch, capsys, cache):
    """Run a fit; return the rows of its table, and what it warned of."""
    monkeypatch.setenv("TLTOOL_CACHE", cache)

    def run(*args):
        assert main(["fit", *DIGITS, "--runs_dir", str(tmp_path), *args]) == 0
        folder = max((tmp_path / "digits").iterdir(), key=lambda path: int(path.name))
        path = folder / "health.csv"
        errors = capsys.readouterr().err.splitlines()
        warned = [line for line in errors if line.startswith("Health")]
        return read_rows(path) if path.is_file() else None, warned

    return run


ONE_EPOCH = ["--trainer.max_epochs", "1"]
HIDDEN = ["--model.head.hidden_features", "[16]"]


@pytest.mark.parametrize(
    ("args", "cause"),
    [
        ([*HIDDEN, "--model.head.bias=-20"], "dead"),
        (
            [
                *(*HIDDEN, "--model.head.activation", "sigmoid"),
                *("--model.head.initializer", "{name: normal, std: 10}"),
            ],
            "saturated",
        ),
        ([*HIDDEN, "--optimizer.lr", "0.1"], "changed its weights"),
        ([*HIDDEN, "--model.head.initializer", "zeros"], "same outputs"),
        (
            [
                *("--model.head.hidden_features", "[]", "--optimizer", "SGD"),
                *("--optimizer.lr", "0.8", "--trainer.max_epochs", "4"),
                *("--model.closed_form_start", "false"),
            ],
            "turn back",
        ),
        (
            [
                *("--model.head.hidden_features", "[64]"),
                *("--model.head.norm", "{name: batch, momentum: 0.001}"),
                *("--trainer.limit_train_batches", "5"),
            ],
            "running statistics",
        ),
    ],
)
def test_a_network_made_sick_raises_its_alarm(fit, args, cause):
    epochs = [] if "--trainer.max_epochs" in args else ONE_EPOCH
    _, warned = fit(*args, *epochs)
    assert any(cause in message for message in warned)


def test_a_healthy_head_raises_none_and_has_a_row_a_layer_and_epoch(fit):
    rows, warned = fit(*HIDDEN, "--trainer.max_epochs", "2")
    assert warned == []
    assert [(row["epoch"], row["layer"]) for row in rows] == [
        *(("0", "head.hidden.0"), ("0", "head.output")),
        *(("1", "head.hidden.0"), ("1", "head.output")),
    ]
    assert [row["dead_is_exact"] for row in rows if row["activation"]] == ["1", "1"]


def test_a_cause_is_told_once(fit):
    _, warned = fit(*HIDDEN, "--model.head.bias=-20", "--trainer.max_epochs", "3")
    assert sum("dead" in message for message in warned) == 1


def test_an_alarm_is_kept_in_the_run_with_its_remedy(fit, tmp_path):
    fit(*HIDDEN, "--model.head.bias=-20", "--trainer.max_epochs", "2")
    (row,) = [row for row in read_rows(tmp_path / "digits/0/alarms.csv") if "dead" in row["cause"]]
    assert (row["epoch"], row["layer"]) == ("0", "head.hidden.0")
    assert "use leaky_relu" in row["message"]


def test_a_healthy_run_has_no_table_of_alarms(fit, tmp_path):
    fit(*HIDDEN, *ONE_EPOCH)
    assert not (tmp_path / "digits/0/alarms.csv").exists()


PHASES = """[
  {name: first, trains: [head], epochs: 1},
  {name: second, trains: [head], epochs: 1, lr_scale: 3000},
]"""


def test_a_phase_that_begins_by_losing_in_training_raises_an_alarm(fit, tmp_path):
    phases = ["--finetuning", "ChosenGroups", "--finetuning.phases", PHASES]
    fit(*phases, "--trainer.max_epochs", "2", "--trainer.limit_val_batches", "0")
    alarms = read_rows(tmp_path / "digits/0/alarms.csv")
    [alarm] = [alarm for alarm in alarms if alarm["cause"] == "lost accuracy"]
    assert (alarm["layer"], alarm["epoch"]) == ("phase second", "1")
    assert "train/accuracy fell from 0.9" in alarm["message"]


def test_alarms_that_a_resumed_run_raises_again_are_dropped(tmp_path):
    table = AlarmTable(tmp_path)
    for step in (3, 7):
        table.add(step, 0, [Alarm("saturation", "head", "its units are saturated.")])
    table.drop_from(7)
    assert [row["step"] for row in read_rows(tmp_path / "alarms.csv")] == ["3"]


def test_it_can_be_turned_off(fit):
    rows, _ = fit(*ONE_EPOCH, "--health.enabled", "false")
    assert rows is None


def test_a_resumed_run_goes_on_with_its_table(fit, tmp_path):
    fit(*HIDDEN, *ONE_EPOCH)
    checkpoint = tmp_path / "digits/0/checkpoints/last.ckpt"
    rows, _ = fit(*HIDDEN, "--trainer.max_epochs", "2", "--ckpt_path", str(checkpoint))
    assert [row["epoch"] for row in rows] == ["0", "0", "1", "1"]


def test_the_worst_layer_is_logged(fit, tmp_path):
    fit(*HIDDEN, *ONE_EPOCH)
    rows = csv.DictReader((tmp_path / "digits/0/metrics.csv").read_text().splitlines())
    logged = [row for row in rows if row["health/dead_units_max"]]
    assert len(logged) == 1
    assert float(logged[0]["health/update_to_weight_max"]) > 0


def test_rows_that_will_be_written_again_are_dropped(tmp_path):
    table = HealthTable(tmp_path)
    for step in (3, 7):
        table.add(step, 0, [LayerHealth("head", update=0.1)], [])
    table.drop_from(7)
    assert [row["step"] for row in read_rows(table.path)] == ["3"]


def test_a_row_that_a_kill_cut_short_is_left_out(tmp_path):
    table = HealthTable(tmp_path)
    table.add(3, 0, [LayerHealth("head", update=0.1)], [])
    with table.path.open("a") as file:
        file.write("5,0,he")
    assert [row["step"] for row in read_rows(table.path)] == ["3"]


def test_steps_are_looked_at_more_and_more_rarely():
    assert [step for step in range(120) if is_sampled(step, 20)] == [
        *(0, 1, 2, 4, 8, 16),
        *range(20, 120, 20),
    ]


@pytest.mark.slow
def test_two_ranks_write_one_table_of_the_rows_of_both(run_two_ranks, tmp_path, monkeypatch, cache):
    monkeypatch.setenv("TLTOOL_CACHE", cache)
    devices = ["--trainer.accelerator", "cpu", "--trainer.devices", "2"]
    devices += ["--trainer.strategy", "ddp", "--runs_dir", str(tmp_path)]
    run_two_ranks(tltool.__main__.__file__, "fit", *DIGITS, *HIDDEN, *ONE_EPOCH, *devices)
    rows = read_rows(tmp_path / "digits/0/health.csv")
    assert [row["layer"] for row in rows] == ["head.hidden.0", "head.output"]
    # Steps 0, 1, 2, 4, 8, 16 and 32 of 32 images, over both ranks.
    assert rows[0]["rows"] == str(7 * 32)
    assert rows[0]["dead_is_exact"] == "1"
