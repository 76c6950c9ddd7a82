"""Compare the labels of the train and the test file."""

from collections import Counter
from typing import Any

from baton.tables import target_drift, two_sample_tests
from baton.tables.two_sample_tests import Distance

# Label drift must be both significant and large to be reported. With thousands of rows, a test alone finds
# tiny differences significant; with few rows in many classes, chance alone makes the distance large, so the
# limit applies to the excess over chance.
P_VALUE = 0.01
LEAST_EXCESS = 0.1
NAMES = ("total_variation", "dissimilarity", "kolmogorov_smirnov")  # of distances


def of_classes(train: Counter[str], test: Counter[str]) -> dict[str, Any] | None:
    """Compare the numbers of rows of each class; return None if there is no test file.

    Returns:
        `chi_square` and `degrees_of_freedom` of Pearson's test of homogeneity, and its `p_value` from draws
        without replacement, which is exact even if many labels are rare; `total_variation`, half the sum of
        the absolute differences between the shares (0: equal, 1: disjoint), and `by_chance`, its mean if both
        files came from the same source; `found`, whether both thresholds above are crossed.
    """
    if not train or not test:
        return None
    names = sorted(train | test)
    all_train, all_test = train.total(), test.total()
    chi_square = 0.0
    for name in names:
        share = (train[name] + test[name]) / (all_train + all_test)
        chi_square += (train[name] - share * all_train) ** 2 / (share * all_train) + (
            test[name] - share * all_test
        ) ** 2 / (share * all_test)
    pearson = {"chi_square": chi_square, "degrees_of_freedom": len(names) - 1}
    return pearson | _judged(two_sample_tests.labels(train, test), "total_variation")


def of_label_sets(train: Counter[tuple[str, ...]], test: Counter[tuple[str, ...]]) -> dict[str, Any] | None:
    """Compare how many rows have each label, given how many have which labels; None without a test file.

    Returns:
        `p_value`, `by_chance` and `found` as `of_classes`, from draws of rows with all their labels, and
        `dissimilarity`, that of Bray and Curtis between the shares of rows with each label and with none (see
        `two_sample_tests.label_sets`): with one label per row, the total variation distance.
    """
    if not train or not test:
        return None
    return _judged(two_sample_tests.label_sets(train, test), "dissimilarity")


def of_numbers(train: Counter[str], test: Counter[str]) -> dict[str, Any] | None:
    """Compare the distributions of each number; None without a test file.

    Returns:
        `p_value`, `by_chance` and `found` as `of_classes`, and `kolmogorov_smirnov`, the largest difference
        of the distribution functions; of several numbers those of the one that differs most, see
        `target_drift.of_numbers`.
    """
    if not train or not test:
        return None
    return _judged(target_drift.of_numbers(train, test), "kolmogorov_smirnov")


def text(drift: dict[str, Any]) -> str:
    """Return a result as one line for the user."""
    key = next(key for key in NAMES if key in drift)
    line = f"{key.replace('_', ' ')} {drift[key]:.3f} ({drift['by_chance']:.3f} expected by chance), "
    if "chi_square" in drift:
        line += f"chi-square {drift['chi_square']:.1f} "
        line += f"with {drift['degrees_of_freedom']} degrees of freedom, "
    return f"{line}p = {drift['p_value']:.2g}"


def _judged(distance: Distance, name: str) -> dict[str, Any]:
    return {
        "p_value": distance.p,
        name: distance.value,
        "by_chance": distance.chance,
        "found": distance.p < P_VALUE and distance.excess > LEAST_EXCESS,
    }
