"""nltk: a tagger over many sentences, by its own parallel map, which is joblib's."""

from functools import partial

from nltk.tag import DefaultTagger, RegexpTagger
from nltk.tokenize import wordpunct_tokenize
from nltk.util import parallelize_preprocess

patterns = [(r".*ing$", "VBG"), (r".*ed$", "VBD"), (r".*s$", "NNS"), (r"^\d+$", "CD")]


def tagged(tagger, line):
    return tagger.tag(wordpunct_tokenize(line))


if __name__ == "__main__":
    with open("stdlib/logging/__init__.py") as file:
        lines = file.read().splitlines()[:400]
    tagger = RegexpTagger(patterns, backoff=DefaultTagger("NN"))
    for line in parallelize_preprocess(partial(tagged, tagger), lines, processes=2, progress_bar=False):
        print(line)
