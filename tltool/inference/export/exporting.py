"""Export of a checkpoint into a format by name."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tltool._lookup import lookup
from tltool._output_file import check_output_file
from tltool.inference.export.onnx_file import write_onnx
from tltool.inference.export.timm_folder import write_timm
from tltool.inference.export.torch_program import write_torch_program
from tltool.inference.export.weights_file import write_weights
from tltool.inference.loading import load
from tltool.inference.predictor import Predictor

FormatName = Literal["onnx", "timm", "safetensors", "torch-export"]


class ExportFormat(NamedTuple):
    """A format that a checkpoint can be exported to.

    Attributes:
        write: Writes a `Predictor` to a path, with the options below, and returns lines to print.
        suffix: The end of the name of the file; empty for a folder.
        options: The keywords of ``write`` that are its own.
        has_unknown: Whether it holds the score of unknown inputs.
    """

    write: Callable[..., list[str]]
    suffix: str
    options: frozenset[str] = frozenset()
    has_unknown: bool = False


FORMATS: dict[str, ExportFormat] = {
    "onnx": ExportFormat(
        write_onnx,
        ".onnx",
        frozenset({"images", "tolerance", "resize", "fold_norms"}),
        has_unknown=True,
    ),
    "timm": ExportFormat(write_timm, ""),
    "safetensors": ExportFormat(write_weights, ".safetensors"),
    "torch-export": ExportFormat(write_torch_program, ".pt2", frozenset({"fold_norms"})),
}


class Exported(NamedTuple):
    """What an export has written.

    Attributes:
        path: The file or the folder.
        lines: What is to be known of it, such as the largest difference from the checkpoint.
        predictor: The checkpoint.
    """

    path: Path
    lines: list[str]
    predictor: Predictor


def export(
    checkpoint: str | Path,
    *,
    to: FormatName = "onnx",
    output: str | Path | None = None,
    **options: Any,
) -> Exported:
    """Write a checkpoint in a format that needs no tltool.

    Args:
        checkpoint: The file.
        to: The format, see `FORMATS`.
        output: What to write; ``None`` for a file or folder beside the checkpoint.
        **options: Those of the format, see `write_onnx` and `write_torch_program`.

    Raises:
        FileNotFoundError: If there is no such checkpoint, or no folder for the output.
        FileExistsError: If the output exists.
        OSError: If it cannot be written, as on a full disk; then there is none.
        ValueError: If the format or an option is unknown, or what was written disagrees with the
            checkpoint.

    Example:
        >>> export("no/such.ckpt", to="onnx")
        Traceback (most recent call last):
        ...
        FileNotFoundError: There is no checkpoint 'no/such.ckpt'. ...
    """
    chosen = lookup(FORMATS, to, kind="format")
    _check_options(to, chosen, options)
    predictor = load(checkpoint)
    path = Path(checkpoint).with_suffix(chosen.suffix) if output is None else Path(output)
    suffixes = {chosen.suffix} if chosen.suffix else ()
    check_output_file(
        path, "--output", suffixes=suffixes, example=f"model{chosen.suffix}", is_new=True
    )
    lines = _written(chosen, predictor, path, options)
    if predictor.trust is not None and not chosen.has_unknown:
        lines.append(
            f"The score of unknown inputs is not part of {to}: it stays with the checkpoint, and "
            "--to onnx takes it along."
        )
    return Exported(path, lines, predictor)


def _written(
    chosen: ExportFormat, predictor: Predictor, path: Path, options: Mapping[str, object]
) -> list[str]:
    """Write the output, and return lines to print."""
    try:
        return chosen.write(predictor, path, **options)
    except OSError as error:
        if error.strerror is None:  # Its message says already what to do.
            raise
        raise OSError(
            f"Cannot write {str(path)!r}: {error.strerror}. Make room there, or set --output to "
            "another place."
        ) from error


def _check_options(to: str, chosen: ExportFormat, options: Mapping[str, object]) -> None:
    """Refuse an option of another format."""
    for name in set(options) - chosen.options:
        fitting = [other for other, each in FORMATS.items() if name in each.options]
        has = ", ".join(sorted(chosen.options)) or "none"
        raise ValueError(
            f"`{name}` is no option of the format {to!r}, which has: {has}."
            + (f" It is one of: {', '.join(fitting)}." if fitting else "")
        )
