"""Mutants: copies of a source file with one small mistake each.

The mistakes are those of Offutt et al. 1996, "An Experimental Determination of Sufficient Mutant
Operators": relations, arithmetic, logic and constants, and dropped statements.
"""

import ast
import random
from collections.abc import Iterator
from typing import NamedTuple

_RELATIONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr,
}
_EXTREMES = {"min": "max", "max": "min", "minimum": "maximum", "maximum": "minimum"}


class Mutant(NamedTuple):
    """One mistake: what the source has there, and what it has instead."""

    line: int
    column: int
    original: str
    mutated: str
    source: str
    """The whole file with the mistake."""


def draw_mutants(source: str, count: int, seed: str) -> list[Mutant]:
    """Return at most `count` mutants of a source; more of the same seed begin with the fewer."""
    mutants = [
        mutant
        for node in _live_nodes(ast.parse(source))
        for text in _mistakes(node)
        if (mutant := _replaced(source, node, text)) is not None
    ]
    random.Random(seed).shuffle(mutants)
    return mutants[:count]


def _live_nodes(node: ast.AST) -> Iterator[ast.expr | ast.stmt]:
    """Yield what runs and is more than a message: no annotation, decorator, log line or error."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "exc"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.JoinedStr | ast.Import | ast.ImportFrom | ast.Assert):
                continue
            if not isinstance(child, ast.AST) or _is_talk(child):
                continue
            if isinstance(child, ast.expr | ast.stmt):
                yield child
            yield from _live_nodes(child)


def _is_talk(node: ast.AST) -> bool:
    """Tell whether a statement is a docstring or a log line, or holds for type checkers only."""
    text = ast.unparse(node) if isinstance(node, ast.Expr | ast.If) else ""
    is_string = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return is_string or text.startswith(("logger.", "if TYPE_CHECKING"))


def _mistakes(node: ast.expr | ast.stmt) -> Iterator[str]:
    """Yield the texts that can replace a node."""
    match node:
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            for relation in _RELATIONS[type(op)]:
                yield ast.unparse(ast.Compare(left, [relation()], [right]))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            yield ast.unparse(ast.BinOp(left, _ARITHMETIC[type(op)](), right))
        case ast.BoolOp(op=op, values=values):
            other = ast.Or() if isinstance(op, ast.And) else ast.And()
            yield ast.unparse(ast.BoolOp(other, values))
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert(), operand=operand):
            yield ast.unparse(operand)
        case ast.Constant(value=bool() as value):
            yield repr(not value)
        case ast.Constant(value=int() | float() as value):
            yield from (repr(value + 1), repr(value - 1))
        case ast.IfExp(test=test, body=body, orelse=orelse):
            yield ast.unparse(ast.IfExp(test, orelse, body))
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name in _EXTREMES:
            yield ast.unparse(node).replace(name, _EXTREMES[name], 1)
        case _:
            yield from _statement_mistakes(node)


def _statement_mistakes(node: ast.expr | ast.stmt) -> Iterator[str]:
    match node:
        case ast.Return(value=ast.Compare() | ast.BoolOp() as value):
            yield f"return not ({ast.unparse(value)})"
        case ast.Return(value=ast.expr()):
            yield "return None"
        case ast.AugAssign() | ast.Expr(value=ast.Call()) | ast.Raise() | ast.Continue():
            yield "pass"
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]) | ast.Break():
            yield "pass"


def _replaced(source: str, node: ast.expr | ast.stmt, text: str) -> Mutant | None:
    """Put a text in the place of a node; None where that is the same program or none at all."""
    original = ast.get_source_segment(source, node)
    if original is None or node.end_lineno is None or node.end_col_offset is None:
        return None
    lines = source.encode().splitlines(keepends=True)  # columns of `ast` count bytes
    begin = sum(map(len, lines[: node.lineno - 1])) + node.col_offset
    end = sum(map(len, lines[: node.end_lineno - 1])) + node.end_col_offset
    new = f"({text})" if isinstance(node, ast.expr) else text
    data = source.encode()
    mutated = (data[:begin] + new.encode() + data[end:]).decode()
    try:
        same = ast.dump(ast.parse(mutated)) == ast.dump(ast.parse(source))
    except SyntaxError:
        return None
    return None if same else Mutant(node.lineno, node.col_offset, original, text, mutated)
