"""Test whether a training run is compiled, for all shapes at once, and what is compiled with it."""

import dataclasses
import functools
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch._dynamo.exc import BackendCompilerFailed, Unsupported
from torch._higher_order_ops.wrap import tag_activation_checkpoint
from torch._inductor.exc import CppCompileError, InductorError
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel
from transformers import AutoModel, BertConfig, ModernBertConfig

from baton import params, storage
from baton.arrays.text_arrays import TextArrays
from baton.batches import array_splits
from baton.batches.sampler import TrainingBatches
from baton.batches.text_batches import TextSplit
from baton.contracts.input_spec import ImageInput
from baton.distill import soft_targets
from baton.errors import TrainingError
from baton.losses import class_losses
from baton.models import model_folder
from baton.models.kernels import attention
from baton.models.text_model import TextClassifier
from baton.runtime import kernels, resolve, sharding
from baton.train import compiling, loop, saving
from baton.train.compiled import Compiled
from baton.train.compiling import Costs, decided
from tests import tiny
from tests.train import training

# torch's compiler looks at gradients, and hides its own warning.
pytestmark = pytest.mark.filterwarnings(
    "ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"
)
HEAD = params.LinearHead(kind="linear", pooling="mean", dropout=0.0)
SETTINGS = params.read(Path("params.yaml")).finetune.model_copy(
    update={
        "epochs": 2,
        "batch_size": 8,
        "learning_rate": 1e-3,
        "dropout": 0.0,
        "attention_dropout": 0.0,
        "log_every": 1,
        "head": HEAD,
    }
)


# ---- the choice
# ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("costs", "steps", "parts", "compiled"),
    [
        (Costs(0.1, 0.06, 30), 1_000, 1, True),  # 40 s saved, 30 s to compile
        (Costs(0.1, 0.06, 50), 1_000, 1, False),
        (Costs(0.1, 0.06, 50), 1_000, 2, True),  # each step has two parts: 80 s saved
        (Costs(0.1, 0.12, 0.1), 9_000, 1, False),  # slower compiled
        (Costs(0.05, 0.001, 1), 1_000, 1, False),  # 50 s: training ends before compilation would
        (Costs(0.05), 1_000, 1, False),
    ],
)
def test_it_is_compiled_where_it_saves_more_than_it_costs(
    costs: Costs, steps: int, parts: int, compiled: bool
) -> None:
    assert decided(costs, steps, parts).compile == compiled


@dataclasses.dataclass
class Batch:
    """Four samples of two numbers."""

    inputs: tuple[torch.Tensor, ...] = dataclasses.field(default_factory=lambda: (torch.ones(4, 2),))
    targets: torch.Tensor = dataclasses.field(default_factory=lambda: torch.tensor([0, 1, 0, 1]))
    rows: torch.Tensor = dataclasses.field(default_factory=lambda: torch.arange(4))
    shape: tuple[int, int] = (4, 2)
    bounds: None = None

    @property
    def units(self) -> torch.Tensor:
        """See `contracts.batch.Batch`."""
        return self.rows

    def to(self, device: torch.device) -> "Batch":
        """See `contracts.batch.Batch`."""
        return self


@dataclasses.dataclass
class Batches:
    """The same batch, in two parts, at every step."""

    mean_length: float = 2.0
    shape: tuple[int, int] = (4, 2)
    steps_per_epoch = 10

    def size(self, step: int) -> int:
        """See `feed.Batches`."""
        return 8

    def names(self, step: int) -> list[str]:
        """See `feed.Batches`."""
        return []

    def micro_batches(self, step: int) -> list[tuple[Any, float]]:
        """See `feed.Batches`."""
        return [(Batch(shape=self.shape), 0.5), (Batch(shape=self.shape), 0.5)]


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Set the durations of passes, and record what was compiled and timed. Nothing is really compiled."""
    told: dict[str, Any] = {"eager": 0.1, "compiled": 0.05, "opening": 30.0, "timed": []}
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setattr(compiling.torch, "compile", lambda model, **_: model)
    passed = compiling._seconds

    def seconds(forward: nn.Module, parts: list[Any], *rest: Any) -> float:
        passed(forward, parts, *rest)
        kind = "compiled" if isinstance(forward, compiling.Compiled) else "eager"
        first = kind == "compiled" and kind not in told["timed"]
        told["timed"].append(kind)
        return told["opening"] if first else told[kind] * len(parts)

    monkeypatch.setattr(compiling, "_seconds", seconds)
    return told


def settled(
    steps: int = 10_000, model: nn.Module | None = None, companions: Any = (), **changes: Any
) -> compiling.Settled:
    wanted, fixed = changes.pop("compile", kernels.MEASURED), changes.pop("fixed_shapes", False)
    machine = dataclasses.replace(tiny.machine(), compile=wanted, fixed_shapes=fixed)
    batches = Batches(changes.pop("mean_length", 2.0), changes.pop("shape", (4, 2)))
    model, settings = (
        model or nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 2)),
        SETTINGS.model_copy(update=changes),
    )
    return compiling.settled(
        model, batches, class_losses.cross_entropy(0.0, None), machine, steps, settings, companions
    )


def test_costs_are_measured_once_and_kept(clock: dict[str, Any], tmp_path: Path) -> None:
    first = settled()
    assert first.compile
    assert first.costs == Costs(pytest.approx(0.1), pytest.approx(0.05), 30.0)
    assert first.reason == (
        "a pass takes 50.0 ms with it and 100.0 ms without: 1000 s saved in 10,000 steps, and 30 s to compile"
    )
    assert first.figures() == pytest.approx(
        {
            "compiled": 1,
            "compile_eager_seconds": 0.1,
            "compile_compiled_seconds": 0.05,
            "compile_first_seconds": 30,
        }
    )
    (kept,) = (tmp_path / ".baton/compile").iterdir()
    clock["timed"].clear()
    clock["eager"] = 0.001  # measured again, the choice would differ
    assert settled() == first
    assert clock["timed"] == []
    assert settled(300).compile is False  # by the kept costs: 30 s saved, 30 s to compile
    assert storage.read_json(kept) == dataclasses.asdict(first.costs)
    assert not settled(batch_size=16).compile  # another step: measured, and too short
    assert clock["timed"] == ["eager"] * 3


def test_what_cannot_pay_is_not_compiled(clock: dict[str, Any]) -> None:
    clock["eager"] = 0.001
    assert settled().reason == "the 10,000 steps take about 20 s without it"
    assert set(clock["timed"]) == {"eager"}
    assert not settled(compiling.FEWEST_STEPS - 1).compile
    clock["timed"].clear()
    assert settled(100_000).costs == Costs(
        pytest.approx(0.001), pytest.approx(0.05), 30.0
    )  # a longer run is worth a try
    assert set(clock["timed"]) == {"compiled"}


def test_the_model_stays_as_it_is(clock: dict[str, Any]) -> None:
    model = nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 2))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    settled(model=model)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_live_teacher_that_was_measured_is_compiled_no_longer(clock: dict[str, Any]) -> None:
    teacher = soft_targets.Live(nn.Linear(2, 2))
    forwards = []

    class Asking(nn.Linear):
        """A model that notes the teacher's forward at each pass."""

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            forwards.append(type(teacher.forward))
            return super().forward(inputs)

    settled(model=Asking(2, 2), companions=[teacher])
    assert set(forwards) == {nn.Linear, Compiled}, "measured without and with the compiler"
    assert restored(teacher)


def wrapped(error: Exception) -> Exception:
    """An error as inductor raises it for failures within."""
    return InductorError(error, None)


GCC = ["gcc", "main.c"]
LASTING = [
    wrapped(RuntimeError("no kernel for this\nmore")),
    BackendCompilerFailed(str, ValueError("no kernel"), None),
    Unsupported("no kernel"),
    CppCompileError(GCC, "error: unknown type name"),
    subprocess.CalledProcessError(1, GCC),
]
PASSING = [
    TrainingError("training ran out of memory"),  # see `explained_memory`
    OSError(28, "No space left on device"),
    wrapped(OSError(28, "No space left on device")),
    wrapped(torch.OutOfMemoryError("CUDA out of memory")),
    CppCompileError(GCC, "fatal error: error writing to /tmp/cc1.s: No space left on device"),
    subprocess.CalledProcessError(-9, GCC),  # killed for lack of memory
    RuntimeError("CUDA error: unspecified launch failure"),
]


@pytest.mark.parametrize("error", LASTING + PASSING, ids=repr)
def test_auto_does_without_a_compiler_that_fails(
    error: Exception, clock: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The compiler's own failures are remembered, in a file that is named; lack of memory or disk passes."""

    def fails(self: Any, *inputs: Any) -> Any:
        raise error

    lasting = error in LASTING
    with monkeypatch.context() as patch:
        patch.setattr(compiling.Compiled, "forward", fails)
        first = settled()
    (kept,) = storage.state("compile").iterdir()
    shown = str(error).splitlines()[0]
    if lasting:
        assert first.reason == f"this model cannot be compiled ({shown}); to try it again, delete {kept}"
    else:
        assert first.reason == f"this model was not compiled ({shown})"
    assert first.compile is False
    assert first.figures() == pytest.approx({"compiled": 0, "compile_eager_seconds": 0.1})
    clock["timed"].clear()
    again = settled()
    assert set(clock["timed"]) == (set() if lasting else {"compiled"})
    assert (again == first) if lasting else again.compile
    kept.unlink()
    assert settled().compile


class Deeper(nn.Sequential):
    """A different architecture with weights of the same names and shapes."""


@pytest.mark.parametrize(
    ("change", "measured"),
    [
        ({"mean_length": 2.02}, False),  # a few more rows
        ({"mean_length": 4.0}, True),
        ({"model": Deeper(nn.BatchNorm1d(2), nn.Linear(2, 2))}, True),
        ({"companions": [soft_targets.Live(nn.Linear(2, 2))]}, True),
        ({"attention_dropout": 0.1}, True),
    ],
    ids=["rows", "longer", "architecture", "teacher", "dropout"],
)
def test_kept_costs_are_of_this_very_training(
    change: dict[str, Any], measured: bool, clock: dict[str, Any]
) -> None:
    settled()
    clock["timed"].clear()
    settled(**change)
    assert bool(clock["timed"]) == measured


@pytest.mark.parametrize(("size", "measured"), [(4, False), (8, True)])
def test_kept_costs_are_of_pictures_of_this_size(size: int, measured: bool, clock: dict[str, Any]) -> None:
    settled(fixed_shapes=True)
    clock["timed"].clear()
    settled(fixed_shapes=True, shape=(4, size // 2))
    assert bool(clock["timed"]) == measured


@pytest.mark.parametrize("asked", [True, False])
def test_what_params_say_is_not_measured(clock: dict[str, Any], asked: bool) -> None:
    assert settled(compile=asked).compile is asked
    assert clock["timed"] == []


# ---- shapes
# ----------------------------------------------------------------------------------------------------


class Counter:
    """A backend that runs graphs unchanged, and counts them."""

    def __init__(self) -> None:
        self.graphs = self.runs = self.recomputing = 0
        self.numbers: list[Any] = []  # numbers of a layer, such as a rate, that are graph inputs
        self.at: list[int] = []  # how many graphs there were before each step

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., Any]:
        self.graphs += 1
        self.recomputing += any(node.target is tag_activation_checkpoint for node in graph.graph.nodes)
        named = zip(graph.graph.find_nodes(op="placeholder"), inputs, strict=True)
        single = [
            node.target for node, value in named if not isinstance(value, torch.Tensor) or value.ndim == 0
        ]
        self.numbers += [name for name in single if name.startswith("L_self")]

        def run(*arguments: Any) -> Any:
            self.runs += 1
            return graph.forward(*arguments)

        return run


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch) -> Counter:
    made = Counter()
    torch._dynamo.reset()
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=made))
    monkeypatch.setattr(
        attention, "_may_skip", lambda options: options.get("attention_mask") is None
    )  # as on a GPU
    step = loop._Loop.step

    def counted(training: Any, parts: Any) -> Any:
        made.at.append(made.graphs)
        return step(training, parts)

    monkeypatch.setattr(loop._Loop, "step", counted)
    return made


def run(
    root: Path, batch_size: int, compiled: bool = True, teacher: soft_targets.Live | None = None, **own: Any
) -> list[loop.Point]:
    """Train for two epochs."""
    meta = array_splits.read_meta(root / "arrays")
    images = isinstance(meta.input, ImageInput)
    machine = dataclasses.replace(
        tiny.machine(attention="sdpa"), compile=compiled, fixed_shapes=images, **own
    )
    settings = SETTINGS.model_copy(update={"batch_size": batch_size})
    resolve.seed_everything(0)
    model = model_folder.create(root / "base", HEAD, meta.task.width, settings, "sdpa", meta.input)
    split = array_splits.open_splits(root / "arrays", training.AUGMENTATION if images else None)["train"]
    batches = TrainingBatches(
        split, batch_size, 1, 0, lambda: array_splits.read_ids(root / "arrays", "train")
    )
    loss_fn = (
        tiny.distilled(tiny.LOSSES, teacher, 2.0, 0.5, 0.0, None)
        if teacher
        else class_losses.cross_entropy(0.0, None)
    )
    scores = {"loss": 0.0, "accuracy": 0.0, "macro_f1": 0.0}
    return list(
        loop.train(
            model,
            batches,
            loss_fn,
            lambda: scores,
            settings,
            machine,
            companions=[teacher] if teacher else (),
        )
    )


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("texts")
    training.prepare(root)
    tiny.write_base(root / "base", layers=1)
    return root


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("images")
    training.prepare(root, functools.partial(tiny.write_image_base, depth=1))
    return root


def test_texts_of_every_width_share_what_was_compiled_first(texts: Path, counter: Counter) -> None:
    """48 documents in batches of 8, of 8 or 16 tokens: a batch may be as long as it has documents."""
    eager = [point.loss for point in run(texts, 8, compiled=False) if isinstance(point, loop.TrainPoint)]
    counter.at.clear()
    widths = {part.shape for step in range(6) for part, _ in batches_of(texts, 8).micro_batches(step)}
    assert len(widths) > 1, "otherwise the test shows nothing"
    compiled = [point.loss for point in run(texts, 8) if isinstance(point, loop.TrainPoint)]
    assert counter.at == [1] * 12
    assert counter.graphs == 1
    assert compiled == pytest.approx(eager, abs=1e-5)


def batches_of(root: Path, size: int) -> TrainingBatches:
    return TrainingBatches(array_splits.open_splits(root / "arrays", None)["train"], size, 1, 0)


def test_sizes_that_are_equal_by_chance_need_not_stay_so() -> None:
    """Negative control: with `dynamic=True` alone, a square first batch is compiled for square batches."""
    counts = []
    for wrap in (
        lambda model: Compiled(model, fixed_shapes=False),
        lambda model: torch.compile(model, dynamic=True),
    ):
        counter = Counter()
        torch._dynamo.reset()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch, "compile", functools.partial(torch.compile, backend=counter))
            model = wrap(nn.Softmax(-1))
            for shape in ((16, 16), (16, 24), (8, 16), (5, 40)):
                model(torch.randn(*shape))
        counts.append(counter.graphs)
    assert counts[0] == 1 < counts[1]


SIZES: dict[str, Any] = {
    "vocab_size": 99,
    "hidden_size": 32,
    "num_hidden_layers": 12,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}
ENDS = {"cls_token_id": 1, "sep_token_id": 2, "bos_token_id": 1, "eos_token_id": 2}
ENCODERS = {  # and their numbers of kinds of layers
    "bert": (BertConfig(**SIZES, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0), 1),
    "modernbert": (ModernBertConfig(**SIZES, **ENDS, global_attn_every_n_layers=3, local_attention=8), 2),
}


@pytest.mark.parametrize("packs", [False, True])
@pytest.mark.parametrize("family", ENCODERS)
def test_layers_of_a_kind_share_what_was_compiled(family: str, packs: bool, counter: Counter) -> None:
    """First as many documents as tokens and hidden units, then fewer; a single one is not compiled."""
    config, kinds = ENCODERS[family]
    model = TextClassifier(AutoModel.from_config(config, attn_implementation="sdpa"), HEAD, 3).train()
    width = config.hidden_size
    shapes = [(width, width), (8, width), (width, 16), (24, 24), (1, 16), (5, 40)]
    batches = [
        inputs_of([length] * (count - 1) + [length - 3], config.vocab_size, packs) for count, length in shapes
    ]
    expected = [model(*inputs) for inputs in batches]
    compiled, graphs = Compiled(model, fixed_shapes=False), []
    for inputs, logits in zip(batches, expected, strict=True):
        torch.testing.assert_close(compiled(*inputs), logits, atol=1e-5, rtol=1e-5)
        graphs.append(counter.graphs)
    assert graphs[0] >= kinds
    assert graphs == graphs[:1] * len(shapes)
    assert graphs[0] <= kinds + 1  # the first layer's hidden states may not be a view, as the others' are


@pytest.mark.parametrize("packs", [False, True])
@pytest.mark.parametrize("split", [False, True])
def test_only_the_sizes_of_a_batch_vary(split: bool, packs: bool, counter: Counter) -> None:
    """By default rates and epsilons are graph inputs too, as is the number of heads of a split layer."""
    encoder = AutoModel.from_config(BertConfig(**SIZES), attn_implementation="sdpa")
    model = TextClassifier(encoder, HEAD, 3).train()
    for module in model.modules() if split else ():
        module._is_fsdp_managed_module = module._fsdp_use_orig_params = True  # type: ignore[assignment]
    compiled = Compiled(model, fixed_shapes=False)
    for count, length in ((8, 16), (5, 40)):
        compiled(*inputs_of([length] * count, SIZES["vocab_size"], packs))
    assert counter.graphs == 1
    assert counter.numbers == []


class Block(nn.Module):
    """A layer with its own rate, like the blocks of a ViT with `drop_path`."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Any shape."""
        return inputs * self.rate


class Blocks(nn.Module):
    """Twelve of them."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(index / 12) for index in range(1, 13))

    def shards(self) -> list[nn.Module]:
        """See `Classifier`."""
        return list(self.blocks)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Any shape."""
        for block in self.blocks:
            inputs = block(inputs)
        return inputs


def test_layers_that_differ_are_all_compiled(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    """A split model's layers compile for each shape, and so do the next seed's.

    torch's own limits are 8, and 256 for all models.
    """
    monkeypatch.setattr(sharding, "is_split", lambda model: True)
    seeds = [Compiled(Blocks(), fixed_shapes=True) for _ in range(2)]
    with torch._dynamo.config.patch(accumulated_recompile_limit=30):
        for seed, compiled in enumerate(seeds):
            for rows in (8, 5):
                compiled(torch.ones(rows, seed + 3))
    assert counter.graphs == 2 * 2 * 12


def test_graphs_of_several_processes_are_whole(counter: Counter, group: None) -> None:
    """By default, graphs are split at DDP's buckets."""
    model = nn.Sequential(*(nn.Linear(512, 512) for _ in range(3)))
    for forward, graphs in ((Compiled(model, fixed_shapes=True), 1), (torch.compile(model), 4)):
        torch._dynamo.reset()
        DistributedDataParallel(forward, bucket_cap_mb=1)(torch.ones(4, 512)).sum().backward()
        assert counter.graphs == graphs
    assert torch._dynamo.config.optimize_ddp is True, "nothing is left behind"


@pytest.fixture
def group(tmp_path: Path) -> Iterator[None]:
    """Form a group of one process."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize("packs", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("family", ENCODERS)
def test_layers_that_are_computed_again_in_the_backward_pass_compile_nothing_more(
    family: str, packs: bool, counter: Counter
) -> None:
    """Gradients equal those of eager mode, with or without recomputation in a layer's graph.

    Each layer's graph runs once per step.
    """
    config, _ = ENCODERS[family]
    model = TextClassifier(AutoModel.from_config(config, attn_implementation="sdpa"), HEAD, 3).train()
    batches = [
        inputs_of([length] * (count - 1) + [length - 3], config.vocab_size, packs)
        for count, length in ((8, 16), (5, 40))
    ]

    def gradients(forward: nn.Module) -> list[torch.Tensor]:
        model.zero_grad()
        for inputs in batches:
            logits = forward(*inputs)
            functional.cross_entropy(logits, torch.arange(len(logits)) % 3).backward()
        return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]

    expected = gradients(model)
    model.checkpoint_activations()
    torch.testing.assert_close(gradients(model), expected, atol=1e-5, rtol=1e-4)
    compiled = Compiled(model, fixed_shapes=False)
    found, first = gradients(compiled), counter.graphs
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    assert counter.runs == 2 * config.num_hidden_layers
    assert counter.recomputing == counter.graphs
    gradients(compiled)
    assert counter.graphs == first


def inputs_of(lengths: list[int], vocabulary: int, packs: bool) -> tuple[Any, ...]:
    """Documents of random tokens."""
    tokens = [np.random.default_rng(length).integers(5, vocabulary, length) for length in lengths]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    held = TextArrays(np.concatenate(tokens), offsets, tiny.targets(np.zeros(len(lengths), dtype=np.int64)))
    split = TextSplit(held, 0, packs)
    return split.batch(np.arange(len(lengths))).inputs


def test_pictures_are_compiled_for_their_shapes_before_the_first_step(images: Path, counter: Counter) -> None:
    """48 images in batches of 20: of 20 and of 8."""
    run(images, 20)
    assert counter.at == [2] * 6
    assert counter.graphs == 2


def test_a_live_teacher_is_compiled_with_its_student(texts: Path, counter: Counter) -> None:
    meta = array_splits.read_meta(texts / "arrays")
    own = model_folder.create(texts / "base", HEAD, meta.task.width, SETTINGS, "sdpa", meta.input)
    plain = [
        point.loss
        for point in run(texts, 8, False, soft_targets.Live(own))
        if isinstance(point, loop.TrainPoint)
    ]
    assert counter.graphs == 0
    teacher = soft_targets.Live(own)
    both = [point.loss for point in run(texts, 8, True, teacher) if isinstance(point, loop.TrainPoint)]
    assert counter.graphs == 2
    assert both == pytest.approx(plain, abs=1e-5)
    assert restored(teacher)


def restored(teacher: soft_targets.Live) -> bool:
    """Return whether nothing of it is compiled any more."""
    return teacher.forward is teacher.model and all(
        "forward" not in vars(layer) for layer in sharding.units(teacher.model)
    )


class Uneven(TrainingBatches):
    """Batches in which the last two documents of each step are separate parts."""

    def micro_batches(self, step: int) -> list[tuple[Any, float]]:
        """See `TrainingBatches`."""
        rows = self.rows(step)
        return [
            (self._batch(part, rows, step), len(part) / len(rows))
            for part in (rows[:-2], rows[-2:-1], rows[-1:])
        ]


def test_the_pass_that_looks_for_unused_weights_decides_nothing(
    texts: Path, counter: Counter, group: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes the last part, a single row, for which alone a teacher was compiled.

    Only several processes make this pass; here one does.
    """
    monkeypatch.setattr(sys.modules[__name__], "TrainingBatches", Uneven)
    meta = array_splits.read_meta(texts / "arrays")
    teacher = soft_targets.Live(
        model_folder.create(texts / "base", HEAD, meta.task.width, SETTINGS, "sdpa", meta.input)
    )
    run(texts, 8, True, teacher, processes=2)
    assert counter.graphs == 2
    assert counter.runs == 2 * (1 + 12)  # the first pass and 12 steps of student and teacher


def test_a_training_that_begins_with_a_single_row_is_compiled(counter: Counter) -> None:
    """A rank may have a single document in its first step; larger batches ran eager then."""
    compiled = Compiled(
        TextClassifier(AutoModel.from_config(BertConfig(**SIZES)), HEAD, 3).train(), fixed_shapes=False
    )
    for count in (1, 4, 3, 1, 5):
        compiled(*inputs_of([8] * count, SIZES["vocab_size"], False))
    assert counter.graphs == 2
    assert counter.runs == 5 * SIZES["num_hidden_layers"]


@pytest.mark.parametrize("way", ["construction", "load", "closed"])
def test_whatever_ends_a_training_nothing_stays_compiled(
    way: str, texts: Path, counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    meta = array_splits.read_meta(texts / "arrays")
    student, own = (
        model_folder.create(texts / "base", HEAD, meta.task.width, SETTINGS, "sdpa", meta.input)
        for _ in range(2)
    )
    teacher = soft_targets.Live(own)
    machine = dataclasses.replace(tiny.machine(), compile=True)

    def fails(*_: Any) -> Any:
        raise RuntimeError(way)

    def found(saves: saving.Saving) -> None:
        saves.state.points.append(loop.TrainPoint(1, 0.1, 1.0, 1e-3, 1.0, 8, 1.0, 0))

    if way == "construction":
        monkeypatch.setattr(loop, "_validation_steps", fails)
    monkeypatch.setattr(saving.Saving, "load", found if way == "closed" else fails)
    points = loop.train(
        student,
        batches_of(texts, 8),
        class_losses.cross_entropy(0.0, None),
        dict,
        SETTINGS,
        machine,
        companions=[teacher],
    )
    if way == "closed":
        next(points)  # from the checkpoint
        next(points)
        assert not restored(teacher)
        points.close()
    else:
        with pytest.raises(RuntimeError, match=way):
            next(points)
    assert restored(teacher)
    assert all("forward" not in vars(layer) for layer in student.shards())


def test_validation_and_prediction_compile_nothing(texts: Path, counter: Counter) -> None:
    from baton.predict import predict

    meta = array_splits.read_meta(texts / "arrays")
    model = model_folder.create(texts / "base", HEAD, meta.task.width, SETTINGS, "sdpa", meta.input)
    compiled = Compiled(model, False)
    predict(
        model,
        array_splits.open_splits(texts / "arrays", None)["val"],
        dataclasses.replace(tiny.machine(), compile=True),
        4,
    )
    assert counter.graphs == 0
    compiled(*batches_of(texts, 4).micro_batches(0)[0][0].inputs)
    assert counter.graphs == 1
