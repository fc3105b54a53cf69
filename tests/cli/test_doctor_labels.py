"""`tltool doctor --labels`: wrong labels in a table and on a page, and what was decided of them."""

import csv
import os
import re
from unittest.mock import Mock

import pytest

from tests.conftest import write_images
from tltool.data.datamodules.manifest import ManifestDataModule

SMALL = [
    *("--model.backbone.name", "test_resnet", "--model.backbone.weights", "random"),
    *("--model.backbone.img_size", "32", "--data.batch_size", "8", "--data.num_workers", "0"),
    *("--trainer.accelerator", "cpu", "--finetuning", "LinearProbe"),
]


@pytest.fixture
def mislabeled(tmp_path):
    """Write 40 blue and 40 red images, of which one blue one lies among the red ones."""
    folder = write_images(tmp_path / "images", per_class=40)
    (folder / "blue" / "07.png").rename(folder / "red" / "stray.png")
    return folder


@pytest.fixture
def doctor(run_tltool, mislabeled):
    return lambda *words: run_tltool("doctor", "--data.root", mislabeled, *SMALL, *words)


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def decide(path, decision):
    """Fill in the first decision of a table."""
    rows = rows_of(path)
    rows[0]["decision"] = decision
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_a_wrong_label_is_listed_with_its_class_and_shown(doctor, tmp_path):
    status, out, _ = doctor("--labels", "suspects.csv")
    assert (status, "1 of 80 are contradicted" in out) == (0, True)
    (row,) = rows_of(tmp_path / "suspects.csv")
    assert row["path"].endswith("stray.png")
    assert (row["label"], row["suggested"], row["decision"]) == ("red", "blue", "")
    page = (tmp_path / "suspects.html").read_text()
    assert "stray.png" in page
    assert "data:image/jpeg" in page


def test_a_second_start_passes_no_image_through_the_network(doctor, monkeypatch):
    with monkeypatch.context() as patch:
        killed = Mock(side_effect=SystemExit(137))
        patch.setattr("tltool.cli.doctor_labels.find_label_errors", killed)
        assert doctor("--labels", "suspects.csv")[0] != 0
    monkeypatch.setattr("tltool.models.backbone.Backbone.forward", None)
    assert doctor("--labels", "suspects.csv")[0] == 0


@pytest.mark.parametrize(
    ("decision", "labels"),
    [("suggested", ["blue"]), ("blue", ["blue"]), ("keep", ["red"]), ("", ["red"]), ("drop", [])],
)
def test_the_manifest_says_what_was_decided(doctor, tmp_path, decision, labels):
    doctor("--labels", "suspects.csv")
    decide(tmp_path / "suspects.csv", decision)
    status, _, _ = doctor("--labels", "suspects.csv", "--apply", "corrected.csv")
    rows = rows_of(tmp_path / "corrected.csv")
    assert status == 0
    assert [row["label"] for row in rows if row["path"].endswith("stray.png")] == labels
    assert len(rows) == 79 + len(labels)


def test_undecided_images_drop_out_where_that_is_asked(doctor, tmp_path):
    doctor("--labels", "suspects.csv")
    doctor("--labels", "suspects.csv", "--apply", "corrected.csv", "--undecided", "drop")
    assert len(rows_of(tmp_path / "corrected.csv")) == 79


def test_the_datamodule_reads_the_manifest_with_the_splits_as_they_were(doctor, tmp_path):
    doctor("--labels", "suspects.csv")
    decide(tmp_path / "suspects.csv", "suggested")
    doctor("--labels", "suspects.csv", "--apply", "corrected.csv")
    data = ManifestDataModule(tmp_path / "corrected.csv")
    counts = {name: len(samples) for name, samples in data.splits.by_name().items()}
    assert counts == {"train": 64, "val": 16}
    assert data.known_labels()[str(tmp_path / "images" / "red" / "stray.png")] == "blue"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--apply", "corrected.csv"], "--labels suspects.csv --apply"),
        (["--labels", "suspects.txt"], "must end in .csv"),
        (["--labels", "no.csv", "--apply", "corrected.csv"], "no manifest 'no.csv'"),
        (["--labels", "other.csv", "--apply", "corrected.csv"], "no column 'suggested'"),
        (["--labels", "odd.csv", "--apply", "corrected.csv"], "Unknown decision 'bleu'.*'blue'"),
        (["--labels", "gone.csv", "--apply", "corrected.csv"], "'gone.png' is no image of"),
    ],
)
def test_what_cannot_be_is_one_line(doctor, tmp_path, words, message):
    header = "path,label,suggested,decision\n"
    (tmp_path / "other.csv").write_text("path,label\na.png,red\n")
    (tmp_path / "odd.csv").write_text(f"{header}a.png,red,blue,bleu\n")
    (tmp_path / "gone.csv").write_text(f"{header}gone.png,red,blue,drop\n")
    status, _, errors = doctor(*words)
    assert status != 0
    (line,) = [line for line in errors.splitlines() if "rror" in line]
    assert re.search(message, line)


def test_a_class_called_keep_is_not_what_an_empty_cell_says(run_tltool, tmp_path):
    folder = write_images(tmp_path / "images", per_class=40)
    (folder / "blue").rename(folder / "keep")
    (folder / "keep" / "07.png").rename(folder / "red" / "stray.png")
    words = ("doctor", "--data.root", folder, *SMALL, "--labels", "suspects.csv")
    assert run_tltool(*words)[0] == 0
    status, out, _ = run_tltool(*words, "--apply", "corrected.csv")
    assert (status, "80 images, 0 with another label" in out) == (0, True)
    decide(tmp_path / "suspects.csv", "keep")
    status, _, err = run_tltool(*words, "--apply", "two.csv")
    assert (status, "Write class:keep for the class" in err) == (1, True)
    decide(tmp_path / "suspects.csv", "class:keep")
    assert "1 with another label" in run_tltool(*words, "--apply", "three.csv")[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--write_groups", "groups.csv"], "--write_groups is of the other checks"),
        (["--plot", "head.png"], "--plot is of the other checks"),
        (["--undecided", "drop"], "--undecided is about --apply"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(doctor, words, message):
    status, _, err = doctor("--labels", "suspects.csv", *words)
    assert (status, message in err) == (1, True)


def test_a_page_that_is_there_is_not_replaced(doctor, tmp_path):
    (tmp_path / "suspects.html").write_text("mine")
    status, _, err = doctor("--labels", "suspects.csv")
    assert (status, "suspects.html' exists" in err) == (1, True)
    assert (tmp_path / "suspects.html").read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "message"),
    [(os.fsdecode(b"K\xe4fer"), "no UTF-8"), ("nan", "would be read as 'an empty cell'")],
)
def test_a_name_that_a_table_cannot_hold_is_said_before_the_work(
    doctor, mislabeled, tmp_path, name, message
):
    (mislabeled / "blue").rename(mislabeled / name)
    status, _, err = doctor("--labels", "suspects.csv")
    assert (status, message in err) == (1, True)
    assert not (tmp_path / "suspects.csv").exists()
