"""`tltool report`: what runs achieved, on the terminal, as one HTML page, and on W&B."""

import argparse
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import torch
from rich.console import Console

import tltool
from tltool._atomic_write import write_whole
from tltool._output_file import check_output_file
from tltool.cli.own_modules import import_own_modules
from tltool.cli.process import set_up_process
from tltool.cli.report_measure import measure_run
from tltool.cli.report_wandb import Dashboard, open_dashboard, write_dashboard
from tltool.reporting.compared_runs import ComparedRuns, compare_runs
from tltool.reporting.measured_run import MeasuredRun
from tltool.reporting.report import render_report
from tltool.reporting.run_pictures import write_pictures
from tltool.reporting.run_report import run_report
from tltool.reporting.run_tables import accuracy_table
from tltool.reporting.runs_report import runs_report, runs_table
from tltool.reporting.tables import rich_table

PAGE = "report.html"


def main(argv: Sequence[str]) -> int:
    """Run ``tltool report RUN [RUN ...]``."""
    parser = argparse.ArgumentParser("tltool report", description="Say what runs achieved.")
    parser.add_argument(
        "runs",
        metavar="run",
        nargs="+",
        type=Path,
        help="a run's folder, such as runs/images/0; runs/images for its latest; of several, the "
        "first is what the others are compared with",
    )
    parser.add_argument(
        "--output",
        type=Path,
        help=f"write the page here; default: {PAGE} in the run's folder, of several runs beside "
        "the newest",
    )
    parser.add_argument(
        "--no_images",
        dest="images",
        action="store_false",
        help="leave the images out, which may be private, and keep their file names",
    )
    parser.add_argument(
        "--wandb",
        action="store_true",
        help="write a workspace and a report too, into the W&B project that the runs were logged "
        "to; called again, it updates them; no images are sent",
    )
    parser.add_argument(
        "--modules",
        nargs="+",
        default=[],
        help="your own modules whose classes the checkpoints need, such as my_heads",
    )
    arguments = parser.parse_args(argv[1:])
    import_own_modules(arguments.modules)
    runs = list(dict.fromkeys(_latest(run) for run in arguments.runs))
    check_output_file(
        arguments.output, "--output", suffixes=(".html", ".htm"), example="report.html"
    )
    set_up_process()
    dashboard = open_dashboard(runs) if arguments.wandb else None
    if len(runs) > 1:
        return _report_runs(runs, arguments.output, dashboard)
    run = measure_run(runs[0])
    _report_run(run, images=arguments.images)
    output = arguments.output or runs[0] / PAGE
    report = run_report(run, images=arguments.images)
    write_whole(output, render_report(report, made_with=made_with()))
    print(f"page         {output}")
    if dashboard is not None:
        write_dashboard(dashboard, report)
    print(f"verdict      {run.verdict.answer}")
    print(f"next         {run.verdict.commands[0]}")
    return 0


def made_with() -> str:
    """Return a line about what made the page."""
    now = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    return f"Made by tltool {tltool.__version__} with torch {torch.__version__}, {now}."


def _latest(run: Path) -> Path:
    """Return the run itself, or of a folder of numbered runs the latest."""
    numbers = [int(p.name) for p in run.iterdir() if p.name.isdecimal()] if run.is_dir() else []
    return run / str(max(numbers)) if numbers else run


def _report_run(run: MeasuredRun, *, images: bool) -> None:
    folder, found = run.record.run_dir, run.evaluation
    for sentence in run.missing:
        print(f"missing      {sentence}")
    if found is not None:
        title = f"{folder}: accuracy on {len(found.predictions)} {found.split} images"
        Console().print(rich_table(accuracy_table(found, run.measured), title))
    for name, file in write_pictures(run, images=images).items():
        print(f"{name:<13}{file}")


def _report_runs(folders: Sequence[Path], output: Path | None, dashboard: Dashboard | None) -> int:
    runs = [measure_run(folder, with_probe=False) for folder in folders]
    found = compare_runs(runs)
    _print_runs(found)
    newest = max(folders, key=lambda folder: (folder / "config.yaml").stat().st_mtime)
    output = output or newest.parent / PAGE
    report = runs_report(found)
    write_whole(output, render_report(report, made_with=made_with()))
    print(f"page         {output}")
    if dashboard is not None:
        write_dashboard(dashboard, report)
    print(f"next         {found.verdict.commands[0]}")
    return 0


def _print_runs(found: ComparedRuns) -> None:
    Console().print(rich_table(runs_table(found)))
    for sentence in found.verdict.sentences:
        print(sentence)
