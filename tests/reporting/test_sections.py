import base64
import io

import pytest
from jinja2 import UndefinedError
from PIL import Image

from tltool.finetuning.phase import Phase, Until
from tltool.finetuning.plan import make_plan
from tltool.finetuning.schedule import Schedule
from tltool.models.backbone import Backbone
from tltool.reporting.figures.schedule import lr_by_group
from tltool.reporting.html.images import thumbnail
from tltool.reporting.html.render import render
from tltool.reporting.run_report import health_section, predictions_sections
from tltool.reporting.run_tables import phase_table
from tltool.reporting.tables import FactTable
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
    assert phase_table(plan).rows[0][1] == "0 to 1, ended by val/loss"


def test_a_frozen_group_has_no_rate(plan):
    rates = lr_by_group(plan)["backbone.stem"]
    assert rates[0] == 0
    assert rates[-1] == pytest.approx(1e-4)


def test_a_layer_without_a_number_has_a_gap_and_the_highest_is_told():
    rows = [
        {"step": "3", "layer": "a", "dead": "0.7", "saturated": "", "largest_update": ""},
        {"step": "7", "layer": "a", "dead": "nan", "saturated": "", "largest_update": ""},
        {"step": "7", "layer": "b", "dead": "", "saturated": "", "largest_update": "0.001"},
    ]
    dead, update = health_section(rows, []).pictures
    assert dead.description == "Share of dead units; the highest is 0.7, in a, step 4."
    assert "0.001, in b" in update.description


def test_of_very_many_layers_the_worst_are_drawn():
    row = {"step": "3", "saturated": "", "largest_update": ""}
    rows = [row | {"layer": f"l{n}", "dead": str(n / 100)} for n in range(90)]
    all_of_them, worst = (health_section(r, []).pictures[0].uri for r in (rows, rows[-40:]))
    assert len(all_of_them) < 1.1 * len(worst)


def test_a_thumbnail_tells_nothing_of_place_and_camera():
    image = Image.new("RGB", (400, 300))
    exif = image.getexif()
    exif[0x010F] = "SecretCamera"
    content = io.BytesIO()
    image.save(content, format="JPEG", exif=exif, comment=b"SecretPlace")
    small = base64.b64decode(thumbnail(Image.open(content), "").uri.partition(",")[2])
    assert b"Secret" not in small
    assert Image.open(io.BytesIO(small)).size == (160, 120)


@pytest.fixture
def lecture_page():
    """Return a function that renders a page of one table."""

    def make(text):
        table = FactTable([text], [[text]])
        return render(
            "lecture.html.jinja",
            title=text,
            made_with=text,
            introduction=text,
            summary=table,
            entries=[],
        )

    return make


def test_the_confusion_matrix_of_few_classes_is_a_table_too(measured_split):
    found = measured_split(run=75, probe=80)
    few = predictions_sections(found, None)[0]
    assert [list(row[1:]) for row in few.table.rows] == found.confusion.tolist()
    assert "numbers are images, the color is their share" in few.pictures[0].description
    found.class_names.extend(f"class {number}" for number in range(8))
    many = predictions_sections(found, None)[0]
    assert many.table is None
    assert many.pictures[0].uri.startswith("data:image/svg+xml")


def test_without_a_mistake_there_is_none_to_list(measured_split):
    sections = predictions_sections(measured_split(run=100, probe=80), None)
    assert not any(section.is_private for section in sections)
    assert [each.table for each in sections if each.title == "Most frequent mistakes"] == [None]


def test_nothing_from_elsewhere_can_be_loaded(lecture_page):
    assert "default-src 'none'" in lecture_page("title")


def test_cells_and_titles_are_escaped(lecture_page):
    assert "<i>" not in lecture_page("<i>")
    assert lecture_page("<i>").count("&lt;i&gt;") == 7


def test_a_name_that_is_no_utf8_is_shown_with_its_bytes(lecture_page):
    assert r"K\xe4fer" in lecture_page("K\udce4fer")


def test_a_narrow_screen_gets_its_own_width(lecture_page):
    page = lecture_page("a")
    assert 'content="width=device-width, initial-scale=1"' in page
    assert 'data-label="a"' in page


def test_a_value_that_a_template_lacks_is_an_error():
    with pytest.raises(UndefinedError, match="title"):
        render("layout.html.jinja", made_with="")
