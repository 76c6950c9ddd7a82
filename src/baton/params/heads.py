"""`finetune.head`: what makes logits, or texts, of features."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from baton.params.fields import Count, Section


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


class DecoderHead(Section):
    """The base model's own decoder, which writes texts; it has no settings."""

    kind: Literal["decoder"]

    pooling: ClassVar[Literal["mean"]] = "mean"  # nothing is pooled; heads of other kinds have these keys
    dropout: ClassVar[float] = 0.0


Head = Annotated[LinearHead | MlpHead | DecoderHead, Field(discriminator="kind")]
