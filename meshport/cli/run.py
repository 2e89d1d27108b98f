"""Runs a command line and turns whatever happens into an exit code.

0 is done, 1 findings or differences, 2 an unusable call or input, 3 a defect of meshport.
"""

from __future__ import annotations

import errno
import gc
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from meshport.errors import MeshportError

if TYPE_CHECKING:

    class _ClickException(Exception):
        def format_message(self) -> str: ...

else:
    # typer brings click along under a name of its own, or takes the installed one: its errors are found through typer's
    _ClickException = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")


def run(arguments: Sequence[str], name: str = "meshport") -> int:
    """The exit code of one command line. `name` is the command as it was called."""
    from meshport.cli.app import app

    gc.set_threshold(
        100_000, 50, 100
    )  # one run makes millions of objects that live to its end: looking for cycles among them costs a tenth of it
    try:
        code = typer.main.get_command(app).main(args=list(arguments), prog_name=name, standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except MeshportError as error:
        return _say(str(error))
    except _ClickException as error:
        return _say(_usage(error))
    except BrokenPipeError:
        return _silenced()
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except RecursionError:
        return _say("the input is nested too deeply; look at the files, and leave the broken one out")
    except MemoryError:
        return _say("there is not enough memory for this input; convert it in parts")
    except OSError as error:
        return _unwritten(error) if error.errno in (errno.ENOSPC, errno.EDQUOT) and error.filename is None else _defect(error, arguments)
    except Exception as error:  # whatever it is, a person gets one line, and the traceback on request
        return _defect(error, arguments)
    return code if isinstance(code, int) else 0


def _say(text: str) -> int:
    line = " ".join(text.split())
    sys.stderr.write(f"meshport: error: {line}\n")
    return 2


def _usage(error: _ClickException) -> str:
    message = str(error.format_message()).rstrip(".")
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "meshport"
    return f"{message}; see `{command} --help`"


def _silenced() -> int:
    """The reader of a pipe has gone: nobody is left to tell."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _unwritten(error: OSError) -> int:
    """What parses the command line prints help by itself, and the disk that it goes to is full."""
    _silenced()
    return _say(f"standard output cannot be written ({error.strerror}); make room, and run again")


def _defect(error: Exception, arguments: Sequence[str]) -> int:
    text = " ".join(f"{type(error).__name__}: {error}".split())
    if any(argument in ("-v", "--verbose") for argument in arguments):
        import traceback

        sys.stderr.write(traceback.format_exc())
    sys.stderr.write(
        f"meshport: internal error: {text[:500]}; this is a defect of meshport: run again with -v for the traceback, and report it\n"
    )
    return 3
