"""Projects trained one after the other on each other's models, as `dvc repro` and a sync leave them."""

import hashlib
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from baton import params, storage
from baton.lifecycle.tracing.trace import Trace, trace
from baton.tracking import environment, pipelines
from baton.tracking.store import Store, open_store

Base = dict[str, Any]
CACHE = Path(".dvc/cache")
WHEEL: Base = {"kind": "wheel", "package": "toy", "sha256": "f" * 64}


def digest_of(name: str) -> str:
    """Return the digest of a model folder, or the hash of a file."""
    return hashlib.sha256(name.encode()).hexdigest()


@dataclass
class Chain:
    """Projects that were trained one after the other in one store, each on a base of its own."""

    store: Store
    run_of: dict[str, str] = field(default_factory=dict)
    count: int = 0

    def train(self, name: str, base: Base, student: Base | None = None) -> str:
        """Write what `dvc repro` on these bases and a sync leave behind; return the id of finetune's run."""
        self.fetch(base, student)
        text = self.write_lock(name, base, student)
        pipeline = self.store.create_run(name, {pipelines.KIND: "pipeline"}, 0)
        self.store.client.log_text(pipeline, text, "dvc.lock")
        for stage, model in (("finetune", "teacher"), ("distill", "student")):
            tags = {pipelines.KIND: "stage", pipelines.STAGE: stage, pipelines.PARENT: pipeline}
            tags |= {f"dvc.out.models/{model}": f"{name}.dir"} | environment.bases()
            self.count += 1  # a run's place in time
            run = self.store.create_run(stage, tags, self.count)
            self.store.client.set_terminated(run)
            self.run_of[f"{name} {model}"] = run
            self.log(name, model)
        return self.run_of[f"{name} teacher"]

    def fetch(self, base: Base, student: Base | None) -> None:
        """Write manifests as `download` does."""
        shutil.rmtree("data/base", ignore_errors=True)
        for folder, section in {"": base, "student": student}.items():
            if section is not None:
                about = {"base": section, "origin": section.get("folder", ""), "licence": "", "files": {}}
                about |= {"models": section["models"]} if "models" in section else {}
                storage.write_json(Path("data/base", folder, "manifest.json"), about)

    def log(self, name: str, model: str, digest: str = "") -> str:
        """Log a model to the run that trained it; return its id."""
        tags = {"sha256": digest or digest_of(f"{name} {model}"), "path": f"models/{model}"}
        run = self.run_of[f"{name} {model}"]
        made = self.store.client.create_logged_model(self.store.experiment, model, run, tags)
        self.store.client.log_model_artifact(made.model_id, "params.yaml")  # any file stands for its files
        self.store.client.finalize_logged_model(made.model_id, "READY")
        return str(made.model_id)

    def write_lock(self, name: str, base: Base, student: Base | None) -> str:
        def files(**paths: str) -> list[dict[str, str]]:
            return [{"path": f"data/{path}", "hash": "md5", "md5": md5} for path, md5 in paths.items()]

        def made(model: str) -> list[dict[str, str]]:
            return [{"path": f"models/{model}", "hash": "md5", "md5": f"{name}.dir"}]

        own = files(base=keep(Path("data/base")), clean=keep(Path("data/clean")))
        arrays = files(arrays=f"{name}.dir")
        sections = {"params.yaml": {"base": base, "student_base": student}}
        stages = {
            "download": {"params": sections, "outs": own[:1]},
            "preprocess": {"outs": own[1:]},
            "tokenize": {"deps": own, "outs": arrays},
            "finetune": {"deps": [*own[:1], *arrays], "outs": made("teacher")},
            "distill": {"deps": [*own[:1], *arrays, *made("teacher")], "outs": made("student")},
        }
        text = yaml.safe_dump({"schema": "2.0", "stages": stages})
        Path("dvc.lock").write_text(text)
        return str(text)

    def trace(self, asked: str) -> Trace:
        return trace(self.store, asked, Path.cwd())


def opened() -> Chain:
    """Return an empty chain in the store of the working directory's params."""
    settings = params.read().tracking
    assert isinstance(settings, params.MlflowTracking)
    return Chain(open_store(settings))


def keep(folder: Path) -> str:
    """Put a folder into DVC's cache; return its digest there."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    listed = [
        {"md5": _kept(path.read_bytes()), "relpath": path.relative_to(folder).as_posix()} for path in files
    ]
    return _kept(json.dumps(listed).encode(), ".dir")


def _kept(content: bytes, suffix: str = "") -> str:
    digest = hashlib.md5(content).hexdigest() + suffix
    place = CACHE / "files/md5" / digest[:2] / digest[2:]
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    return digest


def on_run(run: str, name: str, model: str = "teacher") -> Base:
    """Return the base that is the model of a run."""
    digest = digest_of(f"{name} {model}")
    return {"kind": "run", "run": run, "model": model, "sha256": digest, "licence": "none"}
