"""The command `meshport`. What needs no parsing is answered before typer is imported."""

from __future__ import annotations

import contextlib
import sys
from pathlib import PurePath


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave with its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    if given in (["--version"], ["-V"]) and sys.stdout is not None:
        from meshport import __version__

        with contextlib.suppress(OSError):  # what follows says why it could not be written
            sys.stdout.write(f"meshport {__version__}\n")
            sys.stdout.flush()
            sys.exit(0)
    from meshport.cli.run import run

    plugin = PurePath(sys.argv[0]).stem == "kubectl-meshport"  # as a plugin of kubectl, which passes the rest of its command line on
    sys.exit(run(given, "kubectl meshport" if plugin else "meshport"))


if __name__ == "__main__":
    main()
