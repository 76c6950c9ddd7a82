"""README's way to a project of one's own, from an empty folder to the result in a browser, with a clock.

In a new folder, which is also the home and so without caches, the checkout is cloned, and the commands of
"Your own data" in README run as they stand there, on a terminal of 80 columns, with `--rows` sentences of
VADER's film reviews as the table. What the terminal shows is recorded in asciinema's format (`asciinema play
FILE`), pauses and all; a text file has what stayed on the screen. The clock stops when MLflow answers;
Chromium, if it is installed, takes a picture of the report.

    python -m benchmarks.first_minutes [--rows 600] [--out build/first_minutes]

The output is how long each command took. Installation and base model are fetched from the package index.
"""

import argparse
import codecs
import csv
import fcntl
import itertools
import json
import os
import pty
import re
import signal
import struct
import subprocess
import tempfile
import termios
import time
import urllib.request
from pathlib import Path
from typing import NamedTuple

from benchmarks import _chromium, _project, _vader

COLUMNS, LINES = 80, 30
TABLE = "my/data.csv"  # in README, in the home
KEPT = ("PATH", "LANG", "PIP_", "SSL_", "REQUESTS_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")  # variables
DEADLINE = 1800.0  # seconds
BEGINNING = "make install &&"
PAUSE = 0.2  # seconds; what the terminal shows within it is one event
PORT = 5000  # of `baton ui`
PROMPT = "$ "


class Event(NamedTuple):
    """What the terminal showed, so many seconds after the beginning."""

    seconds: float
    text: str


def main() -> None:
    """Run the commands, write the recording and the pictures, and print the times."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=600, help="sentences of the table (default 600)")
    parser.add_argument("--out", type=Path, default=Path("build/first_minutes"), help="a folder")
    options = parser.parse_args()
    if answers():
        raise SystemExit(
            f"something answers on port {PORT} already, which `baton ui` would use; end it first"
        )
    options.out.mkdir(parents=True, exist_ok=True)
    readme = (_project.ROOT / "README.md").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / TABLE).parent.mkdir()
        write_table(folder / TABLE, options.rows)
        commands = block(readme)
        subprocess.run(["git", "clone", "--quiet", str(_project.ROOT), str(folder / "baton")], check=True)
        events = record(commands, folder / "baton", options.out)
    events = [Event(event.seconds, event.text.replace(str(folder), "~")) for event in events]
    write_cast(events, options.out / "first_minutes.cast")
    lines = [f"{seconds:6.1f} s  {command}" for command, seconds in durations(commands, events)]
    lines.append(f"{events[-1].seconds / 60:6.1f} minutes in all")
    print(*lines, sep="\n")
    shown = screen("".join(event.text for event in events))
    (options.out / "first_minutes.txt").write_text("\n".join([*shown, "", *lines, ""]), encoding="utf-8")
    print(f"{options.out} has the recording, and what stayed on the screen")


def block(readme: str) -> list[str]:
    """Return the commands of "Your own data", without their comments."""
    (found,) = re.findall(rf"\n\n((?: {{4}}.*\n)*? {{4}}{re.escape(BEGINNING)}.*\n(?: {{4}}.*\n)*)", readme)
    return [re.sub(r"\s+#.*", "", line).strip() for line in found.splitlines()]


def write_table(path: Path, rows: int) -> None:
    """Write so many sentences with their labels, evenly from all of them."""
    with tempfile.TemporaryDirectory() as name:
        _vader.write(Path(name), Path(name))
        with (Path(name) / "films.csv").open(encoding="utf-8", newline="") as file:
            header, *found = csv.reader(file)
    step = max(1, len(found) // rows)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *itertools.islice(found, 0, step * rows, step)])


def record(commands: list[str], folder: Path, out: Path) -> list[Event]:
    """Run commands in one shell on a terminal; return what it showed until the last of them answers."""
    # As at a prompt: each command is shown before it runs. The last one stays until it is ended.
    script = "set -e\n" + "".join(f"printf '{PROMPT}%s\\n' '{line}'\n{line}\n" for line in commands)
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(folder)
        # Pip's warnings are about this machine's settings.
        own = {"TERM": "xterm-256color", "HOME": str(folder.parent), "PIP_QUIET": "1"}
        settings = Path.home() / ".config/pip/pip.conf"  # where packages come from
        own |= {"PIP_CONFIG_FILE": str(settings)} if settings.is_file() else {}
        bare = {key: value for key, value in os.environ.items() if key.upper().startswith(KEPT)}
        os.execvpe("bash", ["bash", "-c", script], bare | own)  # noqa: S606  becomes the shell
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    os.set_blocking(terminal, False)
    try:
        events = watch(terminal, f"{PROMPT}{commands[-1]}")
        picture(folder.parent / "mine/reports/report.html", out / "report.png")
    finally:
        os.killpg(child, signal.SIGTERM)
        os.close(terminal)
        os.waitpid(child, 0)
    return events


def watch(terminal: int, last: str) -> list[Event]:
    """Return what a terminal shows until the last command was given and MLflow answers.

    Raises:
        SystemExit: a command failed, or all take longer than they may.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    events, begun, shown = list[Event](), time.monotonic(), ""
    while last not in shown or not answers():
        time.sleep(PAUSE)
        seconds, text, ended = time.monotonic() - begun, "", False
        try:
            while part := os.read(terminal, 1 << 16):
                text += decoder.decode(part)
        except BlockingIOError:
            ended = seconds > DEADLINE
        except OSError:  # the shell has
            ended = True
        if text:
            events.append(Event(round(seconds, 2), text))
            shown += text
        if ended:
            raise SystemExit(f"the commands failed, or took too long:\n{shown[-4000:]}")
    events.append(Event(round(time.monotonic() - begun, 2), ""))
    return events


def answers() -> bool:
    """Return whether MLflow answers."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"http://127.0.0.1:{PORT}", timeout=5) as page:
            return bool(page.status == 200)
    except OSError:
        return False


def picture(report: Path, path: Path) -> None:
    """Take a picture of the report."""
    if _chromium.find() is None:
        print("no picture: Chromium is not installed")
        return
    with _chromium.page() as window:
        window.open(report, 1440, 1000)
        window.picture(path)


def write_cast(events: list[Event], path: Path) -> None:
    """Write a recording: asciicast, version 2."""
    header = {"version": 2, "width": COLUMNS, "height": LINES, "title": "Baton: a project of one's own"}
    lines = [json.dumps(header), *(json.dumps([seconds, "o", text]) for seconds, text in events)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def screen(text: str) -> list[str]:
    """Return the lines that stay on a terminal: bars that were drawn over and erased are gone."""
    lines, row, column = [""], 0, 0
    for part in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|[\r\n]|[^\x1b\r\n]+|\x1b", text):
        if part == "\n":
            row += 1
            lines += [""] * (row == len(lines))
        elif part == "\r":
            column = 0
        elif part.endswith("A") and part[0] == "\x1b":
            row = max(0, row - int(part[2:-1] or 1))
        elif part.endswith("K") and part[0] == "\x1b":
            lines[row] = "" if part == "\x1b[2K" else lines[row][:column]
        elif part[0] != "\x1b":
            before = lines[row].ljust(column)
            lines[row] = before[:column] + part + before[column + len(part) :]
            column += len(part)
    return [line.rstrip() for line in lines]


def durations(commands: list[str], events: list[Event]) -> list[tuple[str, float]]:
    """Return the seconds from each command's prompt to the next one's."""
    shown, times = "", list[float]()
    for event in events:
        shown += event.text
        times += [event.seconds] * len(event.text)
    starts = [times[shown.index(f"{PROMPT}{command}")] for command in commands]
    ends = [*starts[1:], events[-1].seconds]
    return [(command, end - start) for command, start, end in zip(commands, starts, ends, strict=True)]


if __name__ == "__main__":
    main()
