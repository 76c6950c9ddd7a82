"""Fine-tune the teacher.

Reads data/arrays and data/base; writes models/teacher, its logits on all splits (data/predictions/teacher), metrics/finetune.json and
curves/finetune.csv. Run by DVC as `sh stages/run finetune`; stopped, it goes on where it was.
"""

from pathlib import Path

from baton import console, params, runtime, storage
from baton.data import arrays
from baton.models import build
from baton.train import losses
from stages import fitting

BASE, TEACHER = Path("data/base"), Path("models/teacher")


def main() -> None:
    """Train on train, choose the weights on val, write logits of all splits."""
    loaded = params.load("finetune", "runtime")
    settings = loaded.finetune
    with fitting.started("finetune", settings, loaded.runtime) as job:
        data, machine, run = job.data, job.runtime, job.run
        runtime.seed_everything(settings.seed)
        model = build.create(BASE, settings.head, len(data.labels), settings, machine.attention, data.input)
        model.to(machine.device)
        loss_fn = losses.cross_entropy(settings.label_smoothing, fitting.class_weights(settings, data, machine))
        curve, figures = fitting.fit("teacher", model, loss_fn, settings, job)
        info = build.ModelInfo(data.labels, settings.head, data.input)
        fitting.write("teacher", model, info, BASE, job, 2 * settings.batch_size)
        if machine.is_main:
            fitting.write_curve(Path("curves/finetune.csv"), curve)
            storage.write_json(Path("metrics/finetune.json"), {"teacher": figures})
            run.model("teacher", TEACHER, arrays.examples(data.splits["val"], TEACHER, data.input))
            run.final({f"teacher/{key}": value for key, value in figures.items()})


if __name__ == "__main__":
    console.run_stage(main)
