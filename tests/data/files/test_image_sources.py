import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from tltool.data.files.decoding import decode_image
from tltool.data.files.image_errors import BrokenImageError, UnknownRangeError
from tltool.data.files.image_sources import read_image
from tltool.data.loading.image_dataset import decode_with
from tltool.data.loading.in_memory import InMemoryDecoder

KINDS = ["sixteen", "turned", "transparent", "palette", "cmyk", "large"]


def write(path, kind):
    """Write an image of a kind that only its file's own decoder used to prepare."""
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    color, exif = Image.fromarray(pixels), Image.Exif()
    if kind == "sixteen":
        Image.fromarray(pixels[..., 0].astype(np.uint16) * 257).save(path := path / "a.png")
    elif kind == "turned":
        exif[0x0112] = 6
        color.save(path := path / "a.jpg", exif=exif)
    elif kind == "transparent":
        color.putalpha(Image.fromarray(pixels[..., 1]))
        color.save(path := path / "a.png")
    elif kind == "palette":
        color.quantize(8).save(path := path / "a.png", transparency=3)
    elif kind == "cmyk":
        color.convert("CMYK").save(path := path / "a.jpg")
    else:
        color.resize((640, 480)).save(path := path / "a.jpg")
    return path


def same(one, other):
    return one.mode == other.mode and (np.asarray(one) == np.asarray(other)).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_an_open_image_is_prepared_as_its_file(tmp_path, kind, mode):
    path = write(tmp_path, kind)
    with Image.open(path) as image:
        opened = read_image(image, mode=mode, size=32)
    assert same(opened, decode_image(path, mode=mode, size=32))


@pytest.mark.parametrize("kind", KINDS)
def test_a_loaded_image_is_prepared_as_its_file(tmp_path, kind):
    path = write(tmp_path, kind)
    with Image.open(path) as image:
        image.load()
        assert same(read_image(image), decode_image(path))


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_and_streams_are_prepared_as_their_file(tmp_path, kind):
    path = write(tmp_path, kind)
    expected = decode_image(path, size=32)
    assert same(read_image(path.read_bytes(), size=32), expected)
    assert same(read_image(io.BytesIO(path.read_bytes()), size=32), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_in_memory_is_prepared_as_its_file(tmp_path, kind):
    path = write(tmp_path, kind)
    with Image.open(path) as image:
        decode = InMemoryDecoder({"source": [(image, 0)]})
        assert same(decode("source/0", mode="RGB", size=32), decode_image(path, size=32))


@pytest.mark.parametrize("mode", ["RGBa", "La", "PA", "RGBA", "LA"])
def test_what_is_transparent_in_memory_is_white_in_any_mode(mode):
    source = {"RGBa": "RGBA", "La": "LA"}.get(mode, mode)
    image = Image.new(source, (2, 2), 0)
    image = image if source == mode else image.convert(mode)
    assert read_image(image).getpixel((0, 0)) == (255, 255, 255)


def test_reading_an_open_image_leaves_it_as_it_was(tmp_path):
    path = write(tmp_path, "large")
    with Image.open(path) as image:
        read_image(image, size=32)
        assert (image.size, image.mode) == ((640, 480), "RGB")


def test_an_open_tiff_is_turned_and_keeps_its_name(tmp_path):
    path = tmp_path / "a.tif"
    pixels = np.arange(24, dtype=np.uint8).reshape(4, 6)
    Image.fromarray(pixels).save(path, tiffinfo={0x0112: 6})
    with Image.open(path) as image:
        turned = read_image(image, mode="L")
        assert image.filename == str(path)
    assert np.asarray(turned).tolist() == np.rot90(pixels, -1).tolist()


def test_a_later_frame_is_the_one_that_was_chosen(tmp_path):
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    with Image.open(tmp_path / "a.gif") as image:
        image.seek(1)
        assert read_image(image).getpixel((0, 0)) == (0, 0, 255)


def test_an_image_turned_by_pillow_is_not_turned_again(tmp_path):
    path = write(tmp_path, "turned")
    with Image.open(path) as image:
        upright = image.copy()
    assert same(read_image(ImageOps.exif_transpose(upright)), decode_image(path))


def test_an_image_that_was_read_is_not_turned_again(tmp_path):
    path = write(tmp_path, "turned")
    assert same(read_image(decode_image(path)), decode_image(path))


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_decoder_of_ones_own_opens_is_prepared_as_its_file(tmp_path, kind):
    path = write(tmp_path, kind)
    with Image.open(path) as image:
        decoded = decode_with(lambda path, *, mode, size: image, "image", mode="L")
    assert same(decoded, decode_image(path, mode="L"))


@pytest.mark.parametrize("depth", ["uint8", "uint16"])
def test_an_array_is_prepared_as_the_file_of_it(tmp_path, depth):
    values = np.random.default_rng(0).integers(0, np.iinfo(depth).max, (8, 9), dtype=depth)
    Image.fromarray(values).save(tmp_path / "a.png")
    assert same(read_image(values), decode_image(tmp_path / "a.png"))
    assert same(read_image(torch.from_numpy(values)[None]), decode_image(tmp_path / "a.png"))


def test_an_array_with_alpha_is_laid_on_white():
    assert read_image(np.zeros((2, 2, 4), np.uint8)).getpixel((0, 0)) == (255, 255, 255)


def test_colors_of_sixteen_bits_in_memory_are_scaled():
    assert read_image(np.full((2, 2, 3), 32896, np.uint16)).getpixel((0, 0)) == (128,) * 3


def test_a_tensor_has_its_channels_in_front():
    assert read_image(torch.zeros(3, 5, 7, dtype=torch.uint8)).size == (7, 5)


def test_a_mask_of_booleans_is_black_and_white():
    pixels = np.asarray(read_image(np.array([[False, True]]), mode="L"))
    assert pixels.tolist() == [[0, 255]]


def test_floats_without_a_range_are_refused():
    with pytest.raises(UnknownRangeError, match="Pass pixels of 0"):
        read_image(torch.rand(3, 8, 8))


def test_floats_are_scaled_from_a_range():
    pixels = read_image(torch.ones(3, 8, 8), value_range=(0, 2)).getpixel((0, 0))
    assert pixels == (128, 128, 128)


def test_an_array_with_its_channels_in_front_is_refused_with_the_cure():
    with pytest.raises(ValueError, match=r"pixels.transpose\(1, 2, 0\)"):
        read_image(np.zeros((3, 8, 8), np.uint8))


def test_a_stream_that_was_read_before_is_refused_with_the_cure(tmp_path):
    stream = io.BytesIO(write(tmp_path, "large").read_bytes())
    read_image(stream)
    with pytest.raises(BrokenImageError, match=r"stream.seek\(0\)"):
        read_image(stream)


def test_a_file_open_as_text_is_refused_with_the_cure(tmp_path):
    with write(tmp_path, "large").open() as file, pytest.raises(TypeError, match="'rb'"):
        read_image(file)


def test_a_tensor_with_its_channels_behind_is_refused_with_the_cure():
    with pytest.raises(ValueError, match=r"pixels.permute\(2, 0, 1\)"):
        read_image(torch.zeros(8, 8, 3, dtype=torch.uint8))


def test_what_is_no_image_is_refused():
    with pytest.raises(TypeError, match="got int"):
        read_image(3)
