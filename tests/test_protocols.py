"""
The parts that users can replace: each is a Protocol, and what the client can do is among them.
"""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

from onehouse_tracker import Credentials, OnehouseClient, protocols
from onehouse_tracker.integrations.airflow._worker import WatchedClient

CREDENTIALS = Credentials(
    project_uid="p", api_key="k", api_secret="s", region="r", user_uid="u", account_uid="a",
    link_uid="l",
)  # fmt: skip
ABILITIES = [
    ability
    for name in protocols.__all__
    if name.endswith("Source") and name != "StatusSource"
    for ability in [getattr(protocols, name)]
]


@pytest.mark.parametrize("name", protocols.__all__)
def test_your_own_class_may_name_its_parameters_as_it_likes(name: str) -> None:
    """
    Type checkers compare the names of parameters, unless they can only be given by position.
    """
    seam = getattr(protocols, name)
    assert getattr(seam, "_is_protocol", False)
    members = inspect.getmembers(seam, inspect.isfunction)
    for method, function in members:
        if method not in {"__init__", "__subclasshook__"}:
            _, *given = inspect.signature(function).parameters.values()
            assert {each.kind for each in given} <= {inspect.Parameter.POSITIONAL_ONLY}, method


@pytest.mark.parametrize("ability", ABILITIES, ids=lambda ability: ability.__name__)
def test_a_wrapped_client_can_do_what_the_client_can(ability: type) -> None:
    """
    An ability is used where it is there: a wrapper that forgets one loses it without a word.
    """
    client = OnehouseClient(CREDENTIALS)

    assert isinstance(client, ability)
    assert isinstance(WatchedClient(client), ability)


def test_the_protocols_load_neither_sqlite_nor_the_http_client() -> None:
    """
    They are for type checkers: whoever imports one should not wait for what it describes.
    """
    code = "import sys; before = set(sys.modules); "  # a measurement of coverage loads some
    code += "import onehouse_tracker.protocols as p; p.StatusSource; "
    code += "print([n for n in ('sqlite3', 'aiohttp') if n in sys.modules.keys() - before])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ran.stdout.strip() == "[]"
