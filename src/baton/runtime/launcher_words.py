"""Which words `runtime.launcher` may have: those of torchrun and srun that start nothing but our own command.

params.yaml comes with recipes, pull requests and overrides, and must not be able to run a program. Whoever
owns the machine can allow others: the environment variable `BATON_LAUNCHERS` names programs, separated by
spaces, that may be started with any words.
"""

import os
import re
from collections.abc import Mapping, Sequence

from baton.errors import ParamsError

ALLOWED = "BATON_LAUNCHERS"
# Options that neither start a program nor write a file.
TORCHRUN_VALUED = """
    --nnodes --nproc-per-node --node-rank --rdzv-backend --rdzv-endpoint --rdzv-id --rdzv-conf --max-restarts
    --monitor-interval --master-addr --master-port --local-addr --start-method
"""
SRUN_VALUED = """
    -A -C -G -J -N -c -m -n -p -q -t -w -x --account --constraint --cpu-bind --cpus-per-gpu --cpus-per-task
    --distribution --exclude --gpu-bind --gpus --gpus-per-node --gpus-per-task --gres --hint --job-name
    --kill-on-bad-exit --mem --mem-bind --mem-per-cpu --mem-per-gpu --nodelist --nodes --ntasks
    --ntasks-per-gpu --ntasks-per-node --ntasks-per-socket --partition --qos --signal --threads-per-core
    --time --wait
"""
SRUN_ALONE = "-K -l -u --exact --exclusive --kill-on-bad-exit --label --overlap --unbuffered"
# Options of srun of which only some values start nothing else.
LIMITED = {
    "--export": "ALL|NONE",
    "--jobid": "[0-9]+",
    "--mpi": "[a-z0-9_]+",
    "--reservation": "[A-Za-z0-9_-]+",
}
VALUED: Mapping[str, list[str]] = {
    "torchrun": TORCHRUN_VALUED.split(),
    "srun": SRUN_VALUED.split(),
}
ALONE: Mapping[str, list[str]] = {
    "torchrun": ["--standalone", "--no-python"],
    "srun": SRUN_ALONE.split(),
}


def check(launcher: str, words: Sequence[str]) -> None:
    """Refuse a launcher that could run another program than the stage.

    Args:
        launcher: as in params, for messages.
        words: its words.

    Raises:
        ParamsError: the program is neither torchrun nor srun, or a word is not one of their options.
    """
    program, *options = words
    if program in os.environ.get(ALLOWED, "").split():
        return
    if program not in VALUED:
        raise _refused(launcher, program)
    todo = list(options)
    while todo:
        word = todo.pop(0)
        name, equals, value = word.partition("=")
        name = name.replace("_", "-") if program == "torchrun" else name
        if name in VALUED[program] and (equals or (todo and not todo[0].startswith("-"))):
            if not equals:
                todo.pop(0)
        elif program == "srun" and re.fullmatch(LIMITED.get(name, "(?!)"), value):
            continue
        elif word.replace("_", "-") not in ALONE[program] and not _joined(word, program):
            raise _refused(launcher, word)


def _joined(word: str, program: str) -> bool:
    """Return whether a word is a short option of srun with its number, as in `-n8`."""
    return word[:2] in [*VALUED[program], "-K"] and word[2:].isdecimal()


def _refused(launcher: str, word: str) -> ParamsError:
    return ParamsError(
        f"runtime.launcher: {word} could start another program",
        got=launcher,
        expected="torchrun or srun, and options that say where and how often the stage is started",
        hint=f"whoever owns this machine can allow a program with any words: "
        f"`export {ALLOWED}=PROGRAM` (docs/processes.md)",
    )
