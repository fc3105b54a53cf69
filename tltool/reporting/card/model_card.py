"""Model card in Markdown: what a model is, how good, on which data, and what was not tested."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tltool.evaluation.measured_split import MeasuredSplit
from tltool.models.weights.loading import weights_in_words
from tltool.reporting.card.card_facts import CardFacts
from tltool.reporting.card.card_metrics import measures, weak_classes
from tltool.reporting.card.front_matter import front_matter
from tltool.reporting.card.licenses import UNKNOWN
from tltool.reporting.card.untested import untested
from tltool.reporting.card.usage import meaning_of_outputs, usage_code
from tltool.reporting.markdown import code_block, markdown_table, markdown_text
from tltool.reporting.tables import FactTable
from tltool.training.callbacks.ending_files import is_left_by_training

MOST_NAMES = 50
_KINDS = {
    "single_label": "one of {number} classes",
    "multi_label": "any of {number} classes",
    "regression": "a number, {names},",
}


def card_path(export: Path) -> Path:
    """Return where the card of an export lies: in its folder, or beside its file.

    Example:
        >>> card_path(Path("best.onnx")).name
        'best.onnx.md'
    """
    return export / "README.md" if export.is_dir() else export.with_name(f"{export.name}.md")


def model_card(facts: CardFacts) -> str:
    """Return the card of an export, with front matter for Hugging Face.

    All it says comes from the checkpoint, its run directory and the images of the run; what could
    not be found out is said.
    """
    sections: Mapping[str, list[str]] = {
        "Use": _usage(facts),
        "Data": _data(facts),
        "Metrics": _metrics(facts),
        "Weak classes": _weak(facts.evaluation),
        "Training": _training(facts),
        "License": _license(facts),
        "Not tested": [f"- {sentence}" for sentence in untested(facts)],
        "Not known": [f"- {markdown_text(sentence)}" for sentence in facts.missing],
    }
    lines = [*front_matter(facts), "", f"# {markdown_text(facts.name)}", "", _summary(facts)]
    for title, content in sections.items():
        if content:
            lines += ["", f"## {title}", "", *content]
    return "\n".join(lines) + "\n"


def _summary(facts: CardFacts) -> str:
    task = facts.task
    names = markdown_text(task.class_names[0])
    kind = _KINDS[task.objective].format(number=len(task.class_names), names=names)
    return (
        f"Says {kind} of an image: a `{task.backbone.name}` with a `{type(task.head).__name__}`, "
        f"fine-tuned by tltool {task.task_config['tltool']} on {markdown_text(facts.data_name)}."
    )


def _usage(facts: CardFacts) -> list[str]:
    config = facts.task.data_config
    shown = ("input_size", "mean", "std", "interpolation", "crop_pct", "crop_mode", "value_range")
    prepared = "; ".join(f"{key} {config[key]}" for key in shown if config.get(key) is not None)
    return [
        *code_block(usage_code(facts), "python"),
        "",
        meaning_of_outputs(facts),
        "",
        f"Images are prepared as: {markdown_text(prepared)}.",
        *(f"\n{markdown_text(line)}" for line in facts.lines),
    ]


def _data(facts: CardFacts) -> list[str]:
    rows = [(split, number) for split, number in facts.num_images.items()]
    table = [markdown_table(FactTable(("split", "images"), rows, (1,)))]
    sizes = table if rows else ["How many images each split has is not known."]
    names = [markdown_text(name) for name in facts.task.class_names]
    more = f" and {len(names) - MOST_NAMES:,} more" if len(names) > MOST_NAMES else ""
    word = "Target" if facts.task.objective == "regression" else f"{len(names):,} classes"
    lines = [f"{markdown_text(facts.data_name)}.", "", *sizes, ""]
    lines.append(f"{word}: {', '.join(names[:MOST_NAMES])}{more}.")
    if facts.task.thresholds:
        chosen = [*zip(facts.task.class_names, facts.task.thresholds, strict=True)]
        lines += ["", markdown_table(FactTable(("class", "threshold"), chosen[:MOST_NAMES], (1,)))]
    return lines


def _metrics(facts: CardFacts) -> list[str]:
    found = facts.evaluation
    if found is None:
        return ["Nothing was measured for this card."]
    words = found.score.words
    rows = [
        (name, words(value), " to ".join(map(words, interval)) if interval else "unknown")
        for name, value, interval in measures(found)
    ]
    of_groups = f" of {len(set(found.groups)):,} groups" if found.groups else ""
    chose = "which chose the weights too" if facts.has_chosen else "which chose nothing"
    baselines = [
        (f"{found.score.name} of {name}", words(each.value), "")
        for name, each in found.results.items()
        if name in found.baselines
    ]
    table = FactTable(("metric", "value", "95 % interval"), [*rows, *baselines], (1, 2))
    return [
        f"On {len(found.paths):,} {found.split} images{of_groups}, {chose}.",
        "",
        markdown_table(table),
        *(["", markdown_text(found.calibration)] if found.calibration else []),
    ]


def _weak(found: MeasuredSplit | None) -> list[str]:
    table = None if found is None else weak_classes(found)
    if table is None:
        return []
    weaker = sum(row[-1] == "yes" for row in table.rows)
    said = f"{weaker} of these are" if weaker else "No class is"
    return [
        f"{said} recognized provably worse than all images together.",
        "",
        markdown_table(table),
    ]


def _training(facts: CardFacts) -> list[str]:
    rows = [(key, value) for key, value in _training_rows(facts).items() if value]
    lines = [markdown_table(FactTable(("", ""), rows))]
    if facts.config:
        lines += ["", *code_block(facts.config, "yaml")]
    return lines


def _training_rows(facts: CardFacts) -> dict[str, str]:
    checkpoint, run, record = facts.checkpoint, facts.run_facts, facts.record
    init_args: Mapping[str, Any] = facts.task.task_config["backbone"]["init_args"]
    is_trained = is_left_by_training(checkpoint)
    minutes = None if facts.seconds is None else f"{facts.seconds / 60:.1f}"
    return {
        "pretrained weights": weights_in_words(str(init_args["weights"]), init_args["name"]),
        "weights are": str(checkpoint.get("ending", {}).get("candidate", "")),
        "epochs": "" if record is None or not record.epochs_done else str(record.epochs_done),
        # Chosen weights are those of no step.
        "steps of this checkpoint": str(checkpoint.get("global_step", "")) if is_trained else "",
        "minutes": minutes or "unknown",
        "processes": str(run.get("world_size") or ""),
        "versions": ", ".join(f"{name} {v}" for name, v in run.get("versions", {}).items()),
        "commit": str(run.get("commit") or "unknown"),
    }


def _license(facts: CardFacts) -> list[str]:
    found = facts.licenses
    source = f" ({found.data_source})" if found.data_source else ""
    lines = [
        f"- Pretrained weights: {found.weights or 'none were used'}.",
        f"- Data: {found.data}{source}.",
    ]
    if UNKNOWN in (found.weights, found.data):
        lines.append("- Where it is unknown, look it up before you pass the model on.")
    return lines
