"""The limits of what peers could rob us of, as the settings have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.channels.exposure import ExposureRules
from shared.channels.model import ExposureLimits

if TYPE_CHECKING:
    from shared.settings import Settings


def exposure_rules(settings: Settings) -> ExposureRules:
    """Read the limits by asset."""
    return ExposureRules(
        {
            asset: ExposureLimits(
                max_by_channel=limit.max_by_channel,
                sweep_above=limit.sweep_above,
                max_own_deposit=limit.max_own_deposit,
                max_total=limit.max_total,
            )
            for asset, limit in settings.exposure_limits.items()
        }
    )
