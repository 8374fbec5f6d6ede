"""runtime_env: variables, folders and modules that tasks, actors and whole sessions are given."""

import os
import textwrap
import zipfile

import pytest

QUIET = {"include_dashboard": False, "log_to_driver": False, "logging_level": "error"}


@pytest.fixture
def ask(ray):
    @ray.remote
    def ask(*names):
        return [os.environ.get(name) for name in names]

    return ask


def test_variables_of_a_task(ray, ask):
    special = ask.options(runtime_env={"env_vars": {"COLOUR": "red"}})
    assert ray.get(special.remote("COLOUR")) == ["red"]
    assert ray.get(ask.remote("COLOUR")) == [None]
    assert "COLOUR" not in os.environ


def test_variables_by_the_decorator(ray):
    @ray.remote(runtime_env={"env_vars": {"COLOUR": "green"}})
    def ask():
        return os.environ["COLOUR"]

    assert ray.get(ask.remote()) == "green"
    assert ray.get(ask.options(runtime_env={"env_vars": {"COLOUR": "blue"}}).remote()) == "blue"


def test_variables_of_an_actor(ray):
    @ray.remote(runtime_env={"env_vars": {"COLOUR": "red"}})
    class Asking:
        def __init__(self):
            self.at_start = os.environ["COLOUR"]

        def ask(self):
            return self.at_start, os.environ["COLOUR"]

    assert ray.get(Asking.remote().ask.remote()) == ("red", "red")
    other = Asking.options(runtime_env={"env_vars": {"COLOUR": "blue"}}).remote()
    assert ray.get(other.ask.remote()) == ("blue", "blue")


def test_children_inherit_them(ray, ask):
    @ray.remote(runtime_env={"env_vars": {"COLOUR": "red"}})
    def parent():
        return ray.get(ask.remote("COLOUR"))

    assert ray.get(parent.remote()) == ["red"]


def test_a_child_adds_to_what_it_inherits(ray, ask):
    @ray.remote(runtime_env={"env_vars": {"COLOUR": "red", "SIZE": "small"}})
    def parent():
        special = ask.options(runtime_env={"env_vars": {"SIZE": "big", "SHAPE": "round"}})
        return ray.get(special.remote("COLOUR", "SIZE", "SHAPE"))

    assert ray.get(parent.remote()) == ["red", "big", "round"]


def test_a_class_for_environments(ray, ask):
    from ray.runtime_env import RuntimeEnv

    environment = RuntimeEnv(env_vars={"COLOUR": "red"})
    assert environment["env_vars"] == {"COLOUR": "red"}
    assert ray.get(ask.options(runtime_env=environment).remote("COLOUR")) == ["red"]


def test_a_task_may_ask_for_its_environment(ray):
    @ray.remote(runtime_env={"env_vars": {"COLOUR": "red"}})
    def ask():
        return dict(ray.get_runtime_context().runtime_env)["env_vars"]

    assert ray.get(ask.remote()) == {"COLOUR": "red"}


@pytest.mark.parametrize(
    "environment",
    [
        {"env_vars": 3},
        {"env_vars": {"A": 1}},
        {"env_vars": {1: "a"}},
        {"working_dir": 3},
        {"py_modules": "text"},
    ],
    ids=str,
)
def test_environments_that_make_no_sense(ray, ask, environment):
    with pytest.raises((TypeError, ValueError)):
        ray.get(ask.options(runtime_env=environment).remote("A"), timeout=20)


def test_an_environment_is_a_dictionary(ray, ask):
    with pytest.raises(TypeError):
        ask.options(runtime_env="text").remote("A")


@pytest.fixture
def project(tmp_path):
    """A folder with a module and a file."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "a_module_of_the_project.py").write_text("NAME = 'of the project'\n")
    (folder / "data.txt").write_text("data of the project")
    return folder


def test_the_working_folder_of_a_session(stopped_ray, project):
    ray = stopped_ray
    ray.init(num_cpus=1, runtime_env={"working_dir": str(project)}, **QUIET)

    @ray.remote
    def look():
        import a_module_of_the_project

        with open("data.txt") as file:
            return a_module_of_the_project.NAME, file.read()

    assert ray.get(look.remote()) == ("of the project", "data of the project")


def test_what_is_excluded_stays_behind(stopped_ray, project):
    ray = stopped_ray
    ray.init(num_cpus=1, runtime_env={"working_dir": str(project), "excludes": ["*.txt"]}, **QUIET)

    @ray.remote
    def look():
        return sorted(name for name in os.listdir(".") if not name.startswith((".", "_")))

    assert ray.get(look.remote()) == ["a_module_of_the_project.py"]


def test_modules_of_a_session(stopped_ray, tmp_path):
    ray = stopped_ray
    package = tmp_path / "a_package_to_bring"
    package.mkdir()
    (package / "__init__.py").write_text("def name():\n    return __name__\n")
    ray.init(num_cpus=1, runtime_env={"py_modules": [str(package)]}, **QUIET)

    @ray.remote
    class Look:
        def look(self):
            import a_package_to_bring

            return a_package_to_bring.name()

    assert ray.get(Look.remote().look.remote()) == "a_package_to_bring"


def test_a_session_and_a_task_have_both(stopped_ray):
    ray = stopped_ray
    ray.init(num_cpus=1, runtime_env={"env_vars": {"A": "session", "B": "session"}}, **QUIET)

    @ray.remote
    def ask():
        return os.environ["A"], os.environ["B"]

    assert ray.get(ask.remote()) == ("session", "session")
    special = ask.options(runtime_env={"env_vars": {"B": "task"}})
    assert ray.get(special.remote()) == ("session", "task")


def test_a_hook_before_the_workers_first_task(stopped_ray):
    ray = stopped_ray

    def hook():
        os.environ["HOOKED"] = "yes"

    ray.init(num_cpus=1, runtime_env={"worker_process_setup_hook": hook}, **QUIET)

    @ray.remote
    def ask():
        return os.environ.get("HOOKED")

    assert ray.get(ask.remote()) == "yes"


def test_the_drivers_own_modules_need_no_environment(run_program, tmp_path):
    (tmp_path / "beside_the_program.py").write_text("def name():\n    return 'beside'\n")
    program = textwrap.dedent(
        """
        import ray
        import beside_the_program

        @ray.remote
        def ask():
            return beside_the_program.name()

        ray.init(num_cpus=1, include_dashboard=False)
        print(ray.get(ask.remote()), ray.get(ray.remote(beside_the_program.name).remote()))
        """
    )
    done = run_program(program)
    assert done.stdout == "beside beside\n", done.stderr


def test_a_package_by_pip(ray, tmp_path):
    """A wheel of this folder, so that no index is asked."""
    wheel = tmp_path / "a_wheel_of_this_test-1.0-py3-none-any.whl"
    info = "a_wheel_of_this_test-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("a_wheel_of_this_test.py", "NAME = 'of a wheel'\n")
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: a-wheel-of-this-test\nVersion: 1.0\n"
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")

    @ray.remote
    def look():
        try:
            import a_wheel_of_this_test
        except ImportError:
            return None
        return a_wheel_of_this_test.NAME

    assert ray.get(look.options(runtime_env={"pip": [str(wheel)]}).remote()) == "of a wheel"
    assert ray.get(look.remote()) is None
