"""The type of what Numba and llvmlite hand us: compiled functions, types, values in LLVM code."""

from typing import Any, TypeAlias

Untyped: TypeAlias = Any
"""Neither library has type annotations, so mypy can check nothing of such an object."""
