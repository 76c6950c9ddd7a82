"""How the report was made: what `stages/evaluate.py` knows of the run, and the lines that show it.

Times and the machine are only here and in timings.json, so nothing may depend on report.html.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

# Params that may hold a password or a key, such as the address of a server.
HIDDEN = ("tracking.uri",)


@dataclass(frozen=True)
class About:
    """Facts about the run, all as text."""

    title: str = "Baton"  # the name of the project's registered model
    description: str = ""  # what the project is about
    made: str = ""  # when
    git: Mapping[str, str] = field(default_factory=dict)  # commit, branch, dirty
    machine: Mapping[str, str] = field(default_factory=dict)  # platform, processor, versions
    runtime: Mapping[str, str] = field(default_factory=dict)  # choice -> value and reason
    params: Mapping[str, str] = field(default_factory=dict)  # flattened
    digests: Mapping[str, str] = field(default_factory=dict)  # path -> DVC's digest
    minutes: Mapping[str, str] = field(default_factory=dict)  # stage -> how long it took

    @property
    def shown_params(self) -> dict[str, str]:
        """The params without those that may hold a secret."""
        return {name: value for name, value in self.params.items() if name not in HIDDEN}

    @property
    def commit(self) -> str:
        """The commit in words."""
        commit = self.git.get("git.commit", "")
        if not commit:
            return "not known"
        branch = f" on {self.git['git.branch']}" if self.git.get("git.branch") else ""
        dirty = ", with uncommitted changes" if self.git.get("git.dirty") == "true" else ""
        return f"{commit}{branch}{dirty}"
