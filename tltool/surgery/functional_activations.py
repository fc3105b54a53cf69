"""Activations that are no modules: function calls, which no replacement of modules can reach."""

import dis
import functools
import inspect
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType

from torch import nn

from tltool.surgery.activation_kinds import FoundActivation, kind_of
from tltool.surgery.function_kinds import kind_of_function
from tltool.surgery.module_replacement import walk

# Norm layers with a nonlinearity in their formula, and the parameter that is None where it is off.
FUSED = {"EvoNorm2d": "v", "FilterResponseNormTlu2d": "tau"}

#: The attribute of a model that names the method it is run by, where that is not ``forward``.
ENTRY = "entry_method"


def find_functional(model: nn.Module) -> list[FoundActivation]:
    """Return the activations of a model that are out of reach.

    It reads the bytecode of what ``forward`` calls, and looks for functions kept as attributes.
    Tensor methods, as in ``x.relu()``, and functions behind a helper outside the class are not
    seen.

    Example:
        >>> class Block(nn.Module):
        ...     def forward(self, x):
        ...         return nn.functional.relu(x)
        >>> (found,) = find_functional(nn.Sequential(nn.Linear(2, 2), Block()))
        >>> found.names, found.why_kept
        (('1.forward.relu',), 'out of reach: Block calls relu as a function in forward')
    """
    found = []
    modules = [(("",), model), *((place.names, place.module) for place in walk(model))]
    for names, module in modules:
        for inner, kind, reason in _inside(module) if kind_of(module) is None else ():
            dotted = tuple(f"{name}.{inner}".removeprefix(".") for name in names)
            found.append(FoundActivation(dotted, kind, None, f"out of reach: {reason}"))
    return found


def _inside(module: nn.Module) -> Iterator[tuple[str, str, str]]:
    """Yield the name, the kind and the reason of each activation inside one module."""
    owner = type(module).__name__
    for prefix, parameter in FUSED.items():
        if owner.startswith(prefix) and getattr(module, parameter, None) is not None:
            yield parameter, owner.lower(), f"part of the formula of {owner}"
    for attribute, value in vars(module).items():
        kind = kind_of_function(value)
        if kind:
            yield attribute, kind, f"{owner} holds {kind} as a function"
    entry = vars(module).get(ENTRY, "forward")
    for kind, methods in _calls(type(module), entry).items():  # type: ignore[arg-type]  # a class has a hash
        where = " and ".join(methods)
        yield f"{methods[0]}.{kind}", kind, f"{owner} calls {kind} as a function in {where}"


@functools.lru_cache(maxsize=256)  # Models have many modules of one class.
def _calls(cls: type[nn.Module], entry: str) -> dict[str, list[str]]:
    """Return the activations that methods call as functions, and which methods.

    Only methods that ``entry``, usually ``forward``, may call count.
    """
    found: dict[str, list[str]] = {}
    methods = [entry]
    for method in methods:  # It grows on the way.
        for function in _definitions(cls, method):
            for code in _nested(function.__code__):
                for kind in _loaded(code, function.__globals__):
                    if method not in found.setdefault(kind, []):
                        found[kind].append(method)
                methods += [name for name in code.co_names if name not in methods]
    return found


def _definitions(cls: type[nn.Module], method: str) -> Iterator[FunctionType]:
    """Yield a method of a class and of its parents, which ``super()`` may call; not of torch's."""
    for base in cls.__mro__:
        value = base.__dict__.get(method)
        if isinstance(value, staticmethod | classmethod):
            value = value.__func__
        function = inspect.unwrap(value) if callable(value) else None
        if isinstance(function, FunctionType) and not base.__module__.startswith("torch."):
            yield function


def _nested(code: CodeType) -> Iterator[CodeType]:
    """Yield the code of a function and of the functions inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _nested(constant)


def _loaded(code: CodeType, namespace: dict[str, object]) -> Iterator[str]:
    """Yield the kinds of the activations that code reads from modules, as in ``F.relu``."""
    value: object = None
    for instruction in dis.get_instructions(code):
        if instruction.opname == "LOAD_GLOBAL":
            value = namespace.get(instruction.argval)
        elif instruction.opname in {"LOAD_ATTR", "LOAD_METHOD"} and isinstance(value, ModuleType):
            value = getattr(value, instruction.argval, None)
        else:
            value = None
        kind = kind_of_function(value)
        if kind:
            yield kind
