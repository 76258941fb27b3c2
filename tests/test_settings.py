"""
The keywords of `Tracker` and of every ``from_env``: what types, signatures and messages say.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from onehouse_tracker import ConfigError, Credentials, OnehouseClient, Tracker, sync
from onehouse_tracker.onehouse.settings import ClientSettings, CredentialSources
from onehouse_tracker.settings import TrackerOptions, TrackerSettings


@pytest.mark.parametrize(
    ("function", "keywords", "more"),
    [
        (Credentials, CredentialSources, {"profile", "environ", "credentials_file"}),
        (OnehouseClient.from_env, ClientSettings, set(Credentials.__annotations__) - {"origins"}),
        (Tracker, TrackerOptions, set()),
        (Tracker.from_env, TrackerSettings, set(ClientSettings.__annotations__)),
    ],
    ids=["credentials", "client", "tracker", "tracker from_env"],
)
def test_the_types_name_exactly_the_keywords(
    function: Callable[..., Any], keywords: Any, more: set[str]
) -> None:
    """
    A keyword that only the signature or only the type has could not be given, or not be found.
    """
    parameters = inspect.signature(function).parameters.values()
    named = {each.name for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY}

    assert set(keywords.__annotations__) == named | more


@pytest.mark.parametrize(
    "from_env",
    [Tracker.from_env, sync.Tracker.from_env, OnehouseClient.from_env, Credentials.from_env],
)
def test_a_misspelled_keyword_is_refused_with_the_ones_there_are(
    from_env: Callable[..., Any],
) -> None:
    """
    The list is for people who look for the right name, so it has every keyword.
    """
    with pytest.raises(ConfigError, match=r"no such setting: profil; .*; did you mean profile"):
        from_env(environ={}, profil="staging")


@pytest.mark.parametrize("name", sorted(TrackerSettings.__annotations__))
def test_the_list_has_every_keyword_of_the_tracker(name: str) -> None:
    """
    Those of the tracker itself too, such as limit, limiter and journal.
    """
    with pytest.raises(ConfigError, match=rf"known are .*\b{name}\b"):
        Tracker.from_env(environ={}, wrong_name=1)  # type: ignore[call-arg]


def test_the_message_shows_no_value() -> None:
    """
    A secret may have been given under a wrong name.
    """
    with pytest.raises(ConfigError) as caught:
        Tracker.from_env(environ={}, api_scret="hunter2")  # type: ignore[call-arg]

    assert "hunter2" not in str(caught.value)
    assert "did you mean api_secret?" in str(caught.value)
