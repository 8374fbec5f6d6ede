"""init, shutdown, and what is between, before and after."""

import os

import pytest

QUIET = {"include_dashboard": False, "log_to_driver": False, "logging_level": "error"}


def test_init_and_shutdown(stopped_ray):
    ray = stopped_ray
    assert ray.is_initialized() is False
    ray.init(num_cpus=2, **QUIET)
    assert ray.is_initialized() is True
    ray.shutdown()
    assert ray.is_initialized() is False


def test_init_takes_what_the_node_has(stopped_ray):
    ray = stopped_ray
    ray.init(num_cpus=3, num_gpus=1, resources={"pump": 5}, object_store_memory=200 << 20, **QUIET)
    resources = ray.cluster_resources()
    assert (resources["CPU"], resources["GPU"], resources["pump"]) == (3, 1, 5)
    assert resources["object_store_memory"] == pytest.approx(200 << 20, rel=0.1)


def test_by_default_there_is_a_cpu_for_each_core(stopped_ray):
    stopped_ray.init(**QUIET)
    assert stopped_ray.cluster_resources()["CPU"] == os.cpu_count()


def test_a_second_init_is_an_error(stopped_ray):
    stopped_ray.init(num_cpus=1, **QUIET)
    with pytest.raises(RuntimeError, match="ignore_reinit_error"):
        stopped_ray.init(num_cpus=2, **QUIET)
    assert stopped_ray.cluster_resources()["CPU"] == 1


def test_a_second_init_may_be_ignored(stopped_ray):
    stopped_ray.init(num_cpus=1, **QUIET)
    stopped_ray.init(num_cpus=2, ignore_reinit_error=True, **QUIET)
    assert stopped_ray.cluster_resources()["CPU"] == 1


def test_shutdown_may_be_repeated(stopped_ray):
    stopped_ray.shutdown()
    stopped_ray.init(num_cpus=1, **QUIET)
    stopped_ray.shutdown()
    stopped_ray.shutdown()
    assert stopped_ray.is_initialized() is False


def test_one_session_after_another(stopped_ray):
    ray = stopped_ray

    @ray.remote
    def one():
        return 1

    @ray.remote
    class Actor:
        def two(self):
            return 2

    for _ in range(2):
        ray.init(num_cpus=1, **QUIET)
        assert ray.get(one.remote()) == 1
        assert ray.get(Actor.remote().two.remote()) == 2
        ray.shutdown()


def test_the_first_call_starts_what_is_not_started(stopped_ray):
    ray = stopped_ray

    @ray.remote
    def one():
        return 1

    assert ray.get(one.remote()) == 1
    assert ray.is_initialized() is True


def test_put_starts_what_is_not_started(stopped_ray):
    assert stopped_ray.get(stopped_ray.put("x")) == "x"
    assert stopped_ray.is_initialized() is True


def test_init_as_a_context(stopped_ray):
    with stopped_ray.init(num_cpus=1, **QUIET):
        assert stopped_ray.is_initialized() is True
        assert stopped_ray.get(stopped_ray.put(1)) == 1
    assert stopped_ray.is_initialized() is False


def test_what_init_returns(stopped_ray):
    context = stopped_ray.init(num_cpus=1, **QUIET)
    assert context.address_info["node_id"] == stopped_ray.nodes()[0]["NodeID"]
    context.disconnect()
    assert stopped_ray.is_initialized() is False


def test_an_unknown_argument(stopped_ray):
    with pytest.raises((RuntimeError, TypeError, ValueError), match="num_foo"):
        stopped_ray.init(num_foo=1, **QUIET)
    assert stopped_ray.is_initialized() is False


def test_there_is_no_cluster_to_find(run_program):
    """In a process of its own: real Ray looks for the sessions of this one."""
    done = run_program(
        """
        import ray
        try:
            ray.init(address="auto")
        except ConnectionError:
            print("none", ray.is_initialized())
        """
    )
    assert done.stdout == "none False\n", done.stderr


def test_address_local_starts_one(stopped_ray):
    stopped_ray.init(address="local", num_cpus=1, **QUIET)
    assert stopped_ray.cluster_resources()["CPU"] == 1


def test_the_namespace_of_a_session(stopped_ray):
    stopped_ray.init(num_cpus=1, namespace="mine", **QUIET)
    assert stopped_ray.get_runtime_context().namespace == "mine"


def test_without_a_namespace_there_is_an_anonymous_one(stopped_ray):
    stopped_ray.init(num_cpus=1, **QUIET)
    assert len(stopped_ray.get_runtime_context().namespace) == 36


def test_references_end_with_their_session(stopped_ray):
    ray = stopped_ray
    ray.init(num_cpus=1, **QUIET)
    ref = ray.put("x" * 1_000_000)
    ray.shutdown()
    ray.init(num_cpus=1, **QUIET)
    with pytest.raises((ValueError, ray.exceptions.RayError)):
        ray.get(ref, timeout=10)


def test_handles_end_with_their_session(stopped_ray):
    ray = stopped_ray

    @ray.remote
    class Actor:
        def method(self):
            return 1

    ray.init(num_cpus=1, **QUIET)
    handle = Actor.remote()
    assert ray.get(handle.method.remote()) == 1
    ray.shutdown()
    ray.init(num_cpus=1, **QUIET)
    with pytest.raises(Exception):  # noqa: B017, PT011, Ray raises a plain Exception
        ray.get(handle.method.remote(), timeout=10)


def test_questions_without_a_session(stopped_ray):
    with pytest.raises(Exception):  # noqa: B017, PT011, Ray raises a system error of its own
        stopped_ray.nodes()
    assert stopped_ray.is_initialized() is False


def test_a_session_for_all_tasks_has_an_environment(stopped_ray):
    ray = stopped_ray
    ray.init(num_cpus=1, runtime_env={"env_vars": {"OF_THE_JOB": "yes"}}, **QUIET)

    @ray.remote
    def ask():
        return os.environ.get("OF_THE_JOB")

    assert ray.get(ask.remote()) == "yes"


def test_the_version(stopped_ray):
    assert stopped_ray.__version__.count(".") >= 2


def test_local_mode_is_no_longer(stopped_ray):
    with pytest.raises(RuntimeError, match="local_mode"):
        stopped_ray.init(local_mode=True, **QUIET)
