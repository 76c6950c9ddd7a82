"""Which failures are for good: the others are tried again, for a store, a network or a disk may come back."""

from mlflow.exceptions import MlflowException

# MLflow's answers that no later attempt will change, and HTTP's for a file: bad request, too large, and the like.
CODES = {"INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS", "INVALID_STATE"}
STATUSES = {400, 411, 413, 414, 415, 422}


class UnusableError(Exception):
    """An entry that cannot be carried out, whatever the store does."""


def hopeless(error: Exception) -> bool:
    """Whether an entry would fail in the same way each time, if the store answers otherwise."""
    if isinstance(error, MlflowException):
        return error.error_code in CODES
    if isinstance(error, OSError):  # as those of `requests` are
        return getattr(getattr(error, "response", None), "status_code", 0) in STATUSES
    return isinstance(error, UnusableError | ArithmeticError | LookupError | TypeError | AttributeError)
