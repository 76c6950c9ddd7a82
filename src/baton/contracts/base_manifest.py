"""What manifest.json of a base model says of the models that were trained before it.

`download` writes it, tracking notes these models on runs, and `baton trace` follows them.
"""

from collections.abc import Mapping
from typing import Any

MODELS = "models"  # digests of the Baton model folders in inbox/ from which it was taken, if any


def ancestors(manifest: Mapping[str, Any]) -> list[str]:
    """Return the digests (`storage.sha256_tree`) of the Baton model folders whose encoders it holds."""
    base = manifest["base"]
    if base["kind"] in {"registered", "run"}:
        return [base["sha256"]]
    return [*manifest.get(MODELS, [])]
