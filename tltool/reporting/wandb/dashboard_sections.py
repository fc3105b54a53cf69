"""Sections of a dashboard: which logged metrics, figures and images it shows; without W&B."""

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from tltool.reporting.wandb.charts import MOST_CHARTS
from tltool.reporting.wandb.logged_run import LoggedRun

RESULT, CLASSES, SCHEDULE, HEALTH, SYSTEM = "result", "classes", "schedule", "health", "system"
OTHERS = "others"
_MOST_OF_VAL, _MOST_OF_HEALTH = 6, 8
_GAINS = ("gain_over_probe", "gain_over_majority")
_ACCURACIES = ("best/accuracy", "baseline/probe_accuracy", "baseline/majority_accuracy")
_LOSSES = ("train/loss", "val/loss")
_LEARNED = ("train/accuracy", "val/accuracy", "best/accuracy")
_TABLES = ("best/classes",)
_PICTURES = ("best/confusion", "best/reliability", "last/confusion", "last/reliability")
_IMAGES = ("best/worst_images", "best/confident_errors", "train/augmented")
_OUR_SECTIONS = ("lr/", "health/", "val/")  # What has no room in them is found by search.
_MACHINE = {  # what a name ends on: title
    ".gpu": "GPU in use, %",
    ".memoryAllocated": "GPU memory, %",
    "/proc.memory.rssMB": "memory of the process, MB",
    "/memory_percent": "memory of the machine, %",
    "/cpu": "CPU in use, %",
}


class Panel(NamedTuple):
    """One chart.

    Attributes:
        kind: Lines over steps, bars of one number for each run, pictures, or a table.
        title: What it shows.
        names: What was logged and is shown in it.
        is_logarithmic: Whether powers of ten matter.
    """

    kind: Literal["lines", "bars", "pictures", "table"]
    title: str
    names: tuple[str, ...]
    is_logarithmic: bool = False


class Section(NamedTuple):
    """Charts that belong together."""

    name: str
    panels: tuple[Panel, ...]


def dashboard_sections(runs: Sequence[LoggedRun]) -> list[Section]:
    """Return the sections of a dashboard that have something to show, at most 40 charts in all.

    What is shown was logged by at least one of the runs. The order answers a reader's questions:
    did it work, what trained when, was it healthy, which classes are hard, was the machine busy.
    What is logged by a user's own code comes last, as far as there is room.

    Args:
        runs: What was logged.
    """
    curves, numbers, media, tables, system = (
        frozenset[str]().union(*(getattr(run, name) for run in runs))
        for name in ("curves", "numbers", "media", "tables", "system")
    )
    val = sorted(name for name in curves if name.startswith("val/"))
    val = [name for name in val if name not in {*_LOSSES, *_LEARNED}][:_MOST_OF_VAL]
    lr = sorted(name for name in curves if name.startswith("lr/"))
    health = sorted(name for name in curves if name.startswith("health/"))[:_MOST_OF_HEALTH]
    panels = {
        RESULT: [
            *(_panel("bars", _in_words(name), [name], numbers) for name in _GAINS),
            _panel("bars", "best accuracy beside the baselines", _ACCURACIES, numbers),
            _panel("lines", "loss", _LOSSES, curves),
            _panel("lines", "accuracy", _LEARNED, curves),
            *(_panel("lines", _in_words(name), [name], curves) for name in val),
        ],
        SCHEDULE: [
            _panel("lines", "learning rate of each layer group", lr, curves, logarithmic=True),
            _panel("lines", "phase", ["phase"], curves),
        ],
        HEALTH: [
            _panel("pictures", "health of the layers over time", ["health/layers"], media),
            *(_panel("lines", _in_words(name), [name], curves) for name in health),
        ],
        CLASSES: [
            *(_panel("table", _in_words(name), [name], tables) for name in _TABLES),
            *(_panel("pictures", _in_words(name), [name], media) for name in _PICTURES + _IMAGES),
        ],
        SYSTEM: [
            _panel("lines", title, sorted(n for n in system if n.endswith(end)), system)
            for end, title in _MACHINE.items()
        ],
    }
    sections = [Section(name, tuple(filter(None, each))) for name, each in panels.items()]
    used = sum(len(section.panels) for section in sections)
    own = sorted(curves - _shown(sections) - {"epoch", "trainer/global_step"})
    own = [name for name in own if not name.startswith(("_", *_OUR_SECTIONS))]
    others = [Panel("lines", name, (name,)) for name in own[: MOST_CHARTS - used]]
    return [section for section in [*sections, Section(OTHERS, tuple(others))] if section.panels]


def _panel(
    kind: Literal["lines", "bars", "pictures", "table"],
    title: str,
    names: Iterable[str],
    logged: frozenset[str],
    *,
    logarithmic: bool = False,
) -> Panel | None:
    there = tuple(name for name in names if name in logged)
    return Panel(kind, title, there, logarithmic) if there else None


def _shown(sections: Iterable[Section]) -> set[str]:
    return {name for section in sections for panel in section.panels for name in panel.names}


def _in_words(name: str) -> str:
    section, _, rest = name.rpartition("/")
    words = rest.replace("_", " ")
    if section in {"best", "last"}:
        return f"{words}, {section} epoch"
    return words if section in {"", "health", "val"} else f"{words}, {section}"
