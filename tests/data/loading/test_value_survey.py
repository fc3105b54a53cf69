import numpy as np
import pytest
from PIL import Image

from tltool.data.files.decoding import decode_image
from tltool.data.loading import value_survey
from tltool.data.loading.in_memory import InMemoryDecoder
from tltool.data.loading.value_survey import find_value_problem, survey_values


@pytest.fixture
def written(tmp_path):
    """Return a function that writes arrays as images, and returns their paths."""

    def write(arrays, suffix="png"):
        paths = [str(tmp_path / f"{number:03}.{suffix}") for number in range(len(arrays))]
        for path, values in zip(paths, arrays, strict=True):
            Image.fromarray(np.asarray(values)).save(path)
        return paths

    return write


def problem(paths, value_range=None):
    survey = survey_values(paths, decode_image)
    return find_value_problem(survey, value_range, place="'scans'") or ""


def flat(value, dtype):
    return np.full((4, 4), value, dtype=dtype)


@pytest.mark.parametrize(
    ("largest", "option"),
    [(900, "0 1023"), (4095, "0 4095"), (16000, "0 16383"), (255, "0 255"), (1, "0 1")],
)
def test_sixteen_bit_files_of_fewer_bits_name_the_range(written, largest, option):
    assert f"Set --data.value_range {option} to" in problem(written([flat(largest, np.uint16)] * 3))


def test_a_dark_image_among_others_is_no_problem(written):
    assert not problem(written([flat(100, np.uint16), flat(60000, np.uint16)]))


def test_dark_photos_are_no_problem(written):
    assert not problem(written([flat(40, np.uint8)] * 3))


def test_black_images_need_no_range(written):
    assert not problem(written([flat(0, np.uint8), flat(0, np.uint8)]))


@pytest.mark.parametrize(("largest", "option"), [(1, "0 1"), (15, "0 15"), (20, "0 31")])
def test_masks_in_eight_bits_name_the_range(written, largest, option):
    masks = [np.array([[0, largest]], dtype=np.uint8)] * 3
    assert f"--data.value_range {option} to" in problem(written(masks))


def test_float_pixels_name_the_range_of_all(written):
    paths = written([flat(0.25, np.float32), flat(-3.5, np.float32), flat(99.5, np.float32)], "tif")
    assert "Set --data.value_range -4 100," in problem(paths)


def test_floats_in_the_unit_interval_name_it(written):
    assert "Set --data.value_range 0 1," in problem(written([flat(0.25, np.float32)], "tif"))


def test_hounsfield_units_name_their_range(written):
    scans = [np.array([[-1024, 2976]], dtype=np.int32)] * 2
    assert "Set --data.value_range -1024 2976," in problem(written(scans, "tif"))


def test_values_beyond_sixteen_bits_name_their_range(written):
    scans = [np.array([[0, 100000]], dtype=np.int32)]
    assert "--data.value_range 0 100000" in problem(written(scans, "tif"))


def test_degrees_are_not_scaled_from_zero(written):
    scans = [np.array([[290.5, 310.5]], dtype=np.float32)]
    assert "--data.value_range 290 311" in problem(written(scans, "tif"))


@pytest.mark.parametrize("value_range", [(0, 4095), (0, 65535), (100, 900)])
def test_a_range_with_values_in_it_is_taken(written, value_range):
    assert not problem(written([flat(800, np.uint16)]), value_range)


def test_a_range_without_values_in_it_is_refused(written):
    found = problem(written([flat(800, np.uint16)]), (-1000, 400))
    assert "all black or all white" in found
    assert "--data.value_range 0 1023" in found


def test_a_range_without_an_effect_is_refused(written):
    assert "8-bit images only" in problem(written([flat(200, np.uint8)]), (0, 4095))


def test_a_range_that_fits_two_kinds_of_files_badly_is_refused(written):
    paths = written([flat(0.5, np.float32)], "tif") + written([flat(200, np.uint8)], "png")
    assert "Save all of them with 8 bits" in problem(paths, (0, 1))


def test_eight_bit_images_among_deep_ones_do_not_hide_them(written):
    deep, photos = written([flat(800, np.uint16)], "tif"), written([flat(200, np.uint8)] * 9)
    assert "--data.value_range 0 1023 to" in problem(photos + deep)


def test_transparent_pixels_do_not_hide_a_mask(written):
    mask = np.array([[[1, 1, 1, 255], [255, 255, 255, 0]]], dtype=np.uint8)
    assert "--data.value_range 0 1 to" in problem(written([mask]))


def test_images_in_memory_are_surveyed_too():
    decode = InMemoryDecoder({"dots": [(flat(4000, np.uint16), 0), (flat(9, np.uint16), 0)]})
    survey = survey_values(["dots/0", "dots/1"], decode)
    assert (survey.low, survey.high, survey.num_decoded) == (9, 4000, 2)


def test_few_images_are_decoded_however_many_there_are(written):
    survey = survey_values(written([flat(800, np.uint16)]) * 100_000, decode_image)
    assert survey.num_decoded == value_survey.NUM_DECODED
    assert "in the 32 of 100,000 images that were looked at" in survey.looked_at


def test_one_photo_is_enough(written):
    assert survey_values(written([flat(200, np.uint8)]) * 1000, decode_image).num_decoded == 1


def test_broken_files_are_left_to_other_checks(tmp_path):
    (tmp_path / "a.png").touch()
    assert not problem([str(tmp_path / "a.png")])
