"""Encoder-decoders of each family: from a local folder, from scratch, as a model folder, as a student."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSeq2SeqLM

from baton import params, storage
from baton.arrays import tokenizer_training
from baton.contracts import task_spec
from baton.contracts.task_spec import Sequence
from baton.contracts.written_texts import Texts
from baton.errors import ModelError, ParamsError
from baton.models import model_folder, sequence_backbone
from baton.models.sequence_model import SequenceModel, student
from baton.predict import predict
from baton.texts import document_windows, generation
from tests import tiny, tiny_sequences

FAMILIES = ("t5", "bart", "marian")
HEAD = params.DecoderHead(kind="decoder")


def weighted(folder: Path, architecture: str, **changes: Any) -> Path:
    """Write a base model with weights, laid out as on the hub, and arrays; return its folder."""
    task = tiny_sequences.write(folder, architecture, **changes)
    config = sequence_backbone.read_config(folder / "base")
    config.vocab_size = task.vocabulary
    torch.manual_seed(1)
    sequence_backbone.construct(config, "sdpa").save_pretrained(folder / "base")
    (folder / "arrays/tokenizer.json").rename(folder / "base/tokenizer.json")
    (folder / "base/tokenizer_plan.json").unlink()
    return folder / "base"


@pytest.mark.parametrize("architecture", FAMILIES)
def test_weights_of_a_local_folder_give_the_logits_of_transformers(tmp_path: Path, architecture: str) -> None:
    base = weighted(tmp_path, architecture)
    model, batch = tiny_sequences.model(tmp_path), tiny_sequences.split(tmp_path).batch(np.arange(5))
    theirs = AutoModelForSeq2SeqLM.from_pretrained(base).eval()
    expected = theirs(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        decoder_input_ids=batch.decoder_ids,
    ).logits.flatten(0, 1)[batch.places]
    torch.testing.assert_close(model(*batch.inputs), expected)


@pytest.mark.parametrize("architecture", FAMILIES)
def test_the_decoder_reads_what_transformers_shifts(tmp_path: Path, architecture: str) -> None:
    split = tiny_sequences.split(tmp_path, architecture=architecture)
    batch, model = split.batch(np.arange(5)), tiny_sequences.model(tmp_path)
    labels = torch.full(batch.decoder_ids.shape, -100)
    labels.view(-1)[batch.places] = batch.targets
    expected = model.backbone.prepare_decoder_input_ids_from_labels(labels)
    assert torch.equal(batch.decoder_ids, expected)


@pytest.mark.parametrize("architecture", FAMILIES)
@pytest.mark.parametrize("beams", [1, 3])
def test_a_model_folder_writes_the_same_texts_whatever_the_batch(
    tmp_path: Path, architecture: str, beams: int
) -> None:
    task = Sequence(target_length=12, beams=beams, validation_rows=4)
    split = tiny_sequences.split(tmp_path, "test", architecture=architecture, task=task)
    model, machine = tiny_sequences.model(tmp_path), tiny.machine()
    with torch.no_grad():  # large weights: texts that differ from row to row
        for weight in model.parameters():
            weight.mul_(3)
    info = model_folder.ModelInfo(model.spec, HEAD, tiny_sequences.READS)
    source = tokenizer_training.folder(tmp_path / "base", tmp_path / "arrays")
    model_folder.save(model, info, source, tmp_path / "model")
    loaded, found = model_folder.load(tmp_path / "model", "sdpa")
    assert found == info
    texts = [predict(one, split, machine, size) for one, size in ((model, 4), (loaded, 4), (loaded, 1))]
    assert all(isinstance(one, Texts) for one in texts)
    assert texts[0] == texts[1] == texts[2]
    assert beams > 1 or len({*texts[0].values}) > 1  # the best beam of random weights is often one text


@pytest.mark.parametrize("architecture", FAMILIES)
def test_tied_weights_are_saved_once(tmp_path: Path, architecture: str) -> None:
    tiny_sequences.write(tmp_path, architecture)
    model = tiny_sequences.model(tmp_path)
    assert len(model.tied) == 3  # the encoder's and decoder's embeddings, and the output's weights
    names = {name for name, _ in model.named_parameters()} | {name for name, _ in model.named_buffers()}
    assert set(model.state_dict()) == names
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
    model.load_state_dict(before)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("architecture", FAMILIES)
def test_a_student_of_all_layers_is_the_teacher(tmp_path: Path, architecture: str) -> None:
    split = tiny_sequences.split(tmp_path, architecture=architecture)
    teacher, batch = tiny_sequences.model(tmp_path), split.batch(np.arange(4))
    whole = student(teacher, (0, 1, 2), (0, 1, 2, 3), tiny.training(), "sdpa").eval()
    torch.testing.assert_close(whole(*batch.inputs), teacher(*batch.inputs))
    small = student(teacher, (0, 2), (1,), tiny.training(), "sdpa").eval()
    kept = small.state_dict()
    layers = {"t5": "block", "bart": "layers", "marian": "layers"}[architecture]
    inside = "" if architecture == "t5" else "model."
    for part, places in (("encoder", (0, 2)), ("decoder", (1,))):
        for place, layer in enumerate(places):
            start = f"backbone.{inside}{part}.{layers}.{place}."
            own = {name: tensor for name, tensor in kept.items() if name.startswith(start)}
            assert own
            for name, tensor in own.items():
                other = name.replace(start, f"backbone.{inside}{part}.{layers}.{layer}.")
                if "relative_attention_bias" in name:  # T5's first layer has it for all of them
                    other = name
                assert torch.equal(tensor, teacher.state_dict()[other])
    assert len(small.layer_groups()) == 1 + 3


def test_a_student_of_a_layer_that_is_not_there_is_refused(tmp_path: Path) -> None:
    tiny_sequences.write(tmp_path)
    with pytest.raises(ParamsError, match=r"decoder_layers: the teacher has no such layer"):
        student(tiny_sequences.model(tmp_path), (0,), (4,), tiny.training(), "sdpa")


def test_missing_weights_are_refused_not_drawn(tmp_path: Path) -> None:
    base = weighted(tmp_path, "t5")
    weights = load_file(base / "model.safetensors")
    weights.pop("decoder.final_layer_norm.weight")
    save_file(weights, base / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"1 missing, first decoder.final_layer_norm.weight"):
        tiny_sequences.model(tmp_path)


def test_an_encoder_alone_is_refused(tmp_path: Path) -> None:
    base = tiny.write_base(tmp_path / "bert")
    with pytest.raises(ModelError, match=r"not a known encoder-decoder"):
        sequence_backbone.read_config(base)
    tokenizer = document_windows.open_tokenizer(base, 16)
    from baton.arrays import sequence_targets

    with pytest.raises(ModelError, match="does not write texts"):
        sequence_targets.completed(tiny_sequences.TASK, tokenizer, storage.read_json(base / "config.json"))


def test_a_tokenizer_that_does_not_end_texts_is_refused(tmp_path: Path) -> None:
    from baton.arrays import sequence_targets

    base = weighted(tmp_path, "t5")
    raw = json.loads((base / "tokenizer.json").read_text())
    raw["post_processor"] = None
    (base / "tokenizer.json").write_text(json.dumps(raw))
    tokenizer = document_windows.open_tokenizer(base, 16)
    with pytest.raises(ModelError, match="does not end a text"):
        sequence_targets.completed(tiny_sequences.TASK, tokenizer, storage.read_json(base / "config.json"))


@pytest.mark.parametrize(
    ("architecture", "changes", "message"),
    [
        ("t5", {"attention_dropout": 0.2}, "one rate of dropout"),
        ("bart", {"drop_path": 0.1}, "no stochastic depth"),
    ],
)
def test_rates_that_a_family_lacks_are_refused(
    tmp_path: Path, architecture: str, changes: dict[str, Any], message: str
) -> None:
    tiny_sequences.write(tmp_path, architecture)
    with pytest.raises(ModelError, match=message):
        tiny_sequences.model(tmp_path, **changes)


def test_the_description_in_json_is_read_back(tmp_path: Path) -> None:
    task = tiny_sequences.write(tmp_path)
    assert task_spec.read(storage.read_json(tmp_path / "arrays/meta.json")) == task
    assert task.vocabulary == 320
    assert task.width == 320
    assert task_spec.read_file(tmp_path / "clean") == tiny_sequences.TASK


def test_a_tokenizer_trained_twice_has_the_same_bytes(tmp_path: Path) -> None:
    for plan in ({"kind": "characters"}, {"kind": "byte_pairs", "vocabulary": 320}):
        tiny_sequences.write(tmp_path / plan["kind"], tokenizer=plan)
        table, target = tmp_path / plan["kind"] / "clean/train.parquet", tmp_path / plan["kind"] / "again"
        target.mkdir()
        tokenizer_training.train(plan, table, ("text", "target"), target)
        again = (target / "tokenizer.json").read_bytes()
        assert again == (tmp_path / plan["kind"] / "arrays/tokenizer.json").read_bytes()


@pytest.mark.parametrize("kind", ["characters", "byte_pairs"])
def test_a_trained_tokenizer_returns_the_text_it_was_given(tmp_path: Path, kind: str) -> None:
    plan = {"kind": kind} | ({"vocabulary": 320} if kind == "byte_pairs" else {})
    tiny_sequences.write(tmp_path, tokenizer=plan)
    tokenizer = document_windows.open_tokenizer(tmp_path / "arrays", 64)
    for text in (tiny_sequences.SOURCES[0], "port\nworkers ship", "e"):
        encoded = tokenizer.encode(text)
        assert encoded.tokens[-1] == "</s>"
        known = text if kind == "byte_pairs" else text.replace("\n", "")  # train has no line break
        assert tokenizer.decode(encoded.ids) == known


@pytest.mark.parametrize("beams", [1, 3])
def test_the_unknown_token_is_never_written(tmp_path: Path, beams: int) -> None:
    """It stands for no text; here it is the token that the model prefers."""
    task = Sequence(target_length=12, beams=beams, validation_rows=4)
    split, model = tiny_sequences.split(tmp_path, "test", task=task), tiny_sequences.model(tmp_path)
    batch = split.batch(np.arange(6))
    before = model.generate(*batch.inputs)
    preferred = int(before[:, 0].mode().values)
    model.how = generation.config(replace(model.spec, unknown=preferred), tiny_sequences.READS.pad)
    assert preferred in before and preferred not in model.generate(*batch.inputs)


@pytest.mark.gpu
@pytest.mark.parametrize("architecture", FAMILIES)
def test_the_device_writes_the_texts_of_the_processor(tmp_path: Path, architecture: str) -> None:
    split = tiny_sequences.split(tmp_path, "test", architecture=architecture)
    model = tiny_sequences.model(tmp_path)
    expected = predict(model, split, tiny.machine(), 4)
    machine = tiny.machine(device="cuda", precision="fp32", attention="sdpa")
    found = predict(model.to(machine.device), split, machine, 4)
    assert isinstance(model, SequenceModel)
    assert found == expected


@pytest.mark.parametrize("architecture", FAMILIES)
def test_greedy_tokens_are_those_of_whole_passes_without_a_cache(tmp_path: Path, architecture: str) -> None:
    split = tiny_sequences.split(tmp_path, "test", architecture=architecture)
    model, batch = tiny_sequences.model(tmp_path), split.batch(np.arange(6))
    read, done = torch.full((6, 1), model.spec.start), torch.zeros(6, dtype=torch.bool)
    with torch.no_grad():
        for _ in range(model.spec.target_length):
            logits = model.backbone(
                input_ids=batch.input_ids,
                attention_mask=batch.attention_mask,
                decoder_input_ids=read,
                use_cache=False,
            ).logits[:, -1]
            logits[:, tiny_sequences.READS.pad] = -torch.inf
            chosen = logits.argmax(-1).masked_fill(done, tiny_sequences.READS.pad)
            done |= chosen == model.spec.end
            read = torch.cat([read, chosen[:, None]], 1)
    assert torch.equal(model.generate(*batch.inputs), read[:, 1:])
