"""What no waiting changes is told from what may pass, with botocore's classes where they are installed."""

from typing import Any

import pytest

from baton.workspace import refusals


class ClientError(Exception):
    """Has what botocore's has."""

    def __init__(self, code: str) -> None:
        super().__init__(f"An error occurred ({code}) when calling the PutObject operation: words")
        self.response: dict[str, Any] = {"Error": {"Code": code}}


def caused(error: Exception, by: Exception) -> Exception:
    error.__cause__ = by
    return error


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (PermissionError("Forbidden"), "credentials"),
        (caused(OSError("Bad Request"), ClientError("ExpiredToken")), "credentials"),
        (caused(FileNotFoundError("bucket"), ClientError("NoSuchBucket")), "bucket"),
        (caused(OSError("region"), ClientError("AuthorizationHeaderMalformed")), "region"),
        (caused(FileNotFoundError("key"), ClientError("NoSuchKey")), None),
        (caused(OSError("busy"), ClientError("SlowDown")), None),
        (ConnectionResetError("reset"), None),
        (TimeoutError("late"), None),
    ],
)
def test_errors(error: Exception, hint: str | None) -> None:
    found = refusals.of_error(error)
    assert found is None if hint is None else hint in (found or "")


def test_what_dvc_prints() -> None:
    failed = "ERROR: failed to transfer 'a' - words: "
    assert "credentials" in (refusals.of_text(failed + str(ClientError("AccessDenied"))) or "")
    assert refusals.of_text(failed + str(ClientError("SlowDown"))) is None
    assert refusals.of_text("ERROR: AccessDenied is the name of a file") is None


def test_the_classes_of_botocore() -> None:
    from botocore import exceptions

    for error in (
        exceptions.NoCredentialsError(),
        exceptions.PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"),
        exceptions.ProfileNotFound(profile="p"),
        exceptions.InvalidRegionError(region_name="a b"),
        exceptions.ParamValidationError(report="bucket"),
    ):
        assert refusals.of_error(error)
    for error in (
        exceptions.EndpointConnectionError(endpoint_url="u"),
        exceptions.ReadTimeoutError(endpoint_url="u"),
    ):
        assert refusals.of_error(error) is None
