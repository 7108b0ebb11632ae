"""What LLVM is given: an inner kernel's code is optimised and emitted as part of whatever calls it, and only there.

numba optimises and emits each function by itself, with all that it calls, and again inside each of its callers: for a
machine of 270 small kernels that is nearly all of the compilation. Here a kernel that other kernels call is typed and
lowered once, and stays LLVM IR. An entry (what Python calls, or what is called by address) links the IR of everything
that it reaches, once each, and is optimised and emitted as a whole.

Source: numba's developer manual, "Customizing the compiler" (``CompilerBase``, ``PassManager.add_pass_after``).
"""

from __future__ import annotations

from typing import Any

from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import LoweringPass, register_pass
from numba.core.environment import lookup_environment
from numba.core.typed_passes import AnnotateTypes

from vfbench.kernels.interrupts import raise_if_interrupted


class _WithoutEnvironments:
    """A code generator for what has no machine code, and so no variable for its environment's address."""

    def __init__(self, codegen: Any) -> None:
        self._codegen = codegen

    def set_env(self, name: str, environment: Any) -> None:
        """The entry that the code becomes part of does it."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._codegen, name)


class InnerLibrary(JITCodeLibrary):  # type: ignore[misc]
    """The IR of one kernel that others call; never machine code of its own."""

    @property
    def codegen(self) -> Any:
        return _WithoutEnvironments(self._codegen)

    def finalize(self) -> None:
        self._raise_if_finalized()
        self._finalize_dynamic_globals()
        self._finalized = True

    def own_module(self) -> Any:
        """The kernel's IR without that of its callees."""
        return super()._get_module_for_linking()

    def _get_module_for_linking(self) -> Any:
        """For a caller that is not a kernel, and links what it calls but not what that calls in turn."""
        module = self.own_module().clone()
        for library in reached(self._linking_libraries):
            module.link_in(linkable(library), preserve=True)
        return module


class RareLibrary(InnerLibrary):
    """The IR of a kernel that is hardly ever called: LLVM keeps it apart and out of the way."""

    def finalize(self) -> None:
        for function in self._final_module.functions:
            if not function.is_declaration:
                function.add_function_attribute("noinline")
                function.add_function_attribute("cold")
        super().finalize()


class EntryLibrary(JITCodeLibrary):  # type: ignore[misc]
    """The machine code of an entry, with every kernel that it reaches."""

    def finalize(self) -> None:
        called: list[Any] = self._linking_libraries
        for library in reached(called):
            self._reload_init.update(library._reload_init)
            self._final_module.link_in(linkable(library), preserve=True)
        called.clear()
        raise_if_interrupted()
        super().finalize()
        for variable in self._final_module.global_variables:
            environment = lookup_environment(variable.name)
            if environment is not None and not variable.is_declaration:
                self._codegen.set_env(variable.name, environment)


def linkable(library: Any) -> Any:
    """The module to link: an inner kernel's own, for its callees are linked beside it."""
    return library.own_module() if isinstance(library, InnerLibrary) else library._get_module_for_linking()


def reached(libraries: list[Any]) -> list[Any]:
    """``libraries`` and all that their kernels call, each once."""
    found: dict[int, Any] = {}
    waiting = list(libraries)
    while waiting:
        library = waiting.pop()
        if id(library) not in found:
            found[id(library)] = library
            if isinstance(library, InnerLibrary):
                waiting += library._linking_libraries
    return list(found.values())


class _ChooseLibrary(LoweringPass):  # type: ignore[misc]
    """Give the function a library of this kind before it is lowered."""

    library_class: type[JITCodeLibrary]

    def __init__(self) -> None:
        LoweringPass.__init__(self)

    def run_pass(self, state: Any) -> bool:
        raise_if_interrupted()
        state.library = self.library_class(state.targetctx.codegen(), state.func_id.func_qualname)
        # Before anything is added to it, as numba's own lowering does.
        state.library.enable_object_caching()
        return True


@register_pass(mutates_CFG=False, analysis_only=False)
class _ChooseInnerLibrary(_ChooseLibrary):
    _name = "choose_inner_library"
    library_class = InnerLibrary


@register_pass(mutates_CFG=False, analysis_only=False)
class _ChooseRareLibrary(_ChooseLibrary):
    _name = "choose_rare_library"
    library_class = RareLibrary


@register_pass(mutates_CFG=False, analysis_only=False)
class _ChooseEntryLibrary(_ChooseLibrary):
    _name = "choose_entry_library"
    library_class = EntryLibrary


class InnerCompiler(CompilerBase):  # type: ignore[misc]
    """numba's own pipeline, up to LLVM IR."""

    choice: type[_ChooseLibrary] = _ChooseInnerLibrary

    def define_pipelines(self) -> list[Any]:
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        # The lowering that follows keeps a library that is there already.
        passes.add_pass_after(self.choice, AnnotateTypes)
        passes.finalize()
        return [passes]


class RareCompiler(InnerCompiler):
    """numba's own pipeline, up to LLVM IR that is never inlined."""

    choice = _ChooseRareLibrary


class EntryCompiler(InnerCompiler):
    """numba's own pipeline, for a function that is machine code by itself."""

    choice = _ChooseEntryLibrary
