"""`finetune` and `distill`: heads, and what every training needs."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from baton.params.augmentation import Augmentation
from baton.params.fields import Argument, Count, Section, Seed


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


class Ema(Section):
    """An exponential moving average of the weights: validated, and kept, in place of the last ones (Polyak & Juditsky 1992)."""

    decay: Annotated[float, Field(gt=0, lt=1)]


class Training(Section):
    """What every training needs.

    `batch_size` counts the samples of one optimizer step; of texts a step may hold as many as fit `tokens` instead, without padding
    (exactly one of the two is set). `accumulation` splits a step into micro-batches (of at least two samples for each process where the
    model has batch normalisation).

    `layer_decay` multiplies the learning rate from each layer to the one below it, the head having 1 (ULMFiT, Howard & Ruder 2018;
    BEiT, Bao et al. 2022). `drop_path` is the rate of stochastic depth at the last layer (Huang et al. 2016). `metric`, on validation,
    picks the checkpoint; of equal scores the one with the lower loss. Each of `seeds` is a training of its own; validation also picks the
    one whose model is used. `min_steps` raises `epochs` where rows are so few that they would make fewer steps: a pretrained encoder wants
    some hundred of them, whatever the number of rows (Mosbach et al. 2021, On the stability of fine-tuning BERT).
    """

    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)]
    epochs: Count
    min_steps: Annotated[int, Field(ge=0)]
    batch_size: Count | None = None  # this, or the next
    tokens: Count | None = None
    accumulation: Count
    learning_rate: Annotated[float, Field(gt=0)]
    layer_decay: Annotated[float, Field(gt=0, le=1)]
    weight_decay: Annotated[float, Field(ge=0)]
    schedule: Literal["linear", "cosine"]
    warmup: Annotated[float, Field(ge=0, lt=1)]
    clip_norm: Annotated[float, Field(gt=0)] | None
    dropout: Annotated[float, Field(ge=0, lt=1)]
    attention_dropout: Annotated[float, Field(ge=0, lt=1)]
    drop_path: Annotated[float, Field(ge=0, lt=1)]
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    class_weights: Literal["none", "balanced"]
    ema: Ema | None
    augmentation: Augmentation | None
    metric: Literal["accuracy", "macro_f1", "loss"]
    evaluations_per_epoch: Count
    early_stopping: EarlyStopping | None
    log_every: Count

    @property
    def seed(self) -> int:
        """Of one training, as `of` gives its params."""
        (seed,) = self.seeds
        return seed

    def of(self, seed: int) -> Self:
        """The params of the training with this seed."""
        return self.model_copy(update={"seeds": (seed,)})

    @model_validator(mode="after")
    def _distinct(self) -> "Training":
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds {list(self.seeds)} must be distinct: equal seeds give equal models")
        return self

    @model_validator(mode="after")
    def _sized(self) -> "Training":
        if (self.batch_size is None) == (self.tokens is None):
            got = (
                "neither" if self.tokens is None else f"batch_size {self.batch_size} and tokens {self.tokens}"
            )
            raise ValueError(
                f"set batch_size (samples of a step) or tokens (the most of a step), one of the two, not {got}"
            )
        if self.batch_size and self.batch_size % self.accumulation:
            raise ValueError(
                f"batch_size {self.batch_size} must be a multiple of accumulation {self.accumulation}"
            )
        return self


class Probe(Section):
    """With at most `rows` rows of train, `folds`-fold cross-validation on them chooses between fine-tuning and a linear probe."""

    rows: Count
    folds: Annotated[int, Field(ge=2)]


class Finetune(Training):
    """The teacher. `probe: null` always fine-tunes."""

    probe: Probe | None
    head: Head

    @model_validator(mode="after")
    def _probed(self) -> "Finetune":
        if self.probe and self.head.kind != "linear":
            raise ValueError(
                f"a linear probe makes a linear head: set probe to null, or head.kind to linear (it is {self.head.kind})"
            )
        return self


class LayersStudent(Section):
    """Layers of the teacher, with its embeddings and head (as DistilBERT, Sanh et al. 2019)."""

    kind: Literal["teacher_layers"]
    layers: tuple[Annotated[int, Field(ge=0)], ...]

    @model_validator(mode="after")
    def _ordered(self) -> "LayersStudent":
        if not self.layers or list(self.layers) != sorted(set(self.layers)):
            raise ValueError(
                f"layers {list(self.layers)} must name at least one teacher layer, each once, in rising order"
            )
        return self


class TimmStudent(Section):
    """An architecture of timm's with `arguments` of its own, from scratch: a smaller ViT, or a convolutional network."""

    kind: Literal["timm"]
    architecture: str
    arguments: dict[str, Argument]


class Distill(Training):
    """The student: its loss is `alpha * CE + (1 - alpha) * T**2 * KL(teacher || student at temperature T)`.

    `teacher: cached` takes the teacher's logits of train as they were written; `live` lets it see the very view that the student sees
    ("patient and consistent", Beyer et al. 2022), which augmentation needs.
    """

    student: Annotated[LayersStudent | TimmStudent, Field(discriminator="kind")]
    teacher: Literal["cached", "live"]
    temperature: Annotated[float, Field(gt=0)]
    alpha: Annotated[float, Field(ge=0, le=1)]

    @model_validator(mode="after")
    def _same_view(self) -> "Distill":
        if self.teacher == "cached" and self.augmentation is not None:
            raise ValueError(
                "the teacher's cached logits are of images without augmentation: set teacher to live, or augmentation to null"
            )
        return self
