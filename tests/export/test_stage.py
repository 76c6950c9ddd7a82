"""The stage on a small project: the fastest export that keeps the model's answers, or none."""

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from baton import params, storage
from baton.engines import engine
from baton.errors import ModelError, ParamsError
from baton.export import choice, exporting, extra, graphs, quantization
from baton.export.quantization import Candidate
from stages import export
from tests.exported import Exported

ROOT = Path(__file__).parent.parent.parent

SETTINGS = {
    "model": "student",
    "engines": ["onnxruntime"],
    "precisions": ["fp32"],
    "same": 0.99,
    "loss": 0.005,
    "rows": 4,
    "calibration_rows": 6,
    "batch_size": 4,
    "seconds": 0.01,
    "bootstrap": {"resamples": 50, "confidence": 0.95, "seed": 0},
}
WRITTEN = ("models/export", "metrics/export.json", "reports/export")
Run = Callable[..., None]


@pytest.fixture
def run(text_export: Exported, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return `run(**changes of export)`; `run(None)` is the stage with `export: null`.

    The student's graph is not traced again.
    """
    for name in ("data", "models"):
        shutil.copytree(text_export.root / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BATON_SUMMARY", raising=False)

    def write(model: Any, info: Any, split: Any, path: Path) -> tuple[str, ...]:
        shutil.copyfile(text_export.graph, path)
        return text_export.names

    monkeypatch.setattr(graphs, "write", write)
    recipe = params.read_raw(root / "params.yaml") | {"tracking": {"kind": "off"}}
    recipe["runtime"] |= {"device": "cpu", "precision": "fp32", "threads": 1}

    def stage(section: dict[str, Any] | None = SETTINGS, **changes: Any) -> None:
        asked = None if section is None else section | changes
        Path("params.yaml").write_text(json.dumps(recipe | {"export": asked}))
        export.main()

    return stage


def digests() -> dict[str, str]:
    """Return those of the outputs that have no times."""
    paths = [Path("models/export"), Path("metrics/export.json"), Path("reports/export/candidates.csv")]
    return {str(path): storage.sha256_tree(path) if path.is_dir() else storage.sha256(path) for path in paths}


def nothing_is_left() -> bool:
    return not any(Path(path).exists() for path in WRITTEN) and sorted(
        path.name for path in Path("models").iterdir()
    ) == ["student", "teacher"]


def test_the_chosen_export_is_within_the_limits_and_described(
    run: Run, text_export: Exported, capsys: pytest.CaptureFixture[str]
) -> None:
    run(engines=["onnxruntime", "openvino"])
    figures = storage.read_json(Path("metrics/export.json"))
    names = [own["name"] for own in figures["candidates"]]
    assert names == ["onnxruntime fp32", "openvino fp32"] and figures["chosen"] in names
    assert figures["same"] == 1.0 and figures["largest_difference"] < 1e-4 and figures["of"] == "student"
    assert all(own["kept"] for own in figures["candidates"])
    assert figures["export"]["accuracy"] == figures["model"]["accuracy"]
    low, high = figures["export"]["accuracy_interval"]
    assert low <= figures["export"]["accuracy"] <= high
    folder = Path("models/export")
    info = storage.read_json(folder / "baton.json")
    graph = engine.read(info["graph"])
    assert graph.engine == figures["chosen"].split()[0] and graph.inputs == text_export.names
    assert info["graph"]["of"] == "student"
    assert info["graph"]["sha256"] == storage.sha256_tree(Path("models/student"))
    assert figures["sha256"] == storage.sha256_tree(folder)
    own = storage.read_json(Path("models/student/baton.json"))
    assert {key: info[key] for key in own} == own and info["fitted"] == {"temperature": 1.5}
    assert (folder / "tokenizer.json").read_bytes() == Path("models/student/tokenizer.json").read_bytes()
    files = {path.name for path in folder.iterdir()} - {"baton.json", "tokenizer.json"}
    assert files == ({"model.onnx"} if graph.engine == "onnxruntime" else {"model.xml", "model.bin"})
    assert figures["bytes"] == sum((folder / name).stat().st_size for name in files)
    timings = storage.read_json(Path("reports/export/timings.json"))
    sides = {"student, torch fp32", "teacher, torch fp32"}
    assert {*timings["samples_per_second"]} == sides | {"export"} and {*timings["ratios"]} == sides
    assert {*timings["candidates"]} == {*names} and min(timings["candidates"].values()) > 0
    with Path("reports/export/candidates.csv").open(encoding="utf-8") as file:
        assert [row["name"] for row in csv.DictReader(file)] == names
    shown = " ".join(capsys.readouterr().out.split())
    assert "* chosen" in shown and "times as fast as the teacher, torch fp32" in shown
    assert "accuracy" not in shown.partition("test:")[2], "figures on test are shown by `summary --test`"


def test_a_rerun_gives_the_same_bytes(run: Run) -> None:
    run()
    first = digests()
    times = storage.sha256(Path("reports/export/timings.json"))
    run()
    assert digests() == first
    assert storage.sha256(Path("reports/export/timings.json")) != times, "a negative control"


def test_what_is_logged_has_figures_on_test_size_and_speed(run: Run) -> None:
    run()
    figures, timings = (
        storage.read_json(Path(path)) for path in ("metrics/export.json", "reports/export/timings.json")
    )
    logged = export.final(figures, timings)
    assert logged["export/test_accuracy"] == figures["export"]["accuracy"]
    assert logged["export/bytes"] == figures["bytes"] and logged["export/same"] == 1.0
    assert logged["export/samples_per_second"] == timings["samples_per_second"]["export"]
    assert not any("interval" in name for name in logged)


def nonsense(number: float) -> Candidate:
    """Return a candidate that answers the same to everything, and fast."""

    def write(source: Path, target: Path, _: Any) -> None:
        import onnx

        given = [
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT64, ["windows", "length"])
            for name in ("input_ids", "attention_mask")
        ]
        answer = onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["windows", 3])
        values = [
            ("axes", onnx.TensorProto.INT64, [1], [1]),
            ("logit", onnx.TensorProto.FLOAT, [1, 3], [number, 0, 0]),
        ]
        nodes = [
            onnx.helper.make_node("ReduceMax", ["attention_mask", "axes"], ["any"]),
            onnx.helper.make_node("Cast", ["any"], ["ones"], to=onnx.TensorProto.FLOAT),
            onnx.helper.make_node("Mul", ["ones", "logit"], ["logits"]),
        ]
        tensors = [onnx.helper.make_tensor(*own) for own in values]
        graph = onnx.helper.make_graph(nodes, "nonsense", given, [answer], tensors)
        onnx.save(
            onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10),
            target,
        )

    return Candidate("nonsense", "onnxruntime", "int8", write)


@pytest.mark.parametrize("number", [9.0, float("nan"), float("inf")])
def test_the_fastest_is_not_chosen_if_its_answers_differ(
    run: Run, monkeypatch: pytest.MonkeyPatch, number: float
) -> None:
    real, measured = quantization.candidates, list[str]()

    def rates(found: list[choice.Tried], *_: Any) -> dict[str, float]:
        measured.extend(own.candidate.name for own in found if own.kept)
        return {own.candidate.name: 9.0 if own.candidate.name == "nonsense" else 1.0 for own in found}

    monkeypatch.setattr(quantization, "candidates", lambda *asked: [nonsense(number), *real(*asked)])
    monkeypatch.setattr(choice, "rates", rates)
    run()
    figures = storage.read_json(Path("metrics/export.json"))
    first, second = figures["candidates"]
    assert (first["name"], first["kept"], second["kept"]) == ("nonsense", False, True)
    assert (
        first["same"] < 0.9 and figures["chosen"] == "onnxruntime fp32" and measured == ["onnxruntime fp32"]
    )


def test_files_that_two_candidates_share_are_made_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    (real,) = quantization.candidates(("openvino",), ("fp32",), text=True)
    nncf = [own.write for own in quantization.candidates(("openvino",), ("bf16", "int8"), text=True)][1:]
    made = list[Path]()

    def write(source: Path, target: Path, calibration: Any) -> None:
        made.append(target)
        real.write(source, target, calibration)

    both = [Candidate(name, "openvino", "fp32", write) for name in ("one", "other")]
    monkeypatch.setattr(quantization, "candidates", lambda *asked: both)
    monkeypatch.setattr(choice, "rates", lambda *_: {"one": 1.0, "other": 2.0})
    run()
    figures = storage.read_json(Path("metrics/export.json"))
    first, second = ({**own, "name": ""} for own in figures["candidates"])
    assert len(made) == 1 and first == second and figures["chosen"] == "other"
    assert Path("models/export/model.bin").is_file()
    assert len(nncf) == 2 and nncf[0] is nncf[1]


def test_no_export_within_the_limits_is_refused_and_leaves_nothing(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantization, "candidates", lambda *asked: [nonsense(9.0)])
    with pytest.raises(ModelError, match="no export is close enough to its model on validation") as caught:
        run()
    assert "nonsense: " in str(caught.value) and "at least 99.00%" in str(caught.value)
    assert "add fp32 to export.precisions" in str(caught.value)
    assert nothing_is_left()


def test_an_export_that_is_worse_on_test_than_on_validation_is_refused(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = exporting.reference

    def turned(source: Path, split: str, info: Any) -> Any:
        """Return other answers of the model on test than it gives."""
        found = real(source, split, info)
        if split == "test":
            found = type(found)(found.task, found.targets, -found.logits, found.fitted, found.texts)  # type: ignore[operator]
        return found

    monkeypatch.setattr(exporting, "reference", turned)
    with pytest.raises(ModelError, match="too far from its model on test: onnxruntime fp32") as caught:
        run()
    assert "accuracy" in str(caught.value) and nothing_is_left()


def test_a_candidate_that_a_library_cannot_make_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise RuntimeError("no kernel for Gizmo\nmore")

    broken = Candidate("openvino int8, NNCF", "openvino", "int8", fails)
    monkeypatch.setattr(quantization, "candidates", lambda *asked: [broken])
    with pytest.raises(ModelError, match="cannot be exported as openvino int8, NNCF") as caught:
        run()
    assert "RuntimeError: no kernel for Gizmo" in str(caught.value) and "remove int8" in str(caught.value)
    assert nothing_is_left()


def test_without_a_section_the_outputs_are_empty_and_torch_is_not_imported(run: Run) -> None:
    run(None)
    assert storage.read_json(Path("metrics/export.json")) == {}
    assert [*Path("models/export").iterdir()] == [] == [*Path("reports/export").iterdir()]
    code = "import sys; from stages import export; export.main(); print('torch' in sys.modules)"
    own = os.environ | {"PYTHONPATH": f"{ROOT}/src:{ROOT}"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=own)
    assert done.stdout.split() == ["False"], "a stage that does nothing takes no seconds"


def test_an_earlier_export_does_not_survive_null(run: Run) -> None:
    run()
    assert any(Path("models/export").iterdir())
    run(None)
    assert not any(Path("models/export").iterdir()) and not any(Path("reports/export").iterdir())


def test_the_teacher_is_exported_if_params_say_so(run: Run) -> None:
    """Its graph is here the student's, so it is refused: the reference is the teacher's own logits."""
    with pytest.raises(ModelError, match="no export is close enough"):
        run(model="teacher")
    assert nothing_is_left()


def test_missing_packages_are_named_before_anything_is_done(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(extra.PACKAGES, "onnxruntime", ("onnx", "no_such_package", "nor_this_one"))
    with pytest.raises(ParamsError, match="packages that are not installed") as caught:
        run()
    assert "no no_such_package, nor_this_one" in str(caught.value)
    assert "make install EXTRAS=export" in str(caught.value) and nothing_is_left()


@pytest.mark.slow
def test_all_engines_and_precisions(run: Run) -> None:
    run(engines=["onnxruntime", "openvino"], precisions=["fp32", "bf16", "int8"], same=0.5, loss=1.0)
    figures = storage.read_json(Path("metrics/export.json"))
    by_name = {own["name"]: own for own in figures["candidates"]}
    assert len(by_name) == 9
    small = min(own["bytes"] for own in by_name.values())
    assert small < by_name["onnxruntime fp32"]["bytes"] / 2, "int8 takes less room"
    for own in by_name.values():
        assert np.isfinite(own["largest_difference"]) and 0 <= own["same"] <= 1
    assert by_name[figures["chosen"]]["kept"]


@pytest.mark.slow
def test_int8_alone_cannot_keep_every_answer(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unreachable limits are refused; quantization of these random weights moves logits."""
    real = choice.compared

    def strict(reference: Any, logits: Any, settings: params.Export) -> dict[str, Any]:
        found = real(reference, logits, settings)
        return found | {"kept": found["kept"] and found["largest_difference"] < 1e-6}

    monkeypatch.setattr(choice, "compared", strict)
    with pytest.raises(ModelError, match="no export is close enough"):
        run(precisions=["int8"], same=0.9999999)
    assert nothing_is_left()
