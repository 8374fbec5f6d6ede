"""Finds what in a pickle cannot be rebuilt, after loading it has failed: ``args[0].connection``.

The C unpickler does not tell where it was. So the pickle is loaded once more by Python's own slow unpickler, which
counts instructions, and then *read*, without running anything, into a tree of what would have been built. The failing
instruction belongs to one node of that tree; the way from the root to it is the path. It never raises.

Loading again runs the user's code again: as far as it came the first time, and only after a failure.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any

from distpool.scheduler.serialize.errors import add_note_once, path_note
from distpool.scheduler.serialize.explain import short_repr


def explain_loading(error: BaseException, data: bytes, label: str, buffers: Any = None) -> None:
    """Hang a note on ``error`` that names the path to what cannot be unpickled.

    Args:
        error: what loading ``data`` raised.
        data: a bare pickle.
        label: how the path begins, for instance "args".
        buffers: the out-of-band buffers; only a list can be gone through again.
    """
    if path_note(error) is not None or not (buffers is None or isinstance(buffers, list)):
        return
    try:
        path = _path_to(_failing_instruction(data, buffers), data)
        if path is not None:
            add_note_once(error, f"at {label}{path}: cannot be unpickled: {type(error).__name__}: {error}")
    except Exception:  # an explanation must never hide what it explains
        return


class _CountingTable(dict[int, Callable[[Any], None]]):
    """The slow unpickler's table of instructions, which counts how often it is asked."""

    count = 0

    def __getitem__(self, instruction: int) -> Callable[[Any], None]:
        self.count += 1
        return super().__getitem__(instruction)


def _failing_instruction(data: bytes, buffers: Any) -> int | None:
    """The number of the instruction that raises; None if this time nothing does."""
    table = _CountingTable(pickle._Unpickler.dispatch)
    unpickler = pickle._Unpickler(io.BytesIO(data), buffers=buffers)
    unpickler.dispatch = table  # type: ignore[misc]
    try:
        unpickler.load()
    except Exception:
        return table.count - 1
    return None


class _Node:
    """Something that a pickle builds. ``parts`` are what it consists of, each with its step of the path."""

    __slots__ = ("instructions", "is_mark", "is_tuple", "items", "parts", "value")

    def __init__(self, instruction: int, value: Any = None, *, is_mark: bool = False) -> None:
        self.instructions = [instruction]
        self.value = value  # of a string
        self.is_mark = is_mark
        self.is_tuple = False
        self.items: list[_Node] = []  # of a tuple; keys and values in turn, of a dictionary
        self.parts: list[tuple[str, _Node]] = []


def _path_to(instruction: int | None, data: bytes) -> str | None:
    """The path to the node that an instruction works on, None if there is no such."""
    if instruction is None:
        return None
    todo, seen = [("", _read_tree(data))], set()
    while todo:
        path, node = todo.pop()
        if instruction in node.instructions:
            return path
        if id(node) not in seen:
            seen.add(id(node))
            todo += [(path + step, part) for step, part in reversed(node.parts)]
    return None


def _read_tree(data: bytes) -> _Node:
    from pickletools import genops, markobject

    stack: list[_Node] = []
    memo: list[_Node] = []
    for number, (opcode, argument, _) in enumerate(genops(data)):
        match opcode.name:
            case "MARK":
                stack.append(_Node(number, is_mark=True))
            case "MEMOIZE":
                memo.append(stack[-1])
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])  # type: ignore[index]
            case "STOP":
                break
            case "POP":
                _drop(stack.pop())
            case "PROTO" | "FRAME" | "READONLY_BUFFER":
                continue
            case name:
                if markobject in opcode.stack_before:
                    taken = _take_to_mark(stack)
                else:
                    start = len(stack) - len(opcode.stack_before) + (name in _IN_PLACE)
                    taken, stack[start:] = stack[start:], []
                if name in _IN_PLACE:
                    stack[-1].instructions.append(number)
                    _IN_PLACE[name](stack[-1], taken)
                else:
                    stack.extend(_made(name, number, argument, taken) for _ in opcode.stack_after)
    return stack[-1]


def _take_to_mark(stack: list[_Node]) -> list[_Node]:
    taken = []
    while not (top := stack.pop()).is_mark:
        taken.append(top)
    return taken[::-1]


def _made(name: str, number: int, argument: Any, taken: list[_Node]) -> _Node:
    node = _Node(number, argument if isinstance(argument, str) else None)
    if name in ("REDUCE", "NEWOBJ", "NEWOBJ_EX"):
        function, arguments = taken[0], taken[1]
        node.items = arguments.items  # of the call
        node.parts = [("", function), *((f".<reduced>{step}", part) for step, part in arguments.parts)]
    else:
        node.items = taken
        node.is_tuple = name.startswith("TUPLE")
        node.parts = [(f"[{index}]", item) for index, item in enumerate(taken)]
    return node


def _drop(node: _Node) -> None:
    # A state setter's call: its value is thrown away, but it was made for its first argument.
    if node.items:
        node.items[0].parts.append((".<state>", node))


def _add_items(node: _Node, taken: list[_Node]) -> None:
    start = sum(step.startswith("[") for step, _ in node.parts)
    node.parts += [(f"[{start + index}]", item) for index, item in enumerate(taken)]


def _add_pairs(node: _Node, taken: list[_Node]) -> None:
    for key, value in zip(taken[::2], taken[1::2], strict=True):
        name = short_repr(key.value) if key.value is not None else f"<key {len(node.parts) // 2}>"
        node.parts += [(f".<key {name}>", key), (f"[{name}]", value)]
        node.items += [key, value]


def _add_state(node: _Node, taken: list[_Node]) -> None:
    (state,) = taken
    # The default state is the __dict__, or (the __dict__, the slots).
    for piece in state.items if state.is_tuple else (state,):
        for key, value in zip(piece.items[::2], piece.items[1::2], strict=False):
            if key.value is not None:
                node.parts.append((f".{key.value}", value))
    node.parts.append((".<state>", state))


#: Instructions that change what is on the stack instead of making something new.
_IN_PLACE: dict[str, Callable[[_Node, list[_Node]], None]] = {
    "APPEND": _add_items,
    "APPENDS": _add_items,
    "ADDITEMS": _add_items,
    "SETITEM": _add_pairs,
    "SETITEMS": _add_pairs,
    "BUILD": _add_state,
}
