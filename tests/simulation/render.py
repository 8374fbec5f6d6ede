"""One line for one message: ``time sender -> receiver Message(field=value, ...)``; defaults are left out."""

from __future__ import annotations

from typing import Any

import msgspec

LONG = 48


def line(now: float, sender: str, receiver: str, message: Any) -> str:
    return f"{now * 1000:10.3f} ms  {sender} -> {receiver}  {render(message)}"


def render(value: Any) -> str:
    if isinstance(value, msgspec.Struct):
        fields = [
            f"{field.name}={render(getattr(value, field.name))}"
            for field in msgspec.structs.fields(value)
            if field.required or getattr(value, field.name) != _default(field)
        ]
        return f"{type(value).__name__}({', '.join(fields)})"
    if type(value).__name__ == "Task":
        return f"#{value.key}"
    if isinstance(value, list | tuple):
        items = [render(item) for item in value[:8]]
        if len(value) > 8:
            items.append(f"... {len(value)} in all")
        return "[" + ", ".join(items) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{render(k)}: {render(v)}" for k, v in value.items()) + "}"
    if isinstance(value, float):
        return f"{value:.6g}"
    text = repr(value)
    return text if len(text) <= LONG else text[: LONG - 3] + "..."


def _default(field: msgspec.structs.FieldInfo) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return field.default
