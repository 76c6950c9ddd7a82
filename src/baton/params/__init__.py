"""`params.yaml`, typed and strict: the only source of values.

Input: a YAML 1.2 file. Output: frozen pydantic models. Unknown keys are refused and every problem of a file is reported at once with its
YAML path. Variants are unions tagged by `kind`. A stage calls `load` once, with the names of its sections.
"""

from baton.params.evaluate import Baseline, Bootstrap, Evaluate, MajorityBaseline, Speed, TfidfBaseline
from baton.params.fields import Section
from baton.params.lifecycle import ClassFloor, DriftLimits, Gain, NonInferiority, Promotion, Retrain
from baton.params.preprocess import (
    ByCount,
    ByShare,
    Checks,
    DelimitedFormat,
    Format,
    JsonLinesFormat,
    Limit,
    ParquetFormat,
    Portion,
    Preprocess,
    Tokenize,
)
from baton.params.reading import PATH, Params, flatten, head, load, read, read_raw
from baton.params.runtime import MlflowTracking, NoTracking, Runtime, Tracking
from baton.params.source import (
    Base,
    Files,
    HubBase,
    HubSource,
    LocalBase,
    LocalSource,
    RegisteredBase,
    SklearnSource,
    Source,
    WheelBase,
    WheelSource,
)
from baton.params.training import Distill, EarlyStopping, Finetune, Head, LinearHead, MlpHead, Training

__all__ = [
    "PATH",
    "Base",
    "Baseline",
    "Bootstrap",
    "ByCount",
    "ByShare",
    "Checks",
    "ClassFloor",
    "DelimitedFormat",
    "Distill",
    "DriftLimits",
    "EarlyStopping",
    "Evaluate",
    "Files",
    "Finetune",
    "Format",
    "Gain",
    "Head",
    "HubBase",
    "HubSource",
    "JsonLinesFormat",
    "Limit",
    "LinearHead",
    "LocalBase",
    "LocalSource",
    "MajorityBaseline",
    "MlflowTracking",
    "MlpHead",
    "NoTracking",
    "NonInferiority",
    "Params",
    "ParquetFormat",
    "Portion",
    "Preprocess",
    "Promotion",
    "RegisteredBase",
    "Retrain",
    "Runtime",
    "Section",
    "SklearnSource",
    "Source",
    "Speed",
    "TfidfBaseline",
    "Tokenize",
    "Tracking",
    "Training",
    "WheelBase",
    "WheelSource",
    "flatten",
    "head",
    "load",
    "read",
    "read_raw",
]
