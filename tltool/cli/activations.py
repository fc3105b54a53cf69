"""`tltool activations`: what activations there are, and what is wrong with each."""

import math
from collections.abc import Sequence

import torch
from rich.table import Table

from tltool._lookup import lookup
from tltool._plain_text import one_line, plain_console
from tltool.cli.signature_options import run_function
from tltool.cli.simple_table import print_simple_table
from tltool.layers.activation_behavior import (
    SaturatedRegion,
    activation_behavior,
    outputs_and_slopes,
    saturated_region,
)
from tltool.layers.activation_facts import ACTIVATION_FACTS, ADVICE
from tltool.layers.activations import ACTIVATIONS, Activation
from tltool.layers.gains import (
    PYTORCH_REASONS,
    activation_gain,
    activation_moments,
    moment_growth,
    pytorch_gain,
    settled_second_moment,
)
from tltool.lecture.catalog import experiments_about

DEPTH = 10  # layers, over which the gradient that is left is told


def main(argv: Sequence[str]) -> int:
    """Run ``tltool activations``."""
    return run_function("activations", activations, argv[1:])


def activations(name: str | None = None, *, plot: str | None = None) -> None:
    """Show all activations, or one in detail; any of these names can be the head's `activation`.

    Args:
        name: One activation, to see its formula and numbers.
        plot: Draw them into this file (.png, .svg or .pdf).
    """
    chosen = lookup(ACTIVATIONS, name, kind="activation") if name else None
    console = plain_console()
    if chosen:
        console.print(detail(chosen))
    else:
        print_overview()
        console.print(ADVICE)
        console.print("More about one of them: tltool activations NAME")
    if plot:
        from tltool.reporting.figures.activations import save_plot

        drawn = save_plot(plot, [chosen.name] if chosen else None)
        print(f"Drew {', '.join(drawn)}: {one_line(plot)}")


def print_overview() -> None:
    """Print the table of all activations, in the lecture's order."""
    rows = []
    for name, facts in ACTIVATION_FACTS.items():
        saturated = region(saturated_region(name))
        gain = f"{activation_gain(name):.2f}"
        rows.append((name, gain, saturated, facts.problem, facts.verdict))
    columns = ("activation", "gain", "saturated", "problem", "verdict")
    print_simple_table(columns, rows, numbers={"gain"}, flexible={"problem", "verdict"})


def detail(entry: Activation) -> Table:
    """Return all that is known about one activation."""
    name, facts = entry.name, ACTIVATION_FACTS[entry.name]
    mean, _ = activation_moments(name)
    rows = [
        ("activation", f"{name} (or swish)" if name == "silu" else name),
        ("formula", facts.formula),
        *([] if entry.is_layer else shape_rows(entry)),
        ("mean", f"{number(round(mean, 6))}: {'' if entry.zero_centered else 'not '}zero-centered"),
        ("gain", f"{activation_gain(name):.3f}, {pytorch_comparison(name)}"),
        *([] if entry.is_layer else [("deep signals", deep_signals(name))]),
        ("initializer", entry.initializer),
        ("learned", facts.learned),
        ("uses exp", "yes" if entry.uses_exp else "no"),
        ("problem", facts.problem),
        ("weakness", facts.weakness),
        ("verdict", facts.verdict),
        ("origin", facts.origin),
        ("paper", f"{facts.paper}, {facts.url}"),
        *(
            ("see", f"tltool compare --lecture {experiment.name()} ({experiment.title})")
            for experiment in experiments_about(name)
        ),
    ]
    table = Table.grid(padding=(0, 2))
    for label, text in rows:
        table.add_row(label, text)
    return table


def shape_rows(entry: Activation) -> list[tuple[str, str]]:
    """Return what can be said of a function of one number: values, slopes, gradient left."""
    behavior = activation_behavior(entry.name)
    points = torch.tensor([-10.0, 0.0, 10.0], dtype=torch.float64)
    outputs, slopes = outputs_and_slopes(entry.name, points)
    steepest = behavior.steepest_slope
    left = f"at most a factor of {number(steepest**DEPTH)} after {DEPTH} layers"
    saturated = region(behavior.saturation)
    return [
        ("range", f"from {number(behavior.lowest)} to {number(behavior.highest)}"),
        ("f at -10, 0, 10", ", ".join(number(value) for value in outputs.tolist())),
        ("f' at -10, 0, 10", ", ".join(number(value) for value in slopes.tolist())),
        ("gradient left", f"{left} (its slope is at most {number(steepest)})"),
        ("can die", f"where {saturated} for all images" if entry.can_die else "no"),
        ("saturated", saturated),
    ]


def pytorch_comparison(name: str) -> str:
    """Say what PyTorch's ``calculate_gain`` makes of an activation, and why."""
    torchs = pytorch_gain(name)
    if torchs is None:
        return "not known to PyTorch's calculate_gain"
    if math.isclose(torchs, activation_gain(name), abs_tol=5e-4):
        return "as PyTorch's calculate_gain"
    settled = settled_second_moment(name, torchs)
    return (
        f"where PyTorch's calculate_gain is {torchs:.3f}. {PYTORCH_REASONS[name]} With PyTorch's, "
        f"the second moment in front of deep layers settles at {settled:.2f} instead of 1."
    )


def deep_signals(name: str) -> str:
    """Say what becomes of a signal's second moment in a deep network with the gain.

    Example:
        >>> deep_signals("silu")
        'a second moment other than 1 runs away, its deviation times 1.17 in each layer'
    """
    growth = moment_growth(name)
    if math.isclose(growth, 1, abs_tol=1e-3):
        return "the second moment stays as it is, whatever it is"
    tendency = "runs away" if growth > 1 else "comes back"
    times = f"its deviation times {number(growth)} in each layer"
    return f"a second moment other than 1 {tendency}, {times}"


def region(saturation: SaturatedRegion) -> str:
    """Return the saturated inputs as text.

    Example:
        >>> region(SaturatedRegion(-3.0, 3.0)), region(SaturatedRegion(0.0))
        ('|z| >= 3', 'z <= 0')
    """
    below, above = saturation
    if -below == above:
        return "never" if math.isinf(above) else f"|z| >= {number(above)}"
    parts = [f"z <= {number(below)}"] if math.isfinite(below) else []
    parts += [f"z >= {number(above)}"] if math.isfinite(above) else []
    return " or ".join(parts)


def number(value: float) -> str:
    """Return a number with at most three digits, as one writes it by hand.

    Example:
        >>> number(4.5396e-05), number(-1.75809), number(float("inf")), number(-0.0)
        ('4.54e-5', '-1.76', 'inf', '0')
    """
    if abs(value) < 1e-12 and value:  # The rest of a quadrature, or of exp far out.
        return "0" if abs(value) < 1e-300 else f"{value:.1e}"
    text = f"{value + 0.0:.3g}"
    mantissa, exponent_mark, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent)}" if exponent_mark else mantissa
