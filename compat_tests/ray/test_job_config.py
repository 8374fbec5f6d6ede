"""What a program says of its whole job as it begins: namespace, environment, how long its actors live."""

import os

import pytest

QUIET = {"include_dashboard": False, "log_to_driver": False, "logging_level": "error"}


def test_a_job_config_says_namespace_environment_and_lifetime(stopped_ray):
    ray = stopped_ray
    config = ray.job_config.JobConfig(
        ray_namespace="of the config",
        runtime_env={"env_vars": {"OF_THE_CONFIG": "yes"}},
        default_actor_lifetime="detached",
    )
    ray.init(num_cpus=2, job_config=config, **QUIET)

    @ray.remote
    class Known:
        def tell(self):
            return os.environ.get("OF_THE_CONFIG"), ray.get_runtime_context().namespace

    @ray.remote
    def create():
        Known.options(name="of a worker", num_cpus=0).remote()

    Known.options(name="of the driver", num_cpus=0).remote()
    ray.get(create.remote())
    for name in ("of the driver", "of a worker"):
        assert ray.get(ray.get_actor(name).tell.remote()) == ("yes", "of the config")


def test_a_job_config_is_checked(stopped_ray):
    with pytest.raises((TypeError, ValueError)):
        stopped_ray.job_config.JobConfig(default_actor_lifetime="for ever")
    with pytest.raises(TypeError):
        stopped_ray.job_config.JobConfig(code_search_path="one")


@pytest.mark.parametrize(
    ("namespace", "error"), [(123, TypeError), ("", ValueError)], ids=["a number", "empty"]
)
def test_a_namespace_is_a_string_that_is_not_empty(stopped_ray, namespace, error):
    with pytest.raises(error):
        stopped_ray.init(num_cpus=1, namespace=namespace, **QUIET)
