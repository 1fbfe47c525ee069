"""Own the few machine operations that Numba has no function for, as LLVM instructions.

Numba's on-disk cache keys a kernel by its own file only: after a change here, remove the caches
(`make clean`), or kernels keep the old instructions.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils, errors
from numba.extending import intrinsic

_I8, _I32, _I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)


def _element_pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    """Return the address of `array[index]`, without a check for negative indices."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [index])


def _prefetch(_typingctx: Any, array: Any, index: Any) -> Any:
    """Ask the processor to bring `array[index]` into its cache; any index is harmless."""
    if not isinstance(index, types.Integer):
        raise errors.TypingError(f"the index must be an integer, not {index}")

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = _element_pointer(context, builder, sig.args[0], *args)
        function: Any = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call] # numba
            builder.module,
            ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, _I32, _I32, _I32]),
            "llvm.prefetch.p0",
        )
        # Arguments: for writing, highest locality, data cache.
        pointer = builder.bitcast(pointer, cgutils.voidptr_t)
        builder.call(function, [pointer, _I32(1), _I32(3), _I32(1)])
        return context.get_dummy_value()

    return types.void(array, types.int64), codegen


# `Any`, because the decorator's own types know nothing of how kernels call it.
prefetch: Any = intrinsic(_prefetch)
