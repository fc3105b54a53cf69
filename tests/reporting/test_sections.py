import io

import pytest
from PIL import Image

from tltool.finetuning.phase import Phase, Until
from tltool.finetuning.plan import make_plan
from tltool.finetuning.schedule import Schedule
from tltool.models.backbone import Backbone
from tltool.reporting.health import health_section
from tltool.reporting.html import page, table, text
from tltool.reporting.predictions import confusion_section, thumbnail
from tltool.reporting.schedule import group_rates, schedule_section
from tltool.training.image_task import ImageTask


@pytest.fixture(scope="module")
def plan():
    """Two phases of three epochs, the first of which a metric ended after one."""
    until = Until("val/loss", max_epochs=2)
    phases = (Phase("probe", ("head",), until=until), Phase("all", ("*",), lr_scale=0.1, epochs=2))
    task = ImageTask(Backbone("test_resnet", weights="random"), num_classes=2)
    groups = [*(f"backbone.{name}" for name in task.backbone.layer_groups()), "head"]
    return make_plan(
        task,
        task.make_optimizer,
        task.configure_optimizers(),
        Schedule(phases).resolve(groups, 4),
        steps_per_epoch=10,
        max_epochs=4,
        ended={"probe": 1},
    )


def test_a_phase_that_a_metric_ended_is_shown_as_it_was(plan):
    assert "0 to 1, ended by val/loss" in schedule_section(plan, 3)


def test_a_frozen_group_has_no_rate(plan):
    rates = group_rates(plan)["backbone.stem"]
    assert rates[0] == 0
    assert rates[-1] == pytest.approx(1e-4)


def test_a_layer_without_a_number_has_a_gap_and_the_highest_is_told():
    rows = [
        {"step": "3", "layer": "a", "dead": "0.7", "saturated": "", "largest_update": ""},
        {"step": "7", "layer": "a", "dead": "nan", "saturated": "", "largest_update": ""},
        {"step": "7", "layer": "b", "dead": "", "saturated": "", "largest_update": "0.001"},
    ]
    section = health_section(rows, [])
    assert section.count("<img") == 2
    assert "The highest share of dead units: 0.7 in a, at step 4." in section


def test_of_very_many_layers_the_worst_are_drawn():
    row = {"step": "3", "saturated": "", "largest_update": ""}
    rows = [row | {"layer": f"l{n}", "dead": str(n / 100)} for n in range(90)]
    few = health_section(rows, [])
    assert len(few) < 2 * len(health_section(rows[-40:], []))


def test_a_thumbnail_tells_nothing_of_place_and_camera():
    photo = Image.new("RGB", (400, 300))
    exif = photo.getexif()
    exif[0x010F] = "SecretCamera"
    content = io.BytesIO()
    photo.save(content, format="JPEG", exif=exif, comment=b"SecretPlace")
    small = thumbnail(Image.open(content))
    assert b"Secret" not in small
    assert Image.open(io.BytesIO(small)).size == (160, 120)


def test_many_classes_are_drawn_instead_of_listed(evaluation):
    found = evaluation(run=90, probe=80)
    assert "<img" not in confusion_section(found)
    found.class_names.extend(f"class {number}" for number in range(8))
    section = confusion_section(found)
    assert "<img" in section
    assert "10 class 7" in section


def test_without_a_mistake_this_is_said(evaluation):
    assert "There is no mistake" in confusion_section(evaluation(run=100, probe=80))


def test_nothing_from_elsewhere_can_be_loaded():
    assert "default-src 'none'" in page("title", [], made_with="")


def test_cells_and_titles_are_escaped():
    for content in (table(["<i>"], [["<i>"]]), page("<i>", [], made_with="<i>")):
        assert "<i>" not in content


def test_a_name_that_is_no_utf8_is_shown_with_its_bytes():
    assert text("K\udce4fer") == r"K\xe4fer"


def test_a_narrow_screen_gets_its_own_width():
    assert 'content="width=device-width, initial-scale=1"' in page("", [], made_with="")
    assert 'data-label="a"' in table(["a"], [["b"]])
