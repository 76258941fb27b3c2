"""
What the replies have shown about the project so far, in one place for those who decide.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from onehouse_tracker._engine.credentials import Credentials
from onehouse_tracker._engine.health import Health
from onehouse_tracker._engine.refusals import Refusals
from onehouse_tracker._engine.witnesses import Witnesses

__all__ = ["ProjectState"]


@dataclass(slots=True)
class ProjectState:
    """Four questions about the project, each answered by its own class."""

    health: Health
    """Is the server there?"""

    credentials: Credentials = field(default_factory=Credentials)
    """Does it accept who we are?"""

    refusals: Refusals = field(default_factory=Refusals)
    """Whose fault is a 429?"""

    witnesses: Witnesses = field(default_factory=Witnesses)
    """Who was answered last?"""

    def reset(self) -> None:
        """The project has failed: the next wait starts with a single probe."""
        self.health.reset()
        self.credentials.reset()
        self.witnesses.clear()
