"""Each story must play as its transcript says."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from .stage import Story
from .stories import STORIES

HERE = Path(__file__).parent


def transcript(story: Story) -> str:
    head = inspect.getdoc(story) or ""
    return "\n".join([*(f"# {line}" for line in head.splitlines()), "", *story().lines, ""])


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_story(story: Story, request: pytest.FixtureRequest) -> None:
    path = HERE / f"{story.__name__}.txt"
    played = transcript(story)
    if request.config.getoption("--rewrite-scenarios"):
        path.write_text(played)
    assert path.exists(), f"no transcript: run pytest {HERE.name} --rewrite-scenarios, and read what it wrote"
    assert played.splitlines() == path.read_text().splitlines(), (
        "the story has changed: see --rewrite-scenarios"
    )


def test_every_transcript_has_its_story() -> None:
    assert {path.stem for path in HERE.glob("*.txt")} == {story.__name__ for story in STORIES}
