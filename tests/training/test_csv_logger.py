"""The metrics of a run as a CSV file."""

import csv

import pytest

from tltool.training.csv_logger import CSVMetrics


@pytest.fixture
def metrics(tmp_path):
    return CSVMetrics(tmp_path)


def rows(metrics):
    with metrics.path.open(newline="") as file:
        return [{k: v for k, v in row.items() if v} for row in csv.DictReader(file)]


def test_what_is_logged_at_one_step_is_one_row(metrics):
    metrics.log_metrics({"val/loss": 0.5, "epoch": 0}, step=4)
    metrics.save()
    metrics.log_metrics({"train/loss": 0.25, "epoch": 0}, step=4)
    metrics.save()
    assert rows(metrics) == [{"epoch": "0", "step": "4", "val/loss": "0.5", "train/loss": "0.25"}]


def test_a_metric_that_comes_later_gets_a_column_in_all_rows(metrics):
    for step in range(3):
        metrics.log_metrics({"a": step}, step=step)
        metrics.save()
    metrics.log_metrics({"b, c": 7}, step=3)
    metrics.save()
    assert [row.get("a") for row in rows(metrics)] == ["0.0", "1.0", "2.0", None]
    assert rows(metrics)[3] == {"step": "3", "b, c": "7.0"}


def test_a_second_value_of_one_step_is_another_row(metrics):
    metrics.log_metrics({"a": 1}, step=2)
    metrics.log_metrics({"a": 2}, step=2)
    metrics.save()
    assert [row["a"] for row in rows(metrics)] == ["1.0", "2.0"]


def test_the_end_of_a_run_writes_what_nobody_saved(metrics):
    metrics.log_metrics({"a": 1}, step=2)
    metrics.finalize("failed")
    assert rows(metrics) == [{"step": "2", "a": "1.0"}]


def test_a_resumed_run_goes_on_before_what_it_will_write_again(metrics):
    for step in range(4):
        metrics.log_metrics({"a": step}, step=step)
    metrics.save()
    resumed = CSVMetrics(metrics.run_dir)
    resumed.log_metrics({"a": 9}, step=2)
    resumed.save()
    assert [row["a"] for row in rows(resumed)] == ["0.0", "1.0", "9.0"]
