"""The verb completion: a script, written by shtab, that makes a shell complete verbs, options, studies and folders."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from rnnlimits.cli import words
from rnnlimits.cli.words import Verb
from rnnlimits.run import shipped

SHELLS = ("bash", "zsh", "fish", "tcsh")
PATTERNS = {words.STUDIES: "*.yaml", words.ATLASES: "*.yaml", words.PROFILES: "*/", words.RESULTS: "*.h5"}

# Shipped names, then the content of the folder. The names of the functions show shtab's bash that they list files.
_BASH = """\
_rnnlimits_files_{what}() {{
  compgen -W "{names}" -- "$1"
  compgen -f -X '!{pattern}' -- "$1"
  compgen -d -- "$1"
  {more}
}}"""
_BASH_RESULTS = 'for folder in results/*/; do [[ -d $folder && $folder == "$1"* ]] && echo "${folder%/}"; done'
_ZSH = """\
_rnnlimits_files_{what}() {{
  _alternative 'names:what ships:({names})' 'files:file or folder:_files -g "{pattern}"'{more}
}}"""
_ZSH_RESULTS = " 'results:results:(results/*(/N))'"
_FISH = """\
function _rnnlimits_files_{what}
  printf '%s\\n' {names}
  {more}
  __fish_complete_path (commandline -ct)
end"""
_FISH_RESULTS = "for folder in results/*/; echo $folder; end"


def names() -> dict[str, list[str]]:
    """The shipped names, by the kind of argument that they complete."""
    every = {words.STUDIES: shipped.studies(), words.ATLASES: shipped.atlases(), words.PROFILES: shipped.profiles()}
    by_argument = {what: list(paths) for what, paths in every.items()}
    return {**by_argument, words.SHIPPED: [*(name for part in by_argument.values() for name in part), *shipped.sites()]}


def preambles() -> dict[str, str]:
    """The functions that complete studies, profiles and results, for each shell."""
    shells = {"bash": (_BASH, _BASH_RESULTS), "zsh": (_ZSH, _ZSH_RESULTS), "fish": (_FISH, _FISH_RESULTS)}
    functions = {}
    for shell, (form, results) in shells.items():
        kinds = {**names(), words.RESULTS: []}
        functions[shell] = "\n".join(
            form.format(
                what=what,
                names=" ".join(shipped_names),
                pattern=PATTERNS.get(what, "*"),
                more=results if what == words.RESULTS else "",
            )
            for what, shipped_names in kinds.items()
        )
    return functions


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The completion script of a command line for one of SHELLS."""
    import shtab

    plain = {words.FILES: shtab.FILE, words.FOLDERS: shtab.DIRECTORY}
    for argument in _arguments(parser):
        if what := getattr(argument, "completed", None):
            argument.complete = plain.get(what) or _functions(what)  # type: ignore[attr-defined]
    return str(shtab.complete(parser, shell, preamble=preambles()))  # type: ignore[arg-type]


def _functions(what: str) -> dict[str, str]:
    function = f"_rnnlimits_files_{what}"
    return {"bash": function, "zsh": function, "fish": f"({function})", "tcsh": f"f:{PATTERNS.get(what, '*')}"}


def _arguments(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Arguments and options of a parser and of all verbs below it."""
    for action in parser._actions:
        yield action
        below: Any = action.choices if isinstance(action, argparse._SubParsersAction) else {}
        for verb in below.values():
            yield from _arguments(verb)


def _completion(options: argparse.Namespace) -> None:
    from rnnlimits.cli.page import parser

    print(script(parser(), options.shell))


def _shell(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))


COMPLETION = Verb(
    "completion",
    "print a script that completes words in your shell",
    'eval "$(rnnlimits completion bash)"',
    _completion,
    _shell,
    more="""\
To keep it:
  bash  rnnlimits completion bash > ~/.rnnlimits.bash    source it in ~/.bashrc
  zsh   rnnlimits completion zsh > ~/.zfunc/_rnnlimits   a folder of $fpath
  fish  rnnlimits completion fish > ~/.config/fish/completions/rnnlimits.fish
  tcsh  rnnlimits completion tcsh > ~/.rnnlimits.tcsh    source it in ~/.tcshrc""",
)
