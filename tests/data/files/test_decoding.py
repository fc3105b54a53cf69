import os
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tltool.data.files.decoding import BrokenImageError, decode_image, is_image_name, is_readable

ORIENTATION = 0x0112
UPRIGHT = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: np.rot90,
}


def pixels(image):
    return np.asarray(image).astype(int)


@pytest.fixture
def gradient():
    ramp = np.linspace(0, 255, 64, dtype=np.uint8)
    red, green = np.meshgrid(ramp, ramp[:48])
    return Image.fromarray(np.stack([red, green, red // 2], axis=-1))


@pytest.mark.skipif(os.name != "posix", reason="pipes of POSIX")
def test_a_pipe_is_not_readable_and_nobody_waits_for_it(tmp_path):
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b"",), daemon=True)
    writer.start()
    assert not is_readable(pipe)
    writer.join(0.2)
    assert writer.is_alive()  # It still waits for a reader.
    pipe.read_bytes()


@pytest.mark.parametrize("suffix", ["png", "PNG", "bmp", "tif", "ppm", "tga"])
def test_lossless_formats_give_back_every_pixel(tmp_path, gradient, suffix):
    gradient.save(tmp_path / f"image.{suffix}")
    assert (pixels(decode_image(tmp_path / f"image.{suffix}")) == pixels(gradient)).all()


@pytest.mark.parametrize("suffix", ["jpg", "JPEG", "jfif", "webp", "avif", "jp2"])
def test_lossy_formats_equal_pillow(tmp_path, gradient, suffix):
    path = tmp_path / f"image.{suffix}"
    gradient.save(path)
    expected = Image.open(path).convert("RGB")
    assert (pixels(decode_image(path)) == pixels(expected)).all()
    assert abs(pixels(expected) - pixels(gradient)).max() < 30


def test_lossless_webp_gives_back_every_pixel(tmp_path, gradient):
    gradient.save(tmp_path / "image.webp", lossless=True)
    assert (pixels(decode_image(tmp_path / "image.webp")) == pixels(gradient)).all()


def test_the_first_frame_of_an_animation_is_read(tmp_path):
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "image.gif", save_all=True, append_images=frames[1:])
    assert decode_image(tmp_path / "image.gif").getpixel((0, 0)) == (255, 0, 0)


def test_grayscale_becomes_three_equal_channels(tmp_path, gradient):
    gradient.convert("L").save(tmp_path / "image.png")
    decoded = pixels(decode_image(tmp_path / "image.png"))
    assert (decoded == pixels(gradient.convert("L"))[..., None]).all()


def test_one_channel_on_request(tmp_path, gradient):
    gradient.save(tmp_path / "image.png")
    decoded = decode_image(tmp_path / "image.png", mode="L")
    assert (pixels(decoded) == pixels(gradient.convert("L"))).all()


def test_a_palette_is_looked_up(tmp_path, gradient):
    paletted = gradient.quantize(16)
    paletted.save(tmp_path / "image.png")
    assert (pixels(decode_image(tmp_path / "image.png")) == pixels(paletted.convert("RGB"))).all()


def test_a_bilevel_image_is_black_and_white(tmp_path, gradient):
    gradient.convert("1").save(tmp_path / "image.tif")
    assert set(np.unique(pixels(decode_image(tmp_path / "image.tif")))) == {0, 255}


def test_cmyk_equals_pillow(tmp_path, gradient):
    path = tmp_path / "image.jpg"
    gradient.convert("CMYK").save(path, quality=100, subsampling=0)
    assert abs(pixels(decode_image(path)) - pixels(gradient)).max() < 12


@pytest.mark.parametrize(("alpha", "expected"), [(0, 255), (255, 100), (51, 224)])
def test_transparency_is_laid_on_white(tmp_path, alpha, expected):
    Image.new("RGBA", (4, 4), (100, 100, 100, alpha)).save(tmp_path / "image.png")
    assert decode_image(tmp_path / "image.png").getpixel((0, 0)) == (expected,) * 3


def test_a_transparent_palette_color_is_laid_on_white(tmp_path):
    image = Image.new("P", (4, 4), 0)
    image.putpalette([10, 20, 30])
    image.save(tmp_path / "image.png", transparency=0)
    assert decode_image(tmp_path / "image.png").getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_sixteen_bits_are_scaled_not_clipped(tmp_path, suffix):
    values = np.array([[0, 128, 129, 257, 32896, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / f"image.{suffix}")
    decoded = pixels(decode_image(tmp_path / f"image.{suffix}", mode="L"))
    assert decoded.tolist() == [[0, 0, 1, 1, 128, 255]]


@pytest.mark.parametrize("value", [0.5, 1e6])
def test_float_pixels_are_refused_for_want_of_a_range(tmp_path, value):
    Image.fromarray(np.full((4, 4), value, dtype=np.float32)).save(tmp_path / "image.tif")
    with pytest.raises(BrokenImageError, match="save it with 8 or 16 bits"):
        decode_image(tmp_path / "image.tif")


def test_thirty_two_bit_pixels_are_refused_for_want_of_a_range(tmp_path):
    Image.fromarray(np.full((4, 4), 70000, dtype=np.int32)).save(tmp_path / "image.tif")
    with pytest.raises(BrokenImageError, match="save it with 8 or 16 bits"):
        decode_image(tmp_path / "image.tif")


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
def test_the_exif_orientation_is_applied(tmp_path, gradient, orientation, suffix):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    gradient.save(tmp_path / f"image.{suffix}", exif=exif, lossless=True)
    decoded = pixels(decode_image(tmp_path / f"image.{suffix}"))
    assert (decoded == UPRIGHT[orientation](pixels(gradient))).all()


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "I;16"])
def test_an_uncompressed_tiff_is_turned_in_any_mode(tmp_path, gradient, orientation, mode):
    image = gradient.convert("I" if mode == "I;16" else mode).convert(mode)
    image.save(tmp_path / "stored.tif")
    image.save(tmp_path / "turned.tif", tiffinfo={ORIENTATION: orientation})
    stored = pixels(decode_image(tmp_path / "stored.tif"))
    turned = pixels(decode_image(tmp_path / "turned.tif"))
    assert turned.tolist() == UPRIGHT[orientation](stored).tolist()


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # said by Pillow, which reads on
def test_a_damaged_exif_block_does_not_break_the_image(tmp_path, gradient):
    gradient.save(tmp_path / "image.jpg", exif=b"Exif\x00\x00MM\x00*garbage")
    assert decode_image(tmp_path / "image.jpg").size == gradient.size


def test_a_large_jpeg_is_decoded_at_a_fraction(tmp_path, gradient):
    gradient.resize((1600, 1200)).save(tmp_path / "image.jpg")
    assert decode_image(tmp_path / "image.jpg", size=100).size == (400, 300)


def test_a_jpeg_below_four_times_the_size_is_decoded_in_full(tmp_path, gradient):
    gradient.resize((500, 399)).save(tmp_path / "image.jpg")
    assert decode_image(tmp_path / "image.jpg", size=100).size == (500, 399)


def test_draft_decoding_changes_the_resized_image_by_little(tmp_path, noise):
    noise(width=30, height=20).resize((1500, 1000), Image.Resampling.BICUBIC).save(
        tmp_path / "image.jpg"
    )
    resized = [
        pixels(decode_image(tmp_path / "image.jpg", size=size).resize((150, 100), 3))
        for size in (100, None)
    ]
    assert abs(resized[0] - resized[1]).mean() < 1


def test_an_empty_file_is_named(tmp_path):
    (tmp_path / "image.jpg").touch()
    with pytest.raises(BrokenImageError, match=r"image.jpg': it is empty \(0 bytes\)"):
        decode_image(tmp_path / "image.jpg")


def test_a_text_file_is_named(tmp_path):
    (tmp_path / "image.jpg").write_text("not an image")
    with pytest.raises(BrokenImageError, match=r"image.jpg': its content is no image"):
        decode_image(tmp_path / "image.jpg")


def test_a_truncated_jpeg_is_named_with_the_remedy(tmp_path, truncated):
    path = truncated(tmp_path / "image.jpg")
    with pytest.raises(
        BrokenImageError, match=r"image.jpg': .*Remove it, or set --data.broken_files skip"
    ):
        decode_image(path)


def test_a_truncated_png_is_named(tmp_path, truncated):
    path = truncated(tmp_path / "image.png")
    with pytest.raises(BrokenImageError, match=r"image.png"):
        decode_image(path)


def test_a_damaged_avif_is_named(tmp_path, gradient):
    path = tmp_path / "image.avif"
    gradient.save(path)
    content = bytearray(path.read_bytes())
    content[-40:] = bytes(40)  # Whole, but its colors cannot be decoded.
    path.write_bytes(content)
    with pytest.raises(BrokenImageError, match=r"image.avif': Failed to decode"):
        decode_image(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(BrokenImageError, match=r"image.png': it does not exist"):
        decode_image(tmp_path / "image.png")


def test_heic_without_its_package_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr("tltool.data.files.decoding._has_heif", lambda: False)
    (tmp_path / "image.heic").write_bytes(b"\x00\x00\x00\x18ftypheic")
    with pytest.raises(BrokenImageError, match=r"pip install 'tltool\[heic\]'"):
        decode_image(tmp_path / "image.heic")


@pytest.mark.parametrize("name", ["ant.jpg", "ANT.JPG", "große Ameise 1.HeIc", "a.b.webp"])
def test_images_are_known_by_their_suffix(name):
    assert is_image_name(name)


@pytest.mark.parametrize("name", [".DS_Store", "Thumbs.db", "._ant.jpg", "labels.csv", "jpg"])
def test_other_files_are_no_images(name):
    assert not is_image_name(name)


def test_names_with_spaces_and_accents_are_read(tmp_path: Path, gradient):
    path = tmp_path / "große Ämeise (1) 蟻.PNG"
    gradient.save(path)
    assert decode_image(path).size == gradient.size


def test_heic_equals_its_own_package(tmp_path, gradient):
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    gradient.save(tmp_path / "image.HEIC", quality=90)
    expected = Image.open(tmp_path / "image.HEIC").convert("RGB")
    assert (pixels(decode_image(tmp_path / "image.HEIC")) == pixels(expected)).all()
    assert abs(pixels(expected) - pixels(gradient)).max() < 30


def test_heic_is_read_the_right_way_up(tmp_path, gradient):
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    gradient.save(tmp_path / "image.heic", quality=95, exif=exif.tobytes())
    decoded = pixels(decode_image(tmp_path / "image.heic"))
    assert abs(decoded - np.rot90(pixels(gradient), -1)).max() < 30


def test_a_truncated_heic_is_named(tmp_path, gradient):
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    gradient.resize((400, 300)).save(tmp_path / "image.heic")
    data = (tmp_path / "image.heic").read_bytes()
    (tmp_path / "image.heic").write_bytes(data[: len(data) // 2])
    with pytest.raises(BrokenImageError, match=r"image.heic': .*Remove it"):
        decode_image(tmp_path / "image.heic")
