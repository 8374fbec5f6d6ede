"""Arithmetic, comparisons and logic of series with series of the same rows and with scalars.

The dtype of the result is pandas' own, from the empty series; both sides are brought to it first, as numpy does. What
pandas decides by the values (integers divided by zero become floats) is not native.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas

from distpool.dataframe import kinds
from distpool.dataframe.expressions import Call, Expr, Literal, call
from distpool.dataframe.header import Field, Header, NotNative
from distpool.dataframe.natives import native
from distpool.dataframe.operations import operands

_COMPARED = ("eq", "ne", "lt", "le", "gt", "ge")
_PYTHON: dict[str, Callable[[Any, Any], Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "truediv": operator.truediv,
    "floordiv": operator.floordiv,
    "mod": operator.mod,
    "and": operator.and_,
    "or": operator.or_,
    "xor": operator.xor,
    **{name: getattr(operator, name) for name in _COMPARED},
}


def _register(name: str, *methods: str, swapped: bool = False) -> None:
    def run(header: Header, other: Any, level: Any = None, fill_value: Any = None, axis: Any = 0) -> Header:
        if level is not None or fill_value is not None:
            raise NotNative("a level or a fill value")
        if header.is_series:
            return binary(name, header, other, swapped)
        return _each_column(name, header, other, swapped)

    native("Series", *methods)(run)
    native("DataFrame", *methods)(run)


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod"):
    _register(_name, _name, f"__{_name}__")
    _register(_name, f"r{_name}", f"__r{_name}__", swapped=True)
_register("truediv", "div")
_register("truediv", "divide")
_register("mul", "multiply")
_register("sub", "subtract")
for _name in _COMPARED:
    _register(_name, _name, f"__{_name}__")
for _name in ("and", "or", "xor"):
    _register(_name, f"__{_name}__")
    _register(_name, f"__r{_name}__", swapped=True)


def _each_column(name: str, header: Header, other: Any, swapped: bool) -> Header:
    if not pandas.api.types.is_scalar(other):
        raise NotNative("a frame with something that is no scalar")
    if not header.proto.columns.is_unique:
        raise NotNative("labels that several columns have")
    parts = [binary(name, header.column(at), other, swapped) for at in range(len(header.fields))]
    python = _PYTHON[name]
    proto = python(other, header.proto) if swapped else python(header.proto, other)
    return header.with_(fields=tuple(part.fields[0] for part in parts), proto=proto)


def binary(name: str, header: Header, other: Any, swapped: bool = False) -> Header:
    """Compute one series with another of the same rows, or with a scalar."""
    python = _PYTHON[name]
    if operands.is_series(other):
        beside = operands.header_beside(other, header)
        proto = python(beside.proto, header.proto) if swapped else python(header.proto, beside.proto)
        sides: list[tuple[Any, Any]] = [
            (header.fields[0], header.proto.dtype),
            (beside.fields[0], beside.proto.dtype),
        ]
    else:
        proto = python(other, header.proto) if swapped else python(header.proto, other)
        sides = [(header.fields[0], header.proto.dtype), (None, other)]
    if swapped:
        sides.reverse()
    kind = kinds.kind_of(proto.dtype)
    if kind is None:
        raise NotNative(f"a result of {proto.dtype}")
    field = _compared(name, sides) if name in _COMPARED else _computed(name, sides, kind)
    return header.with_(fields=(field,), proto=proto)


def _computed(name: str, sides: list[tuple[Any, Any]], kind: str) -> Field:
    if name in ("and", "or", "xor"):
        if kind != "bool":
            raise NotNative("bits of whole numbers")
        return Field(call(name, *(_as_kind(side, "bool") for side in sides)), "bool", missing=False)
    missing = any(field is not None and field.missing for field, _ in sides)
    if kind == "str" and name == "add":
        return Field(call("concat_str", *(_as_kind(side, kind) for side in sides)), kind, missing)
    if kind not in kinds.NUMBERS:
        return _of_times(name, sides, kind)
    if any(field is not None and field.kind not in kinds.NUMBERS | {"bool"} for field, _ in sides):
        raise NotNative("numbers from something else")
    left, right = (_as_kind(side, kind) for side in sides)
    if name in ("floordiv", "mod"):
        if kind not in kinds.INTEGERS or not (isinstance(right, Literal) and right.value > 0):  # type: ignore[operator]
            raise NotNative("whole division by what may be zero, or of floats")
        return Field(call(name, left, right), kind, missing=False)
    if kind in kinds.INTEGERS:
        return Field(call(name, left, right), kind, missing=False)
    if name == "truediv":
        return Field(call(name, left, right), kind, missing=True)
    harmless = name != "mul" and (isinstance(left, Literal) or isinstance(right, Literal))
    return Field(call(name if harmless else f"{name}_float", left, right), kind, missing=True)


def _of_times(name: str, sides: list[tuple[Any, Any]], kind: str) -> Field:
    (left, one), (right, two) = sides
    if (
        name == "sub"
        and left is not None
        and right is not None
        and left.kind == right.kind == f"datetime{kind[8:]}"
    ):
        if not (kinds.is_plain(one) and kinds.is_plain(two)):
            raise NotNative("times with a zone")
        return Field(call("sub", left.expr, right.expr), kind, left.missing or right.missing)
    raise NotNative("this arithmetic of times")


def _as_kind(side: tuple[Any, Any], kind: str) -> Expr:
    field, value = side
    if field is None:
        return operands.scalar(value, kind, None)
    field.computed("arithmetic")
    if kind == "bool" and field.kind != "bool":
        raise NotNative("logic of what is not boolean")
    if kind == "str" and field.kind != "str":
        raise NotNative("text from something else")
    return operands.cast(field, kind)


def _compared(name: str, sides: list[tuple[Any, Any]]) -> Field:
    missing = any(field is not None and field.missing for field, _ in sides)
    left, right = _brought_together(name, sides)
    expr: Expr = call(name, left, right)
    if missing:
        expr = call("is_not_false" if name == "ne" else "is_true", expr)
    return Field(expr, "bool", missing=False)


def _brought_together(name: str, sides: list[tuple[Any, Any]]) -> tuple[Expr, Expr]:
    (left, one), (right, two) = sides
    if left is None or right is None:
        field, dtype, value = (right, two, one) if left is None else (left, one, two)
        if isinstance(dtype, pandas.CategoricalDtype):
            literal: Expr = _code(name, dtype, value)
            column = field.expr
        elif field.kind == "arrow:date32" and type(value).__name__ == "date" and not field.missing:
            literal, column = Literal(value), field.expr
        else:
            field.computed("comparison")
            kind = field.kind
            if kind in kinds.INTEGERS and isinstance(value, float):
                kind = "float64"
            literal, column = operands.scalar(value, kind, dtype), operands.cast(field, kind)
        return (literal, column) if left is None else (column, literal)
    left.computed("comparison")
    right.computed("comparison")
    if isinstance(one, pandas.CategoricalDtype) or isinstance(two, pandas.CategoricalDtype):
        raise NotNative("categories with each other")
    if left.kind == right.kind:
        return left.expr, right.expr
    if left.kind in kinds.NUMBERS and right.kind in kinds.NUMBERS:
        common = np.result_type(np.dtype(left.kind), np.dtype(right.kind)).name
        if "uint64" in (left.kind, right.kind):
            raise NotNative("signed with unsigned")
        return operands.cast(left, common), operands.cast(right, common)
    raise NotNative(f"{one} with {two}")


def _code(name: str, dtype: Any, value: Any) -> Expr:
    if name not in ("eq", "ne") or value not in dtype.categories:
        raise NotNative("a category that is not there, or an order")
    return Literal(int(dtype.categories.get_loc(value)), "codes")


@native("Series", "__invert__")
def invert(header: Header) -> Header:
    """`~s` of booleans."""
    if header.fields[0].kind != "bool":
        raise NotNative("bits of whole numbers")
    return header.with_(fields=(Field(call("not", header.fields[0].expr), "bool", missing=False),))


@native("Series", "__neg__")
def negative(header: Header) -> Header:
    """`-s` of numbers."""
    return _unary(header, "neg")


@native("Series", "abs", "__abs__")
def absolute(header: Header) -> Header:
    """`s.abs()` of numbers."""
    return _unary(header, "abs")


def _unary(header: Header, kernel: str) -> Header:
    field = header.fields[0]
    if field.kind not in kinds.NUMBERS or field.kind.startswith("u"):
        raise NotNative(f"of {header.proto.dtype}")
    return header.with_(fields=(Field(call(kernel, field.expr), field.kind, field.missing),))


@native("Series", "round")
def round_series(header: Header, decimals: int = 0, *args: Any, **options: Any) -> Header:
    """`s.round(2)`, as numpy does it."""
    field = header.fields[0]
    if args or options or type(decimals) is not int or not 0 <= decimals <= 15 or field.kind != "float64":
        raise NotNative("not floats, or a negative number of digits")
    return header.with_(fields=(Field(Call("round", (field.expr,), (decimals,)), field.kind, missing=True),))


@native("Series", "between")
def between(header: Header, left: Any, right: Any, inclusive: str = "both") -> Header:
    """`s.between(a, b)`."""
    if inclusive not in ("both", "left", "right", "neither"):
        raise NotNative("an unknown inclusive")
    low = binary("ge" if inclusive in ("both", "left") else "gt", header, left)
    high = binary("le" if inclusive in ("both", "right") else "lt", header, right)
    return low.with_(
        fields=(Field(call("and", low.fields[0].expr, high.fields[0].expr), "bool", missing=False),)
    )


@native("Series", "isin")
def isin(header: Header, values: Any) -> Header:
    """`s.isin(values)`: of a list of scalars, or of the values of another series or index."""
    field = header.fields[0].computed("isin")
    if isinstance(header.proto.dtype, pandas.CategoricalDtype | pandas.DatetimeTZDtype):
        raise NotNative(f"of {header.proto.dtype}")
    if isinstance(values, pandas.Series | pandas.Index | np.ndarray):
        values = values.tolist()
    if not isinstance(values, list | tuple | set | frozenset):
        raise NotNative(f"a {type(values).__name__}")
    found = tuple(operands.scalar(value, field.kind, header.proto.dtype).value for value in values)
    expr: Expr = Call("is_in", (field.expr,), (field.kind, *sorted(found)))  # type: ignore[type-var]
    if field.missing:
        expr = call("is_true", expr)
    return header.with_(
        fields=(Field(expr, "bool", missing=False),), proto=header.proto.isin([]).astype("bool")
    )
