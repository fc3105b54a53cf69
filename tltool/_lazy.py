"""Public names that are imported on first use, so that `import tltool` costs nothing."""

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def lazy_exports(
    package: str, exports: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return ``__getattr__``, ``__dir__`` and ``__all__`` of a package (PEP 562).

    Args:
        package: The package's ``__name__``.
        exports: From public name to the module that defines it.

    Example:
        >>> getattribute, _, names = lazy_exports("tltool", {"OrderedDict": "collections"})
        >>> names, getattribute("OrderedDict").__name__
        (['OrderedDict'], 'OrderedDict')
    """
    names = sorted(exports)

    def __getattr__(name: str) -> Any:  # noqa: N807  # it becomes the package's __getattr__
        if name not in exports:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(exports[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    def __dir__() -> list[str]:  # noqa: N807  # it becomes the package's __dir__
        return sorted({*vars(sys.modules[package]), *names})

    return __getattr__, __dir__, names
