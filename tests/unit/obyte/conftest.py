from __future__ import annotations

from hypothesis import HealthCheck, settings

# A busy machine is no fault of the code under test: no example has a deadline.
settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy machine")
