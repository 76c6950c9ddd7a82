"""How a logged model is served, by the kind of its input."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from baton.contracts import encoder_library, input_spec, task_spec
from baton.contracts.input_spec import (
    AudioInput,
    Head,
    HeadTail,
    ImageInput,
    ImageTextInput,
    InputSpec,
    Tail,
    TextInput,
    Windows,
)
from baton.contracts.task_spec import TaskSpec
from baton.engines import engine

if TYPE_CHECKING:
    from baton.tasks import served_limits

PRECISION = {"precision": "fp32"}  # see `serve.precision`, a layer above
OF_TIMM = ("timm", "torchvision")  # timm imports torchvision
_GRAPHS: dict[type[InputSpec], str] = {
    TextInput: "text",
    ImageInput: "image",
    AudioInput: "audio",
    ImageTextInput: "image_text",
}
OF_TORCH = ("torch", "transformers", "safetensors", *OF_TIMM)  # what an exported model does not need


@dataclass(frozen=True)
class Served:
    """What MLflow needs to know of models that read one kind of input."""

    main: str  # the file that MLflow runs; it is not imported: `serve` is a layer above `tracking`
    packages: tuple[str, ...]  # requirements
    model_type: str  # as MLflow shows it
    columns: tuple[str, ...]  # MLflow's names of the input's columns; one without a name takes plain lists
    accepted: str  # what `predict` takes
    imports: tuple[str, ...]  # lines of an example
    example: str  # the argument of `predict` in it
    reads: str  # how much of an input the model reads


def kind(info: Mapping[str, Any]) -> "served_limits.Kind":
    """Return what a model reads, given its baton.json."""
    match read(info):
        case TextInput():
            return "text"
        case ImageInput():
            return "images"
        case AudioInput():
            return "audio"
        case ImageTextInput():
            return "image_text"


def settings(info: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """Return the model_config of a model, given its baton.json and what params say of its limits."""
    from baton.tasks import served_limits  # imports pandas, which most stages' records do not need

    own = kind(info)
    names = served_limits.NAMES[own]
    found = served_limits.written(own, **{name: known[name] for name in known if name in names})
    # Models of sound, and those that write texts, compute in fp32 only; an export has its own precision.
    if own == "audio" or task_spec.read(info).outputs == "text" or engine.KEY in info:
        return found
    return found | PRECISION


def of_folder(folder: Path) -> Served:
    """Return how the model in a folder is served: by its input, and by the library of its encoder."""
    info = json.loads((folder / "baton.json").read_bytes())
    found = of_model(info)
    if engine.KEY in info:
        graph = engine.read(info[engine.KEY])
        main = f"serve/pyfunc_graph_{_GRAPHS[type(read(info))]}.py"
        packages = tuple(name for name in found.packages if name not in OF_TORCH)
        return replace(found, main=main, packages=(*packages, graph.engine))
    if isinstance(read(info), AudioInput) and encoder_library.of_transformers(folder):
        packages = tuple(name for name in found.packages if name not in OF_TIMM)
        return replace(found, main="serve/pyfunc_whisper.py", packages=(*packages, "transformers"))
    return found


def of_model(info: Mapping[str, Any]) -> Served:
    """Return how the model is served that a journal's copy of baton.json describes."""
    return of(read(info), task_spec.read(info))


def of(spec: InputSpec, task: TaskSpec | None = None) -> Served:
    """Return how a model that reads this input is served; `task` matters if it writes texts."""
    found = _of(spec)
    if task is not None and task.outputs == "text":
        return replace(found, main="serve/pyfunc_sequence.py", model_type="sequence model")
    return found


def _of(spec: InputSpec) -> Served:
    match spec:
        case TextInput(pair=pair):
            return Served(
                main="serve/pyfunc.py",
                packages=("mlflow", "torch", "transformers", "tokenizers", "safetensors", "pandas", "numpy"),
                model_type="text model",
                columns=("",) * (2 if pair else 1),
                accepted="pairs of raw texts, string (a list of pairs, or a DataFrame whose first columns "
                "are `text` and `text_pair`)"
                if pair
                else "raw texts, string (a list, Series, array, or a DataFrame whose first column is `text`)",
                imports=(),
                example='[["raw text", "its pair"]]' if pair else '["raw text", "another"]',
                reads=_tokens(spec),
            )
        case ImageTextInput(image=image, text=text):
            of_image, of_text = of(image), of(text)
            return Served(
                main="serve/pyfunc_image_text.py",
                packages=tuple(dict.fromkeys((*of_image.packages, *of_text.packages))),
                model_type="image and text model",
                accepted="images with texts: a DataFrame with columns `image` (PNG, JPEG, … as bytes, as "
                "base64 strings, or as `pathlib.Path`) and `text` (raw text), or a list of dicts with these "
                "keys",
                imports=("import pandas", "from pathlib import Path"),
                example='pandas.DataFrame({"image": [Path("picture.png")], "text": ["raw text"]})',
                reads=f"{of_image.reads} {of_text.reads}",
                columns=("image", "text"),
            )
        case ImageInput(size=(height, width), channels=channels):
            colours = "grey" if channels == 1 else "RGB"
            return Served(
                main="serve/pyfunc_image.py",
                packages=(  # timm imports torchvision
                    "mlflow",
                    "torch",
                    "torchvision",
                    "timm",
                    "pillow",
                    "pillow-heif",
                    "safetensors",
                    "pandas",
                    "numpy",
                ),
                model_type="image model",
                columns=("",),
                accepted="images: PNG, JPEG, … as bytes, as base64 strings, or as `pathlib.Path` "
                "(a list, Series, array of objects, or a DataFrame whose first column is `image`)",
                imports=("from pathlib import Path",),
                example='[Path("picture.png"), Path("another.jpg").read_bytes()]',
                reads=f"Reads {width}x{height} pixels, {colours}; larger and smaller images are resized.",
            )
        case AudioInput():
            return Served(
                main="serve/pyfunc_audio.py",
                packages=(  # timm imports torchvision
                    "mlflow",
                    "torch",
                    "torchvision",
                    "timm",
                    "soundfile",
                    "scipy",
                    "safetensors",
                    "pandas",
                    "numpy",
                ),
                model_type="audio model",
                columns=("",),
                accepted="clips of sound: WAV, FLAC, MP3, … as bytes, as base64 strings, or as "
                "`pathlib.Path` (a list, Series, array of objects, or a DataFrame whose first column is "
                "`audio`)",
                imports=("from pathlib import Path",),
                example='[Path("clip.wav"), Path("another.flac").read_bytes()]',
                reads=f"Reads {spec.seconds:g} s at {spec.sample_rate:,} Hz, of a longer clip the "
                f"{'middle' if spec.part == 'centre' else 'beginning'}; silence follows a shorter one.",
            )


def read(info: Mapping[str, Any]) -> InputSpec:
    """Return the input that a journal's copy of baton.json describes.

    Earlier versions described texts without `input`, or without the truncation and the padding token.
    """
    match info.get("input"):
        case None:
            return TextInput(info["max_length"], Head(), 0)
        case {"kind": "text"} as own:
            return input_spec.read({"truncation": {"kind": "head"}, "pad": 0} | own)
        case own:
            return input_spec.read(own)


def _tokens(spec: TextInput) -> str:
    most = f"Reads at most {spec.max_length} tokens"
    match spec.truncation:
        case Windows(most=windows):
            return f"Reads at most {windows} windows of {spec.max_length} tokens."
        case HeadTail(head=head):
            return f"{most}, of a longer text the first {head:.0%} of them and the last ones."
        case Tail():
            return f"{most}, of a longer text the last ones."
        case Head():
            return f"{most}."
