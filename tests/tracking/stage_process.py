"""A stage as a separate process: `python tests/tracking/stage_process.py NAME [WHAT]`.

It prints `READY` inside the context.
"""

import sys
import time
from pathlib import Path

from baton import tracking
from baton.errors import DataError


def main() -> None:
    name, what = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "end"
    with tracking.stage(name, {"device": "cpu: no CUDA device"}) as run:  # type: ignore[arg-type]
        run.metrics({f"{name}/loss": 0.5}, step=1)
        run.final({f"{name}/val_accuracy": 0.75})
        sys.stdout.write("READY\n")
        sys.stdout.flush()
        match what:
            case "wait":
                for _ in range(600):  # a signal that arrives right before a sleep is handled after it
                    time.sleep(0.1)
            case "fail":
                raise DataError("a row is broken", got="x", expected="y", hint="fix it")
    if what == "off":
        loaded = [
            module
            for module in sys.modules
            if module.partition(".")[0] in ("mlflow", "sqlalchemy", "alembic")
        ]
        sys.stdout.write(f"{type(run).__name__} {loaded} {sorted(str(path) for path in Path().iterdir())}\n")


if __name__ == "__main__":
    main()
