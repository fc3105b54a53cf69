"""File formats told by their content, whatever the suffix says."""

import struct
import zipfile
from typing import IO, Literal

Format = Literal["safetensors", "pytorch"]

_LEGACY = b"\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"  # PyTorch before 1.6 begins with this number.

_PAGE = "is a web page: the download went wrong. Download the file itself."
# What a file is instead, by its first bytes in lower case, and how to come by the right one.
_STARTS = {
    **dict.fromkeys((b"<!doctype", b"<html", b"<?xml", b"<head", b"<!--"), _PAGE),
    b"version https://git-lfs": (
        "is a pointer of Git LFS, not the file itself. Type `git lfs pull` in its repository."
    ),
    b"\x89hdf": "is an HDF5 file, as Keras writes it. Convert it to PyTorch first.",
    b"\x1f\x8b": "is compressed with gzip. Unpack it first.",
    b"bzh": "is compressed with bzip2. Unpack it first.",
    b"\xfd7zxz": "is compressed with xz. Unpack it first.",
    b"(\xb5/\xfd": "is compressed with Zstandard. Unpack it first.",
    b"rar!": "is a RAR archive. Unpack it first.",
    b"7z\xbc\xaf": "is a 7z archive. Unpack it first.",
    b"\x93numpy": "is a NumPy array. Save a PyTorch state dict.",
    b"\x80": (
        "is a pickle that PyTorch did not write. Reading one can run its code, so tltool does not. "
        "Save a PyTorch state dict with torch.save."
    ),
}

# What a zip archive holds where it is none of `torch.save`, by the end of a name in it.
_ZIP_MEMBERS = {
    "constants.pkl": (
        "is a TorchScript program, not weights alone. Convert it where you trust it: "
        "`torch.save(torch.jit.load(FILE).state_dict(), 'weights.pth')`."
    ),
    ".npy": "is an archive of NumPy arrays (.npz). Convert it to PyTorch first.",
    ".weights.h5": "is a Keras model. Convert it to PyTorch first.",
    "models/model.json": (
        "is a program of torch.export, not weights alone. Convert it where you trust it: "
        "`torch.save(torch.export.load(FILE).state_dict, 'weights.pth')`."
    ),
}


def file_format(file: IO[bytes]) -> tuple[Format | None, str]:
    """Tell what wrote a file, or what it is instead, in words that follow its name.

    Args:
        file: The file, at its begin; it is there again afterwards.

    Example:
        >>> import io
        >>> file_format(io.BytesIO(b"<!DOCTYPE html><title>Sign in</title>"))
        (None, 'is a web page: the download went wrong. Download the file itself.')
    """
    start = file.read(512)
    try:
        if start.startswith(b"PK"):
            return _format_of_zip(file)
    finally:
        file.seek(0)
    if len(start) > 8 and start[8:9] == b"{" and not any(start[5:8]):
        return "safetensors", ""
    if _LEGACY in start[:32]:
        return "pytorch", ""
    return None, _describe(start)


def _format_of_zip(file: IO[bytes]) -> tuple[Format | None, str]:
    try:
        if not zipfile.is_zipfile(file):
            return None, "is damaged: its end is missing. Download or copy it again."
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, RuntimeError, struct.error, EOFError) as error:
        return None, f"is damaged: {error}. Download or copy it again."
    for end, words in _ZIP_MEMBERS.items():
        if any(name.endswith(end) for name in names):
            return None, words
    if any(name.endswith("/data.pkl") for name in names):
        return "pytorch", ""
    return None, "is a zip archive that PyTorch did not write. Unpack it, and name a file in it."


def _describe(start: bytes) -> str:
    if not start:
        return "is empty. Download or copy it again."
    if not any(start):
        return "holds zeros alone: it was not written to its end. Download or copy it again."
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for known, words in _STARTS.items():
        if text.startswith(known):
            return words
    if start[257:262] == b"ustar":
        return "is a tar archive. Unpack it, and name a file in it."
    is_text = not any(byte < 9 for byte in start)
    found = "is a text file." if is_text else "is no PyTorch and no safetensors file."
    return f"{found} Name one that torch.save or safetensors wrote."
