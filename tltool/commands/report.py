"""`tltool report`: what runs achieved, on the terminal, as one HTML page, and on W&B."""

import argparse
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from rich.console import Console

import tltool
from tltool.commands.report_measure import measure_run
from tltool.commands.report_wandb import Dashboard, open_dashboard, write_dashboard
from tltool.commands.terminal import set_up_process
from tltool.evaluation.measured_split import MeasuredSplit
from tltool.reporting.compared_runs import ComparedRuns, compare_runs
from tltool.reporting.figures.curves import draw_curves
from tltool.reporting.figures.image_grid import draw_image_grid
from tltool.reporting.measured_run import MeasuredRun
from tltool.reporting.run_page import render_run_page
from tltool.reporting.run_tables import accuracy_table
from tltool.reporting.runs_page import render_runs_page, runs_table
from tltool.reporting.tables import rich_table
from tltool.whole_file import save_figure, write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NUM_IMAGES = 12
PAGE = "report.html"


def main(argv: Sequence[str]) -> int:
    """Run ``tltool report RUN [RUN ...]``."""
    parser = argparse.ArgumentParser("tltool report", description="Say what runs achieved.")
    parser.add_argument(
        "runs",
        metavar="run",
        nargs="+",
        type=Path,
        help="a run's folder, such as runs/photos/0; runs/photos for its latest; of several, the "
        "first is what the others are compared with",
    )
    parser.add_argument(
        "--output",
        type=Path,
        help=f"write the page here; default: {PAGE} in the run's folder, of several runs beside "
        "the newest",
    )
    parser.add_argument(
        "--no-photos",
        dest="photos",
        action="store_false",
        help="leave the photos out, which may be private, and keep their file names",
    )
    parser.add_argument(
        "--wandb",
        action="store_true",
        help="write a workspace and a report too, into the W&B project that the runs were logged "
        "to; called again, it updates them; no photos are sent",
    )
    arguments = parser.parse_args(argv[1:])
    runs = list(dict.fromkeys(_latest(run) for run in arguments.runs))
    check_output(arguments.output)
    set_up_process()
    dashboard = open_dashboard(runs) if arguments.wandb else None
    if len(runs) > 1:
        return _report_runs(runs, arguments.output, dashboard)
    run = measure_run(runs[0])
    _report_run(run, images=arguments.photos)
    output = arguments.output or runs[0] / PAGE
    write_whole(output, render_run_page(run, made_with=made_with(), images=arguments.photos))
    print(f"page         {output}")
    if dashboard is not None:
        write_dashboard(dashboard, [run], None)
    print(f"verdict      {run.verdict.answer}")
    print(f"next         {run.verdict.commands[0]}")
    return 0


def check_output(output: Path | None) -> None:
    """Raise unless the page can be written, before it takes time.

    Raises:
        ValueError: If the suffix is no page's.
        FileNotFoundError: If the folder does not exist.
    """
    if output is None:
        return
    if output.suffix.lower() not in {".html", ".htm"}:
        raise ValueError(
            f"Cannot write the page to {str(output)!r}: it is HTML. Write --output report.html."
        )
    if not output.parent.is_dir():
        raise FileNotFoundError(
            f"There is no folder {str(output.parent)!r} for --output. Create it first."
        )


def made_with() -> str:
    """Return a line about what made the page."""
    now = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    return f"Made by tltool {tltool.__version__} with torch {torch.__version__}, {now}."


def _latest(run: Path) -> Path:
    """Return the run itself, or of a folder of numbered runs the latest."""
    numbers = [int(p.name) for p in run.iterdir() if p.name.isdecimal()] if run.is_dir() else []
    return run / str(max(numbers)) if numbers else run


def _report_run(run: MeasuredRun, *, images: bool) -> None:
    folder, found = run.record.folder, run.evaluation
    for sentence in run.missing:
        print(f"missing      {sentence}")
    if found is not None:
        title = f"{folder}: accuracy on {len(found.predictions)} {found.split} images"
        Console().print(rich_table(accuracy_table(found, run.measured), title))
    if run.record.metrics:
        panels = {
            label: {
                stage: run.record.metrics.get(f"{stage}/{name}", []) for stage in ("train", "val")
            }
            for name, label in (("loss", "cross-entropy loss"), ("accuracy", "accuracy"))
        }
        save_figure(draw_curves(panels, title=str(folder)), folder / "curves.png", dpi=110)
        print(f"curves       {folder / 'curves.png'}")
    if images and found is not None:
        save_figure(_draw_predictions(run, found), folder / "predictions.png", dpi=110)
        print(f"predictions  {folder / 'predictions.png'}")


def _report_runs(folders: Sequence[Path], output: Path | None, dashboard: Dashboard | None) -> int:
    runs = [measure_run(folder, with_probe=False) for folder in folders]
    found = compare_runs(runs)
    _print_runs(found)
    newest = max(folders, key=lambda folder: (folder / "config.yaml").stat().st_mtime)
    output = output or newest.parent / PAGE
    write_whole(output, render_runs_page(found, made_with=made_with()))
    print(f"page         {output}")
    if dashboard is not None:
        write_dashboard(dashboard, runs, found)
    print(f"next         {found.commands[0]}")
    return 0


def _print_runs(found: ComparedRuns) -> None:
    Console().print(rich_table(runs_table(found)))
    for sentence in found.sentences:
        print(sentence)


def _draw_predictions(run: MeasuredRun, found: MeasuredSplit) -> "Figure":
    """Draw the most confident errors first, then images spread over the split."""
    predictions, names = found.predictions, found.class_names
    worst = predictions.confident_errors()[: NUM_IMAGES // 2]
    right = predictions.correct.nonzero()[:, 0].tolist()
    step = max(1, len(right) // (NUM_IMAGES - len(worst)))
    chosen = worst + right[::step][: NUM_IMAGES - len(worst)]
    return draw_image_grid(
        [run.decode(found.paths[index], mode=run.mode) for index in chosen],
        [
            f"{names[predictions.predicted[i]]} {predictions.confidence[i]:.2f}\n"
            f"(is {names[predictions.labels[i]]})"
            for i in chosen
        ],
        predictions.correct[chosen].tolist(),
    )
