"""Ways to compare a student with its teacher, beyond the divergence of a task: pure functions.

Input: logits, hidden states or query, key and value vectors of both -> a loss for each sample, fp32.
"""

import torch
from torch.nn import functional


def decoupled(
    student: torch.Tensor,
    teacher: torch.Tensor,
    classes: torch.Tensor,
    temperature: float,
    of_class: float,
    of_others: float,
) -> torch.Tensor:
    """Return the decoupled divergence of each sample, (batch,).

    KL(teacher || student) is KL of the class's probability against that of all others, plus the teacher's
    probability of the others times KL among them. The second factor makes it small where the teacher is sure;
    here both have weights instead: `of_class` * the first + `of_others` * the second (Zhao et al. 2022,
    Decoupled knowledge distillation, arXiv:2203.08679, equations 5 to 7).

    Args:
        student: logits, (batch, width).
        teacher: logits, (batch, width).
        classes: the class of each sample, (batch,) int64.
        temperature: divides the logits of both.
        of_class: the weight of the class against all others (the paper's alpha).
        of_others: the weight of the others among themselves (beta).
    """
    hot = functional.one_hot(classes, student.shape[1]).bool()
    (own, own_others), (taught, taught_others) = (
        _parts(logits.float() / temperature, hot) for logits in (student, teacher)
    )
    return of_class * _divergence(own, taught) + of_others * _divergence(own_others, taught_others)


def corrected(teacher: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """Return the teacher's logits, (batch, width), with each row's class, (batch,), as the likeliest.

    Where the teacher is wrong, its largest logit and that of the row's class change places: what it says of
    the other classes stays (Wen, Lai & Qian 2019, Preparing lessons, arXiv:1911.07471, probability shift).
    """
    largest, place = teacher.max(dim=1, keepdim=True)
    own = teacher.gather(1, classes[:, None])
    return teacher.scatter(1, place, own).scatter(1, classes[:, None], largest)


def standardised(logits: torch.Tensor) -> torch.Tensor:
    """Return logits, (batch, width), with mean 0 and deviation 1 over each sample's outputs.

    The student then need not match the teacher's scale, only the order and distances of its logits (Sun et
    al. 2024, Logit standardization in knowledge distillation, arXiv:2403.01427, equation 10).
    """
    centred = logits.float() - logits.float().mean(-1, keepdim=True)
    return centred / centred.square().mean(-1, keepdim=True).sqrt().clamp_min(1e-6)


def apart(student: torch.Tensor, teacher: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Return the mean squared distance of features, (outputs,), each in units of its deviation.

    The hint of FitNets (Romero et al. 2015, arXiv:1412.6550, equation 3) for what the head reads. The head is
    the teacher's, and its input says more than the few logits that it makes of it (Chen et al. 2022,
    Knowledge distillation with the reused teacher classifier, arXiv:2203.14001). Of a student
    that always had the teacher's mean it would be 1.

    Args:
        student: projected to the teacher's width, (outputs, width).
        teacher: (outputs, width).
        scale: the deviation of each of the teacher's features over train, (width,).
    """
    return ((student.float() - teacher.float()) / scale).square().mean(-1)


def hidden(student: torch.Tensor, teacher: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the mean squared distance of hidden states over each sample's tokens and their width, (batch,).

    FitNets' hint (Romero et al. 2015, arXiv:1412.6550, equation 3) as TinyBERT has it (Jiao et al. 2020,
    arXiv:1909.10351, equation 8), for states of equal width.

    Args:
        student: (batch, length, width).
        teacher: (batch, length, width).
        mask: 1 for tokens, (batch, length).
    """
    each = (student.float() - teacher.float()).square().mean(-1)  # (batch, length)
    return _mean(each, mask)


def relations(student: torch.Tensor, teacher: torch.Tensor, heads: int, mask: torch.Tensor) -> torch.Tensor:
    """Return the divergence of the relations among a sample's tokens, (batch,).

    A relation is the softmax of scaled products of the query vectors of a layer with each other, or of its
    keys, or its values, in as many heads as wanted, so that student and teacher may differ in width and in
    heads (Wang et al. 2021, MiniLMv2, arXiv:2012.15828, equations 4 to 7). It is averaged over heads and
    tokens.

    Args:
        student: queries, keys or values of a layer of the student, (batch, length, width).
        teacher: the same of the teacher, (batch, length, its width).
        heads: relation heads; both widths must be multiples.
        mask: 1 for tokens, (batch, length).
    """
    own, taught = (_related(vectors.float(), heads, mask) for vectors in (student, teacher))
    return _mean(_divergence(own, taught).mean(1), mask)  # from (batch, heads, length)


def _parts(logits: torch.Tensor, hot: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return log-probabilities of the class and of all others, (batch, 2), and among the others.

    The latter are (batch, width), and minus infinity for the class.
    """
    others = logits.masked_fill(hot, float("-inf"))  # no selection: its size would be read from the device
    both = torch.stack(((logits * hot).sum(-1), others.logsumexp(-1)), dim=1)
    return both.log_softmax(-1), others.log_softmax(-1)


def _divergence(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Return KL(teacher || student) of log-probabilities over the last dimension; 0 counts 0."""
    nothing = teacher.isneginf()
    each = teacher.exp() * (teacher - student.masked_fill(nothing, 0.0)).masked_fill(nothing, 0.0)
    return each.sum(-1)


def _related(vectors: torch.Tensor, heads: int, mask: torch.Tensor) -> torch.Tensor:
    """Return the log-probabilities of relations, (batch, heads, length, length)."""
    split = vectors.reshape(*vectors.shape[:2], heads, -1).transpose(
        1, 2
    )  # (batch, heads, length, width / heads)
    scores = split @ split.transpose(-1, -2) / split.shape[-1] ** 0.5
    hidden: torch.Tensor = scores.masked_fill(mask[:, None, None] == 0, float("-inf"))
    return hidden.log_softmax(-1)


def _mean(each: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the mean over each sample's tokens, (batch,), of (batch, length)."""
    return (each * mask).sum(-1) / mask.sum(-1)
