import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from tltool.data.files.decoding import BrokenImageError, decode_image

GRAY, COLOR, GRAY_ALPHA, COLOR_ALPHA = 0, 2, 4, 6


def write_png(path, pixels, color, depth=16, transparent=None):
    """Write what Pillow does not: 16-bit colors, and gray of less than 8 bits with transparency."""

    def chunk(kind, content):
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    size = pixels.shape[1::-1] if depth >= 8 else (pixels.shape[1] * 8 // depth, pixels.shape[0])
    head = struct.pack(">IIBBBBB", *size, depth, color, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    chunks = [chunk(b"IHDR", head)]
    if transparent is not None:
        chunks.append(chunk(b"tRNS", struct.pack(f">{len(transparent)}H", *transparent)))
    chunks += [chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    return path


def sixteen(*values):
    return np.array([values], dtype=">u2")


def first_pixel(path, **options):
    return decode_image(path, **options).getpixel((0, 0))


TRANSPARENT = {
    "RGBA": Image.new("RGBA", (2, 2), (90, 90, 90, 0)),
    "LA": Image.new("LA", (2, 2), (90, 0)),
}


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("target", ["RGB", "L"])
def test_what_is_transparent_is_white_with_any_channels(tmp_path, mode, suffix, target):
    TRANSPARENT[mode].save(tmp_path / f"image.{suffix}", lossless=True)
    decoded = decode_image(tmp_path / f"image.{suffix}", mode=target)
    assert set(np.unique(np.asarray(decoded))) == {255}


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_a_transparent_value_is_white_in_any_mode(tmp_path, mode):
    image = Image.new(mode, (2, 2), 0)
    image.save(tmp_path / "image.png", transparency=0)
    assert first_pixel(tmp_path / "image.png") == (255, 255, 255)


@pytest.mark.parametrize("depth", [2, 4])
def test_a_transparent_value_of_fewer_bits_is_white(tmp_path, depth):
    pixels = np.full((2, 1), {2: 0b01010101, 4: 0x33}[depth], dtype=np.uint8)
    path = write_png(tmp_path / "a.png", pixels, GRAY, depth, transparent=[{2: 1, 4: 3}[depth]])
    assert first_pixel(path) == (255, 255, 255)


def test_a_transparent_sixteen_bit_value_is_white_and_its_neighbor_is_not(tmp_path):
    path = write_png(tmp_path / "a.png", sixteen(300, 301), GRAY, transparent=[300])
    assert np.asarray(decode_image(path, mode="L")).tolist() == [[255, 1]]


def test_a_transparent_sixteen_bit_color_is_white_and_its_neighbor_is_not(tmp_path):
    pixels = np.array([[[300, 400, 500], [300, 400, 501]]], dtype=">u2")
    path = write_png(tmp_path / "a.png", pixels, COLOR, transparent=[300, 400, 500])
    assert np.asarray(decode_image(path)).tolist() == [[[255] * 3, [1, 2, 2]]]


def test_sixteen_bit_colors_are_scaled_by_all_their_bits(tmp_path):
    pixels = np.array([[[0, 2048, 4095]]], dtype=">u2")
    path = write_png(tmp_path / "a.png", pixels, COLOR)
    assert first_pixel(path, value_range=(0, 4095)) == (0, 128, 255)


def test_sixteen_bit_colors_of_eight_bits_are_not_black(tmp_path):
    path = write_png(tmp_path / "a.png", np.array([[[0, 128, 255]]], dtype=">u2"), COLOR)
    assert first_pixel(path, value_range=(0, 255)) == (0, 128, 255)


def test_sixteen_bit_colors_with_alpha_are_scaled_and_laid_on_white(tmp_path):
    pixels = np.array([[[0, 2048, 4095, 65535], [0, 0, 0, 0]]], dtype=">u2")
    path = write_png(tmp_path / "a.png", pixels, COLOR_ALPHA)
    decoded = decode_image(path, value_range=(0, 4095))
    assert np.asarray(decoded).tolist() == [[[0, 128, 255], [255, 255, 255]]]


def test_sixteen_bit_gray_with_alpha_is_scaled_and_laid_on_white(tmp_path):
    pixels = np.array([[[2048, 65535], [1000, 65535], [0, 0]]], dtype=">u2")
    path = write_png(tmp_path / "a.png", pixels, GRAY_ALPHA)
    decoded = decode_image(path, mode="L", value_range=(0, 4095))
    assert np.asarray(decoded).tolist() == [[128, 62, 255]]


@pytest.mark.parametrize("byte_order", ["<", ">"])
def test_either_byte_order_of_a_tiff_is_scaled(tmp_path, byte_order):
    values = np.array([[0, 2048, 4095]], dtype=f"{byte_order}u2")
    Image.fromarray(values).save(tmp_path / "image.tif")
    decoded = decode_image(tmp_path / "image.tif", mode="L", value_range=(0, 4095))
    assert np.asarray(decoded).tolist() == [[0, 128, 255]]


def test_signed_values_are_scaled_from_a_range_and_clipped(tmp_path):
    values = np.array([[-2000, -1000, 0, 1000, 2000]], dtype=np.int32)
    Image.fromarray(values).save(tmp_path / "image.tif")
    decoded = decode_image(tmp_path / "image.tif", mode="L", value_range=(-1000, 1000))
    assert np.asarray(decoded).tolist() == [[0, 0, 128, 255, 255]]


def test_float_values_are_scaled_from_a_range_and_nan_is_black(tmp_path):
    values = np.array([[0, 0.5, 1, np.nan, np.inf]], dtype=np.float32)
    Image.fromarray(values).save(tmp_path / "image.tif")
    decoded = decode_image(tmp_path / "image.tif", mode="L", value_range=(0, 1))
    assert np.asarray(decoded).tolist() == [[0, 128, 255, 0, 255]]


def test_float_pixels_without_a_range_are_refused_with_the_option(tmp_path):
    Image.fromarray(np.array([[-3.5, 812]], dtype=np.float32)).save(tmp_path / "image.tif")
    with pytest.raises(BrokenImageError, match=r"image.tif.*--data.value_range .* -4 812"):
        decode_image(tmp_path / "image.tif")


def test_a_range_of_masks_is_for_eight_bits(tmp_path):
    Image.fromarray(np.array([[0, 1]], dtype=np.uint8)).save(tmp_path / "mask.png")
    decoded = decode_image(tmp_path / "mask.png", mode="L", value_range=(0, 1))
    assert np.asarray(decoded).tolist() == [[0, 255]]


def test_a_range_beyond_eight_bits_leaves_eight_bits_alone(tmp_path):
    Image.new("L", (1, 1), 77).save(tmp_path / "image.png")
    assert first_pixel(tmp_path / "image.png", mode="L", value_range=(0, 4095)) == 77


def test_transparency_is_not_rescaled(tmp_path):
    Image.new("LA", (1, 1), (1, 0)).save(tmp_path / "mask.png")
    assert first_pixel(tmp_path / "mask.png", value_range=(0, 1)) == (255, 255, 255)


def test_a_twelve_bit_image_in_a_range_equals_its_eight_bit_twin(tmp_path):
    twin = np.random.default_rng(0).integers(0, 256, (9, 9), dtype=np.uint8)
    Image.fromarray((twin * (4095 / 255)).round().astype(np.uint16)).save(tmp_path / "deep.png")
    decoded = decode_image(tmp_path / "deep.png", mode="L", value_range=(0, 4095))
    assert (np.asarray(decoded) == twin).all()


def test_an_image_above_pillows_limit_names_the_variable(tmp_path, monkeypatch):
    Image.new("L", (30, 30)).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(BrokenImageError, match=r"large.png.*TLTOOL_MAX_PIXELS=900"):
        decode_image(tmp_path / "large.png")


def test_the_variable_raises_pillows_limit(tmp_path, monkeypatch):
    Image.new("L", (30, 30)).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    monkeypatch.setenv("TLTOOL_MAX_PIXELS", "900")
    assert decode_image(tmp_path / "large.png").size == (30, 30)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_an_image_above_half_of_pillows_limit_is_named(tmp_path, monkeypatch, caplog):
    Image.new("L", (30, 30)).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 800)
    decode_image(tmp_path / "large.png")
    assert "large.png' has 30 x 30 pixels" in caplog.text


def test_a_wrong_limit_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("TLTOOL_MAX_PIXELS", "many")
    with pytest.raises(ValueError, match="TLTOOL_MAX_PIXELS must be a number of pixels"):
        decode_image(tmp_path / "any.png", content=io.BytesIO().getvalue())
