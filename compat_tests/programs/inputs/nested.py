"""dynesty: nested sampling with a pool."""

import multiprocessing

import dynesty
import numpy


def log_likelihood(x):
    return -0.5 * numpy.sum(x**2)


def prior(u):
    return 10.0 * (2.0 * u - 1.0)


def main():
    with multiprocessing.Pool(2) as pool:
        sampler = dynesty.NestedSampler(
            log_likelihood, prior, 3, nlive=100, pool=pool, queue_size=2, rstate=numpy.random.default_rng(1)
        )
        sampler.run_nested(print_progress=False, maxiter=600)
    print(sampler.results.logz[-1], sampler.results.ncall.sum())


if __name__ == "__main__":
    main()
