"""The features of a document in windows: their definition, and unchanged bits if there is only one window."""

from pathlib import Path

import pytest
import torch

from baton import params
from baton.models import model_folder, text_model
from tests import tiny

LENGTHS = [[9, 5], [7], [12, 12, 3]]  # of the windows of three documents


@pytest.fixture(scope="module", params=["mean", "cls", "pooler"])
def model(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> text_model.TextClassifier:
    base: Path = tiny.write_base(tmp_path_factory.mktemp("base"))
    head = params.LinearHead(kind="linear", pooling=request.param, dropout=0.0)
    torch.manual_seed(0)
    made = model_folder.create(base, head, 3, tiny.training(), "matmul", tiny.TEXT_INPUT)
    assert isinstance(made, text_model.TextClassifier)
    return made.eval()


def batch(lengths: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    flat = [length for own in lengths for length in own]
    ids = torch.randint(5, 200, (len(flat), 16), generator=torch.Generator().manual_seed(0))
    mask = (torch.arange(16) < torch.tensor(flat).unsqueeze(1)).long()
    owner = torch.tensor([place for place, own in enumerate(lengths) for _ in own])
    return ids * mask, mask, owner == torch.arange(len(lengths)).unsqueeze(1)


def test_features_are_the_mean_over_a_documents_windows(model: text_model.TextClassifier) -> None:
    ids, mask, owners = batch(LENGTHS)
    found = model.features(ids, mask, owners)
    for document, own in enumerate(owners):
        states = [
            model.backbone(input_ids=row[kept.bool()].unsqueeze(0))
            for row, kept in zip(ids[own], mask[own], strict=True)
        ]
        match model.pooling:
            case "mean":  # of the windows' vectors, weighted by their tokens: the mean over all tokens
                expected = torch.cat([state.last_hidden_state[0] for state in states]).mean(0)
            case "cls":
                expected = torch.stack([state.last_hidden_state[0, 0] for state in states]).mean(0)
            case _:
                expected = torch.stack([state.pooler_output[0] for state in states]).mean(0)
        torch.testing.assert_close(found[document], expected, atol=1e-6, rtol=1e-5)


def test_a_mean_of_means_is_found(model: text_model.TextClassifier) -> None:
    """Negative control: without weights a short last window would count as much as a long first one."""
    ids, mask, owners = batch(LENGTHS)
    unweighted = torch.stack([model.features(ids[own], mask[own]).mean(0) for own in owners])
    same = [
        bool(torch.allclose(*pair, atol=1e-6))
        for pair in zip(unweighted, model.features(ids, mask, owners), strict=True)
    ]
    assert same == [model.pooling != "mean", True, model.pooling != "mean"]


def test_documents_of_one_window_have_the_bits_of_before(model: text_model.TextClassifier) -> None:
    ids, mask, owners = batch([[9], [5], [12], [16]])
    outcomes = []
    for inputs in ((ids, mask), (ids, mask, owners)):
        model.zero_grad()
        logits = model(*inputs)
        logits.logsumexp(-1).sum().backward()
        outcomes.append(
            [
                logits.detach(),
                *(parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None),
            ]
        )
    assert len(outcomes[0]) > 10 and all(torch.equal(*pair) for pair in zip(*outcomes, strict=True))


def test_gradients_of_a_batch_are_those_of_its_documents(model: text_model.TextClassifier) -> None:
    ids, mask, owners = batch(LENGTHS)
    model.zero_grad()
    model(ids, mask, owners).logsumexp(-1).sum().backward()
    together = [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]
    model.zero_grad()
    for own in owners:
        model(ids[own], mask[own], torch.ones(1, int(own.sum()), dtype=torch.bool)).logsumexp(
            -1
        ).sum().backward()
    apart = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    for one, other in zip(together, apart, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
