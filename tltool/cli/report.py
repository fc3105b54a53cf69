"""`tltool report`: what runs achieved, on the terminal, as one HTML page, and on W&B."""

import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import torch

import tltool
from tltool._atomic_write import write_whole
from tltool._output_file import check_output_file
from tltool._plain_text import one_line, plain_console
from tltool.cli.process import set_up_process
from tltool.cli.report_log import check_log_options, print_log
from tltool.cli.report_measure import measure_run
from tltool.cli.report_wandb import open_dashboard, write_dashboard
from tltool.cli.short_forms import import_own_modules
from tltool.cli.signature_options import run_function
from tltool.reporting.compared_runs import compare_runs
from tltool.reporting.lightning_log import is_lightning_log, read_lightning_log
from tltool.reporting.measured_run import MeasuredRun
from tltool.reporting.report import Report, render_report
from tltool.reporting.run_pictures import write_pictures
from tltool.reporting.run_report import run_report
from tltool.reporting.run_tables import score_table
from tltool.reporting.run_verdict import Verdict
from tltool.reporting.runs_report import runs_report, runs_table
from tltool.reporting.tables import rich_table

PAGE = "report.html"


def main(argv: Sequence[str]) -> int:
    """Run ``tltool report``."""
    return run_function("report", report, argv[1:])


def report(
    run: list[Path],
    *,
    output: Path | None = None,
    no_images: bool = False,
    overlays: int = 0,
    wandb: bool = False,
    modules: list[str] | None = None,
) -> None:
    """Say what runs achieved.

    Args:
        run: A run's directory, such as runs/images/0; runs/images for its latest; of several, the
            first is what the others are compared with. Of the log directory of a plain Lightning
            Trainer (metrics.csv), what it tells.
        output: Write the page here; else report.html in the run's directory, of several runs in the
            directory that holds them all.
        no_images: Leave the images out, which may be private, and keep their file names.
        overlays: Of one run: show for so many images what speaks for the predicted class
            (Grad-CAM): the worst mistakes, then the least sure of the others.
        wandb: Write a workspace and a report too, into the W&B project that the runs were logged
            to; called again, it updates them; no images are sent.
        modules: Your own modules whose classes the checkpoints need, such as my_heads.
    """
    import_own_modules(modules=modules)
    directories = list(dict.fromkeys(_latest(each) for each in run))
    check_output_file(output, "--output", suffixes=(".html", ".htm"), example="report.html")
    set_up_process()
    logs = [each for each in directories if is_lightning_log(each)]
    if logs:
        check_log_options(is_alone=len(directories) == 1, wandb=wandb, overlays=overlays)
        told = print_log(read_lightning_log(logs[0]))
        _write_page(told, output or logs[0] / PAGE)
        _print_verdict(told.verdict, with_answer=True)
        return
    if overlays:
        _check_has_overlays(overlays, len(directories), no_images=no_images)
    dashboard = open_dashboard(directories) if wandb else None
    several = len(directories) > 1
    runs = [
        measure_run(directory, with_probe=not several, num_overlays=overlays)
        for directory in directories
    ]
    if several:
        found = compare_runs(runs)
        place, verdict = common_directory(directories), found.verdict
        told = runs_report(found, images=not no_images)
        plain_console().print(rich_table(runs_table(found)))
        for sentence in verdict.sentences:
            print(one_line(sentence))
    else:
        place, verdict = directories[0], runs[0].verdict
        told = run_report(runs[0], images=not no_images)
        _print_run(runs[0], images=not no_images)
    _write_page(told, output or place / PAGE)
    if dashboard is not None:
        write_dashboard(dashboard, told, runs)
    _print_verdict(verdict, with_answer=not several)


def _check_has_overlays(number: int, num_runs: int, *, no_images: bool) -> None:
    """Refuse overlays of a page that would show none."""
    if number < 0:
        raise ValueError(f"--overlays is a number of images, and not {number}.")
    if num_runs > 1:
        raise ValueError(
            f"--overlays is of one run, and {num_runs} are given. Leave it out, or name one run."
        )
    if no_images:
        raise ValueError(
            "--overlays shows images, and --no_images leaves them out. Leave out one of the two."
        )


def _write_page(told: Report, output: Path) -> None:
    write_whole(output, render_report(told, made_with=made_with()))
    print(f"page         {one_line(output)}")


def _print_verdict(verdict: Verdict, *, with_answer: bool) -> None:
    if with_answer:
        print(f"verdict      {verdict.answer}")
    print(f"advice       {one_line(verdict.next_step.rstrip(':'))}")
    print(f"next         {verdict.commands[0]}")


def made_with() -> str:
    """Return a line about what made the page."""
    now = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    return f"Made by tltool {tltool.__version__} with torch {torch.__version__}, {now}."


def common_directory(directories: Sequence[Path]) -> Path:
    """Return the deepest directory that holds some directories; of the last where none does.

    Example:
        >>> common_directory([Path("runs/images/0"), Path("runs/images/3")]).as_posix()
        'runs/images'
    """
    ends = [Path(os.path.abspath(each)) for each in directories]
    shared = [each for each in ends[-1].parents if all(end.is_relative_to(each) for end in ends)]
    # The root holds all and is nobody's place; others may not be the user's.
    is_place = bool(shared and shared[0].name and os.access(shared[0], os.W_OK))
    place = shared[0] if is_place else ends[-1].parent
    here = Path.cwd()
    return place.relative_to(here) if place.is_relative_to(here) else place


def _latest(run: Path) -> Path:
    """Return the run itself, or of a folder of numbered runs the latest; say what is none."""
    if _is_run(run):
        return run
    places = [each for each in run.iterdir() if each.is_dir()] if run.is_dir() else []
    # `version_3` is Lightning's.
    numbers = {each.name.removeprefix("version_"): each for each in places}
    latest_first = sorted(filter(str.isdecimal, numbers), key=int, reverse=True)
    for number in latest_first:
        if _is_run(numbers[number]):
            return numbers[number]
        print(f"skipped      {one_line(numbers[number])} is no run: it has no config.yaml")
    return numbers[latest_first[0]] if latest_first else run


def _is_run(place: Path) -> bool:
    return (place / "config.yaml").is_file() or is_lightning_log(place)


def _print_run(run: MeasuredRun, *, images: bool) -> None:
    folder, found = run.record.run_dir, run.evaluation
    for sentence in run.missing:
        print(f"missing      {one_line(sentence)}")
    if found is not None:
        number = len(found.predictions)
        print(f"{one_line(folder)}: {found.score.name} on {number} {found.split} images")
        table = score_table(found, run.measured, has_chosen=run.record.has_chosen)
        plain_console().print(rich_table(table))
    for name, file in write_pictures(run, images=images).items():
        print(f"{name:<13}{one_line(file)}")
