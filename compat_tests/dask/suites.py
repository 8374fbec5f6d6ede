"""Which of Dask's test modules are run, and which tests are the fixed sample of ``make check``."""

from __future__ import annotations

#: Modules or packages, in the order of running.
SUITES: dict[str, tuple[str, ...]] = {
    "schedulers": (
        "dask.tests.test_local",
        "dask.tests.test_threaded",
        "dask.tests.test_multiprocessing",
        "dask.tests.test_callbacks",
        "dask.tests.test_cache",
        "dask.tests.test_order",
        "dask.diagnostics",
    ),
    "delayed": ("dask.tests.test_delayed",),
    "base": (
        "dask.tests.test_base",
        "dask.tests.test_graph_manipulation",
        "dask.tests.test_highgraph",
        "dask.tests.test_hlgexpr",
        "dask.tests.test_composite_expr",
    ),
    "bag": ("dask.bag",),
    "array": ("dask.array",),
    "dataframe": ("dask.dataframe",),
}

#: A part of each that takes seconds, by pytest's own names.
SAMPLE: tuple[str, ...] = (
    "dask.tests.test_callbacks",
    "dask.tests.test_delayed",
    "dask.diagnostics.tests.test_progress",
    "dask.bag.tests.test_bag::test_fold",
    "dask.bag.tests.test_bag::test_foldby",
    "dask.bag.tests.test_bag::test_distinct",
    "dask.bag.tests.test_bag::test_product",
    "dask.bag.tests.test_bag::test_concat",
    "dask.array.tests.test_array_core::test_store_delayed_target",
    "dask.array.tests.test_array_core::test_slicing_with_object_dtype",
    "dask.array.tests.test_array_core::test_field_access",
    "dask.array.tests.test_array_core::test_map_blocks_with_constants",
    "dask.array.tests.test_overlap::test_overlap",
    "dask.dataframe.tests.test_shuffle::test_set_index_self_index",
    "dask.dataframe.tests.test_shuffle::test_set_index_2",
)


def suite_of(test: str) -> str:
    """The suite that a test, ``module::name``, belongs to."""
    module = test.partition("::")[0]
    for suite, parts in SUITES.items():
        if any(module == part or module.startswith(f"{part}.") for part in parts):
            return suite
    return "others"
