"""Settings whose values may also stand in files, one for each, as containers and service managers hand secrets over."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic_settings import SecretsSettingsSource

if TYPE_CHECKING:
    from pydantic_settings import BaseSettings, PydanticBaseSettingsSource


class FileBacked:
    """Reads what neither the environment nor `.env` says from the directory that the setting `secrets_dir` names."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - ours takes its place
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return where values come from, those that win first."""
        return init_settings, env_settings, dotenv_settings, _NamedFiles(settings_cls)


class _NamedFiles(SecretsSettingsSource):
    """Files named like variables. Where they are is a setting itself, so the sources before this one have said it."""

    def __call__(self) -> dict[str, Any]:
        """Return what the files say; nothing if there is no such directory, which is a fault of that setting."""
        named = self.current_state.get("secrets_dir")
        directory = None if not named else Path(named).expanduser()
        if directory is None or not directory.is_dir():
            return {}
        self.secrets_dir = directory
        return super().__call__()
