"""What a kernel's machine code is made of, as one digest: the key of its file in the cache.

Followed from the function itself, as the compiler follows it: its bytecode, the constants that it reads, the kernels
that it calls and what these read and call in turn, wherever they stand: in this suite, in a plugin or beside one. So
an edit recompiles what it reaches; not a comment, not a file that no kernel draws from, and in the machine only what
calls it.

A stub counts by what it means on the side in question (``vfbench.machine.sides``). Where nothing can be followed (an
intrinsic, what a plugin gives numba to choose from), the whole text of its file counts, and everything that the file's
names lead to.
"""

from __future__ import annotations

import functools
import hashlib
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import llvmlite
import numba
import numpy as np

_PACKAGE = __name__.rpartition(".")[0]
_OURS = ("decorator.py", "hooks.py", "libraries.py")
"""The files of this package that say how kernels are compiled: they count for each."""
_INSTALLED = (
    *(str(Path(str(module.__file__)).parent.parent) for module in (numba, np, llvmlite)),
    str(Path(functools.__file__).parent),
)
"""What stands here counts by its version."""
_PLAIN = (int, float, complex, str, bytes, type(None), np.generic, np.dtype)


IMPLEMENTATIONS: dict[Any, dict[str, Any]] = {}
"""For each stub, what it means on which side; a record's type says on which it is, by a field of that name."""


def content_key(*functions: Any, sides: Collection[str] = ()) -> str:
    """Sixteen hex digits over everything that the code of ``functions`` is made of when it runs on ``sides``."""
    digest = hashlib.sha256(_toolchain().encode())
    for part in sorted(_parts(functions, sides)):
        digest.update(part.encode(errors="surrogateescape"))
    return digest.hexdigest()[:16]


@functools.cache
def _toolchain() -> str:
    versions = (numba.__version__, llvmlite.__version__, np.__version__, sys.version)
    return "\n".join((*versions, *((Path(__file__).parent / name).read_text() for name in _OURS)))


def _parts(functions: tuple[Any, ...], sides: Collection[str]) -> set[str]:
    """A text for each thing that ``functions`` lead to."""
    # By identity, and held for as long as that is compared.
    found: dict[int, tuple[Any, str]] = {}
    waiting = list(functions)
    while waiting:
        thing = waiting.pop()
        if id(thing) not in found:
            text, leads = _content(thing, sides)
            found[id(thing)] = (thing, text)
            waiting += leads
    return {text for _, text in found.values()}


def _content(thing: Any, sides: Collection[str]) -> tuple[str, list[Any]]:
    """What ``thing`` contributes by itself, and the things that it leads to."""
    if isinstance(thing, ModuleType):
        return _of_module(thing)
    if isinstance(thing, FunctionType) and thing in IMPLEMENTATIONS:
        meanings = [each for side, each in IMPLEMENTATIONS[thing].items() if side in sides]
        followed = [_of_compiled(each) for each in meanings]
        return "\n".join([_name(thing), *(text for text, _ in followed)]), [
            x for _, more in followed for x in more
        ]
    function = getattr(thing, "py_func", None)
    if isinstance(function, FunctionType):
        return _of_compiled(function)
    # An intrinsic holds what it was made of.
    stub = getattr(thing, "_defn", thing)
    module = sys.modules.get(getattr(stub, "__module__", None) or "")
    if isinstance(stub, FunctionType) and module is not None:
        return _of_module(module)
    return _name(thing), []


def _of_compiled(function: FunctionType) -> tuple[str, list[Any]]:
    """A function that is compiled: its code, and each global and captured value by name."""
    lines, leads = [_name(function), *_code(function.__code__)], []
    for name, value in sorted(_read(function).items()):
        described, more = _described(value)
        lines.append(f"{name} = {described}")
        leads += more
    return "\n".join(lines), leads


def _read(function: FunctionType) -> dict[str, Any]:
    """The values outside ``function`` that its code names."""
    names = set(_names(function.__code__))
    read = {name: value for name, value in function.__globals__.items() if name in names}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        read[name] = cell.cell_contents
    return read | {"defaults": (function.__defaults__, function.__kwdefaults__)}


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _code(code: CodeType) -> Iterator[str]:
    """Bytecode and constants, without the docstring."""
    documented = code.co_consts and isinstance(code.co_consts[0], str)
    yield f"{code.co_code.hex()} {code.co_names} {code.co_varnames} {code.co_argcount}"
    for constant in code.co_consts[1 if documented else 0 :]:
        if isinstance(constant, CodeType):
            yield from _code(constant)
        else:
            yield repr(constant)


def _described(value: Any) -> tuple[str, list[Any]]:
    """A value as the compiler sees it, and what it leads to."""
    if isinstance(value, _PLAIN):
        return f"{type(value).__name__} {value!r}", []
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape} {hashlib.sha256(value.tobytes()).hexdigest()}", []
    if isinstance(value, dict):
        value = tuple(value.items())
    if isinstance(value, tuple | list):
        described = [_described(each) for each in value]
        return f"({', '.join(text for text, _ in described)})", [x for _, more in described for x in more]
    return _name(value), [value]


def _of_module(module: ModuleType) -> tuple[str, list[Any]]:
    """A file taken whole: its text, and what its names lead to. What is installed counts by its name."""
    source = str(getattr(module, "__file__", None) or "")
    inside = module.__name__ == _PACKAGE or module.__name__.startswith(f"{_PACKAGE}.")
    if not source.endswith(".py") or source.startswith(_INSTALLED) or inside:
        return module.__name__, []
    values = [value for name, value in vars(module).items() if not name.startswith("__")]
    leads = [lead for value in values for lead in _described(value)[1]]
    return f"{module.__name__}\n{Path(source).read_text()}", leads


def _name(thing: Any) -> str:
    kind = type(thing)
    named = thing if hasattr(thing, "__qualname__") else kind
    return f"{kind.__qualname__} {getattr(named, '__module__', '')}.{named.__qualname__}"
