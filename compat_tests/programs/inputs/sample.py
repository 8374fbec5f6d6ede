"""emcee, as its documentation shows parallelization: an ensemble sampler with a pool."""

import multiprocessing

import emcee
import numpy


def log_probability(theta, mean, inverse):
    off = theta - mean
    return -0.5 * off @ inverse @ off


def main():
    numpy.random.seed(42)
    mean = numpy.random.rand(5)
    inverse = numpy.linalg.inv(numpy.eye(5) + 0.1)
    start = numpy.random.rand(32, 5)
    with multiprocessing.Pool(2) as pool:
        sampler = emcee.EnsembleSampler(32, 5, log_probability, args=[mean, inverse], pool=pool)
        sampler.run_mcmc(start, 300)
    print(sampler.get_chain(flat=True).mean(0), sampler.acceptance_fraction.mean())


if __name__ == "__main__":
    main()
