"""What this machine's worker can draw, and what it would take to draw the rest."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from imgprocessor.images.previews.registry import KINDS
from imgprocessor.jobs.previews.sandbox import NoSandbox, Sandbox
from imgprocessor.reporting import complain
from imgprocessor.service.readiness import OK

ANNOUNCED_SECONDS = 60.0
"""What a worker says of itself counts for so long; it says so again every third of that."""


@dataclass(frozen=True)
class Ability:
    """Which kinds of documents are drawn."""

    sandbox: str
    """How documents are kept from all else; empty where they cannot be, so that none is drawn."""
    kinds: Mapping[str, str]
    """`OK` by the kinds' names, or why documents of a kind are not drawn, in words."""

    def to_text(self) -> str:
        """Return it as a worker announces it."""
        return json.dumps({"sandbox": self.sandbox, "kinds": self.kinds})


class Abilities:
    """What a worker can draw, looked at now and then: programs are installed while it runs."""

    def __init__(self, wanted: Sequence[str], find: Callable[[], Sandbox]) -> None:
        """Use the kinds that the settings name, and what finds a sandbox."""
        self._wanted = wanted
        self._find = find
        self.sandbox: Sandbox | None = None
        self.no_sandbox = ""
        """Why there is none, for the operator."""
        self.ability = Ability("", {})
        self.look()

    def look(self) -> Ability:
        """Look anew, for a sandbox where there is none yet; return what was found."""
        no_sandbox = ""
        if self.sandbox is None:
            try:
                self.sandbox = self._find()
            except NoSandbox as error:
                if str(error) != self.no_sandbox:
                    complain(f"no document is drawn: there is no sandbox: {error}")
                self.no_sandbox = str(error)
                no_sandbox = f"there is no sandbox: {error.public}"
        states = {
            kind.name: no_sandbox or kind.lacks() or OK
            for kind in KINDS
            if kind.name in self._wanted
        }
        self.ability = Ability("" if self.sandbox is None else self.sandbox.way.name, states)
        return self.ability

    def sandbox_failed(self) -> None:
        """Have the sandbox looked for anew: what it needs may have gone."""
        self.sandbox = None


def readiness_of(announced: Sequence[str], kinds: Sequence[str]) -> str:
    """Return `OK` where workers draw all of some kinds, by what they announced; otherwise what they
    do not draw, and why.
    """
    if not announced:
        return "there is no worker"
    merged = dict.fromkeys(kinds, "not among [previews] kinds of the workers")
    for text in announced:
        for kind, state in json.loads(text)["kinds"].items():
            if kind in merged and merged[kind] != OK:
                merged[kind] = state
    by_reason: dict[str, list[str]] = {}
    for kind, state in merged.items():
        by_reason.setdefault(state, []).append(kind)
    by_reason.pop(OK, None)
    return "; ".join(f"{', '.join(kinds)}: {state}" for state, kinds in by_reason.items()) or OK
