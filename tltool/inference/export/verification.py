"""Verification of an exported file: it replays its golden images."""

from pathlib import Path

from tltool.inference.export.onnx_file import check_packages
from tltool.inference.export.onnx_runner import ExportCheck, OnnxModel


def verify_export(path: Path) -> ExportCheck:
    """Replay the golden images of an exported file, and name what is not as it was at the export.

    Its weights, graph and metadata are compared with their hashes; packages of another version are
    named. The runner beside the file does the same without torch.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds no golden images.

    Example:
        >>> verify_export(Path("no/such.onnx"))
        Traceback (most recent call last):
        ...
        FileNotFoundError: There is no file 'no/such.onnx'.
    """
    check_packages()
    if path.is_file() and path.suffix.lower() != ".onnx":
        raise ValueError(
            f"{str(path)!r} holds no golden images: of exports, an .onnx file alone has some."
        )
    return OnnxModel(path).verify()
