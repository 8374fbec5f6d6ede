"""What scikit-learn fits in the benchmarks: an estimator that takes a known time, importable in every worker."""

from __future__ import annotations

import time
from typing import Any

from sklearn.base import BaseEstimator, ClassifierMixin


class TwentyMilliseconds(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier whose fit keeps a core busy for 20 ms; what it says depends on ``alpha`` and the data alone."""

    FIT_S = 0.020

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def fit(self, X: Any, y: Any) -> TwentyMilliseconds:
        end = time.perf_counter() + self.FIT_S
        self.classes_ = sorted(set(y))
        self.threshold_ = self.alpha * float(X[:, 0].mean())
        while time.perf_counter() < end:
            pass
        return self

    def predict(self, X: Any) -> Any:
        return (X[:, 0] > self.threshold_).astype(int)
