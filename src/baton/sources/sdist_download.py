"""Download a source distribution with pip's own finder and session, and never run its code.

Run by `clients` in a process of its own: `python sdist_download.py OPTIONS --dest FOLDER NAME==VERSION`, with
the options of `pip download`. That command itself would run the package's build to read its metadata
(pip's issue 1884); the options, the index, proxies, certificates and credentials are those of pip here too.
pip promises no stable interface for this: a pip without these names ends in one error, never in another file.
"""

import sys
from pathlib import Path
from typing import Any


def main(arguments: list[str]) -> None:
    """Write the source distribution into `--dest`."""
    try:
        from pip._internal.commands import create_command
        from pip._internal.exceptions import NetworkConnectionError, PipError
        from pip._vendor.packaging.specifiers import SpecifierSet
        from pip._vendor.requests.exceptions import RequestException

        command: Any = create_command("download")
        options, (requirement,) = command.parse_args(["--no-binary=:all:", *arguments])
        name, _, version = requirement.partition("==")
        with command.main_context():
            session = command.get_default_session(options)
            finder = command._build_package_finder(options, session)
            best = finder.find_best_candidate(name, SpecifierSet(f"=={version}")).best_candidate
            if best is None:
                sys.exit(f"ERROR: No source distribution of {requirement} was found")
            plain = {"Accept-Encoding": "identity"}  # else the server may unpack the gzip
            response = session.get(best.link.url_without_fragment, stream=True, headers=plain)
            _save(response, Path(options.download_dir) / Path(best.link.filename).name)
    except (ImportError, AttributeError, TypeError) as error:
        sys.exit(f"ERROR: this pip has another interface: {error}")
    except RequestException as error:
        sys.exit(f"ERROR: ConnectionError: {error}")
    except (PipError, NetworkConnectionError) as error:
        sys.exit(f"ERROR: {error}")


def _save(response: Any, path: Path) -> None:
    """Write the body, block by block."""
    response.raise_for_status()
    path.parent.mkdir(parents=True, exist_ok=True)
    expected = response.headers.get("Content-Length")
    with path.open("wb") as file:
        for block in response.iter_content(2**16):
            file.write(block)
    if expected and path.stat().st_size != int(expected):
        sys.exit(f"ERROR: IncompleteRead: {path.stat().st_size:,} of {int(expected):,} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
