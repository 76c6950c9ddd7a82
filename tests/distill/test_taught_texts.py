"""A student's targets: the teacher's texts, and for a share of the rows the references."""

from pathlib import Path

import numpy as np
import pytest

from baton.arrays import sequence_targets
from baton.batches.sampler import TrainingBatches
from baton.distill import taught_texts
from tests import tiny_sequences


def test_a_share_of_rows_keeps_its_reference_and_the_others_have_the_teacher_s_text(tmp_path: Path) -> None:
    split = tiny_sequences.split(tmp_path)
    encoder = sequence_targets.Encoder(split.targets.spec, tmp_path / "arrays")
    written = [f"cargo {row}" for row in range(len(split))]
    kept = np.arange(len(split)) % 3 == 0
    mixed = taught_texts.mixed(split.targets, encoder.encode(written).targets, kept)
    texts = [
        encoder.tokenizer.decode(mixed.part(np.array([row])).values.tolist()) for row in range(len(split))
    ]
    references = sequence_targets.read_texts(tmp_path / "arrays", "train", "target")
    assert texts == [references[row] if kept[row] else written[row] for row in range(len(split))]
    taught = split.with_targets(mixed)
    assert (taught.targets.counts == np.diff(mixed.offsets)).all()
    batch = taught.batch(np.array([1, 0]))
    assert batch.targets.tolist() == mixed.part(np.array([1, 0])).values.tolist()
    assert batch.units.tolist() == np.repeat([1, 0], mixed.counts[[1, 0]]).tolist()


@pytest.mark.parametrize(("batch_size", "tokens"), [(4, None), (None, 150)])
def test_the_student_s_batches_are_those_of_the_control(
    tmp_path: Path, batch_size: int | None, tokens: int | None
) -> None:
    """The same rows in the same order and as many steps, whatever the teacher wrote."""
    split = tiny_sequences.split(tmp_path)
    encoder = sequence_targets.Encoder(split.targets.spec, tmp_path / "arrays")
    written = encoder.encode(["cargo ship " * (1 + 7 * row % 5) for row in range(len(split))]).targets
    assert written.counts.sum() != split.targets.counts.sum()
    student, control = (
        TrainingBatches(own, batch_size, 1, 0, tokens=tokens) for own in (split.with_targets(written), split)
    )
    assert student.steps_per_epoch == control.steps_per_epoch
    for step in range(2 * control.steps_per_epoch):
        assert student.rows(step).tolist() == control.rows(step).tolist()
    (batch, _), *_ = student.micro_batches(0)
    assert len(batch.targets) == written.counts[batch.rows].sum()


def test_which_rows_keep_their_reference_depends_on_seed_and_share_alone() -> None:
    kept = taught_texts.references(10_000, 0.3, 1)
    assert abs(kept.mean() - 0.3) < 0.02  # three standard errors are 0.014
    assert (taught_texts.references(10_000, 0.3, 1) == kept).all()
    assert (taught_texts.references(10_000, 0.3, 2) != kept).any()
    assert (kept <= taught_texts.references(10_000, 0.6, 1)).all()
    assert not taught_texts.references(100, 0.0, 1).any()
    assert taught_texts.references(100, 1.0, 1).all()
