"""Train a classifier with a parameter server: actors that hold state, and call each other.

    python parameter_server.py
    python parameter_server.py --workers 4 --steps 200

One actor holds the weights of a logistic regression. Several others hold a share of the data each, and compute
the gradient there. Weights and gradients go from actor to actor: this program passes references on, and gets the
weights only to say how good they are. Gradients are added in the same order each time, so every run gives the same
result.

A program for Ray: with `import ray` in place of `import distpool as ray` it runs there.
"""

import argparse

import numpy as np

import distpool as ray

FEATURES = 20


@ray.remote
class ParameterServer:
    """Holds the weights; moves them along the mean of the gradients."""

    def __init__(self, rate):
        self.weights = np.zeros(FEATURES)
        self.rate = rate

    def apply(self, *gradients):
        """Take a step, and give the new weights. Gradients that are passed as references arrive as arrays."""
        self.weights -= self.rate * sum(gradients) / len(gradients)
        return self.weights.copy()

    def current(self):
        """Give the weights as they are."""
        return self.weights.copy()


@ray.remote
class DataWorker:
    """Holds a share of the data, which never leaves it."""

    def __init__(self, number, rows):
        self.points, self.labels = make_data(rows, seed=number)

    def gradient(self, weights):
        """Of the logistic loss on this worker's share."""
        return self.points.T @ (sigmoid(self.points @ weights) - self.labels) / len(self.labels)


def sigmoid(x):
    """Turn any number into a probability."""
    return 1 / (1 + np.exp(-x))


def make_data(rows, seed):
    """Draw points on both sides of one fixed plane through 20 dimensions, some of them on the wrong side."""
    plane = np.random.default_rng(0).normal(size=FEATURES)
    random = np.random.default_rng([1, seed])
    points = random.normal(size=(rows, FEATURES))
    return points, (points @ plane + random.normal(size=rows) > 0).astype(float)


def show_progress(step, steps, weights, test):
    """Say how good the weights are by now."""
    points, labels = test
    chances = sigmoid(points @ weights)
    accuracy = ((chances > 0.5) == labels).mean()
    loss = -np.log(np.where(labels == 1, chances, 1 - chances)).mean()
    print(f"step {step:4} of {steps}: loss {loss:.4f}, {accuracy:.1%} of the test points right", flush=True)


def main():
    """Train, and say every now and then how good the weights are."""
    parser = argparse.ArgumentParser(description="Train a classifier with a parameter server.")
    parser.add_argument("--workers", type=int, default=2, help="actors that hold data (default: 2)")
    parser.add_argument("--rows", type=int, default=20_000, help="points in all (default: 20,000)")
    parser.add_argument("--steps", type=int, default=100, help="steps of the training (default: 100)")
    options = parser.parse_args()
    if min(options.workers, options.rows // max(options.workers, 1), options.steps) < 1:
        parser.error("there must be a worker, a point for each of them, and a step")

    test = make_data(5_000, seed=10**6)
    server = ParameterServer.remote(rate=1.0)
    workers = [DataWorker.remote(n, options.rows // options.workers) for n in range(options.workers)]
    weights = server.current.remote()
    for step in range(1, options.steps + 1):
        # References only: the arrays go from actor to actor.
        weights = server.apply.remote(*[worker.gradient.remote(weights) for worker in workers])
        if step % max(options.steps // 10, 1) == 0 or step == options.steps:
            show_progress(step, options.steps, ray.get(weights), test)
    ray.shutdown()


if __name__ == "__main__":
    main()
