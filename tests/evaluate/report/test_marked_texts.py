"""The part of a text around a mistake, with marks."""

import pytest

from baton.evaluate.report import marked_texts

TEXT = "Ann and Bob met early. Ann lives in Oslo with Carl."
ANN, OSLO = (0, 3), (36, 40)


@pytest.mark.parametrize(
    ("actual", "predicted", "shown"),
    [
        (OSLO, ANN, "{Ann} and Bob met early. Ann lives in [Oslo] with Carl."),
        (OSLO, OSLO, "Ann and Bob met early. Ann lives in [{Oslo]} with Carl."),
        (None, OSLO, "Ann and Bob met early. Ann lives in {Oslo} with Carl."),
        ((33, 40), OSLO, "Ann and Bob met early. Ann lives [in {Oslo]} with Carl."),
    ],
)
def test_both_are_marked(actual: marked_texts.Span, predicted: marked_texts.Span, shown: str) -> None:
    assert marked_texts.around(TEXT, actual, predicted) == shown


def test_what_is_far_from_marks_is_left_out() -> None:
    text = f"{'before ' * 30}Oslo {'between ' * 60}Rome {'after ' * 30}"
    places = [(text.index(name), text.index(name) + 4) for name in ("Oslo", "Rome")]
    shown = marked_texts.around(text, *places)
    assert shown.startswith("…") and shown.endswith("…") and "[Oslo]" in shown and "{Rome}" in shown
    assert len(shown) < 6 * marked_texts.AROUND
    whole = marked_texts.around(text, (places[0][0], places[1][1]), None)
    assert whole.count("between") == 60, "a span is whole"
