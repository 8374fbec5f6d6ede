"""ray.util.metrics: counters, gauges, histograms."""

import pytest


@pytest.fixture
def metrics(ray):
    import ray.util.metrics

    return ray.util.metrics


def test_what_a_metric_is(metrics):
    counter = metrics.Counter("requests_of_this_test", description="How many.", tag_keys=("route",))
    assert counter.info["name"] == "requests_of_this_test"
    assert counter.info["description"] == "How many."
    assert counter.info["tag_keys"] == ("route",)


def test_using_them_needs_no_more(metrics):
    metrics.Counter("c_of_this_test").inc()
    metrics.Counter("c2_of_this_test", tag_keys=("k",)).inc(2.5, tags={"k": "v"})
    metrics.Gauge("g_of_this_test").set(3)
    metrics.Histogram("h_of_this_test", boundaries=[1, 10]).observe(4)


def test_tags_have_defaults(metrics):
    counter = metrics.Counter("d_of_this_test", tag_keys=("a", "b"))
    counter.set_default_tags({"a": "x"})
    assert counter.info["default_tags"] == {"a": "x"}
    counter.inc(tags={"b": "y"})


def test_every_tag_wants_a_value(metrics):
    counter = metrics.Counter("e_of_this_test", tag_keys=("a",))
    with pytest.raises(ValueError, match="a"):
        counter.inc()


def test_a_counter_only_grows(metrics):
    counter = metrics.Counter("f_of_this_test")
    with pytest.raises(ValueError):  # noqa: PT011, the text differs
        counter.inc(-1)
    with pytest.raises(TypeError):
        counter.inc("1")


def test_default_tags_that_nobody_declared(metrics):
    counter = metrics.Counter("i_of_this_test", tag_keys=("a",))
    with pytest.raises(ValueError, match="undeclared"):
        counter.set_default_tags({"a": "x", "undeclared": "y"})
    with pytest.raises(TypeError):
        counter.set_default_tags({"a": 1})


@pytest.mark.parametrize("boundaries", [[], [0, 1], [-1, 1]], ids=str)
def test_boundaries_are_positive(metrics, boundaries):
    with pytest.raises(ValueError):  # noqa: PT011, the text differs
        metrics.Histogram("j_of_this_test", boundaries=boundaries)


def test_names_and_tags_are_checked(metrics):
    with pytest.raises(ValueError):  # noqa: PT011, the text differs
        metrics.Counter("")
    with pytest.raises(TypeError):
        metrics.Counter("k_of_this_test", tag_keys="text")
    with pytest.raises(TypeError):
        metrics.Counter("l_of_this_test", tag_keys=(1,))


def test_tasks_and_actors_use_them(ray, metrics):
    @ray.remote
    class Counting:
        def __init__(self):
            self.counter = metrics.Counter("m_of_this_test", tag_keys=("who",))

        def count(self):
            self.counter.inc(1, tags={"who": "actor"})
            return True

    assert ray.get(Counting.remote().count.remote()) is True


def test_a_metric_travels(ray, metrics):
    counter = metrics.Counter("n_of_this_test", tag_keys=("a",))

    @ray.remote
    def count(counter):
        counter.inc(1, tags={"a": "x"})
        return counter.info["name"]

    assert ray.get(count.remote(counter)) == "n_of_this_test"
