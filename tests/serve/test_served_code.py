"""A served model includes the code that trained it, under a unique package name."""

import json
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from baton.tracking import served_code
from tests.serve import files, test_pyfunc, test_pyfunc_image

pytestmark = pytest.mark.usefixtures("quiet_mlflow")

COMMON = {"__init__.py", "errors.py", "storage.py", "temporaries.py"} | {
    *(
        f"contracts/{name}.py"
        for name in (
            "__init__",
            "fitted_values",
            "input_spec",
            "questions",
            "ragged",
            "saved_weights",
            "task_spec",
            "text_pairs",
            "unseen",
        )
    ),
    *(f"texts/{name}.py" for name in ("__init__", "words")),
    *(
        f"tasks/{name}.py"
        for name in (
            "__init__",
            "answers",
            "class_figures",
            "label_figures",
            "label_thresholds",
            "metrics",
            "number_figures",
            "number_metrics",
            "sequence_figures",
            "served_limits",
            "span_answers",
            "span_decoding",
            "span_figures",
            "squad_scores",
            "task_figures",
            "temperature",
            "text_scores",
            "token_decoding",
            "token_figures",
        )
    ),
    "texts/__init__.py",
    "texts/words.py",
}
READER = COMMON | {
    *(f"texts/{name}.py" for name in ("__init__", "document_windows", "pair_windows")),
    *("serve/__init__.py", "serve/model_settings.py", "serve/served_model.py", "serve/text_reader.py"),
}
PRECISION = {"serve/packed_linear.py", "serve/precision.py"}
TEXT = READER | PRECISION | {"serve/text_encoder.py"}
ANSWERS = {"serve/text_answers.py", "texts/unit_places.py"}
ENGINE = {"engines/__init__.py", "engines/engine.py", "processors.py"}
WEIGHTS = {"contracts/saved_weights.py"}  # of torch models
SEQUENCES = COMMON - {"contracts/fitted_values.py"} | {
    *(f"texts/{name}.py" for name in ("__init__", "document_windows", "generation")),
    "contracts/tied_weights.py",
}
FILES = COMMON | {"tasks/served_files.py"}
CLIPS = FILES | {
    *("serve/__init__.py", "serve/audio_answers.py", "serve/model_settings.py", "serve/served_model.py"),
    *(f"sounds/{name}.py" for name in ("__init__", "audio_containers", "audio_decoding", "log_mel")),
    *("sounds/mpeg_frames.py", "sounds/ogg_pages.py"),
}
AUDIO = CLIPS | {"serve/audio_requests.py"}
WHISPER = AUDIO | {"sounds/whisper_frames.py"}
PICTURES = FILES | {
    *(
        "serve/__init__.py",
        "serve/image_files.py",
        "serve/model_settings.py",
        "serve/served_model.py",
        "serve/pixel_budget.py",
    ),
    *(f"images/{name}.py" for name in ("__init__", "bit_depth", "decoding", "framing", "opening", "pillow")),
}
IMAGES = PICTURES | PRECISION | {"serve/image_requests.py", "images/enlarging.py"}
BOTH = IMAGES | TEXT
LONG = " ".join(["wheat"] * 9 + ["port"] * 30)  # its beginning and end belong to different classes

LOADS = """
import json, pathlib, sys, warnings
warnings.simplefilter("ignore")
import mlflow.pyfunc
models = [mlflow.pyfunc.load_model(path) for path in sys.argv[1:4]]
inputs = [[sys.argv[4]], [sys.argv[4]], [pathlib.Path(sys.argv[5])]]
for model, given in [*zip(models, inputs), *zip(models, inputs)]:  # alternating: none affects another
    print(json.dumps(model.predict(given).drop(columns="label").to_numpy().tolist()))
print(json.dumps(sorted(name for name in sys.modules if name.startswith("baton_") and "." not in name)))
"""


@pytest.mark.parametrize(
    ("main", "modules"),
    [
        ("serve/pyfunc.py", TEXT | ANSWERS),
        ("serve/pyfunc_image.py", IMAGES | {"serve/image_answers.py"}),
        ("serve/pyfunc_graph_text.py", READER - WEIGHTS | ANSWERS | ENGINE),
        (
            "serve/pyfunc_graph_image.py",
            PICTURES - WEIGHTS | ENGINE | {"serve/image_answers.py", "serve/enlarged_images.py"},
        ),
        ("serve/pyfunc_sequence.py", SEQUENCES),
        ("serve/pyfunc_audio.py", AUDIO),
        ("serve/pyfunc_whisper.py", WHISPER),
        ("serve/pyfunc_image_text.py", BOTH | {"serve/image_text_answers.py"}),
        ("serve/pyfunc_graph_audio.py", CLIPS - WEIGHTS | ENGINE),
        (
            "serve/pyfunc_graph_image_text.py",
            (READER | PICTURES) - WEIGHTS
            | ENGINE
            | {"serve/image_text_answers.py", "serve/enlarged_images.py"},
        ),
    ],
)
def test_it_is_what_training_runs_and_nothing_heavy(main: str, modules: set[str]) -> None:
    code = served_code.served(main)
    (package,) = {name.partition("/")[0] for name in code if name != served_code.MAIN}
    assert {name.partition("/")[2] for name in code if name != served_code.MAIN} == modules
    for name in modules:
        original = (served_code.PACKAGE / name).read_text()
        assert code[f"{package}/{name}"].replace(package, "baton") == original
    assert not any(
        line.lstrip().startswith(("from baton.", "import baton."))
        for text in code.values()
        for line in text.splitlines()
    )


def test_the_name_follows_from_what_is_in_it(tmp_path: Path) -> None:
    def packages(copy: Path) -> set[str]:
        return {name.partition("/")[0] for name in served_code.served("serve/pyfunc.py", copy)}

    copy = shutil.copytree(
        served_code.PACKAGE, tmp_path / "baton", ignore=shutil.ignore_patterns("__pycache__")
    )
    assert packages(copy) == packages(served_code.PACKAGE)
    (copy / "predict.py").write_text("")  # not needed by any served model
    assert packages(copy) == packages(served_code.PACKAGE)
    (copy / "errors.py").write_text((copy / "errors.py").read_text() + "\n")
    assert packages(copy) != packages(served_code.PACKAGE)


@pytest.mark.slow
def test_two_versions_and_two_modalities_in_one_process_alongside_another_baton(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One version reads the end of a long text, not its beginning, and the installed Baton is broken."""
    monkeypatch.chdir(tmp_path)
    other = shutil.copytree(
        served_code.PACKAGE, tmp_path / "other", ignore=shutil.ignore_patterns("__pycache__")
    )
    windows = other / "texts/document_windows.py"
    edited = windows.read_text().replace("return [[(0, room)]]", "return [[(length - room, length)]]")
    assert edited != windows.read_text()
    windows.write_text(edited)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = test_pyfunc.write_model(tmp_path / "text", seed=1)
        now, later = (
            test_pyfunc.log(folder, name, served_code.served("serve/pyfunc.py", package))
            for name, package in (("now", served_code.PACKAGE), ("later", other))
        )
        image = test_pyfunc_image.log(tmp_path)
    picture = tmp_path / "picture.png"
    picture.write_bytes(files.encoded(Image.new("RGB", (30, 20), "red")))
    broken = tmp_path / "site/baton"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('another baton')")
    done = subprocess.run(
        [sys.executable, "-c", LOADS, now, later, str(image), LONG, str(picture)],
        env={"PYTHONPATH": str(tmp_path / "site"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *answers, packages = map(json.loads, done.stdout.splitlines())
    assert len(packages) == 3
    assert answers[:3] == answers[3:]
    head, tail = (
        test_pyfunc.load(now).predict([text]).drop(columns="label").to_numpy()
        for text in (LONG, end_of(LONG))
    )
    np.testing.assert_allclose(answers[0], head, atol=1e-6)
    np.testing.assert_allclose(answers[1], tail, atol=1e-6)
    assert np.abs(head - tail).max() > 1e-3
    assert len(answers[2][0]) == len(test_pyfunc_image.LABELS)


def end_of(text: str) -> str:
    """Return the 14 tokens of a text of known words read by a `tiny.TEXT_INPUT` model that reads the end."""
    return " ".join(text.split()[-14:])
