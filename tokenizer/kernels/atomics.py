"""Memory operations between threads without a lock, as LLVM instructions.

What a thread wrote before `store_release` is seen by every thread whose `load_acquire` of the same
item returns the stored value (C++ memory model, release and acquire). On x86 both are plain moves.
"""

from numba import types
from numba.extending import intrinsic

from tokenizer.kernels.intrinsics import item_address, require_integer
from tokenizer.kernels.untyped import Untyped


def _load_acquire(_typingctx: Untyped, array: Untyped, index: Untyped) -> Untyped:
    """Return `array[index]` of an array of words."""
    require_integer(index)

    def codegen(context: Untyped, builder: Untyped, sig: Untyped, args: Untyped) -> Untyped:
        address = item_address(context, builder, sig.args[0], *args)
        return builder.load_atomic(address, "acquire", align=8)

    return array.dtype(array, types.int64), codegen


def _store_release(_typingctx: Untyped, array: Untyped, index: Untyped, word: Untyped) -> Untyped:
    """Write `array[index]` of an array of words."""
    require_integer(index)
    require_integer(word)

    def codegen(context: Untyped, builder: Untyped, sig: Untyped, args: Untyped) -> Untyped:
        address = item_address(context, builder, sig.args[0], *args[:2])
        builder.store_atomic(args[2], address, "release", align=8)
        return context.get_dummy_value()

    return types.void(array, types.int64, array.dtype), codegen


def _replace_if_equal(
    _typingctx: Untyped, array: Untyped, index: Untyped, expected: Untyped, word: Untyped
) -> Untyped:
    """Write `array[index]` if it is `expected`; tell whether it was. No thread comes between."""
    require_integer(index)
    require_integer(expected)
    require_integer(word)

    def codegen(context: Untyped, builder: Untyped, sig: Untyped, args: Untyped) -> Untyped:
        address = item_address(context, builder, sig.args[0], *args[:2])
        result = builder.cmpxchg(address, args[2], args[3], "acq_rel", "acquire")
        return builder.extract_value(result, 1)

    return types.boolean(array, types.int64, array.dtype, array.dtype), codegen


def _fetch_add(_typingctx: Untyped, array: Untyped, index: Untyped, number: Untyped) -> Untyped:
    """Add to `array[index]`; return what it was. No thread comes between."""
    require_integer(index)
    require_integer(number)

    def codegen(context: Untyped, builder: Untyped, sig: Untyped, args: Untyped) -> Untyped:
        address = item_address(context, builder, sig.args[0], *args[:2])
        return builder.atomic_rmw("add", address, args[2], "monotonic")

    return array.dtype(array, types.int64, array.dtype), codegen


# The decorator's own types say nothing of how kernels call these.
load_acquire: Untyped = intrinsic(_load_acquire)
store_release: Untyped = intrinsic(_store_release)
replace_if_equal: Untyped = intrinsic(_replace_if_equal)
fetch_add: Untyped = intrinsic(_fetch_add)
