"""joblib itself: each way to get results back, a cache, nesting, big arrays, errors."""

import shutil

import joblib
import numpy
from joblib import Memory, Parallel, delayed, parallel_config

memory = Memory("cache", verbose=0)


@memory.cache
def slow_square(x):
    return x * x


def total(array, start):
    return float(array[start::7].sum())


def nested(n):
    return Parallel(n_jobs=2)(delayed(slow_square)(i) for i in range(n))


def checked(x):
    if x == 5:
        raise ValueError(f"no {x}")
    return x


def main():
    array = numpy.arange(1_000_000, dtype=float)
    print(Parallel(n_jobs=2)(delayed(slow_square)(i) for i in range(20)))
    print(list(Parallel(n_jobs=2, return_as="generator")(delayed(total)(array, i) for i in range(9))))
    print(
        sorted(
            Parallel(n_jobs=2, return_as="generator_unordered")(delayed(total)(array, i) for i in range(9))
        )
    )
    print(Parallel(n_jobs=2)(delayed(nested)(n) for n in range(5)))
    with Parallel(n_jobs=2, batch_size=3, pre_dispatch="3*n_jobs") as parallel:
        for power in range(3):
            print(parallel(delayed(pow)(i, power) for i in range(12)))
    with parallel_config(n_jobs=2, inner_max_num_threads=1, backend="loky"):
        print(Parallel()(delayed(lambda x: x[::-1])(word) for word in ("one", "two", "three")))
    try:
        Parallel(n_jobs=2)(delayed(checked)(i) for i in range(9))
    except ValueError as error:
        print(type(error), error)
    print(joblib.hash(array))
    memory.clear(warn=False)
    shutil.rmtree("cache")  # what is left there are times


if __name__ == "__main__":
    main()
