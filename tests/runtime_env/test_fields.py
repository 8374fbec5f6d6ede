"""What a runtime_env may say, and what one that is wrong is told."""

import json
import math
import os
import pickle
import threading
from pathlib import Path
from typing import Any

import pytest

from distpool.runtime_envs import RuntimeEnv, RuntimeEnvConfig, merge
from tests.runtime_env.workers import Place

WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"env_var": {}}, ValueError, "no field 'env_var': did you mean 'env_vars'?"),
    ({"xyzzy": 1}, ValueError, "no field 'xyzzy': there are env_vars, working_dir"),
    ({"xyzzy": None}, ValueError, "no field 'xyzzy'"),
    ({"env_vars": []}, TypeError, r"\['env_vars'\] must be a dict of texts, not list"),
    ({"env_vars": {"A": 1}}, TypeError, r"dict of texts, not {'A': 1}: use str\(\)"),
    ({"env_vars": {"A=B": "1"}}, ValueError, "no environment can have {'A=B': '1'}"),
    ({"env_vars": {"": "1"}}, ValueError, "no environment can have"),
    ({"env_vars": {"A": "\0"}}, ValueError, "no environment can have"),
    ({"working_dir": 3}, TypeError, "must be the path of a folder or of a .zip file, not int: 3"),
    ({"working_dir": ""}, ValueError, "not an empty text"),
    ({"working_dir": "s3://bucket/a.zip"}, ValueError, "'s3://bucket/a.zip' is no local path.*download it"),
    ({"py_modules": "mod"}, TypeError, "must be a list of paths"),
    ({"py_modules": [1]}, TypeError, "must be a list of paths"),
    ({"py_modules": ["https://x/y.zip"]}, ValueError, "is no local path"),
    ({"excludes": "*.log"}, TypeError, "must be a list of patterns"),
    ({"pip": 1}, TypeError, r"\['pip'\] must be a list of requirements"),
    ({"pip": ["a", 1]}, TypeError, "must be a list of requirements"),
    ({"pip": {"package": ["a"]}}, ValueError, r"\['pip'\] has no field 'package': did you mean 'packages'"),
    ({"pip": {"pip_check": True}}, ValueError, "has no 'packages'"),
    ({"pip": {"packages": ["a"], "pip_check": 1}}, TypeError, "pip.pip_check.*True or False"),
    ({"uv": {"packages": ["a"], "uv_version": 1}}, TypeError, "uv.uv_version.*a text such as"),
    ({"uv": {"packages": ["a"], "uv_pip_install_options": "-q"}}, TypeError, "a list of texts"),
    ({"pip": ["a"], "uv": ["b"]}, ValueError, "both 'pip' and 'uv'"),
    ({"conda": "env"}, ValueError, r"\['conda'\] is not supported here; install packages with pip="),
    ({"image_uri": "x"}, ValueError, "is not supported here; start the nodes in a container"),
    ({"container": {}}, ValueError, "is not supported here"),
    ({"nsight": "default"}, ValueError, "under the profiler"),
    ({"rocprof_sys": "default"}, ValueError, "under the profiler"),
    ({"java_jars": []}, ValueError, "only Python workers"),
    ({"py_executable": "python3.9"}, ValueError, "start the program with that one"),
    ({"worker_process_setup_hook": 3}, TypeError, "must be a function without arguments"),
    ({"worker_process_setup_hook": "function"}, ValueError, "'module.function'"),
    ({"config": 3}, TypeError, "must be a dict or a RuntimeEnvConfig"),
    ({"config": {"timeout": 3}}, ValueError, "no field 'timeout'"),
    ({"config": {"setup_timeout_seconds": 0}}, ValueError, "above 0, or -1"),
    ({"config": {"setup_timeout_seconds": math.nan}}, ValueError, "above 0, or -1"),
    ({"config": {"setup_timeout_seconds": "9"}}, TypeError, "a number of seconds"),
    ({"config": {"eager_install": 1}}, TypeError, "True or False"),
    ({"config": {"log_files": ["a"]}}, ValueError, "log_files is not supported"),
]


@pytest.mark.parametrize(("env", "kind", "text"), WRONG, ids=[str(env) for env, _, _ in WRONG])
def test_what_is_wrong_is_named_with_the_remedy(
    place: Place, env: Any, kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind, match=text) as caught:
        place.prepare(env)
    assert "\n" not in str(caught.value)
    with pytest.raises(kind, match=text):
        RuntimeEnv(**env)


@pytest.mark.parametrize("env", [3, "pip", ["pip"]])
def test_what_is_no_dict_at_all(place: Place, env: Any) -> None:
    with pytest.raises(TypeError, match="must be a dict or a RuntimeEnv"):
        place.prepare(env)


def test_a_runtime_env_is_a_dict_without_what_was_not_given() -> None:
    env = RuntimeEnv(env_vars={"A": "1"}, pip=["a"], config=RuntimeEnvConfig(setup_timeout_seconds=5))
    assert env == {
        "env_vars": {"A": "1"},
        "pip": ["a"],
        "config": {"setup_timeout_seconds": 5, "eager_install": True, "log_files": None},
    }
    assert type(env.to_dict()) is dict
    assert RuntimeEnv.deserialize(env.serialize()) == env
    assert json.loads(env.serialize())["pip"] == ["a"]
    copy = pickle.loads(pickle.dumps(env))
    assert (type(copy), copy) == (RuntimeEnv, env)
    assert RuntimeEnv() == {}


def test_a_field_that_is_set_later_is_checked_too(place: Place) -> None:
    env = RuntimeEnv()
    env["env_vars"] = {"A": "1"}
    env.set("pip", ["a"])
    assert env == {"env_vars": {"A": "1"}, "pip": ["a"]}
    with pytest.raises(TypeError, match="dict of texts"):
        env["env_vars"] = 3
    env.update(env_vars=3)  # a dict does not ask; whoever uses it does
    with pytest.raises(TypeError, match="dict of texts"):
        place.prepare(env)


def test_the_defaults_of_the_configuration() -> None:
    expected = {"setup_timeout_seconds": 600, "eager_install": True, "log_files": None}
    assert RuntimeEnvConfig() == RuntimeEnvConfig(None, None, None) == expected
    assert RuntimeEnvConfig().to_dict() == expected


def test_a_child_s_variables_join_its_parent_s_and_all_else_replaces() -> None:
    parent = {"pip": ["requests", "chess"], "env_vars": {"A": "a", "B": "b"}, "working_dir": "/x"}
    child = {"pip": ["torch"], "env_vars": {"B": "new", "C": "c"}}
    assert merge(parent, child) == {
        "pip": ["torch"],
        "env_vars": {"A": "a", "B": "new", "C": "c"},
        "working_dir": "/x",
    }
    assert parent["env_vars"] == {"A": "a", "B": "b"}
    assert merge(parent, None) == parent
    assert merge(None, child) == child
    assert merge(None, None) == {}
    assert merge({"pip": ["a"]}, {"uv": ["b"]}) == {"uv": ["b"]}


def test_equal_content_has_an_equal_key(place: Place) -> None:
    one = place.folder("one", {"a.py": "1", "b/c": "2"})
    two = place.folder("two", {"a.py": "1", "b/c": "2"})
    key = place.prepare({"working_dir": str(one)}).key
    assert place.prepare({"working_dir": str(two)}).key == key
    assert place.prepare({"working_dir": one}).key == key  # a Path
    assert place.prepare({"working_dir": str(one), "config": {"setup_timeout_seconds": 9}}).key == key
    (two / "a.py").write_text("3")
    assert place.prepare({"working_dir": str(two)}).key != key
    (two / "a.py").write_text("1")
    assert place.prepare({"working_dir": str(two)}).key == key
    (two / "a.py").chmod(0o755)
    assert place.prepare({"working_dir": str(two)}).key != key


def test_keys_of_what_differs_differ(place: Place) -> None:
    requirements = place.root / "requirements.txt"
    requirements.write_text("a\n")
    environments: list[Any] = [
        None,
        {"env_vars": {"A": "1"}},
        {"env_vars": {"A": "2"}},
        {"env_vars": {"B": "1"}},
        {"pip": ["a", "b"]},
        {"pip": {"packages": ["a", "b"], "pip_check": True}},
        {"uv": ["a", "b"]},
        {"worker_process_setup_hook": "a.b"},
        {"worker_process_setup_hook": "a.c"},
        {"worker_process_setup_hook": lambda: 1},
        {"worker_process_setup_hook": lambda: 2},
        {"pip": str(requirements)},
    ]
    keys = [place.prepare(env).key for env in environments]
    requirements.write_text("b\n")
    keys.append(place.prepare(environments[-1]).key)
    assert len(set(keys)) == len(keys)
    assert keys[0] == ""
    assert place.prepare({"config": {}}).key == place.prepare({"env_vars": {}}).key == ""


def test_requirements_files_are_read_where_they_lie(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = place.folder("reqs", {"more/inner": "numpy==2.0 # why\n\n-e ./here\n", "more/here/x": ""})
    (folder / "local-1.0.zip").write_text("")
    (folder / "top.txt").write_text(
        "# a comment\n-r more/inner\n./local-1.0.zip[extra]\nscipy>=1 \\\n  ; python_version>'3'\n"
        "--find-links=more\n-c ${HOME}/c.txt\n--pre\nname @ https://x.org/y.zip#sha=1\n"
    )
    expected = [
        "numpy==2.0",
        f"-e {folder}/more/here",
        f"{folder}/local-1.0.zip[extra]",
        "scipy>=1   ; python_version>'3'",
        f"--find-links={folder}/more",
        "-c ${HOME}/c.txt",
        "--pre",
        "name @ https://x.org/y.zip#sha=1",
    ]
    assert place.prepare({"pip": str(folder / "top.txt")}).env["pip"] == {"packages": expected}
    monkeypatch.chdir(folder)
    plain = place.prepare(
        {"uv": {"packages": ["./local-1.0.zip", "local-1.0.zip", "x"], "uv_check": True}}
    ).env["uv"]
    assert plain == {"packages": [f"{folder}/local-1.0.zip"] * 2 + ["x"], "uv_check": True}


def test_requirements_files_that_cannot_be_read(place: Place) -> None:
    with pytest.raises(ValueError, match=r"requirements file .*nothing.txt: No such file"):
        place.prepare({"pip": "nothing.txt"})
    loop = place.root / "loop.txt"
    loop.write_text("-r loop.txt\n")
    with pytest.raises(ValueError, match="includes itself"):
        place.prepare({"pip": str(loop)})


def test_a_local_file_that_changes_is_another_environment(place: Place) -> None:
    package: Path = place.root / "a-1.0.zip"
    package.write_text("1")
    key = place.prepare({"pip": [str(package)]}).key
    assert place.prepare({"pip": [str(package)]}).key == key
    package.write_text("22")
    assert place.prepare({"pip": [str(package)]}).key != key


def test_what_was_packed_for_a_session_that_has_ended(place: Place) -> None:
    job = place.prepare({"working_dir": place.folder("proj", {"a": "1"})})
    assert place.prepare({"env_vars": {"A": "1"}}, job.env).payload().archives == job.payload().archives
    os.unlink(job.payload().archives[0].path)
    with pytest.raises(ValueError, match="was packed for a session that has ended; give its path"):
        place.prepare(None, job.env)


def test_a_hook_that_cannot_be_sent(place: Place) -> None:
    lock = threading.Lock()
    with pytest.raises(ValueError, match=r"cannot be sent to workers.*'module.function'"):
        place.prepare({"worker_process_setup_hook": lambda: lock})
