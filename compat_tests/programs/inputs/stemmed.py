"""nltk: a stemmer over many lines, by its own parallel map, which is joblib's."""

from functools import partial

from nltk.stem import PorterStemmer
from nltk.tokenize import wordpunct_tokenize
from nltk.util import parallelize_preprocess


def stemmed(stemmer, line):
    return " ".join(stemmer.stem(word) for word in wordpunct_tokenize(line))


if __name__ == "__main__":
    with open("stdlib/logging/__init__.py") as file:
        lines = file.read().splitlines()[:400]
    for line in parallelize_preprocess(
        partial(stemmed, PorterStemmer()), lines, processes=2, progress_bar=False
    ):
        print(line)
