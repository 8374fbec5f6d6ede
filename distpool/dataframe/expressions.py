"""Expressions over the columns of a plan node: what one row's value is made of.

Three forms: a column by its name in the plan, a literal, and a call of a named kernel. What a kernel does is in
`kernels.py`; the rules about missing values are there too: **missing is null, never NaN**, in every column of a plan.
Every expression is row by row: its value depends on its own row only, so it may be computed before or after a
filter, a sort or a join. What looks at other rows is a plan node.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from distpool.dataframe.content import Content


class Expr(Content):
    """One value for each row."""

    @cached_property
    def columns(self) -> frozenset[str]:
        """The plan columns that it reads."""
        return frozenset()

    @cached_property
    def size(self) -> int:
        """How many calls it would take if nothing were shared."""
        return 1


@dataclass(frozen=True, eq=False)
class Column(Expr):
    """A column of the node below, by its name in the plan."""

    name: str

    @cached_property
    def columns(self) -> frozenset[str]:
        """Itself."""
        return frozenset((self.name,))

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, eq=False)
class Literal(Expr):
    """A constant. `kind` is the column kind that it is taken for; None leaves it as Python has it."""

    value: object
    kind: str | None = None

    def __str__(self) -> str:
        return repr(self.value)


@dataclass(frozen=True, eq=False)
class Call(Expr):
    """A kernel, by name, on the values of its arguments; `options` are plain values."""

    kernel: str
    arguments: tuple[Expr, ...]
    options: tuple[object, ...] = ()

    @cached_property
    def columns(self) -> frozenset[str]:
        """Those of the arguments."""
        return frozenset().union(*(argument.columns for argument in self.arguments))

    @cached_property
    def size(self) -> int:
        """One more than the arguments together."""
        return 1 + sum(argument.size for argument in self.arguments)

    def __str__(self) -> str:
        parts = [str(argument) for argument in self.arguments] + [_short(option) for option in self.options]
        return f"{self.kernel}({', '.join(parts)})"


def call(kernel: str, *arguments: Expr, options: tuple[object, ...] = ()) -> Call:
    """Write a call without the tuple."""
    return Call(kernel, arguments, options)


def substitute(expr: Expr, by: Mapping[str, Expr]) -> Expr:
    """Replace columns by expressions, sharing what stays the same."""
    match expr:
        case Column(name):
            return by.get(name, expr)
        case Call(kernel, arguments, options) if not expr.columns.isdisjoint(by):
            return Call(kernel, tuple(substitute(argument, by) for argument in arguments), options)
        case _:
            return expr


def rewrite(expr: Expr, rule: Callable[[Expr], Expr]) -> Expr:
    """Apply a rule to every part, from the leaves up."""
    if isinstance(expr, Call):
        arguments = tuple(rewrite(argument, rule) for argument in expr.arguments)
        if any(new is not old for new, old in zip(arguments, expr.arguments, strict=True)):
            expr = Call(expr.kernel, arguments, expr.options)
    return rule(expr)


def conjuncts(expr: Expr) -> list[Expr]:
    """Split `a & b & c` into its parts."""
    if isinstance(expr, Call) and expr.kernel == "and":
        return [part for argument in expr.arguments for part in conjuncts(argument)]
    return [expr]


def conjunction(parts: list[Expr]) -> Expr:
    """Join them again. There must be at least one."""
    whole = parts[0]
    for part in parts[1:]:
        whole = call("and", whole, part)
    return whole


def _short(value: object) -> str:
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
