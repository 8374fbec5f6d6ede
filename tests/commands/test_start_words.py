"""Words that `distpool start` does not take are told apart before anything is started."""

from __future__ import annotations

import pytest

from distpool import cli

HEAD = ["start", "--head", "--host", "127.0.0.1"]


def status_of(words: list[str]) -> object:
    try:
        return cli.main(words)
    except SystemExit as ended:
        return ended.code


@pytest.mark.parametrize(
    ("words", "status", "complaint"),
    [
        (["--port", "99999"], 2, "a port is a number from 1 to 65535, or 0 for any, not '99999'"),
        (["--port", "-1"], 2, "a port is a number from 1 to 65535, or 0 for any, not '-1'"),
        (["--resources", '{"x": "much"}'], 2, "has something else than numbers as amounts"),
        (["--resources", '{"x": null}'], 2, "has something else than numbers as amounts"),
        (["--labels", "zone"], 2, "is no JSON object"),
        (["--num-cpus", "two"], 2, "invalid float value: 'two'"),
        (["--name", "b/c"], 1, "cannot be the name of a node"),
        (["--secret-file", "/no/folder/file"], 1, "the secret that was made cannot be kept"),
    ],
)
def test_one_line_and_nothing_started(
    words: list[str], status: int, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of([*HEAD, *words]) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert complaint in err
    assert err.count("\n") == 1
