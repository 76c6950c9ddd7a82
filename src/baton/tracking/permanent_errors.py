"""Which failures are permanent: all others are retried, since a store, a network or a disk may recover."""

from mlflow.exceptions import MlflowException

# MLflow error codes that no retry will change, and HTTP statuses for a file: bad request, too large etc.
CODES = {"INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS", "INVALID_STATE"}
STATUSES = {400, 411, 413, 414, 415, 422}


class UnusableError(Exception):
    """An entry that cannot be carried out, whatever the store does."""


def hopeless(error: Exception) -> bool:
    """Return whether an entry would fail in the same way each time, given that the store works otherwise."""
    if isinstance(error, MlflowException):
        return error.error_code in CODES
    if isinstance(error, OSError):  # includes those of `requests`
        return getattr(getattr(error, "response", None), "status_code", 0) in STATUSES
    return isinstance(error, UnusableError | ArithmeticError | LookupError | TypeError | AttributeError)
