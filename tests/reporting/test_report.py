"""`tltool report` on real runs: whole, cut short, and several."""

import html
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser

import pytest
import torch
import yaml

from tltool.__main__ import main
from tltool.cli.report_measure import measure_run
from tltool.evaluation.baselines import PROBE
from tltool.inference import split_measurement
from tltool.inference.split_features import split_features
from tltool.models.backbone import Backbone


class Reader(HTMLParser):
    """Collects what a page refers to, and its tags."""

    def __init__(self, page):
        super().__init__()
        self.references, self.tags = [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.references += [v for name, v in attributes if name in {"src", "href", "srcset"}]


def report(*args, status=0):
    assert main(["report", *map(str, args)]) == status


@pytest.fixture(scope="module")
def page(finished):
    report(finished)
    return (finished / "report.html").read_text()


def commands(page):
    lines = re.findall("<pre>(.*?)</pre>", page)
    return [html.unescape(line).split()[1:] for line in lines]


def answer(page):
    return page[page.index('class="answer"') : page.index("</div>")]


def test_a_page_needs_nothing_but_itself(page):
    reader = Reader(page)
    assert len(reader.references) > 5
    assert all(reference.startswith("data:image/") for reference in reader.references)
    assert not {"script", "link", "iframe"} & set(reader.tags)


def test_the_first_screen_says_whether_it_worked_how_sure_that_is_and_what_to_type(page):
    first = answer(page)
    assert "closed-form probe" in first
    assert first.count("95 % interval") == 3
    assert "<pre>tltool " in first


def test_the_terminal_ends_with_the_answer_and_the_command_of_the_page(finished, capsys):
    report(finished)
    verdict, advice, step = capsys.readouterr().out.splitlines()[-3:]
    page = html.unescape((finished / "report.html").read_text())
    assert verdict.startswith("verdict ")
    assert verdict.removeprefix("verdict").strip() in page
    assert advice.removeprefix("advice").strip() in page
    assert f"<pre>{step.removeprefix('next').strip()}</pre>" in page


def test_the_command_that_comes_next_can_be_typed(page, odd_images, tmp_path):
    first = [str(odd_images) if word == "DIRECTORY" else word for word in commands(page)[0]]
    output = ["--output", str(tmp_path / "table.csv")] if first[0] == "predict" else []
    assert main([*first, *output]) == 0


def test_a_page_maps_the_features_of_the_images_that_measure(page):
    assert "<h2>Map of the features</h2>" in page
    assert "A point for each image (4 val)" in page


def test_names_of_classes_are_escaped(page):
    assert "&lt;b&gt;blue" in page
    assert "<b>blue" not in page


def test_the_phases_are_listed_with_their_epochs_and_rates(page):
    rows = re.findall('<td data-label="phase">(.*?)</td><td data-label="epochs">(.*?)</td>', page)
    assert rows == [("1 probe", "0 to 1"), ("2 full", "1 to 2")]
    rates = re.findall('<td data-label="highest learning rate">(.*?)</td>', page)
    assert rates == ["0.001", "0.0003 to 0.001"]


def test_an_alarm_is_on_the_page_with_its_remedy(page):
    assert "dead units" in answer(page)
    assert "use leaky_relu" in page


def test_every_wrong_image_of_a_few_is_on_the_page(page):
    mistakes = page.partition("Most frequent mistakes")[2].partition("</section>")[0]
    wrong = [int(row[0]) for row in re.findall(r">(\d+)</td><td[^>]*>(\d+)</td></tr>", mistakes)]
    assert page.count("data:image/jpeg") == sum(wrong) > 0


def test_images_can_be_left_out_of_all_that_is_written(copy):
    (copy / "predictions.png").unlink(missing_ok=True)  # Of an earlier report.
    report("--no_images", copy)
    page = (copy / "report.html").read_text()
    assert "data:image/jpeg" not in page
    assert "Worst mistakes" in page
    assert not (copy / "predictions.png").exists()


def test_a_run_killed_in_its_first_epoch_is_measured_by_its_last_checkpoint(copy, capsys):
    (copy / "checkpoints/best.ckpt").unlink()
    (copy / "health.csv").unlink()
    (copy / "metrics.csv").write_text("")
    report(copy)
    page = (copy / "report.html").read_text()
    assert "stopped after 0 of 2 epochs" in page
    assert "no best checkpoint" in page
    assert "no epoch was finished" in page
    assert "no health.csv" in page
    assert f"--ckpt_path {copy}/checkpoints/last.ckpt" in capsys.readouterr().out


def test_a_damaged_last_checkpoint_does_not_keep_the_best_one_from_being_measured(copy):
    (copy / "checkpoints/last.ckpt").write_bytes(b"PK")
    found = measure_run(copy, with_probe=False)
    assert found.evaluation is not None
    assert re.search("last.ckpt' is damaged.* best.ckpt", " ".join(found.missing))


@pytest.mark.slow
def test_a_run_that_stopped_later_goes_on_by_the_command_on_the_page(fit):
    run = fit(name="later")
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["trainer"]["max_epochs"] = 4
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    report(run)
    page = (run / "report.html").read_text()
    assert "stopped after 2 of 4 epochs" in page
    assert main(commands(page)[0]) == 0
    report(run)
    assert "stopped after" not in (run / "report.html").read_text()


def test_a_run_without_any_checkpoint_says_so(copy):
    shutil.rmtree(copy / "checkpoints")
    report(copy)
    page = (copy / "report.html").read_text()
    assert "There is no checkpoint" in answer(page)
    assert commands(page) == [["fit", "--config", f"{copy}/config.yaml"]]


def test_overlays_of_a_run_without_any_checkpoint_are_refused(copy, capsys):
    shutil.rmtree(copy / "checkpoints")
    report(copy, "--overlays", "2", status=1)
    assert "--overlays are of a trained network" in capsys.readouterr().err


def test_a_run_whose_images_are_gone_keeps_its_curves(copy, odd_images, capsys):
    text = (copy / "config.yaml").read_text()
    (copy / "config.yaml").write_text(text.replace(str(odd_images), "gone"))
    report(copy)
    page = (copy / "report.html").read_text()
    assert "There is no folder 'gone'" in html.unescape(answer(page))
    assert "The best validation accuracy was in epoch" in page
    assert "full" in page
    assert "missing" in capsys.readouterr().out


def test_what_is_no_run_is_refused(tmp_path, capsys):
    report(tmp_path, status=1)
    assert "has no config.yaml" in capsys.readouterr().err


def test_a_configuration_that_a_kill_cut_short_is_refused(copy, capsys):
    (copy / "config.yaml").write_text("seed_everything: 0\ntrainer:\n")
    report(copy, status=1)
    assert "not the whole configuration" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("output", "message"),
    [("page.pdf", "Write --output report.html"), ("no/page.html", "Create it first")],
)
def test_a_place_where_no_page_can_be_is_refused(finished, tmp_path, capsys, output, message):
    report(finished, "--output", tmp_path / output, status=1)
    assert message in capsys.readouterr().err


def test_of_two_runs_only_what_differs_is_shown_and_their_difference(finished, fit, tmp_path):
    other = fit("--optimizer.lr", "0.01", name="other")
    output = tmp_path / "two.html"
    report(finished, other, "--output", output)
    page = output.read_text()
    options = re.findall('<td data-label="option">(.*?)</td>', page)
    assert "optimizer.lr" in options
    assert "trainer.max_epochs" not in options
    assert "name" not in options
    assert "B minus A" in page
    assert "no ranking" not in page
    assert "<h2>Images on which A and B disagree</h2>" in page


def test_runs_on_different_images_are_not_ranked(finished, fit, capsys):
    other = fit("--data.seed", "1", name="split")
    report(finished, other)
    page = (other.parent.parent / "report.html").read_text()  # Beside both.
    assert "no ranking over all of them" in answer(page)
    assert " minus " not in page
    assert "set 1" in capsys.readouterr().out


@pytest.mark.slow
def test_a_run_that_is_really_killed_is_reported(odd_images, tmp_path):
    args = ["fit", "--data.root", str(odd_images), "--name", "run", "--runs_dir", str(tmp_path)]
    args += ["--model.backbone.name", "test_resnet", "--model.backbone.weights", "random"]
    args += ["--model.backbone.img_size", "32", "--data.batch_size", "4"]
    args += ["--data.num_workers", "0", "--trainer.max_epochs", "9999"]
    process = subprocess.Popen([sys.executable, "-m", "tltool", *args], stdout=subprocess.DEVNULL)
    run = tmp_path / "run" / "0"
    end = time.monotonic() + 120
    while not (run / "checkpoints/last.ckpt").is_file() and time.monotonic() < end:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(timeout=60)
    report(run)
    assert "of 9999 epochs" in answer((run / "report.html").read_text())


def test_images_that_moved_between_the_splits_since_the_training_are_told(
    copy, odd_images, tmp_path, capsys
):
    more = shutil.copytree(odd_images, tmp_path / "more")
    for path in [*more.glob("*/*.png")]:
        shutil.copy(path, path.with_name(f"a{path.name}"))  # Other images train and validate now.
    config = yaml.safe_load((copy / "config.yaml").read_text())
    config["data"]["init_args"]["root"] = str(more)
    (copy / "config.yaml").write_text(yaml.safe_dump(config))
    report(copy)
    told = "The images are not those of the run any more, 20 train, 4 val -> "
    out = capsys.readouterr().out
    assert told in out
    assert "of them trained on before" in out


def test_the_probe_reads_the_random_weights_that_the_run_began_with(copy, monkeypatch):
    seen = []

    def read(backbone, *args, **options):
        seen.append(backbone)
        return split_features(backbone, *args, **options)

    monkeypatch.setattr(split_measurement, "split_features", read)
    measure_run(copy)
    torch.manual_seed(0)  # That of the run.
    start = Backbone("test_resnet", weights="random", img_size=32).state_dict()
    found = seen[0].state_dict()
    assert all(torch.equal(found[name], value) for name, value in start.items())


def test_what_is_no_run_is_not_the_latest_one(copy, capsys):
    folder = copy.parent
    (folder / "9").write_text("a note")
    (folder / "20260101").mkdir()
    report(folder)
    out = capsys.readouterr().out
    assert f"skipped      {folder}/20260101 is no run" in out
    assert f"page         {copy}/report.html" in out


def test_the_metric_that_chose_the_checkpoint_is_named(copy):
    config = yaml.safe_load((copy / "config.yaml").read_text())
    config |= {"monitor": "val/calibration_error", "ending": {"choose": "best"}}
    (copy / "config.yaml").write_text(yaml.safe_dump(config))
    found = measure_run(copy, with_probe=False)
    assert found.measured == "The checkpoint with the best validation calibration error."


@pytest.fixture(scope="module")
def loaded(fit, tmp_path_factory):
    """Return a run that began with the weights in a file, and the file."""
    torch.manual_seed(1)
    weights = tmp_path_factory.mktemp("weights") / "weights.pth"
    torch.save(Backbone("test_resnet", weights="random").model.state_dict(), weights)
    options = ("--model.backbone.weights", str(weights), "--finetuning", "LinearProbe")
    return fit(*options, name="loaded", epochs=1), weights


@pytest.fixture
def weights(loaded):
    """Return the weights file of a run, which is there again afterwards."""
    content = loaded[1].read_bytes()
    yield loaded[1]
    loaded[1].write_bytes(content)


def test_a_run_whose_weights_file_is_gone_is_measured_without_the_probe(loaded, weights, capsys):
    weights.unlink()
    report(loaded[0])
    out = capsys.readouterr().out
    assert f"missing      No closed-form probe: There is no weights file '{weights}'" in out
    assert "accuracy on 4 val images" in out


def test_other_weights_in_the_file_of_a_run_are_not_taken_for_those_it_began_with(
    loaded, weights, capsys
):
    torch.save(Backbone("test_resnet", weights="random").model.state_dict(), weights)
    report(loaded[0])
    out = capsys.readouterr().out
    why = f"the weights '{weights}' are not those that the run began with"
    assert f"missing      No closed-form probe: {why}" in out
    assert "accuracy on 4 val images" in out


def test_the_probe_of_a_run_is_measured_with_the_weights_that_it_began_with(loaded):
    assert PROBE in measure_run(loaded[0]).evaluation.baselines


def test_overlays_of_a_network_whose_places_are_not_known_are_refused(fit, capsys):
    run = fit("--model.backbone.name", "pixels", name="pixels", epochs=1)
    report(run, "--overlays", "2", status=1)
    assert "Where pixels looks cannot be shown" in capsys.readouterr().err
    assert not (run / "report.html").exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["runs/other", "--overlays", "2"], "--overlays is of one run, and 2 are given"),
        (["--overlays", "2", "--no_images"], "shows images, and --no_images leaves them out"),
        (["--overlays", "-1"], "--overlays is a number of images, and not -1"),
    ],
)
def test_overlays_that_the_page_would_not_show_are_refused(finished, capsys, args, message):
    report(finished, *args, status=1)
    assert message in capsys.readouterr().err
