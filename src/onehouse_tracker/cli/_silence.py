"""
What is said about an outage where no live display shows it.
"""

from __future__ import annotations

from typing import final

from onehouse_tracker.cli._terminal import Terminal
from onehouse_tracker.events import Event, OutageBegan, OutageEnded, PollFinished

__all__ = ["Silence"]


@final
class Silence:
    """
    Breaks the silence while nothing answers, with one line for each thing that is new.

    Args:
        terminal: Where it is told, unless quiet is wanted.
    """

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._heard = False
        """Whether there was an answer, or its absence was told."""

    def listens_to(self, kind: type[Event]) -> bool:
        """Whether events of this *kind* say anything about an outage."""
        return kind in (PollFinished, OutageBegan, OutageEnded)

    def __call__(self, event: Event) -> None:
        """Say what *event* means, if it is about an outage."""
        match event:
            case PollFinished() if not self._heard:
                self._heard = True
                if event.error == "TransportError":
                    self._terminal.note(f"no answer yet: {event.reason}; asking again")
            case OutageBegan():
                self._terminal.note(
                    f"outage: nothing answers any more ({event.reason}); asking once a second"
                )
            case OutageEnded():
                self._terminal.note(f"outage over after {event.lasted:.0f} s")
            case _:
                pass
