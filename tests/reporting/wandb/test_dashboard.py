"""What `tltool report --wandb` sends, recorded by a server on this machine."""

import base64
import json
import shutil
import time

import pytest
import yaml

from tltool.__main__ import main
from tltool.evaluation.verdict import Mark
from tltool.reporting.figures.palette import SPLITS, series_style
from tltool.reporting.report import Report
from tltool.reporting.run_verdict import Verdict
from tltool.reporting.wandb.account import connect, has_account
from tltool.reporting.wandb.charts import MOST_CHARTS
from tltool.reporting.wandb.dashboard_sections import dashboard_sections
from tltool.reporting.wandb.logged_run import LoggedRun, find_logged_run
from tltool.reporting.wandb.run_identity import RunIdentity, keep_identity
from tltool.reporting.wandb.saved_report import write_report
from tltool.reporting.wandb.workspace import write_workspace

PHASES = ("--finetuning", "LPFT", "--finetuning.probe_epochs", "1", "--trainer.max_epochs", "2")
LOSSES = ["train/loss", "val/loss"]
SECTIONS = ["result", "schedule", "health", "classes", "system"]


ALARMING = ("--optimizer.lr", "0.3", "--model.closed_form_start", "false")


@pytest.fixture(scope="module")
def folder(fit_offline, images, tmp_path_factory):
    """A run with a group, kept offline."""
    runs = tmp_path_factory.mktemp("runs")
    options = (*ALARMING, "--wandb.group", "heads")
    fit_offline(runs, "--data.root", images, *PHASES, *options)
    return runs / "images" / "0"


@pytest.fixture(scope="module")
def other_seed(fit_offline, images, tmp_path_factory):
    """The same with another seed."""
    runs = tmp_path_factory.mktemp("more runs")
    options = (*ALARMING, "--wandb.group", "heads", "--seed_everything", "1")
    fit_offline(runs, "--data.root", images, *PHASES, *options)
    return runs / "images" / "0"


@pytest.fixture
def synced(server, folder, other_seed, offline_runs):
    """The server, with both runs."""
    for each in (folder, other_seed):
        server.add(offline_runs(each)[0])
    return server


@pytest.fixture(scope="module")
def written(start_recorder, folder, offline_runs):
    """What the server got when one run was reported."""
    with start_recorder() as recorder:
        recorder.add(offline_runs(folder)[0])
        report(folder)
        yield recorder


@pytest.fixture(scope="module")
def written_of_both(start_recorder, folder, other_seed, offline_runs):
    """What the server got when both runs were reported together."""
    with start_recorder() as recorder:
        for each in (folder, other_seed):
            recorder.add(offline_runs(each)[0])
        report(folder, other_seed)
        yield recorder


def report(*folders, status=0):
    assert main(["report", "--wandb", *map(str, folders)]) == status


def write(*folders):
    """Write both from Python, and return which are new."""
    api = connect()
    configs = [yaml.safe_load((each / "config.yaml").read_text()) for each in folders]
    runs = [find_logged_run(api, *each) for each in zip(folders, configs, strict=True)]
    report = Report("title", Verdict(Mark.YES, "Yes.", "Use it:", ["tltool predict"]), [])
    return [write_workspace(runs).is_new, write_report(api, runs, report).is_new]


def identity(folder):
    return json.loads((folder / "wandb_run.json").read_text())


def values(tree, key):
    """Return all that stands under a key, wherever."""
    if isinstance(tree, dict):
        here = [tree[key]] if key in tree else []
        return here + [found for each in tree.values() for found in values(each, key)]
    return [found for each in tree for found in values(each, key)] if isinstance(tree, list) else []


def texts(tree):
    return " ".join(map(str, values(tree, "text") + values(tree, "content")))


def workspace(server):
    return server.latest("project-view")["section"]


def sections(server):
    return workspace(server)["panelBankConfig"]["sections"]


def shown(panels):
    """Return the names that panels of a spec show."""
    config = [panel["config"] for panel in panels]
    metrics = [name for each in config for name in each.get("metrics", [])]
    media = [name for each in config for name in each.get("mediaKeys", [])]
    return set(metrics + media)


def grids(server):
    blocks = server.latest("runs")["blocks"]
    return [block["metadata"] for block in blocks if block["type"] == "panel-grid"]


def report_panels(server):
    return [p for grid in grids(server) for p in grid["panelBankSectionConfig"]["panels"]]


def test_the_first_call_makes_a_workspace_and_a_report_in_the_project_of_the_run(written):
    kinds = [(each["type"], each["entityName"], each["projectName"]) for each in written.saved]
    assert kinds == [("project-view", "team", "test"), ("runs", "team", "test")]
    assert not any(each.get("id") for each in written.saved)


def test_the_summary_says_how_far_the_run_can_be_trusted(written, folder):
    run = written.runs["test"][identity(folder)["id"]]
    summary = json.loads(run["summaryMetrics"])
    assert summary["trust/label_errors"] == 0
    assert summary["trust/shortcuts"] > 0  # The classes are two colors.
    assert "best/accuracy" in summary  # What fit has logged is still there.


def test_the_second_call_updates_what_the_first_one_made(synced, folder):
    write(folder)
    made = [view["id"] for view in synced.views]
    assert write(folder) == [False, False]
    assert [each.get("id") for each in synced.saved] == [None, None, *made]
    assert [view["id"] for view in synced.views] == made


def test_a_moved_folder_and_new_titles_do_not_matter(synced, folder, tmp_path):
    write(folder)
    for view in synced.views:
        view["displayName"] = "our own title"
    write(shutil.copytree(folder, tmp_path / "elsewhere" / "7"))
    assert len(synced.views) == 2


def test_a_deleted_workspace_is_made_again_and_the_report_updated(synced, folder):
    write(folder)
    synced.delete("project-view")
    assert write(folder) == [True, False]


def test_a_deleted_report_is_made_again_and_the_workspace_updated(synced, folder):
    write(folder)
    synced.delete("runs")
    assert write(folder) == [False, True]


def test_other_runs_have_a_report_of_their_own_in_the_same_workspace(synced, folder, other_seed):
    assert write(folder) == [True, True]
    assert write(other_seed) == [False, True]
    assert write(folder, other_seed) == [False, True]
    assert write(other_seed, folder) == [False, False]


def test_the_workspace_has_a_section_for_each_question(written):
    assert [section["name"] for section in sections(written)] == SECTIONS
    by_name = {each["name"]: shown(each["panels"]) for each in sections(written)}
    assert {"gain_over_probe", "train/loss", "val/accuracy"} <= by_name["result"]
    assert {"val/accuracy_of_best", "val/accuracy_of_probe"} <= by_name["result"]
    assert {"lr/head", "phase"} <= by_name["schedule"]
    assert {"health/layers", "health/update_to_weight_max"} <= by_name["health"]
    assert by_name["system"] == {"step/images_per_second", "system/cpu", "system/gpu.0.gpu"}
    assert "best/confusion" in by_name["classes"]
    assert "step/loss" in by_name["result"]


def test_every_panel_shows_what_the_run_really_logged(written, folder, offline_runs):
    (run,) = offline_runs(folder)
    logged = {key for row in run.history for key in row} | run.summary.keys()
    panels = [panel for section in sections(written) for panel in section["panels"]]
    names = shown(panels) | shown(report_panels(written))
    assert len(names) > 20
    assert {name for name in names if not name.startswith("system/")} <= logged


def test_the_classes_have_their_table(written):
    (table,) = [panel for panel in report_panels(written) if "Weave" in panel["viewType"]]
    assert "best/classes" in str(table["config"])


def test_training_and_validation_are_drawn_as_in_the_pictures(written, folder):
    panels = [panel for section in sections(written) for panel in section["panels"]]
    (loss,) = (p["config"] for p in panels if p["config"].get("metrics") == LOSSES)
    names = [f"{identity(folder)['id']}:{name}" for name in LOSSES]
    styles = [series_style(SPLITS[split]) for split in ("train", "val")]
    assert [loss["overrideMarks"][name] for name in names] == [each["linestyle"] for each in styles]
    colors = [loss["overrideColors"][name]["color"] for name in names]
    assert colors == [each["color"] for each in styles]


def test_lines_are_drawn_over_training_steps(written):
    panels = [panel for section in sections(written) for panel in section["panels"]]
    lines = [p["config"]["xAxis"] for p in panels if p["config"].get("metrics", [""])[0] == "phase"]
    assert lines == ["trainer/global_step"]


def test_the_workspace_shows_the_runs_on_the_same_images_and_in_the_same_group(
    written, folder, offline_runs
):
    (run,) = offline_runs(folder)
    filters = json.dumps(workspace(written)["runSets"][0]["filters"])
    assert run.config["split"] in filters
    assert '"heads"' in filters


def test_a_single_run_is_not_averaged_with_others(written):
    assert workspace(written)["runSets"][0]["grouping"] == []


def test_runs_that_differ_in_their_seed_are_grouped(written_of_both):
    (runs,) = workspace(written_of_both)["runSets"]
    assert [each["name"] for each in runs["grouping"]] == ["finetuning.value"]


def test_of_several_runs_all_are_pinned_and_the_first_is_the_baseline(written_of_both, folder):
    (runs,) = workspace(written_of_both)["runSets"]
    key = base64.b64decode(runs["baselineRunId"]).decode()
    assert key == f"Run:v1:{identity(folder)['id']}:test:team"
    assert len(runs["pinnedRunIds"]) == 2


def test_the_report_answers_first_whether_it_worked_and_second_what_next(written, folder):
    blocks = written.latest("runs")["blocks"]
    headings = [texts(block).strip() for block in blocks if block["type"] == "heading"]
    assert headings[:4] == [
        "Did it work, and how sure is that?",
        "What next?",
        "What was trained",
        "Fine-tuning schedule",
    ]
    answer = next(block for block in blocks if block["type"] == "callout-block")
    assert texts(answer) in (folder / "report.html").read_text()
    words = ("majority class", "closed-form probe", "95 % interval", "tltool ")
    assert [word for word in words if word not in texts(blocks)] == []


def test_alarms_stand_in_the_report_with_their_remedies(written):
    assert "large updates" in texts(written.latest("runs")["blocks"])
    assert "Lower the learning rate" in texts(written.latest("runs")["blocks"])


def test_the_report_shows_its_own_runs_only(written_of_both, folder, other_seed):
    filters = [json.dumps(grid["runSets"][0]["filters"]) for grid in grids(written_of_both)]
    ids = [identity(each)["id"] for each in (folder, other_seed)]
    assert len(filters) > 3
    assert all(all(id_ in each for id_ in ids) for each in filters)


def test_a_report_of_several_runs_says_what_differs_in_the_configuration(written_of_both):
    assert "| seed_everything | 0 | 1 |" in texts(written_of_both.latest("runs")["blocks"])
    assert "Run Comparer" in [panel["viewType"] for panel in report_panels(written_of_both)]


def test_no_image_is_sent(written, images):
    sent = json.dumps(written.saved)
    assert str(images / "blue") not in sent
    assert "data:image" not in sent


def test_discussions_are_kept(synced, folder):
    write(folder)
    view = next(view for view in synced.views if view["type"] == "runs")
    thread = {"id": "1", "comments": ["why?"]}
    view["spec"] = json.dumps(json.loads(view["spec"]) | {"discussionThreads": [thread]})
    write(folder)
    assert synced.latest("runs")["discussionThreads"] == [thread]


def test_the_addresses_are_printed_once(synced, folder, capsys):
    report(folder)
    output = capsys.readouterr()
    assert f"workspace    {synced.url}/team/test?nw=tltoolviews (new)" in output.out
    assert f"report       {synced.url}/team/test/reports/tltool:-images-0--Vmlldzox" in output.out
    assert f"missing      Perhaps not everything was sent to W&B: wandb sync {folder}" in output.out
    assert "saved" not in output.err.lower()


def test_a_run_that_was_never_logged_is_told_so(server, folder, tmp_path, capsys):
    copy = shutil.copytree(folder, tmp_path / "0")
    (copy / "wandb_run.json").unlink()
    report(copy, status=1)
    assert "was not logged to W&B" in capsys.readouterr().err
    assert server.saved == []


def test_a_run_that_was_not_sent_is_told_how_to_send_it(server, folder, capsys):
    report(folder, status=1)
    (part,) = (folder / "wandb").glob("offline-run-*")
    assert f"Send it first: wandb sync {part}" in capsys.readouterr().err


def test_a_run_that_the_server_has_lost_is_no_matter_of_sending(server, folder, tmp_path, capsys):
    copy = shutil.copytree(folder, tmp_path / "0", symlinks=True)
    (part,) = (copy / "wandb").glob("offline-run-*")
    next(part.glob("*.wandb")).with_suffix(".wandb.synced").touch()
    report(copy, status=1)
    assert "It was deleted there" in capsys.readouterr().err


def test_without_an_account_login_comes_before_sending(server, folder, monkeypatch, capsys):
    monkeypatch.delenv("WANDB_API_KEY")
    monkeypatch.setenv("NETRC", "/nowhere")
    report(folder, status=1)
    error = capsys.readouterr().err
    assert error.index("wandb login") < error.index("wandb sync")


def test_a_refused_account_is_told_to_log_in_again(server, folder, capsys):
    server.refusal = (401, "invalid key")
    report(folder, status=1)
    assert "invalid key. Log in again, to one that may write" in capsys.readouterr().err


def test_a_project_that_may_not_be_changed_is_an_error_without_a_traceback(synced, folder, capsys):
    synced.refuses_saving = True
    report(folder, status=1)
    error = capsys.readouterr().err
    assert "permission denied" in error
    assert "Traceback" not in error


def test_no_server_is_an_error_within_the_time_limit(monkeypatch):
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    start = time.monotonic()
    with pytest.raises(ConnectionError, match=r"does not answer\. Try again"):
        connect(timeout=1)
    assert time.monotonic() - start < 10


def test_runs_of_several_projects_are_refused(
    server, folder, other_seed, offline_runs, tmp_path, capsys
):
    copy = shutil.copytree(other_seed, tmp_path / "0", symlinks=True)
    (run,) = offline_runs(copy)
    keep_identity(copy, RunIdentity(run.id, project="other"))
    server.add(offline_runs(folder)[0])
    server.add(run, project="other")
    report(folder, copy, status=1)
    assert "several W&B projects: team/test, team/other" in capsys.readouterr().err


def test_the_folder_keeps_the_project_which_a_sweep_alone_knows(folder):
    assert identity(folder)["project"] == "test"


def test_an_account_in_netrc_is_found_for_the_server_in_use(monkeypatch, tmp_path):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert not has_account()
    (tmp_path / "netrc").write_text(f"machine wandb.example.org login user password {'a' * 40}\n")
    assert has_account()


def test_a_dashboard_of_many_metrics_has_at_most_40_charts():
    names = [f"{part}/{n}" for part in ("val", "lr", "health", "mine") for n in range(50)]
    media = ("best/confusion", "best/reliability", "last/confusion", "last/reliability")
    place = dict.fromkeys(("id", "entity", "project", "project_url", "group"), "")
    run = LoggedRun(
        **place,
        facts={},
        logged={
            "lines": frozenset([*names, "train/loss", "phase", "system/cpu"]),
            "bars": frozenset(["gain_over_probe", "gain_over_majority", "best/accuracy"]),
            "pictures": frozenset(media),
            "table": frozenset(["best/classes"]),
        },
    )
    assert sum(map(len, dashboard_sections([run]).values())) == MOST_CHARTS
