"""TF-IDF features of texts and of pairs of texts."""

from typing import Any

from baton import params
from baton.errors import DataError
from baton.linear.pair_features import PairVectorizer


def vectorize(baseline: params.TfidfBaseline, texts: Any) -> tuple[Any, Any]:
    """Return a fitted vectorizer, and the features of the train texts or pairs, see `pair_features`.

    Raises:
        DataError: no term is left to count.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer: Any = TfidfVectorizer(
        sublinear_tf=True,
        min_df=baseline.min_df,
        ngram_range=(1, baseline.max_ngram),
        stop_words=baseline.stop_words,
    )
    if len(texts) and isinstance(texts[0], tuple):
        vectorizer = PairVectorizer(vectorizer)
    try:
        return vectorizer, vectorizer.fit_transform(texts)
    except ValueError as error:
        hint = "lower min_df or set stop_words to null in evaluate.baselines, or remove the tfidf baselines"
        expected = f"terms that occur in at least {baseline.min_df} documents"
        raise DataError(
            f"TF-IDF finds no term in the {len(texts)} train texts",
            got=str(error),
            expected=expected,
            hint=hint,
        ) from None
