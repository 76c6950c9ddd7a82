"""Answers of a DVC remote that no waiting changes: a key without the right, a bucket that does not exist.

Errors are known by their class or their code, so that no library of a remote has to be installed.
"""

import re
from collections.abc import Iterator

from baton.errors import OutputError
from baton.processes import ending

WORDS = 300  # characters of an answer in an error
NEXT = {
    "credentials": "give credentials that may list, read and write it (docs/s3.md)",
    "place": "correct the remote's address, region or bucket, or renew an expired token (docs/s3.md)",
}
CREDENTIALS = {
    "403",
    "AccessDenied",
    "AllAccessDisabled",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidSecurity",
    "InvalidToken",
    "NotSignedUp",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
}
PLACE = {
    "301",
    "400",  # without a reason, since the request was HEAD
    "AuthorizationHeaderMalformed",  # how S3 answers if the region is another one
    "IllegalLocationConstraintException",
    "InvalidBucketName",
    "NoSuchBucket",
    "PermanentRedirect",
}
CLASSES = {
    "credentials": ("PermissionError", "NoCredentialsError", "PartialCredentialsError", "ProfileNotFound"),
    "place": ("InvalidRegionError", "ParamValidationError"),
}
CODE = re.compile(r"An error occurred \((\w+)\)")  # as botocore writes it, and DVC repeats it


def of_error(error: BaseException) -> str | None:
    """Return what to do about an error, or about what caused it; None if it may pass."""
    for each in _causes(error):
        answer = getattr(each, "response", None)
        code = answer.get("Error", {}).get("Code", "") if isinstance(answer, dict) else ""
        names = {one.__name__ for one in type(each).__mro__}
        for what, classes in CLASSES.items():
            if names.intersection(classes):
                return NEXT[what]
        if found := _of_code(code):
            return found
    return None


def of_text(text: str) -> str | None:
    """Return what to do about the errors that a command printed; None if they may pass."""
    return next(filter(None, map(_of_code, CODE.findall(text))), None)


def check(error: Exception) -> None:
    """Let an error pass that may pass.

    Raises:
        OutputError: it is a refusal.
    """
    if hint := of_error(error):
        raise _refused(reason(error), hint) from None


def check_text(text: str, shown: str) -> None:
    """Do the same for what a command printed; `shown` is the part for the error.

    Raises:
        OutputError: it is a refusal.
    """
    if hint := of_text(text):
        raise _refused(shown, hint)


def reason(error: Exception) -> str:
    """Return a remote's error in one line."""
    return " ".join(ending.described(error).split())[:WORDS]


def _refused(got: str, hint: str) -> OutputError:
    expected = "a remote that can be listed, read and written"
    return OutputError("the DVC remote refuses", got=got, expected=expected, hint=hint)


def _of_code(code: str) -> str | None:
    known = {**dict.fromkeys(CREDENTIALS, "credentials"), **dict.fromkeys(PLACE, "place")}
    return NEXT[known[code]] if code in known else None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it came from."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__
