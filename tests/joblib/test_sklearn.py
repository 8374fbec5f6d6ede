"""scikit-learn on the backend: the same numbers as in one process, to the last bit."""

from __future__ import annotations

from typing import Any

import numpy
import pytest
from joblib import parallel_config
from sklearn.datasets import make_classification
from sklearn.ensemble import ExtraTreesRegressor, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score

import distpool.joblib  # noqa: F401


@pytest.fixture(scope="module")
def data() -> Any:
    return make_classification(300, 12, random_state=0)


def both_ways(compute: Any) -> tuple[Any, Any]:
    with parallel_config(backend="sequential"):
        one = compute()
    with parallel_config(backend="distpool", n_jobs=2):
        other = compute()
    return one, other


def test_grid_search(data: Any) -> None:
    def scores() -> Any:
        search = GridSearchCV(LogisticRegression(max_iter=60), {"C": [0.01, 0.1, 1, 10]}, cv=4).fit(*data)
        return [
            *search.cv_results_["mean_test_score"],
            search.best_params_["C"],
            *search.best_estimator_.coef_[0],
        ]

    one, other = both_ways(scores)
    assert one == other


def test_cross_validation_and_forests(data: Any) -> None:
    def numbers() -> Any:
        forest = RandomForestClassifier(12, random_state=1).fit(*data)
        trees = ExtraTreesRegressor(8, random_state=2, n_jobs=2).fit(*data)
        scores = cross_val_score(RandomForestClassifier(5, random_state=3), *data, cv=3)
        return numpy.concatenate([forest.predict_proba(data[0])[:, 0], trees.predict(data[0]), scores])

    one, other = both_ways(numbers)
    assert (one == other).all()
