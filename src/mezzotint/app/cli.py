"""`mezzotint COMMAND [key=value ...]`: arguments, exit codes, dispatch. Imports neither Hydra nor torch nor Lightning.

Exit codes: 0 done, 1 the job failed, 2 the config or the command is wrong, 130 interrupted.
"""

import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module

from mezzotint.app import help
from mezzotint.app.config.arguments import own_configs, trust_of, vouched
from mezzotint.app.help import COMMANDS, OWN_WORDS
from mezzotint.app.startup import rare_collection
from mezzotint.app.terminal import refuse, unbroken
from mezzotint.errors import ConfigError, as_user_error
from mezzotint.instantiate.locate import did_you_mean
from mezzotint.instantiate.trust import trusting
from mezzotint.signals import REQUEUE_SIGNALS, install_handlers, restore_handlers

MODULES = {"import": "import_weights"}  # of commands whose name is a word of Python
PLACES = ("MEZZOTINT_RUNS", "MEZZOTINT_DATA", "MEZZOTINT_CACHE")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    for name in [name for name in PLACES if os.environ.get(name) == ""]:
        del os.environ[name]  # empty is not set
    with unbroken() as lost:
        end = answered(words)
        if end is None:
            with rare_collection(), exit_code(words[0], words[1:]) as end:
                prepared(words[0], words[1:])()
    if lost and not end.code:
        return refuse(f"the output could not be written ({lost[0]}), but the command has done its work", code=1)
    return end.code


@dataclass
class End:
    """The result of a command."""

    code: int = 0


def answered(words: list[str]) -> End | None:
    """Answer what needs no command to run: help, version, completion, a command that does not exist."""
    if words[:1] in (["-sc"], ["--shell-completion"]):
        import_module("mezzotint.app.completion").complete(words)
        return End()
    asked = [*words[1:], "--help"] if words[:1] == ["help"] else words
    if not asked or asked[0] in ("-h", "--help"):
        print(help.overview())
        return End()
    if asked[0] in ("-V", "--version"):
        print(help.version())
        return End()
    command, rest = asked[0], asked[1:]
    if command not in COMMANDS:
        return End(refuse(f"no command {command!r}{did_you_mean(command, COMMANDS)} ({', '.join(COMMANDS)})"))
    if {"-h", "--help"} & set(rest):
        own = own_configs(rest)
        print(help.choice_help(rest, own) or help.of(command, own))
        return End()
    return None


@contextmanager
def exit_code(command: str, words: list[str]) -> Iterator[End]:
    """Turn an exception into an exit code: what the user can fix is printed as one line, a bug with its traceback."""
    end = End()
    handlers = install_handlers(REQUEUE_SIGNALS) if command == "train" else ()  # before torch takes seconds to import
    try:
        yield end
    except KeyboardInterrupt:
        end.code = refuse("stopped", command, 130)
    except SystemExit as left:  # --hydra-help has been printed, or a complaint of its parser
        match left.code:
            case None | int() as code:
                end.code = code or 0
            case _:  # a text, which Python has printed
                end.code = 1
    except Exception as error:
        known = as_user_error(error) or import_module("mezzotint.app.error_messages").explained(error, command, words)
        if known is None:
            traceback.print_exc()
            end.code = 1
        else:
            end.code = refuse(str(known), command, known.exit_code)
    finally:
        restore_handlers(handlers)


def prepared(command: str, words: list[str]) -> Callable[[], object]:
    """Return the call that runs a command.

    Raises:
        ConfigError: the working directory is gone, or trust= names no package.
    """
    try:
        os.getcwd()
    except FileNotFoundError:
        raise ConfigError("the working directory no longer exists: change to another one") from None
    words, rule = trust_of(words)
    if command not in OWN_WORDS:
        return partial(import_module("mezzotint.app.hydra_app").run, command, words, rule)
    own = import_module(f"mezzotint.app.commands.{MODULES.get(command, command)}")
    return trusting(replace(rule, strict=True, paths=vouched({}, {}, words)))(partial(own.main, words))
