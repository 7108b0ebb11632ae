"""Compile a Python function with numba into machine code that runs in the guest.

numba compiles for the host and hands over optimised LLVM text. From it, code for a plain x86-64 without SSE
is emitted once more, as an object file, and its code is laid out as one image that runs at any address. All
that the function calls must lie in the image: a guest has no libc, no Python and no numba runtime.

Source: the ELF x86-64 psABI for the relocations; numba's native calling convention (result pointer, exception
pointer, arguments; status in eax).
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from vfbench.errors import UserError

GUEST_TRIPLE = "x86_64-unknown-linux-gnu"
GUEST_FEATURES = "-mmx,-sse,-sse2,-avx,+soft-float"


class GuestCodeError(UserError):
    """The function can't be turned into guest code; the message names the function and the symbol."""


@dataclass(frozen=True)
class GuestCode:
    """An image to be copied into guest memory at any 64-byte boundary.

    `entry_offset` is where the function starts in it; `arguments` says how many 64-bit words it takes. The
    function returns an int64, or nothing.
    """

    name: str
    image: bytes
    entry_offset: int
    arguments: int


WITHOUT_LEAVING = {
    "outl %eax, %dx": "nop",
    "inl %dx, %eax": "xorl %eax, %eax",
    "rdtsc": "xorl %eax, %eax; xorl %edx, %edx",
}


def compile_guest(
    function: Callable[..., Any], argument_types: tuple[Any, ...], *, leaves: bool = True
) -> GuestCode:
    """Compile `function` (plain, or wrapped by numba.njit) for the guest.

    Types are numba's: int64 for addresses and counts, `numba.typeof(record)` for a record, which is passed
    by the guest-physical address of its bytes. Raises GuestCodeError if the code needs something that is
    not in a guest. ``leaves=False`` takes every port access out, and every look at the time-stamp counter: what is
    left runs outside a guest too, and does the same there, which is what measuring the one against the other needs.
    """
    text, entry, arguments = _llvm_text(function, argument_types)
    if not leaves:
        for instruction, instead in WITHOUT_LEAVING.items():
            text = text.replace(f'"{instruction}"', f'"{instead}"')
    return _emit(text, entry, arguments, getattr(function, "__name__", entry))


def compile_guest_cached(
    function: Callable[..., Any], argument_types: tuple[Any, ...], key: str
) -> GuestCode:
    """`compile_guest`, kept in the kernels' cache.

    Nearly all of the time goes into numba, before there is any LLVM text to be hashed, so the caller's `key`
    stands for everything that the code is made of (`vfbench.kernels.content_key`).
    """
    from vfbench.kernels import kept_text

    parts = (key, function.__module__, function.__qualname__, str(argument_types), GUEST_FEATURES)
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    text = kept_text(f"{digest[:32]}.guest.json", lambda: _to_json(compile_guest(function, argument_types)))
    return _from_json(text)


def _to_json(code: GuestCode) -> str:
    return json.dumps(asdict(code) | {"image": base64.b64encode(code.image).decode()})


def _from_json(text: str) -> GuestCode:
    fields = json.loads(text)
    return GuestCode(**(fields | {"image": base64.b64decode(fields["image"])}))


@contextmanager
def _no_vectors() -> Iterator[None]:
    """Keep numba from vectorising: without SSE its vectors would be taken apart again, at great length."""
    import numba
    from numba.core.compiler_lock import global_compiler_lock

    config: Any = numba.config
    with global_compiler_lock:
        before = config.LOOP_VECTORIZE, config.SLP_VECTORIZE
        config.LOOP_VECTORIZE = config.SLP_VECTORIZE = 0
        try:
            yield
        finally:
            config.LOOP_VECTORIZE, config.SLP_VECTORIZE = before


def _llvm_text(function: Callable[..., Any], argument_types: tuple[Any, ...]) -> tuple[str, str, int]:
    """Optimised LLVM text, the name of the entry in it, and how many words the entry takes."""
    import numba
    from numba import types

    from vfbench.kernels.libraries import EntryCompiler

    config: Any = numba.config
    njit: Any = numba.njit
    if config.DISABLE_JIT:
        raise GuestCodeError("guest code needs numba's compiler, which NUMBA_DISABLE_JIT switches off")
    plain = getattr(function, "py_func", function)
    with _no_vectors():
        options = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "pipeline_class": EntryCompiler}
        dispatcher = njit(error_model="numpy", **options)(plain)
        dispatcher.compile(argument_types)
    compiled = dispatcher.overloads[argument_types]
    # A function whose only result is a constant is typed as that constant.
    unliteral: Any = types.unliteral
    returned = unliteral(compiled.signature.return_type)
    if returned not in (types.int64, types.none):
        raise GuestCodeError(f"{plain.__name__} returns {returned}; a guest returns an int64 or nothing")
    entry = compiled.fndesc.llvm_func_name
    return compiled.library.get_llvm_str(), entry, _count_words(plain.__name__, argument_types)


def _count_words(name: str, argument_types: tuple[Any, ...]) -> int:
    from numba import types

    for kind in argument_types:
        if not (kind == types.int64 or isinstance(kind, types.Record)):
            raise GuestCodeError(f"{name} takes a {kind}; a guest takes int64 and records")
    return len(argument_types)


def _emit(text: str, entry: str, arguments: int, name: str) -> GuestCode:
    """LLVM text to image: keep what the entry reaches, emit an object, lay it out."""
    import llvmlite.binding as llvm

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    llvm.initialize_native_asmparser()
    target = llvm.Target.from_triple(GUEST_TRIPLE)
    machine = target.create_target_machine(
        cpu="x86-64", features=GUEST_FEATURES, opt=2, reloc="pic", codemodel="small"
    )
    module = llvm.parse_assembly(text)
    _drop_unreachable(module, entry, machine)
    _add_memory_routines(module)
    return _lay_out(machine.emit_object(module), entry, arguments, name)


def _drop_unreachable(module: Any, entry: str, machine: Any) -> None:
    """Wrappers and callees that were inlined would need symbols that the guest's own code does not."""
    import llvmlite.binding as llvm

    for function in module.functions:
        if not function.is_declaration and function.name != entry:
            function.linkage = "internal"
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options())
    passes = llvm.create_new_module_pass_manager()
    passes.add_global_dead_code_eliminate_pass()
    passes.run(module, builder)


# LLVM turns copying and filling loops into calls of these; a guest has no libc, so the image brings them.
_MEMORY_ROUTINES = """
define ptr @memcpy(ptr %to, ptr %from, i64 %count) nounwind {
  call { ptr, ptr, i64 } asm sideeffect "rep movsb",
    "={di},={si},={cx},0,1,2,~{memory},~{dirflag},~{fpsr},~{flags}"(ptr %to, ptr %from, i64 %count)
  ret ptr %to
}
define ptr @memmove(ptr %to, ptr %from, i64 %count) nounwind {
  %below = icmp ult ptr %to, %from
  br i1 %below, label %forward, label %backward
forward:
  %ignored = call ptr @memcpy(ptr %to, ptr %from, i64 %count)
  ret ptr %to
backward:
  %last = sub i64 %count, 1
  %last_to = getelementptr i8, ptr %to, i64 %last
  %last_from = getelementptr i8, ptr %from, i64 %last
  call { ptr, ptr, i64 } asm sideeffect "std; rep movsb; cld",
    "={di},={si},={cx},0,1,2,~{memory},~{dirflag},~{fpsr},~{flags}"(ptr %last_to, ptr %last_from, i64 %count)
  ret ptr %to
}
define ptr @memset(ptr %to, i32 %byte, i64 %count) nounwind {
  call { ptr, i64 } asm sideeffect "rep stosb",
    "={di},={cx},0,1,{ax},~{memory},~{dirflag},~{fpsr},~{flags}"(ptr %to, i64 %count, i32 %byte)
  ret ptr %to
}
"""


def _add_memory_routines(module: Any) -> None:
    import llvmlite.binding as llvm

    if any(
        function.name.startswith(("llvm.memcpy.", "llvm.memmove.", "llvm.memset."))
        for function in module.functions
    ):
        routines = llvm.parse_assembly(f'target triple = "{GUEST_TRIPLE}"\n{_MEMORY_ROUTINES}')
        routines.data_layout = module.data_layout
        module.link_in(routines)


def _lay_out(object_file: bytes, entry: str, arguments: int, name: str) -> GuestCode:
    """Place .text and the constants beside it (jump and lookup tables), and resolve references among them."""
    from elftools.elf.elffile import ELFFile

    elf: Any = ELFFile(io.BytesIO(object_file))
    image = bytearray()
    starts: dict[int, int] = {}
    for index, section in enumerate(elf.iter_sections()):
        if section.name == ".text" or section.name.startswith(".rodata"):
            alignment = max(int(section["sh_addralign"]), 1)
            image.extend(bytes(-len(image) % alignment))
            starts[index] = len(image)
            image.extend(section.data())
    for section in elf.iter_sections():
        if section["sh_type"] == "SHT_RELA" and section["sh_info"] in starts:
            symbols = elf.get_section(section["sh_link"])
            for relocation in section.iter_relocations():
                _relocate(image, starts, elf, symbols, relocation, starts[section["sh_info"]], name)
    (symbol,) = elf.get_section_by_name(".symtab").get_symbol_by_name(entry)
    return GuestCode(name, bytes(image), starts[symbol["st_shndx"]] + symbol["st_value"], arguments)


def _relocate(
    image: bytearray, starts: dict[int, int], elf: Any, symbols: Any, relocation: Any, start: int, name: str
) -> None:
    """Apply one relocation S + A - P within the image, or refuse it by the name of its symbol."""
    from elftools.elf.enums import ENUM_RELOC_TYPE_x64 as kinds

    symbol = symbols.get_symbol(relocation["r_info_sym"])
    section = symbol["st_shndx"]
    relative = relocation["r_info_type"] in (kinds["R_X86_64_PC32"], kinds["R_X86_64_PLT32"])
    if section not in starts or not relative:
        missing = _symbol_name(elf, symbols, symbol, relocation["r_addend"])
        raise GuestCodeError(f"{name} needs {missing}, which a guest does not have{_hint(missing)}")
    place = start + relocation["r_offset"]
    value = starts[section] + symbol["st_value"] + relocation["r_addend"] - place
    image[place : place + 4] = value.to_bytes(4, "little", signed=True)


def _symbol_name(elf: Any, symbols: Any, symbol: Any, addend: int) -> str:
    """The symbol's own name; for one that stands for its section, that of the object it points into."""
    section = symbol["st_shndx"]
    if symbol.name or not isinstance(section, int):
        return str(symbol.name)
    # A PC-relative addend is 4 less than the offset that is meant.
    objects = [s for s in symbols.iter_symbols() if s.name and s["st_shndx"] == section]
    before = [s for s in objects if s["st_value"] <= addend + 4]
    return str(max(before, key=lambda s: s["st_value"]).name if before else elf.get_section(section).name)


def _hint(symbol: str) -> str:
    hints = {
        "NRT_": ": it allocates an array or another object",
        ".const.": ": it raises an exception",
        "Py": ": it calls into Python",
        "numba_": ": it calls numba's runtime",
        "__": ": it computes with floats or 128-bit integers",
    }
    return next((hint for start, hint in hints.items() if symbol.startswith(start)), "")
