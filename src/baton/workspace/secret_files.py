"""Files that hold credentials by their nature: what Baton records or commits on its own leaves them out.

`.dvc/config` may hold the keys of a remote, and is in git in most projects, so an edit shows in a diff.
"""

NAMES = (
    ".dvc/config",
    ".dvc/config.local",
    ".env",
    ".env.*",
    "*.env",
    ".envrc",
    ".netrc",
    "_netrc",
    ".pgpass",
    ".my.cnf",
    ".npmrc",
    ".pypirc",
    "pip.conf",
    ".git-credentials",
    ".htpasswd",
    ".aws/**",
    ".azure/**",
    ".config/gcloud/**",
    ".docker/config.json",
    ".kube/**",
    ".ssh/**",
    "id_rsa*",
    "id_ed25519*",
    "id_ecdsa*",
    "*.pem",
    "*.key",
    "*.p12",
    "*.pfx",
    "*.kdbx",
    "*.tfvars",
    "*.tfstate",
    "*credential*",
    "*secret*.json",
    "*secret*.yaml",
    "*secret*.yml",
    "*secret*.toml",
    "*service*account*.json",
)


def excluded() -> list[str]:
    """Return git's pathspecs that leave these files out, in whichever folder they are."""
    return [f":(top,exclude,glob,icase)**/{name}" for name in NAMES]
