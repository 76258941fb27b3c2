"""
The environment variables of this package, read with pydantic-settings.

Slow to import, so only `Credentials.from_env` imports it, when it is called.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from onehouse_tracker.onehouse._credential_sources.fields import ALL_FIELDS, PREFIX
from onehouse_tracker.onehouse._credential_sources.hidden import Secret
from onehouse_tracker.onehouse._credential_sources.variables import plain

__all__ = ["read_environment"]


def read_environment(environ: Mapping[str, str]) -> dict[str, Secret]:
    """
    The values that *environ* has for us, by the name of the setting, all of them hidden.

    Blanks and line breaks around a value are no part of it.  A variable that is empty, or
    blanks alone, counts as absent: that is how containers and CI systems unset one.
    """
    source = EnvSettingsSource(_Variables)
    # Instead of os.environ: whoever calls decides which environment counts.
    source.env_vars = {name: value for name, text in environ.items() if (value := plain(text))}
    found = _Variables.model_validate(source())

    return {
        name: Secret(value)
        for name in (*(field.name for field in ALL_FIELDS), "profile", "credentials_file")
        if (value := getattr(found, name.upper())) is not None
    }


class _Variables(BaseSettings):
    # Upper case, because names are compared as they stand: ``onehouse_region`` is not ours.
    model_config = SettingsConfigDict(env_prefix=PREFIX, case_sensitive=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the base class promises all of them
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take what was read above, and fill nothing in from the environment of the process."""
        return (init_settings,)

    ACCOUNT_UID: str | None = None
    PROJECT_UID: str | None = None
    API_KEY: str | None = None
    API_SECRET: str | None = None
    LINK_UID: str | None = None
    REGION: str | None = None
    USER_UID: str | None = None
    BEARER_TOKEN: str | None = None
    BASE_URL: str | None = None
    PROFILE: str | None = None
    CREDENTIALS_FILE: str | None = None
