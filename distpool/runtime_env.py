"""Ray's module of this name: ``RuntimeEnv`` and ``RuntimeEnvConfig``, which ``runtime_envs`` has."""

from distpool.runtime_envs import RuntimeEnv, RuntimeEnvConfig

__all__ = ["RuntimeEnv", "RuntimeEnvConfig"]
