"""scikit-learn: a grid search, cross validation, forests, and what is built of them."""

import numpy
from sklearn.datasets import load_digits
from sklearn.ensemble import BaggingClassifier, RandomForestClassifier, VotingClassifier
from sklearn.feature_selection import RFECV
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.metrics import pairwise_distances
from sklearn.model_selection import GridSearchCV, cross_validate, learning_curve
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

X, y = load_digits(return_X_y=True)
X, y = X[:400], y[:400]


def shown(title, values):
    print(title, numpy.array2string(numpy.asarray(values, float).ravel()[:12], precision=17))


def main():
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=40, tol=0.1))
    search = GridSearchCV(pipeline, {"logisticregression__C": [0.01, 0.1, 1.0]}, cv=4, n_jobs=2, verbose=1)
    search.fit(X, y)
    shown("grid", search.cv_results_["mean_test_score"])
    print(search.best_params_)
    scores = cross_validate(RidgeClassifier(), X, y, cv=5, n_jobs=2, return_train_score=True)
    shown("cross", scores["test_score"])
    forest = RandomForestClassifier(20, random_state=0, n_jobs=2).fit(X, y)
    shown("forest", forest.predict_proba(X[:3]))
    shown(
        "bagging", BaggingClassifier(RidgeClassifier(), 6, random_state=0, n_jobs=2).fit(X, y).predict(X[:9])
    )
    voting = VotingClassifier(
        [("a", RidgeClassifier()), ("b", LogisticRegression(max_iter=20, tol=0.1))], n_jobs=2
    )
    shown("voting", voting.fit(X, y).predict(X[:9]))
    shown("features", RFECV(RidgeClassifier(), step=16, cv=3, n_jobs=2).fit(X, y).ranking_)
    importances = permutation_importance(forest, X[:80], y[:80], n_repeats=2, random_state=0, n_jobs=2)
    shown("importance", importances.importances_mean)
    shown("learning", learning_curve(RidgeClassifier(), X, y, cv=3, n_jobs=2)[2])
    shown("distances", pairwise_distances(X[:30], metric="cosine", n_jobs=2))


if __name__ == "__main__":
    main()
