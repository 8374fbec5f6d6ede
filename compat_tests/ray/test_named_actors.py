"""Actors by name: in a namespace, found again, made once, and those that outlive their maker."""

import os
import signal
import uuid

import pytest

from compat_tests.ray.waiting import call_until_it_raises, eventually

INIT = {"num_cpus": 4, "namespace": "home"}


@pytest.fixture
def counter(ray):
    @ray.remote
    class Counter:
        def __init__(self, start=0):
            self.value = start

        def add(self):
            self.value += 1
            return self.value

    return Counter


@pytest.fixture
def name():
    return uuid.uuid4().hex


def test_a_named_actor_is_found(ray, counter, name):
    handle = counter.options(name=name).remote()
    ray.get(handle.add.remote())
    assert ray.get(ray.get_actor(name).add.remote()) == 2


def test_it_is_found_by_tasks_and_actors(ray, counter, name):
    @ray.remote
    def find():
        return ray.get(ray.get_actor(name).add.remote())

    handle = counter.options(name=name).remote(10)
    assert ray.get(find.remote()) == 11
    del handle


def test_a_name_that_nobody_has(ray):
    with pytest.raises(ValueError, match="nobody"):
        ray.get_actor("nobody")


def test_a_name_that_somebody_has(ray, counter, name):
    handle = counter.options(name=name).remote()
    with pytest.raises(ValueError, match=name):
        counter.options(name=name).remote()
    assert ray.get(handle.add.remote()) == 1


def test_get_if_exists_makes_it_once(ray, counter, name):
    option = {"name": name, "get_if_exists": True}
    first = counter.options(**option).remote(5)
    second = counter.options(**option).remote(100)
    assert ray.get(first.add.remote()) == 6
    assert ray.get(second.add.remote()) == 7


def test_get_if_exists_needs_a_name(ray, counter):
    with pytest.raises(ValueError, match="name"):
        counter.options(get_if_exists=True).remote()


def test_a_name_in_another_namespace_is_another_name(ray, counter, name):
    here = counter.options(name=name).remote(1)
    there = counter.options(name=name, namespace="elsewhere").remote(100)
    assert ray.get(ray.get_actor(name).add.remote()) == 2
    assert ray.get(ray.get_actor(name, namespace="home").add.remote()) == 3
    assert ray.get(ray.get_actor(name, namespace="elsewhere").add.remote()) == 101
    with pytest.raises(ValueError, match=name):
        ray.get_actor(name, namespace="nowhere")
    del here, there


def test_a_name_is_free_after_its_bearer_was_killed(ray, counter, name):
    first = counter.options(name=name).remote(1)
    ray.get(first.add.remote())
    ray.kill(first)
    second = eventually(lambda: made_or_none(counter.options(name=name)))
    assert ray.get(second.add.remote()) == 1


def made_or_none(cls):
    try:
        return cls.remote()
    except ValueError:
        return None


def test_a_named_actor_goes_with_its_last_handle(ray, counter, name):
    handle = counter.options(name=name).remote()
    ray.get(handle.add.remote())
    assert name in ray.util.list_named_actors()
    del handle
    eventually(lambda: not exists(ray, name))
    eventually(lambda: name not in ray.util.list_named_actors())


def exists(ray, name):
    try:
        ray.get_actor(name)
    except ValueError:
        return False
    return True


def test_a_detached_actor_stays_without_handles(ray, counter, name):
    handle = counter.options(name=name, lifetime="detached").remote()
    ray.get(handle.add.remote())
    del handle
    found = ray.get_actor(name)
    assert ray.get(found.add.remote()) == 2
    ray.kill(found)
    eventually(lambda: not exists(ray, name))


def test_a_detached_actor_outlives_its_maker(ray, counter, name):
    @ray.remote
    class Maker:
        def make(self):
            ray.get(counter.options(name=name, lifetime="detached").remote(1).add.remote())
            return os.getpid()

    maker = Maker.remote()
    process = ray.get(maker.make.remote())
    os.kill(process, signal.SIGKILL)
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(maker.make.remote())
    found = ray.get_actor(name)
    assert ray.get(found.add.remote()) == 3
    ray.kill(found)


def test_other_actors_end_with_their_maker(ray, counter):
    @ray.remote
    class Maker:
        def make(self):
            self.made = counter.remote()
            ray.get(self.made.add.remote())
            return self.made

        def process(self):
            return os.getpid()

    maker = Maker.remote()
    made = ray.get(maker.make.remote())
    assert ray.get(made.add.remote()) == 2
    os.kill(ray.get(maker.process.remote()), signal.SIGKILL)
    with pytest.raises(ray.exceptions.RayActorError):
        call_until_it_raises(lambda: ray.get(made.add.remote()))


def test_a_wrong_lifetime(ray, counter, name):
    with pytest.raises(ValueError, match="lifetime"):
        counter.options(name=name, lifetime="eternal").remote()


def test_names_are_text(ray, counter):
    with pytest.raises(TypeError):
        counter.options(name=3).remote()
    with pytest.raises(ValueError, match="empty"):
        counter.options(name="").remote()
    with pytest.raises(ValueError, match="empty"):
        ray.get_actor("")


def test_the_names_that_there_are(ray, counter, name):
    from ray.util import list_named_actors

    here = counter.options(name=name).remote()
    there = counter.options(name=name + "-there", namespace="elsewhere").remote()
    ray.get([here.add.remote(), there.add.remote()])
    assert name in list_named_actors()
    assert name + "-there" not in list_named_actors()
    everywhere = list_named_actors(all_namespaces=True)
    assert {"name": name, "namespace": "home"} in everywhere
    assert {"name": name + "-there", "namespace": "elsewhere"} in everywhere


def test_an_actor_knows_its_name(ray, name):
    @ray.remote
    class Named:
        def name(self):
            return ray.get_runtime_context().get_actor_name()

    assert ray.get(Named.options(name=name).remote().name.remote()) == name


def test_of_many_that_create_it_at_once_one_does_and_the_name_is_its(ray, counter, name):
    @ray.remote
    def get_or_create():
        try:
            actor = ray.get_actor(name)
        except ValueError:
            try:
                actor = counter.options(name=name, lifetime="detached").remote()
            except ValueError:
                actor = ray.get_actor(name)
        return ray.get(actor.add.remote())

    assert sorted(ray.get([get_or_create.remote() for _ in range(4)])) == [1, 2, 3, 4]
    assert ray.get(ray.get_actor(name).add.remote()) == 5
    ray.kill(ray.get_actor(name))
    eventually(lambda: not exists(ray, name))
