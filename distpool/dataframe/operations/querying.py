"""`df.query("a > 1 and b == 'x'")`: the text as an expression over the columns."""

from __future__ import annotations

import ast
from typing import Any

from distpool.dataframe import kinds
from distpool.dataframe.header import Header, NotNative
from distpool.dataframe.natives import native
from distpool.dataframe.operations import arithmetic, rows

_COMPARED: dict[type, str] = {
    ast.Eq: "eq",
    ast.NotEq: "ne",
    ast.Lt: "lt",
    ast.LtE: "le",
    ast.Gt: "gt",
    ast.GtE: "ge",
}
_COMPUTED: dict[type, str] = {
    ast.Add: "add",
    ast.Sub: "sub",
    ast.Mult: "mul",
    ast.Div: "truediv",
    ast.BitAnd: "and",
    ast.BitOr: "or",
}


@native("DataFrame", "query")
def query(header: Header, expr: str, *, inplace: bool = False, **options: Any) -> Header:
    """Filter by a text; names are columns. Variables of the caller (`@x`) are left to pandas."""
    if options or not isinstance(expr, str) or "@" in expr or "`" in expr:
        raise NotNative("variables of the caller, quoted names, or options")
    try:
        tree = ast.parse(expr.strip(), mode="eval").body
    except SyntaxError as error:
        raise NotNative("a text that is no Python expression") from error
    made = _value(header, tree)
    if not isinstance(made, Header) or kinds.base(made.fields[0].kind) != "bool":
        raise NotNative("a condition that is not boolean")
    return rows.kept(header, made.fields[0].expr)


def _value(header: Header, node: ast.expr) -> Any:
    match node:
        case ast.Name(id=name) if name in header.proto.columns and name not in header.proto.index.names:
            return header.column(header.position(name))
        case ast.Constant(value=int() | float() | str() as value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -value
        case ast.UnaryOp(op=ast.Not() | ast.Invert(), operand=inner):
            return arithmetic.invert(_column(_value(header, inner)))
        case ast.BoolOp(op=op, values=values):
            parts = [_value(header, value) for value in values]
            made = parts[0]
            for part in parts[1:]:
                made = _binary("and" if isinstance(op, ast.And) else "or", made, part)
            return made
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _COMPUTED:
            return _binary(_COMPUTED[type(op)], _value(header, left), _value(header, right))
        case ast.Compare(left=left, ops=[ast.In()], comparators=[ast.List(elts=items)]):
            return arithmetic.isin(_column(_value(header, left)), [_value(header, item) for item in items])
        case ast.Compare(left=left, ops=ops, comparators=comparators) if all(
            type(one) in _COMPARED for one in ops
        ):
            sides = [_value(header, side) for side in (left, *comparators)]
            made = None
            for at, one in enumerate(ops):
                part = _binary(_COMPARED[type(one)], sides[at], sides[at + 1])
                made = part if made is None else _binary("and", made, part)
            return made
        case _:
            raise NotNative(f"a {type(node).__name__} in a query")


def _column(value: Any) -> Header:
    if not isinstance(value, Header):
        raise NotNative("a query about constants")
    return value


def _binary(name: str, left: Any, right: Any) -> Header:
    from distpool.dataframe.dispatching import wrap

    if isinstance(left, Header):
        return arithmetic.binary(name, left, wrap(right))
    return arithmetic.binary(name, _column(right), left, swapped=True)
