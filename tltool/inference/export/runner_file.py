"""Runner as one file, made of the modules that tltool itself decodes and predicts with."""

import ast
import importlib.util
from pathlib import Path

MARK = '"""Runs an ONNX file that tltool has written'
"""How a runner begins."""

_HEAD = f'''{MARK}, on onnxruntime, Pillow and NumPy alone.

python FILE_runner.py FILE.onnx                  is the file what it was, and does what it did?
python FILE_runner.py FILE.onnx IMAGE IMAGE ...  predict images, a line of JSON each

From Python: `from FILE_runner import OnnxModel; OnnxModel("FILE.onnx").predict(["image.jpg"])`.

Made of modules of tltool (Apache-2.0), which are named below.
"""

'''
_STAND_IN = '''

class Tensor:
    """There is no torch here, so nothing is one."""


'''
_TAIL = """

if __name__ == "__main__":
    sys.exit(main())
"""


def runner_source(module: str = "tltool.inference.export.onnx_runner") -> str:
    """Return a module and those of tltool that it imports as the source of one, without tltool.

    So it decodes images as tltool does. Only names of torch's types may be imported beside
    packages that the runner has.

    Example:
        >>> source = runner_source()
        >>> "import torch" in source, "from tltool" in source, "def decode_image(" in source
        (False, False, True)
    """
    parts: dict[str, str] = {}
    imports: set[str] = set()
    _collect(module, parts, imports)
    bodies = [f"# {name}\n\n{part.strip()}\n" for name, part in parts.items()]
    return _HEAD + "\n".join(sorted(imports)) + _STAND_IN + "\n\n".join(bodies) + _TAIL


def _collect(module: str, parts: dict[str, str], imports: set[str]) -> None:
    """Add the text of a module without its imports, behind those of the modules it imports."""
    spec = importlib.util.find_spec(module)
    assert spec is not None and spec.origin is not None  # noqa: S101, PT018  # it is a file of tltool
    text = Path(spec.origin).read_text(encoding="utf-8")
    docstring, *rest = ast.parse(text).body
    lines = text.splitlines()
    for node in (docstring, *rest):
        if node is not docstring and not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        end = node.end_lineno or node.lineno
        lines[node.lineno - 1 : end] = [""] * (end - node.lineno + 1)
        source = node.module or "" if isinstance(node, ast.ImportFrom) else ""
        if source.startswith("tltool."):
            if source not in parts:
                _collect(source, parts, imports)
        elif source != "torch" and node is not docstring:
            imports.add(ast.unparse(node))
    parts[module] = "\n".join(lines)
