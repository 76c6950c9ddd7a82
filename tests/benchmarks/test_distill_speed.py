"""The benchmark of distillation: all sides train the same student by the same loss."""

from pathlib import Path

import numpy as np
import pytest
import torch

from baton import params
from baton.distill import soft_targets
from baton.losses import task_losses
from baton.runtime import resolve
from benchmarks import _distill_peers, distill_speed
from tests import tiny


@pytest.fixture(scope="module")
def work(project: Path) -> distill_speed.Work:
    loaded = params.load("distill", "runtime", path=project / "params.yaml")
    settings = loaded.distill.of(0).model_copy(
        update={
            "student": params.LayersStudent(kind="teacher_layers", layers=(1,)),
            "batch_size": 4,
            "epochs": 2,
            "min_steps": 0,
        }
    )
    return distill_speed.Work(project, settings, loaded.runtime)


@pytest.mark.parametrize("side", distill_speed.SIDES)
def test_every_side_trains(work: distill_speed.Work, side: str) -> None:
    run = distill_speed.SIDES[side](work)
    assert run.seconds > 0 and 0 <= run.accuracy <= 1 and run.memory > 0


def test_a_peers_first_loss_is_ours(work: distill_speed.Work, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole of train in one batch, at a rate of nearly 0: the losses of all first steps are the same."""
    train = work.split("train")
    settings = work.settings.model_copy(
        update={"batch_size": len(train), "epochs": 1, "learning_rate": 1e-12}
    )
    machine = resolve.resolve(work.runtime)
    teacher, student = work.models("sdpa")
    with torch.no_grad():  # unlike the first logits of teacher and student
        teacher.head.output.weight.copy_(10 * torch.randn_like(teacher.head.output.weight))
    batch = train.batch(np.arange(len(train)))
    loss = soft_targets.distillation(
        task_losses.of(tiny.task(*sorted(tiny.TEXTS))),
        soft_targets.Live(teacher),
        settings,
        soft_targets.Factors(),
    )
    expected = float(loss(student.eval(), batch).detach().sum())
    seen: list[float] = []
    backward = torch.Tensor.backward

    def noted(self: torch.Tensor, *arguments: object, **options: object) -> None:
        seen.append(float(self.detach()))
        backward(self, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(torch.Tensor, "backward", noted)
    for train_peer in (_distill_peers.trainer, _distill_peers.torchdistill):
        _, made = work.models("sdpa")
        train_peer(teacher, made, train, settings, machine, work.project / "models/teacher")
    assert seen == pytest.approx([expected, expected], rel=1e-5)
