"""Encoded files as inputs of a served model: bytes, base64 or a path -> the content.

A string is a path only if that is allowed (`serve_paths`): whoever sends a request, also to a web service of
one's own around `load_model`, must not read files of the machine. A `pathlib.Path` cannot come from a
request.
"""

import base64
import binascii
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from baton.tasks import answers, served_limits

OPT_IN = (
    """; for the path of a file on the model's machine pass a pathlib.Path, or allow strings: start the """
    """server with SERVING_MODEL_CONFIG='{"serve_paths": true}', or load the model with """
    """model_config={"serve_paths": True}"""
)
LONE = (str, bytes, bytearray, memoryview, os.PathLike)  # the types of a single file


@dataclass(frozen=True)
class Files:
    """What a model reads, in words for messages."""

    one: str  # `an image`
    many: str  # `images`
    formats: str  # `PNG, JPEG, …`
    recognized: Callable[[bytes], bool]  # whether bytes are such a file; base64 without `data:` must be

    def content(self, value: Any, row: int, paths: bool) -> bytes:
        """Return the file given as bytes, in base64, as a `Path` or, if `paths` are allowed, as its string.

        Raises:
            ValueError: If it is no such file.
            TypeError: If it is neither bytes nor a string nor a path.
        """
        if isinstance(value, bytes | bytearray | memoryview):
            return bytes(value)
        if isinstance(value, os.PathLike) and (paths or not served_limits.serving()):
            return self._read(Path(value), row, "not an existing file")
        if not isinstance(value, str):
            expected = f"the bytes of a {self.formats}, or a base64 string of them" + (
                ", or a path" if paths else ""
            )
            hint = f"fill or drop missing {self.many}"
            raise answers.refused(TypeError, f"row {row} is not {self.one}", value, expected, hint)
        uri = value[:5].lower() == "data:"
        content = _from_base64(value.partition(",")[2] if uri else value)
        if content is not None and (uri or self.recognized(content)):
            return content
        if uri or not paths:
            hint = "send the content of the file in base64"
            if not uri:
                hint += OPT_IN
            problem = f"row {row} is not {self.one} in base64"
            expected = f"the content of a {self.formats} in base64"
            raise answers.refused(ValueError, problem, value, expected, hint)
        # Base64 has no dots.
        problem = "not an existing file" if "." in value else f"neither a file nor {self.one} in base64"
        return self._read(Path(value), row, problem)

    def _read(self, path: Path, row: int, problem: str) -> bytes:
        try:
            if path.is_file():  # not a device or pipe, which may never end
                return path.read_bytes()
        except OSError as error:
            problem = f"an unreadable file ({error.strerror})"
        hint = "check that the file exists; relative paths start at the working directory"
        expected = f"the path of {self.one} file"
        raise answers.refused(ValueError, f"row {row} is {problem}", str(path), expected, hint)


def _from_base64(text: str) -> bytes | None:
    """Decode base64 (standard or URL-safe, with or without padding); return None if it is not valid."""
    compact = "".join(text.split()).translate(str.maketrans("-_", "+/")).rstrip("=")
    try:
        return base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
