"""`finetune` and `distill`: heads, and what every training needs."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from baton.params.fields import Count, Section, Seed


class LinearHead(Section):
    """Pooling, dropout, one linear layer."""

    kind: Literal["linear"]
    pooling: Literal["cls", "mean", "pooler"]
    dropout: Annotated[float, Field(ge=0, lt=1)]


class MlpHead(Section):
    """Pooling, dropout, a hidden layer of `width` with tanh, dropout, one linear layer."""

    kind: Literal["mlp"]
    pooling: Literal["cls", "mean", "pooler"]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    width: Count


Head = Annotated[LinearHead | MlpHead, Field(discriminator="kind")]


class EarlyStopping(Section):
    """Stop after `patience` evaluations without a better validation metric."""

    patience: Count


class Training(Section):
    """What every training needs. `batch_size` counts the samples of one optimizer step; `accumulation` splits it into micro-batches."""

    seed: Seed
    epochs: Count
    batch_size: Count
    accumulation: Count
    learning_rate: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    schedule: Literal["linear", "cosine"]
    warmup: Annotated[float, Field(ge=0, lt=1)]
    clip_norm: Annotated[float, Field(gt=0)] | None
    dropout: Annotated[float, Field(ge=0, lt=1)]
    attention_dropout: Annotated[float, Field(ge=0, lt=1)]
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    class_weights: Literal["none", "balanced"]
    metric: Literal["accuracy", "macro_f1", "loss"]
    evaluations_per_epoch: Count
    early_stopping: EarlyStopping | None
    log_every: Count

    @model_validator(mode="after")
    def _divisible(self) -> "Training":
        if self.batch_size % self.accumulation:
            raise ValueError(f"batch_size {self.batch_size} must be a multiple of accumulation {self.accumulation}")
        return self


class Finetune(Training):
    """The teacher."""

    head: Head


class Distill(Training):
    """The student: `layers` of the teacher, loss `alpha * CE + (1 - alpha) * T**2 * KL(teacher || student at temperature T)`."""

    layers: tuple[Annotated[int, Field(ge=0)], ...]
    temperature: Annotated[float, Field(gt=0)]
    alpha: Annotated[float, Field(ge=0, le=1)]

    @model_validator(mode="after")
    def _ordered(self) -> "Distill":
        if not self.layers or list(self.layers) != sorted(set(self.layers)):
            raise ValueError(f"layers {list(self.layers)} must name at least one teacher layer, each once, in rising order")
        return self
