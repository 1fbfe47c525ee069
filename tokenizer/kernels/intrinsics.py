"""The few machine operations that Numba has no function for, as LLVM instructions.

LLVM compiles the 64-byte vectors to AVX-512, AVX2 or NEON, whichever the processor has.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils, errors
from numba.extending import intrinsic

from tokenizer.kernels.untyped import Untyped

BLOCK_BYTES = 64
"""Bytes that are classified in one step: one bit each in a 64-bit mask."""

_I1, _I8, _I32, _I64 = ir.IntType(1), ir.IntType(8), ir.IntType(32), ir.IntType(64)
_BLOCK = ir.VectorType(_I8, BLOCK_BYTES)


def item_address(
    context: Untyped, builder: Untyped, array_type: Untyped, array: Untyped, index: Untyped
) -> Untyped:
    """Return the address of `array[index]`, without a check for negative indices."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [index])


def require_integer(index: Untyped) -> None:
    """Raise `TypingError` unless the argument's type is an integer."""
    if not isinstance(index, types.Integer):
        raise errors.TypingError(f"the argument must be an integer, not {index}")


def _require_items(array: Untyped) -> None:
    if not (isinstance(array, types.Array) and array.ndim == 1 and array.is_c_contig):
        raise errors.TypingError(f"the argument must be a contiguous 1-D array, not {array}")


def _load_unaligned(builder: Untyped, address: Untyped, kind: Untyped) -> Untyped:
    value = builder.load(builder.bitcast(address, kind.as_pointer()))
    value.align = 1
    return value


def load_block(
    context: Untyped,
    builder: Untyped,
    array_type: Untyped,
    array: Untyped,
    index: Untyped,
    ahead: int = 0,
) -> Untyped:
    """Return the 64 bytes from `array[index + ahead]` on as a vector."""
    index = builder.add(index, _I64(ahead))
    address = item_address(context, builder, array_type, array, index)
    return _load_unaligned(builder, address, _BLOCK)


def bits_of(builder: Untyped, truths: Untyped) -> Untyped:
    """Pack 64 truth values into a word, that of the lowest address in the lowest bit."""
    return builder.bitcast(truths, _I64)


def all_bytes(value: int) -> Untyped:
    """Return a vector of 64 times the same byte."""
    return ir.Constant(_BLOCK, [value] * BLOCK_BYTES)


def _prefetch(_typingctx: Untyped, array: Untyped, index: Untyped) -> Untyped:
    """Ask the processor to bring `array[index]` into its cache, to be read; any index is harmless.

    To be written it would be taken away from the other processors.
    """
    require_integer(index)

    def codegen(context: Untyped, builder: Untyped, sig: Untyped, args: Untyped) -> Untyped:
        address = item_address(context, builder, sig.args[0], *args)
        function: Untyped = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call] # numba
            builder.module,
            ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, _I32, _I32, _I32]),
            "llvm.prefetch.p0",
        )
        # Arguments: for reading, highest locality, data cache.
        address = builder.bitcast(address, cgutils.voidptr_t)
        builder.call(function, [address, _I32(0), _I32(3), _I32(1)])
        return context.get_dummy_value()

    return types.void(array, types.int64), codegen


def _borrowed(_typingctx: Untyped, arrays: Untyped) -> Untyped:
    """Return a tuple of the same arrays that counts no references to them.

    Numba counts by atomic operations whenever a tuple is passed on or an array taken out of it: two
    fifths of the time of many small merges. The caller's references keep the arrays alive.
    """
    kinds: Untyped = arrays
    if not isinstance(arrays, types.BaseNamedTuple) or not all(
        isinstance(kind, types.Array) for kind in kinds
    ):
        raise errors.TypingError(f"the argument must be a named tuple of arrays, not {arrays}")

    def codegen(context: Untyped, builder: Untyped, sig: Untyped, args: Untyped) -> Untyped:
        items = []
        for place, kind in enumerate(kinds):
            value = builder.extract_value(args[0], place)
            array = context.make_array(kind)(context, builder, value)
            array.meminfo = ir.Constant(array.meminfo.type, None)
            items.append(array._getvalue())
        return context.make_tuple(builder, sig.return_type, items)

    return kinds(kinds), codegen


def _load_item(_typingctx: Untyped, array: Untyped, index: Untyped) -> Untyped:
    """Return `array[index]` of a contiguous 1-D array; the index must not be negative.

    Numba lets a negative index count from the end, at the price of a comparison and a selection
    for every access; without them counting stories took 5.1 for 6.7 ns a pretoken.
    """
    _require_items(array)
    require_integer(index)

    def codegen(context: Untyped, builder: Untyped, sig: Untyped, args: Untyped) -> Untyped:
        return builder.load(item_address(context, builder, sig.args[0], *args))

    return array.dtype(array, types.int64), codegen


def _store_item(_typingctx: Untyped, array: Untyped, index: Untyped, value: Untyped) -> Untyped:
    """Write `array[index]` of a contiguous 1-D array; the index must not be negative."""
    _require_items(array)
    require_integer(index)
    require_integer(value)

    def codegen(context: Untyped, builder: Untyped, sig: Untyped, args: Untyped) -> Untyped:
        builder.store(args[2], item_address(context, builder, sig.args[0], *args[:2]))
        return context.get_dummy_value()

    return types.void(array, types.int64, array.dtype), codegen


def _load_word(_typingctx: Untyped, array: Untyped, index: Untyped) -> Untyped:
    """Return the 8 bytes from `array[index]` on as a little-endian word, at any alignment."""
    require_integer(index)

    def codegen(context: Untyped, builder: Untyped, sig: Untyped, args: Untyped) -> Untyped:
        return _load_unaligned(builder, item_address(context, builder, sig.args[0], *args), _I64)

    return types.uint64(array, types.int64), codegen


def _store_word(_typingctx: Untyped, array: Untyped, index: Untyped, word: Untyped) -> Untyped:
    """Write a word's 8 bytes from `array[index]` on, at any alignment, for any item type."""
    require_integer(index)
    require_integer(word)

    def codegen(context: Untyped, builder: Untyped, sig: Untyped, args: Untyped) -> Untyped:
        address = item_address(context, builder, sig.args[0], *args[:2])
        store = builder.store(args[2], builder.bitcast(address, _I64.as_pointer()))
        store.align = 1
        return context.get_dummy_value()

    return types.void(array, types.int64, types.uint64), codegen


def _trailing_zeros(_typingctx: Untyped, word: Untyped) -> Untyped:
    """Return the place of the lowest set bit; of zero, 64."""
    require_integer(word)

    def codegen(_context: Untyped, builder: Untyped, _sig: Untyped, args: Untyped) -> Untyped:
        return builder.cttz(args[0], _I1(0))

    return types.int64(types.uint64), codegen


def _count_bits(_typingctx: Untyped, word: Untyped) -> Untyped:
    """Return how many bits are set."""
    require_integer(word)

    def codegen(_context: Untyped, builder: Untyped, _sig: Untyped, args: Untyped) -> Untyped:
        return builder.ctpop(args[0])

    return types.int64(types.uint64), codegen


def _equal_mask(_typingctx: Untyped, array: Untyped, index: Untyped, byte: Untyped) -> Untyped:
    """Return the mask of the 64 bytes from `array[index]` on that equal `byte`."""
    require_integer(index)
    require_integer(byte)

    def codegen(context: Untyped, builder: Untyped, sig: Untyped, args: Untyped) -> Untyped:
        block = load_block(context, builder, sig.args[0], *args[:2])
        one = builder.insert_element(ir.Constant(_BLOCK, ir.Undefined), args[2], _I32(0))
        zeros = ir.Constant(ir.VectorType(_I32, BLOCK_BYTES), [0] * BLOCK_BYTES)
        wanted = builder.shuffle_vector(one, ir.Constant(_BLOCK, ir.Undefined), zeros)
        return bits_of(builder, builder.icmp_unsigned("==", block, wanted))

    return types.uint64(array, types.int64, types.uint8), codegen


def _classify_block(_typingctx: Untyped, array: Untyped, index: Untyped) -> Untyped:
    r"""Return six masks of the 64 bytes from `array[index]` on.

    In order: ASCII letters, digits, whitespace (GPT-2's `\s` in ASCII), spaces, apostrophes, and
    bytes beyond ASCII.
    """
    require_integer(index)

    def codegen(context: Untyped, builder: Untyped, sig: Untyped, args: Untyped) -> Untyped:
        block = load_block(context, builder, sig.args[0], *args)

        def in_range(values: Untyped, first: str, count: int) -> Untyped:
            # One unsigned comparison for both ends: smaller values wrap around to large ones.
            return builder.icmp_unsigned(
                "<", builder.sub(values, all_bytes(ord(first))), all_bytes(count)
            )

        def equals(value: str) -> Untyped:
            return builder.icmp_unsigned("==", block, all_bytes(ord(value)))

        spaces = equals(" ")
        masks = (
            in_range(builder.or_(block, all_bytes(0x20)), "a", 26),
            in_range(block, "0", 10),
            builder.or_(in_range(block, "\t", 5), spaces),
            spaces,
            equals("'"),
            builder.icmp_signed("<", block, all_bytes(0)),
        )
        words = [bits_of(builder, mask) for mask in masks]
        return context.make_tuple(builder, sig.return_type, words)

    masks: Untyped = types.UniTuple(types.uint64, 6)  # type: ignore[no-untyped-call] # numba
    return masks(array, types.int64), codegen


# The decorator's own types say nothing of how kernels call these.
prefetch: Untyped = intrinsic(_prefetch)
borrowed: Untyped = intrinsic(_borrowed)
load_item: Untyped = intrinsic(_load_item)
store_item: Untyped = intrinsic(_store_item)
load_word: Untyped = intrinsic(_load_word)
store_word: Untyped = intrinsic(_store_word)
trailing_zeros: Untyped = intrinsic(_trailing_zeros)
count_bits: Untyped = intrinsic(_count_bits)
equal_mask: Untyped = intrinsic(_equal_mask)
classify_block: Untyped = intrinsic(_classify_block)
