"""Features of pairs of texts for linear baselines: both TF-IDF vectors, and what the two have in common.

Input: pairs of texts -> a sparse matrix. A linear model of two vectors a and b side by side cannot compare
them. |a - b| and a * b, of each term, make it able to, as in InferSent (Conneau et al. 2017, "Supervised
Learning of Universal Sentence Representations", figure 1); their cosine sums up the latter with one weight.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from baton.contracts.text_pairs import Pair


@dataclass(frozen=True)
class PairVectorizer:
    """TF-IDF of pairs, by a vectorizer whose vocabulary is that of both texts together."""

    vectorizer: Any  # an unfitted TfidfVectorizer, whose rows have length 1

    def fit_transform(self, pairs: Sequence[Pair]) -> Any:
        """Fit the vocabulary on both texts of the pairs (n); return their features, see `transform`."""
        self.vectorizer.fit([text for pair in pairs for text in pair])
        return self.transform(pairs)

    def transform(self, pairs: Sequence[Pair]) -> Any:
        """Return a, b, |a - b|, a * b and the cosine of a and b of each pair, (n, 4 * terms + 1), sparse."""
        from scipy import sparse

        first, second = (self.vectorizer.transform([pair[side] for pair in pairs]) for side in (0, 1))
        shared = first.multiply(second)
        cosine = sparse.csr_matrix(shared.sum(axis=1))
        return sparse.hstack([first, second, abs(first - second), shared, cosine], format="csr")
