"""`finetune` and `distill`, and the keys that every training run needs."""

from collections import Counter
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from baton.params.augmentation import AnyAugmentation
from baton.params.episodes import Episodes
from baton.params.fields import Count, Section, Seed
from baton.params.heads import Head
from baton.params.knowledge import Knowledge
from baton.params.strategy import FITTED, Strategy, strategies
from baton.params.students import Student
from baton.params.task_set import Mixing

LEAST = 4  # samples of which pairs are made: two of each of two classes


def _once(names: tuple[str, ...]) -> tuple[str, ...]:
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise ValueError(f"{repeated[0]} is named twice")
    return names


class EarlyStopping(Section):
    """Stop after `patience` evaluations without a better validation metric."""

    patience: Count


class Ema(Section):
    """An exponential moving average of the weights (Polyak & Juditsky 1992).

    It is validated and kept in place of the last weights.
    """

    decay: Annotated[float, Field(gt=0, lt=1)]


class Training(Section):
    """The keys that every training run needs.

    `batch_size` is the number of samples in one optimizer step; for text, a step can instead hold as many as
    fit into `tokens`, without padding (exactly one of the two is set). `accumulation` splits a step into
    micro-batches (of at least two samples per process if the model has batch normalisation).

    `layer_decay` multiplies the learning rate from each layer to the one below it, starting from 1 at the
    head (ULMFiT, Howard & Ruder 2018; BEiT, Bao et al. 2022). `drop_path` is the rate of stochastic depth at
    the last layer (Huang et al. 2016). `metric`, on validation, picks the checkpoint; ties go to the lower
    loss. Each of `seeds` is a separate training run; validation also picks the run whose model is used.
    `min_steps` raises `epochs` if there are so few rows that they would give fewer steps: a pretrained
    encoder needs a few hundred, however many rows there are (Mosbach et al. 2021, On the stability of
    fine-tuning BERT). `frozen`, only of a model that reads images with texts, names the encoders whose
    weights stay as they are.
    """

    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)]
    epochs: Count
    min_steps: Annotated[int, Field(ge=0)]
    batch_size: Count | None = None  # either this or `tokens`
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
    augmentation: AnyAugmentation | None
    metric: str  # one of the task's `metrics`
    # Only of images with texts.
    frozen: Annotated[tuple[Literal["image", "text"], ...], AfterValidator(_once)] = ()
    evaluations_per_epoch: Count
    early_stopping: EarlyStopping | None
    log_every: Count

    @property
    def seed(self) -> int:
        """The seed of a single training run, whose params `of` returns."""
        (seed,) = self.seeds
        return seed

    @property
    def mixes(self) -> bool:
        """Whether samples are mixed, and so have several classes."""
        varied = self.augmentation
        return varied is not None and (varied.mixup > 0 or getattr(varied, "cutmix", 0.0) > 0)

    def of(self, seed: int) -> Self:
        """Return the params of the training run with this seed."""
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
                f"set either batch_size (samples per step) or tokens (the most per step), not {got}"
            )
        if self.batch_size and self.batch_size % self.accumulation:
            raise ValueError(
                f"batch_size {self.batch_size} must be a multiple of accumulation {self.accumulation}"
            )
        return self


class Finetune(Training):
    """The teacher. `strategy` says which weights are trained, or how a head on frozen features is made.

    `episodes` says how few-shot learning is tested on the classes of `preprocess.novel`; null: it is not.

    `mixing`, only with several `tasks`, says how often each of them has a step.
    """

    mixing: Mixing | None = None
    strategy: Strategy
    head: Head
    keep: Literal["best", "all"]  # seeds whose answers on train are kept, for `distill.knowledge`
    episodes: Episodes | None = None

    @model_validator(mode="after")
    def _fitted(self) -> "Finetune":
        fitted = [own.kind for own in strategies(self.strategy) if own.kind in FITTED]
        if fitted and self.head.kind != "linear":
            raise ValueError(
                f"strategy {fitted[0]} makes a linear head: set head.kind to linear "
                f"(it is {self.head.kind}), or strategy to another kind"
            )
        return self

    @model_validator(mode="after")
    def _paired(self) -> "Finetune":
        paired = any(own.kind == "pairs" for own in strategies(self.strategy))
        if paired and (self.batch_size or 0) // self.accumulation < LEAST:
            raise ValueError(
                f"strategy pairs compares the samples of a part of a step: set batch_size to at least "
                f"{LEAST} times accumulation (they are {self.batch_size or 'null'} and {self.accumulation})"
            )
        return self

    @model_validator(mode="after")
    def _unmixed(self) -> "Finetune":
        whole = [own.kind for own in strategies(self.strategy) if own.kind in ("pairs", "episodes")]
        if self.mixes and whole:
            raise ValueError(
                f"strategy {whole[0]} asks whether two samples have one class, and mixed ones have several: "
                "set augmentation.mixup to 0.0 (of images also cutmix), or strategy to another kind"
            )
        return self


class Divergence(Section):
    """Kullback-Leibler divergence of the answers, softened by a temperature (Hinton et al. 2015)."""

    kind: Literal["divergence"]


class Decoupled(Section):
    """The divergence in two parts, of classes alone (Zhao et al. 2022, arXiv:2203.08679).

    `of_class` is the weight of the row's class against all others, `of_others` that of the others among
    themselves, which the plain divergence neglects where the teacher is sure.
    """

    kind: Literal["decoupled"]
    of_class: Annotated[float, Field(ge=0)]
    of_others: Annotated[float, Field(ge=0)]

    @model_validator(mode="after")
    def _some(self) -> "Decoupled":
        if not self.of_class + self.of_others:
            raise ValueError(
                "of_class and of_others are both 0: nothing is learned from the teacher's answers"
            )
        return self


class Features(Section):
    """Compare what the head reads in student and teacher; `weight` is that of the term."""

    weight: Annotated[float, Field(gt=0)]


class HiddenStates(Section):
    """Compare the hidden states of every layer of the student with a layer of the teacher.

    Their mean squared distance (Jiao et al. 2020, TinyBERT, arXiv:1909.10351, equation 8) counts `weight`.
    """

    kind: Literal["hidden"]
    weight: Annotated[float, Field(gt=0)]


class Relations(Section):
    """Compare the relations among a text's tokens in the last layer's hidden states, in so many heads.

    Their divergence (Wang et al. 2021, MiniLMv2, arXiv:2012.15828, there of queries, keys and values) counts
    `weight`.
    """

    kind: Literal["relations"]
    weight: Annotated[float, Field(gt=0)]
    heads: Count


class Distill(Training):
    """The student: its loss is `alpha * L + (1 - alpha) * T**2 * D(teacher, student)`, and further terms.

    `teacher: cached` uses the teacher's stored logits for train; with `live` the teacher sees the same view
    as the student ("patient and consistent", Beyer et al. 2022), which augmentation requires.

    A student that writes texts learns, with `cached`, the texts that the teacher wrote for train, and for a
    share `alpha` of the rows their references (sequence-level distillation, Kim & Rush 2016,
    arXiv:1606.07947). With `live` it learns the teacher's probabilities of each reference token by the loss
    above (word-level).

    With rows without labels (`preprocess.shots`, `source.unlabelled`) the student learns from them too, by
    soft targets alone; those whose soft target is below `confidence` for every class are left out. Soft
    targets are the teacher's, or the mean of several sources of `knowledge`. The control has the rows with
    labels, and as many steps.

    `soft` says how the two answers are compared; `correct` that the teacher's largest logit and that of the
    label change places where it is wrong (Wen et al. 2019, arXiv:1911.07471), and `standardise` that logits
    have mean 0 and deviation 1 over a row's classes before (Sun et al. 2024, arXiv:2403.01427). `features`
    adds the squared distance of what the heads of both read, times a weight, and `states` compares the hidden
    states of both.
    """

    student: Student
    teacher: Literal["cached", "live"]
    soft: Annotated[Divergence | Decoupled, Field(discriminator="kind")]
    correct: bool
    standardise: bool
    features: Features | None
    states: Annotated[HiddenStates | Relations, Field(discriminator="kind")] | None
    temperature: Annotated[float, Field(gt=0)]
    alpha: Annotated[float, Field(ge=0, le=1)]
    knowledge: Annotated[tuple[Knowledge, ...], Field(min_length=1)] | None  # null: the teacher
    confidence: Annotated[float, Field(gt=0, lt=1)] | None  # of classes

    @model_validator(mode="after")
    def _same_view(self) -> "Distill":
        if self.teacher == "cached" and self.augmentation is not None:
            raise ValueError(
                "the teacher's cached logits are of samples without augmentation: set teacher to live, "
                "or augmentation to null"
            )
        return self

    @model_validator(mode="after")
    def _read_at_once(self) -> "Distill":
        if self.states and self.teacher == "cached":
            raise ValueError(
                "states are too many to be stored: set teacher to live, or states to null (features are few)"
            )
        return self

    @model_validator(mode="after")
    def _one_class(self) -> "Distill":
        asks = "correct" if self.correct else "soft: decoupled" if self.soft.kind == "decoupled" else ""
        if self.mixes and asks:
            raise ValueError(
                f"{asks} asks for a row's class, and mixed rows have several: set augmentation.mixup to 0.0 "
                "(of images also cutmix), or do without it"
            )
        return self

    @model_validator(mode="after")
    def _known_before(self) -> "Distill":
        named = [key for key in ("knowledge", "confidence") if getattr(self, key) is not None]
        if self.teacher == "live" and named:
            raise ValueError(
                f"{named[0]} needs soft targets that are known before training: set teacher to cached, "
                f"or {named[0]} to null"
            )
        if (kinds := [own.kind for own in self.knowledge or ()]) and len(set(kinds)) < len(kinds):
            raise ValueError(f"knowledge: each kind may appear once, not {', '.join(kinds)}")
        return self
