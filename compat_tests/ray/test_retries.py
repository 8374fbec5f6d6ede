"""Tasks that fail and tasks whose worker dies: who is tried again, and how often."""

import os
import signal

import pytest


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def test_an_exception_is_not_retried(ray, marks):
    @ray.remote
    def fail(marks):
        marks.add("try")
        raise ValueError("once")

    with pytest.raises(ValueError, match="once"):
        ray.get(fail.remote(marks))
    assert marks.lines() == ["try"]


def test_retry_exceptions_tries_again_until_it_succeeds(ray, marks):
    @ray.remote(retry_exceptions=True, max_retries=5)
    def third_time(marks):
        if marks.add("try") < 3:
            raise ValueError("not yet")
        return "done"

    assert ray.get(third_time.remote(marks)) == "done"
    assert len(marks.lines()) == 3


def test_retry_exceptions_ends_with_the_last_exception(ray, marks):
    @ray.remote(retry_exceptions=True, max_retries=2)
    def never(marks):
        raise ValueError(f"try {marks.add('try')}")

    with pytest.raises(ValueError, match="try 3"):
        ray.get(never.remote(marks))
    assert len(marks.lines()) == 3


def test_retry_exceptions_may_name_the_types(ray, marks):
    @ray.remote(max_retries=3)
    def first_time(marks, error):
        if marks.add("try") == 1:
            raise error
        return "done"

    picky = first_time.options(retry_exceptions=[KeyError])
    assert ray.get(picky.remote(marks, KeyError("again"))) == "done"


def test_other_types_are_not_retried(ray, marks):
    @ray.remote(max_retries=3, retry_exceptions=[KeyError])
    def fail(marks):
        marks.add("try")
        raise ValueError("other")

    with pytest.raises(ValueError, match="other"):
        ray.get(fail.remote(marks))
    assert marks.lines() == ["try"]


def test_a_killed_workers_task_runs_again(ray, marks):
    @ray.remote
    def first_time_dies(marks):
        if marks.add("try") == 1:
            die()
        return "survived"

    assert ray.get(first_time_dies.remote(marks)) == "survived"
    assert len(marks.lines()) == 2


def test_a_killed_workers_task_without_retries_is_a_crash(ray, marks):
    @ray.remote(max_retries=0)
    def dies(marks):
        marks.add("try")
        die()

    with pytest.raises(ray.exceptions.WorkerCrashedError):
        ray.get(dies.remote(marks))
    assert marks.lines() == ["try"]


def test_max_retries_bounds_the_tries(ray, marks):
    @ray.remote(max_retries=1)
    def dies(marks):
        marks.add("try")
        die()

    with pytest.raises(ray.exceptions.WorkerCrashedError):
        ray.get(dies.remote(marks))
    assert len(marks.lines()) == 2


def test_minus_one_retries_without_end(ray, marks):
    @ray.remote(max_retries=-1)
    def fifth_time(marks):
        if marks.add("try") < 5:
            die()
        return "survived"

    assert ray.get(fifth_time.remote(marks)) == "survived"


def test_leaving_by_os_exit_is_a_crash(ray):
    @ray.remote(max_retries=0)
    def leaves():
        os._exit(3)

    with pytest.raises(ray.exceptions.WorkerCrashedError):
        ray.get(leaves.remote())


def test_other_tasks_do_not_suffer(ray):
    @ray.remote(max_retries=0)
    def dies():
        die()

    @ray.remote
    def fine(x):
        return x

    refs = [dies.remote() if i % 10 == 5 else fine.remote(i) for i in range(40)]
    for i, ref in enumerate(refs):
        if i % 10 == 5:
            with pytest.raises(ray.exceptions.WorkerCrashedError):
                ray.get(ref)
        else:
            assert ray.get(ref) == i


def test_a_retried_task_gets_its_arguments_again(ray, marks):
    @ray.remote
    def make():
        return list(range(100_000))

    @ray.remote
    def first_time_dies(marks, numbers, refs):
        if marks.add("try") == 1:
            die()
        return len(numbers) + len(ray.get(refs[0]))

    ref = make.remote()
    assert ray.get(first_time_dies.remote(marks, ref, [ref])) == 200_000


def test_a_child_that_dies_is_retried_by_its_parent(ray, marks):
    @ray.remote
    def child(marks):
        if marks.add("child") == 1:
            die()
        return "child"

    @ray.remote
    def parent(marks):
        return "parent of " + ray.get(child.remote(marks))

    assert ray.get(parent.remote(marks)) == "parent of child"
    assert len(marks.lines()) == 2


def test_a_parent_that_dies_starts_its_children_again(ray, marks):
    @ray.remote
    def child(i):
        return i

    @ray.remote
    def parent(marks):
        total = sum(ray.get([child.remote(i) for i in range(3)]))
        if marks.add("parent") == 1:
            die()
        return total

    assert ray.get(parent.remote(marks)) == 3
    assert len(marks.lines()) == 2
