"""The stages of a plan as a text: what would be sent to workers, if everything were as big as it can be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from distpool.cpus import cpu_count
from distpool.dataframe.fragments.limits import Limits
from distpool.dataframe.fragments.pieces import ByHash, Fragment, Piece, Split, Stage
from distpool.dataframe.fragments.planner import Made, Planner
from distpool.dataframe.fragments.sources import sources_of
from distpool.dataframe.plan import Node


def explained(plan: Node, limits: Limits, text: Callable[[Node, int], str]) -> str:
    """Write the stages of an optimized plan; `text` writes a plan, indented.

    Nothing is run, so nothing is known of what filters leave: where that is little, fewer stages are run.
    """
    limits = replace(limits, cpus=cpu_count())
    planner = Planner(plan, sources_of(plan, limits), limits)
    steps = planner.steps()
    lines: list[str] = []
    made: Made | None = None
    number = 0
    while True:
        try:
            stage = steps.send(made)  # type: ignore[arg-type]
        except StopIteration:
            break
        number += 1
        lines += _stage(number, stage, text)
        made = [_pieces(fragment) for fragment in stage.fragments]
    lines += [f"  {step}: in one fragment, it is not known how to do it in parts" for step in planner.in_one]
    return "\n".join(lines)


def _stage(number: int, stage: Stage, text: Callable[[Node, int], str]) -> list[str]:
    """Write each kind of fragment once: those of one kind differ in what they read only."""
    kinds: dict[tuple[str, Split], list[Fragment]] = {}
    for fragment in stage.fragments:
        kinds.setdefault((_shape(fragment.body), fragment.split), []).append(fragment)
    lines = []
    for (_, split), fragments in kinds.items():
        count = f"{len(fragments)} fragments" if len(fragments) > 1 else "1 fragment"
        lines += [f"  stage {number}: {count}{_into(split)}", text(fragments[0].body, 2)]
    return lines


def _shape(body: Node) -> str:
    return type(body).__name__ + "".join(f"({_shape(below)})" for below in body.inputs)


def _into(split: Split) -> str:
    if split is None:
        return ""
    how = f"the hash of {', '.join(split.keys)}" if isinstance(split, ByHash) else "ranges"
    return f", {split.count} pieces of each by {how}"


def _pieces(fragment: Fragment) -> tuple[Piece, ...]:
    size = fragment.bytes_ // fragment.count + 1
    rows = 1 if fragment.rows is None else fragment.rows // fragment.count + 1
    return tuple(Piece(fragment.content_name, part, rows, size) for part in range(fragment.count))
