"""Sections of a dashboard: which logged metrics, figures and images it shows; without W&B."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tltool.diagnostics.health.health_table import MEANINGS
from tltool.reporting.wandb.charts import MOST_CHARTS
from tltool.reporting.wandb.logged_run import PANEL_KINDS, LoggedRun, PanelKind

_MOST_OF_VAL, _MOST_OF_HEALTH = 6, 8
_LOSSES = ("train/loss", "val/loss")
_LEARNED = ("train/accuracy", "val/accuracy", "best/accuracy")
_PICTURES = (
    *("best/confusion", "best/reliability", "last/confusion", "last/reliability"),
    *("best/worst_images", "best/confident_errors", "train/augmented"),
)
_OUR_SECTIONS = (
    "lr/",
    "health/",
    "val/",
    "system/",
)  # What has no room in them is found by search.
_MACHINE = {  # what a name ends on: title
    ".gpu": "GPU in use, %",
    ".memoryAllocated": "GPU memory, %",
    "/proc.memory.rssMB": "memory of the process, MB",
    "/memory_percent": "memory of the machine, %",
    "/cpu": "CPU in use, %",
}
_MAJORITY = ("best/accuracy", "baseline/majority_accuracy")
_SCORES = ("_of_best", "_of_probe")  # what names end on


class Panel(NamedTuple):
    """One chart.

    Attributes:
        kind: Lines over steps, bars of one number for each run, pictures, or a table.
        title: What it shows.
        names: What was logged and is shown in it.
        is_logarithmic: Whether powers of ten matter.
    """

    kind: PanelKind
    title: str
    names: tuple[str, ...]
    is_logarithmic: bool = False


def dashboard_sections(runs: Sequence[LoggedRun]) -> dict[str, list[Panel]]:
    """Return the panels of each section of a dashboard that has some, at most 40 charts in all.

    What is shown was logged by at least one of the runs. The order answers a reader's questions:
    did it work, what trained when, was it healthy, which classes are hard, was the machine busy.
    What is logged by a user's own code comes last, as far as there is room.

    Args:
        runs: What was logged.
    """
    logged = {kind: set[str]().union(*(run.logged[kind] for run in runs)) for kind in PANEL_KINDS}
    curves = logged["lines"]
    val = [name for name in _begin_with("val/", curves) if name not in {*_LOSSES, *_LEARNED}]
    health = _begin_with("health/", curves)[:_MOST_OF_HEALTH]
    lr = Panel("lines", "learning rate of each layer group", _begin_with("lr/", curves), True)
    system = _begin_with("system/", curves)
    scores = tuple(sorted(name for name in logged["bars"] if name.endswith(_SCORES)))
    # The names of a panel are those that were looked for.
    chosen = {
        "result": [
            *_each("bars", ["gain_over_probe", "gain_over_majority"]),
            Panel("bars", "this run beside the closed-form probe", scores),
            Panel("bars", "best val accuracy beside the majority class", _MAJORITY),
            Panel("lines", "loss", _LOSSES),
            Panel("lines", "accuracy", _LEARNED),
            Panel("lines", "loss of single steps", ("step/loss",)),
            *_each("lines", val[:_MOST_OF_VAL]),
        ],
        "schedule": [
            lr,
            Panel("lines", "norm of the gradient", ("step/gradient_norm",), True),
            Panel("lines", "phase", ("phase",)),
        ],
        "health": [
            Panel("pictures", "health of the layers over time", ("health/layers",)),
            *_each("lines", health),
        ],
        "classes": [*_each("table", ["best/classes"]), *_each("pictures", _PICTURES)],
        "system": [
            Panel("lines", "images a second", ("step/images_per_second",)),
            *_machine_panels(system),
        ],
    }
    panels = {
        name: [
            panel._replace(names=there)
            for panel in each
            if (there := tuple(name for name in panel.names if name in logged[panel.kind]))
        ]
        for name, each in chosen.items()
    }
    shown = {name for each in panels.values() for panel in each for name in panel.names}
    own = sorted(curves - shown - {"epoch", "trainer/global_step"})
    own = [name for name in own if not name.startswith(("_", *_OUR_SECTIONS))]
    room = MOST_CHARTS - sum(map(len, panels.values()))
    panels["others"] = [Panel("lines", name, (name,)) for name in own[:room]]
    return {name: each for name, each in panels.items() if each}


def _machine_panels(names: Sequence[str]) -> list[Panel]:
    return [
        Panel("lines", title, tuple(name for name in names if name.endswith(end)))
        for end, title in _MACHINE.items()
    ]


def _begin_with(prefix: str, names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(name for name in names if name.startswith(prefix)))


def _each(kind: PanelKind, names: Iterable[str]) -> list[Panel]:
    return [Panel(kind, _in_words(name), (name,)) for name in names]


def _in_words(name: str) -> str:
    if name in MEANINGS:
        return MEANINGS[name]
    section, _, rest = name.rpartition("/")
    words = rest.replace("_", " ")
    if section in {"best", "last"}:
        return f"{words}, {section} epoch"
    return words if section in {"", "val"} else f"{words}, {section}"
