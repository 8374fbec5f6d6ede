"""Arithmetic, comparisons and logic of series with series of the same rows and with scalars.

The dtype of the result is pandas' own, from the empty series; both sides are brought to it first, as numpy does. What
pandas decides by the values (integers divided by zero become floats) is not native.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas
from pandas.api.types import is_scalar

from distpool.dataframe import kinds
from distpool.dataframe.expressions import Call, Column, Expr, Literal, call
from distpool.dataframe.header import Field, Header, NotNative
from distpool.dataframe.natives import native
from distpool.dataframe.operations import operands
from distpool.dataframe.plan import Distinct, Filter, Project

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
    if not operands.is_series(other) and not is_scalar(other):
        raise NotNative(f"a {type(other).__name__}")
    if operands.is_series(other):
        header, beside = operands.beside(header, other)
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
    if kinds.is_nullable(kind):
        field = _nullable(name, sides, kind)
    elif any(side is not None and kinds.is_nullable(side.kind) for side, _ in sides):
        raise NotNative(f"{proto.dtype} of nullable values")
    else:
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


def _nullable(name: str, sides: list[tuple[Any, Any]], kind: str) -> Field:
    """A result that has NA where either side is missing; of logic where the other side does not settle it."""
    if len({field.kind[:3] for field, _ in sides if field is not None and kinds.is_nullable(field.kind)}) > 1:
        raise NotNative("arrays of different kinds")
    missing = any(field is not None and field.missing for field, _ in sides)
    values = [
        (field if field is None else replace(field, kind=kinds.base(field.kind)), one) for field, one in sides
    ]
    if name in _COMPARED:
        return Field(call(name, *_brought_together(name, values)), kind, missing)
    made = kinds.base(kind)
    if name in ("and", "or", "xor"):
        if made != "bool":
            raise NotNative("bits of whole numbers")
        first = sides[0][0]
        if kind.startswith("pa:") and first is not None and first.kind != kind:
            # numpy asks each value of Arrow's whether it is true, which NA is not to be asked.
            raise NotNative("logic of an array of another kind with one of Arrow's")
        return Field(call(name, *(_as_kind(value, "bool") for value in values)), kind, missing)
    if made == "str" and name == "add":
        return Field(call("concat_str", *(_as_kind(value, "str") for value in values)), kind, missing)
    before = {field.kind for field, _ in values if field is not None}
    if not before <= kinds.NUMBERS or "float32" in {made, *before} or made not in kinds.NUMBERS:
        raise NotNative("arithmetic of this dtype")
    left, right = (_as_kind(value, made) for value in values)
    if made in kinds.INTEGERS and kind.startswith("pa:"):
        # Arrow raises what numpy lets run over: so does this, and pandas then raises it.
        if name not in ("add", "sub", "mul"):
            raise NotNative("whole division")
        return Field(Call(f"{name}_checked", (left, right), (made,)), kind, missing)
    if name in ("floordiv", "mod"):
        if made not in kinds.INTEGERS or not (isinstance(right, Literal) and right.value > 0):  # type: ignore[operator]
            raise NotNative("whole division by what may be zero, or of floats")
        return Field(call(name, left, right), kind, missing)
    if made in kinds.INTEGERS:
        return Field(call(name, left, right), kind, missing)
    return Field(call(name if name == "truediv" else f"{name}_float", left, right), kind, missing=True)


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
    field = header.fields[0]
    if kinds.base(field.kind) != "bool":
        raise NotNative("bits of whole numbers")
    return header.with_(fields=(replace(field, expr=call("not", field.expr)),))


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
    kind = kinds.base(field.kind)
    if kind not in kinds.NUMBERS or kind.startswith("u"):
        raise NotNative(f"of {header.proto.dtype}")
    if field.kind.startswith("pa:") and kind not in kinds.FLOATS:
        raise NotNative("what Arrow may refuse")
    return header.with_(fields=(Field(call(kernel, field.expr), field.kind, field.missing),))


@native("Series", "round")
def round_series(header: Header, decimals: int = 0, *args: Any, **options: Any) -> Header:
    """`s.round(2)`, as numpy does it."""
    field = header.fields[0]
    if (
        args
        or options
        or type(decimals) is not int
        or not 0 <= decimals <= 15
        or field.kind not in ("float64", "na:float64")
    ):
        raise NotNative("not floats, or a negative number of digits")
    return header.with_(fields=(Field(Call("round", (field.expr,), (decimals,)), field.kind, missing=True),))


@native("Series", "between")
def between(header: Header, left: Any, right: Any, inclusive: str = "both") -> Header:
    """`s.between(a, b)`."""
    if inclusive not in ("both", "left", "right", "neither"):
        raise NotNative("an unknown inclusive")
    low = binary("ge" if inclusive in ("both", "left") else "gt", header, left)
    high = binary("le" if inclusive in ("both", "right") else "lt", header, right)
    one, two = low.fields[0], high.fields[0]
    made = Field(call("and", one.expr, two.expr), one.kind, one.missing or two.missing)
    return low.with_(fields=(made,))


@native("Series", "isin")
def isin(header: Header, values: Any) -> Header:
    """`s.isin(values)`: of a list of scalars, or of the values of another series or index."""
    field = header.fields[0].computed("isin")
    if isinstance(header.proto.dtype, pandas.CategoricalDtype | pandas.DatetimeTZDtype):
        raise NotNative(f"of {header.proto.dtype}")
    if operands.is_series(values):
        known = _is_in_lazy(header, field, values)
        if known is not None:
            return known
    if isinstance(values, pandas.Series | pandas.Index | np.ndarray):
        values = values.tolist()
    if not isinstance(values, list | tuple | set | frozenset):
        raise NotNative(f"a {type(values).__name__}")
    kind = kinds.base(field.kind)
    if not kind == "str" and any(isinstance(value, str) for value in values):
        raise NotNative("texts among what is no text: none of them is found")
    found = tuple(operands.scalar(value, field.kind, header.proto.dtype).value for value in values)
    return _where_in(header, Call("is_in", (field.expr,), (kind, *sorted(found))))  # type: ignore[type-var]


def _is_in_lazy(header: Header, field: Field, values: Any) -> Header | None:
    """Of the values of a lazy series, which need not come here as objects of Python's."""
    import io

    from distpool.dataframe import running
    from distpool.dataframe.dispatching import header_of
    from distpool.dataframe.objects import is_lazy

    if not is_lazy(values):
        return None
    other = header_of(values).grounded()
    kind = other.fields[0].computed("isin").kind
    if kind != field.kind or not kinds.same_dtype(header.proto.dtype, other.proto.dtype):
        raise NotNative("values of another dtype")
    there = Filter(
        Project(other.base, (("value", other.fields[0].expr),)), call("is_not_null", Column("value"))
    )
    if field.missing and operands.really_missing(other, other.fields[0]):
        raise NotNative("missing values are found among missing values")
    found, column = running.run(Distinct(there, ("value",), "first", ordered=False)), io.BytesIO()
    found.write_ipc(column)
    return _where_in(header, Call("is_in_column", (field.expr,), (column.getvalue(),)))


def _where_in(header: Header, expr: Expr) -> Header:
    field = header.fields[0]
    if field.missing:
        expr = call("is_true", expr)
    proto = header.proto.isin([])
    kind = kinds.base(field.kind)
    if field.kind.startswith("na:") and kind != "str":
        return header.with_(fields=(Field(expr, "na:bool", missing=False),), proto=proto.astype("boolean"))
    return header.with_(fields=(Field(expr, "bool", missing=False),), proto=proto.astype("bool"))
