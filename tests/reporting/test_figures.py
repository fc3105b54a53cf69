"""The figures, by what is on them."""

import pytest
import torch
from PIL import Image

from tltool.diagnostics.surgery_damage import FeatureDrift
from tltool.evaluation.calibration import ReliabilityBin
from tltool.evaluation.confusion import confusion_matrix
from tltool.reporting.figures.axes import as_image
from tltool.reporting.figures.confusion import draw_confusion
from tltool.reporting.figures.curves import draw_curves
from tltool.reporting.figures.feature_map import draw_feature_map
from tltool.reporting.figures.image_grid import draw_image_grid
from tltool.reporting.figures.layer_health import draw_layer_health
from tltool.reporting.figures.palette import series_style
from tltool.reporting.figures.reliability import draw_reliability
from tltool.reporting.figures.surgery_damage import draw_surgery_damage


def test_seven_series_differ_in_color_line_and_marker():
    styles = [series_style(number) for number in range(7)]
    for key in ("color", "linestyle", "marker"):
        assert len({style[key] for style in styles}) == 7


def test_49_series_differ_in_color_or_line():
    styles = [series_style(number) for number in range(49)]
    assert len({(style["color"], style["linestyle"]) for style in styles}) == 49


def test_a_curve_begins_with_the_first_epoch_and_phases_stand_between_epochs():
    figure = draw_curves({"loss": {"train": [(0, 2.0), (1, 1.0)]}}, phases={"probe": 0, "full": 1})
    curve, *marks = figure.axes[0].get_lines()
    assert list(curve.get_xdata()) == [1, 2]
    assert [mark.get_xdata()[0] for mark in marks] == [0.5, 1.5]
    assert [text.get_text().strip() for text in figure.axes[0].texts] == ["probe", "full"]


def test_a_split_has_one_style_whatever_stands_beside_it():
    points = [(0, 1.0), (1, 0.5)]
    panels = {"loss": {"train": points, "val": points}, "mAP": {"val": points}}
    both, alone = (axes.get_lines() for axes in draw_curves(panels).axes)
    looks = [
        (line.get_color(), line.get_linestyle(), line.get_marker()) for line in (*both, *alone)
    ]
    assert looks[1] == looks[2] != looks[0]


def test_baselines_are_levels_and_the_best_epoch_is_marked():
    curves = {"accuracy": {"val": [(0, 0.5), (1, 0.7)]}, "loss": {"val": [(0, 2.0), (1, 1.0)]}}
    figure = draw_curves(curves, levels={"accuracy": {"probe": 0.6}}, best_epoch=1)
    lines = [{line.get_label(): line for line in axes.get_lines()} for axes in figure.axes]
    assert [set(each) for each in lines] == [{"val", "probe", "best epoch"}, {"val", "best epoch"}]
    assert lines[0]["probe"].get_ydata()[0] == 0.6
    assert lines[1]["best epoch"].get_xdata()[0] == 2


@pytest.mark.parametrize(("number", "inside"), [(7, True), (8, False)])
def test_names_of_many_series_stand_below_the_panel(number, inside):
    figure = draw_curves({"loss": {f"run {n}": [(0, 1.0)] for n in range(number)}})
    assert (figure.axes[0].get_legend() is not None) == inside
    assert bool(figure.legends) != inside


def test_a_confusion_matrix_shows_counts_and_names_as_they_are():
    figure = draw_confusion(torch.tensor([[3, 1], [0, 4]]), [r"$\bad", "b"])
    as_image(figure)  # A dollar would begin mathematics.
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts] == ["3", "1", "0", "4"]
    assert axes.get_yticklabels()[0].get_text() == r"$\bad"


def test_classes_without_room_for_names_are_numbered():
    axes = draw_confusion(torch.eye(61).long(), [f"class {n}" for n in range(61)]).axes[0]
    assert axes.get_xlabel() == "predicted class number"
    assert not axes.texts


def test_a_reliability_diagram_has_a_point_for_each_bin():
    axes = draw_reliability([ReliabilityBin(0.3, 0.4, 10), ReliabilityBin(0.8, 0.7, 30)]).axes[0]
    points = axes.containers[0].lines[0]
    assert list(points.get_ydata()) == [0.4, 0.7]


def test_what_is_beyond_an_alarm_is_marked():
    rows = [{"layer": name, "step": "7", "dead": dead} for name, dead in (("a", "0.6"), ("b", "0"))]
    figure = draw_layer_health(rows, ["dead"])
    assert [text.get_text() for text in figure.axes[0].texts] == ["60% !", "0%"]


def test_without_a_number_there_is_no_picture_of_health():
    assert draw_layer_health([{"layer": "a", "step": "7", "dead": ""}], ["dead"]) is None


def test_a_series_is_named_in_the_legend_as_it_is():
    names = ["_hidden", "$a^", "cost $1 or $2"]
    figure = draw_curves({"loss": {name: [(0, 1.0)] for name in names}})
    as_image(figure)
    shown = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert [text.replace("\\$", "$").strip("\u200b") for text in shown] == names


def test_a_name_of_a_class_is_one_line_of_a_figure():
    axes = draw_confusion(torch.eye(2).long(), ["two\nlines", "b"]).axes[0]
    assert axes.get_yticklabels()[0].get_text() == r"two\nlines"


def test_of_very_many_classes_those_that_are_confused_most_are_drawn():
    number = 8000
    labels = torch.tensor([7, 7, 7, 5000])
    counts = confusion_matrix(labels, torch.tensor([6000, 6000, 7, 5000]), number)
    axes = draw_confusion(counts, [f"class {n}" for n in range(number)]).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["class 7", "class 6000"]
    assert [text.get_text() for text in axes.texts] == ["1", "2", "0", "0"]
    assert "7,998 more" in axes.get_title()


def test_the_damage_of_surgery_has_two_bars_for_each_layer_from_the_input_down():
    drifts = {"layer_1": FeatureDrift(0.1, 0.9), "whole network": FeatureDrift(2.5, -0.2)}
    left, right = draw_surgery_damage(drifts).axes
    assert [bar.get_width() for bar in left.patches] == [0.1, 2.5]
    assert [bar.get_width() for bar in right.patches] == [0.9, -0.2]
    assert [label.get_text() for label in left.get_yticklabels()] == list(drifts)
    assert left.yaxis_inverted()


def test_a_map_marks_what_is_wrong_and_names_each_class():
    classes = [f"class{number}" for number in range(9) for _ in range(9 - number)]
    points = torch.randn(45, 2, generator=torch.Generator().manual_seed(0))
    figure = draw_feature_map(points, classes, [number != 3 for number in range(45)])
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["other classes", *(f"class{number}" for number in range(6)), "wrong"]
    crosses = figure.axes[0].collections[-1].get_offsets()
    torch.testing.assert_close(torch.tensor(crosses.data).float(), points[3:4])


def test_a_map_of_numbers_has_a_scale_and_no_wrong():
    figure = draw_feature_map(torch.randn(4, 2), [0.0, 0.5, 1.0, 1.5], [True] * 4)
    assert [axes.get_ylabel() for axes in figure.axes][1:] == ["true value"]
    assert as_image(figure).size[0] > 100


def test_a_very_long_name_of_a_class_leaves_room_for_the_axes():
    figure = draw_confusion(torch.eye(2, dtype=torch.long), ["a" * 100 + "b" * 100, "bees"])
    as_image(figure)  # Without room there would be a warning.
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert (names[0][0], names[0][-1], len(names[0])) == ("a", "b", 40)


def test_a_caption_is_no_wider_than_its_image():
    image = Image.new("RGB", (8, 8))
    figure = draw_image_grid([image], [f"{'ants and bees ' * 20}0.25\n(is wasps 0.5)"], [False])
    lines = figure.axes[0].get_title().splitlines()
    assert max(map(len, lines)) <= 28
    assert lines[-2].endswith("0.25")
    assert lines[-1] == "(is wasps 0.5)"
