import math
import re

import matplotlib.image
import pytest
import torch

from tltool.__main__ import main as run_main
from tltool.cli.activations import main
from tltool.layers.activation_facts import ACTIVATION_FACTS
from tltool.layers.activations import ACTIVATIONS, create_activation
from tltool.layers.gains import activation_gain
from tltool.reporting.figures.activations import save_plot

ELEMENTWISE = [name for name in ACTIVATION_FACTS if not ACTIVATIONS[name].is_layer]


@pytest.fixture
def show(capsys, monkeypatch):
    """Run the command in a wide terminal and return what it printed."""
    monkeypatch.setenv("COLUMNS", "240")

    def run(*arguments):
        assert main(["activations", *arguments]) == 0
        return capsys.readouterr().out

    return run


def row(text, label):
    """The numbers in the row of the detailed view that begins with a label."""
    line = next(line for line in text.splitlines() if line.startswith(label))
    return [float(n) for n in re.findall(r"-?(?:inf|\d+\.?\d*(?:e[-+]?\d+)?)", line[len(label) :])]


def values_and_slopes(name):
    z = torch.tensor([-10.0, 0.0, 10.0], dtype=torch.float64, requires_grad=True)
    outputs = create_activation(name).double()(z)
    (slopes,) = torch.autograd.grad(outputs.sum(), z)
    return outputs.tolist(), slopes.tolist()


def test_the_table_has_a_row_for_each_in_the_lectures_order(show):
    first_words = [line.split()[0] for line in show().splitlines() if line.strip()]
    assert [word for word in first_words if word in ACTIVATIONS] == list(ACTIVATION_FACTS)


@pytest.mark.parametrize("name", ACTIVATION_FACTS)
def test_the_table_tells_problem_and_verdict(show, name):
    line = next(line for line in show().splitlines() if line.split()[:1] == [name])
    assert ACTIVATION_FACTS[name].problem in line
    assert ACTIVATION_FACTS[name].verdict in line
    assert f"{activation_gain(name):.2f}" in line


def test_the_table_ends_with_advice(show):
    text = show()
    assert "Start with relu, and mind the learning rate." in text
    assert "No sigmoid or tanh in hidden layers." in text


def test_sigmoids_numbers_are_those_of_the_lecture(show):
    text = show("sigmoid")
    assert re.search(r"f' at -10, 0, 10 +4\.54e-5, 0\.25, 4\.54e-5", text)
    assert "a factor of 9.54e-7 after 10 layers" in text


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_the_printed_values_and_slopes_are_those_of_autograd(show, name):
    text = show(name)
    outputs, slopes = values_and_slopes(name)
    assert row(text, "f at -10, 0, 10") == pytest.approx(outputs, rel=6e-3)
    assert row(text, "f' at -10, 0, 10") == pytest.approx(slopes, rel=6e-3)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_the_gradient_that_is_left_is_the_steepest_slope_ten_times_over(show, name):
    z = torch.linspace(-20, 20, 400_001, dtype=torch.float64, requires_grad=True)
    (slopes,) = torch.autograd.grad(create_activation(name).double()(z).sum(), z)
    left, _, steepest = row(show(name), "gradient left")
    assert steepest == pytest.approx(slopes.abs().max().item(), rel=6e-3)
    assert left == pytest.approx(slopes.abs().max().item() ** 10, rel=6e-3)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_the_printed_range_is_that_of_the_outputs(show, name):
    z = torch.cat([torch.linspace(-20, 20, 4001), torch.tensor([-1e6, 1e6])]).double()
    outputs = create_activation(name).double()(z).detach()
    lowest, highest = row(show(name), "range")
    assert lowest == pytest.approx(outputs.min().item(), rel=6e-3, abs=1e-4) or lowest < -1e6
    assert highest == pytest.approx(outputs.max().item(), rel=6e-3) or highest > 1e6


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_the_printed_mean_and_gain_are_those_of_standard_normal_inputs(show, name):
    z = torch.linspace(-10, 10, 200_001, dtype=torch.float64)
    outputs = create_activation(name).double()(z).detach()
    density = torch.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    mean, second_moment = (torch.trapezoid(f * density, z).item() for f in (outputs, outputs**2))
    assert row(show(name), "mean")[0] == pytest.approx(mean, rel=6e-3, abs=1e-6)
    assert row(show(name), "gain")[0] == pytest.approx(second_moment**-0.5, abs=6e-4)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_the_printed_saturated_region_begins_where_a_hundredth_of_the_slope_is_left(show, name):
    z = torch.linspace(-20, 20, 400_001, dtype=torch.float64, requires_grad=True)
    (slopes,) = torch.autograd.grad(create_activation(name).double()(z).sum(), z)
    live = z[slopes.abs() >= 0.01 * slopes.abs().max()]
    edges = [edge for edge in (live.min().item(), live.max().item()) if abs(edge) < 20]
    (line,) = re.findall(r"^saturated .*$", show(name), re.MULTILINE)
    printed = [float(n) for n in re.findall(r"(?<== )-?[\d.]+", line)]
    assert printed == pytest.approx(edges[-len(printed) :] if printed else [], rel=6e-3, abs=1e-3)
    assert ("|z|" in line) == (len(edges) == 2 and edges[0] == pytest.approx(-edges[1]))


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_the_table_tells_the_saturated_region_of_the_detailed_view(show, name):
    line = next(line for line in show().splitlines() if line.split()[:1] == [name])
    (saturated,) = re.findall(r"^saturated +(.*?) *$", show(name), re.MULTILINE)
    assert saturated in line


@pytest.mark.parametrize("name", ["relu", "relu6", "hardswish"])
def test_what_can_die_is_said(show, name):
    assert re.search(r"can die +where z <= ", show(name))


def test_what_cannot_die_is_said(show):
    assert re.search(r"can die +no", show("leaky_relu"))


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "selu"])
def test_where_torchs_gain_differs_both_are_told_and_why(show, name):
    gain = torch.nn.init.calculate_gain(name)
    assert re.search(
        rf"gain +{activation_gain(name):.3f}, where PyTorch.* is {gain:.3f}\. It", show(name)
    )


def test_swish_is_found_as_silu(show):
    assert "silu (or swish)" in show("swish")


def test_maxout_is_told_without_a_curve(show):
    text = show("maxout")
    assert "the weights of k linear pieces" in text
    assert "f at" not in text


def test_a_mistyped_name_gets_the_nearest_one(capsys):
    assert run_main(["activations", "gleu"]) == 1
    assert "Did you mean 'gelu'? Choose one of: celu" in capsys.readouterr().err


def test_a_plot_of_all_is_written(show, tmp_path):
    text = show("--plot", str(tmp_path / "all.png"))
    height, width, _ = matplotlib.image.imread(tmp_path / "all.png").shape
    assert width > 1000
    assert height > 1000
    assert "Drew sigmoid, tanh" in text


def test_a_plot_draws_every_curve_but_that_of_maxout(tmp_path):
    assert save_plot(str(tmp_path / "all.svg")) == ELEMENTWISE


@pytest.mark.parametrize(
    ("name", "sides"),
    [("leaky_relu", 0), ("gelu", 1), *((name, 2) for name in ("tanh", "softsign", "relu6"))],
)
def test_the_saturated_region_of_a_plot_is_shaded(tmp_path, name, sides):
    save_plot(str(tmp_path / "one.svg"), [name])
    text = (tmp_path / "one.svg").read_text()
    edges = re.findall(r'd="M (\S+) \S+\s+L (\S+) [^"]+"[^>]+fill: #d9d9d9', text)
    assert sum(left != right for left, right in edges) == sides


def test_the_axes_of_a_plot_are_named(tmp_path):
    save_plot(str(tmp_path / "one.svg"), ["tanh"])
    text = (tmp_path / "one.svg").read_text()
    assert "input z" in text
    assert "tanh" in text


@pytest.mark.parametrize(
    ("file", "name", "remedy"),
    [
        ("a.jpeg", None, r"its name must end in .png or .svg or .pdf"),
        ("a.png", "maxout", "Maxout cannot be drawn"),
    ],
)
def test_what_cannot_be_drawn_says_what_to_write(tmp_path, file, name, remedy):
    with pytest.raises(ValueError, match=remedy):
        save_plot(str(tmp_path / file), name and [name])


def test_a_missing_folder_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There is no folder .*nowhere.* Create it first"):
        save_plot(str(tmp_path / "nowhere" / "a.png"))
