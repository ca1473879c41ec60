"""Being paid in your own FastAPI program: without a valid payment package, no answer.

    app = FastAPI()
    Payments(app, RemoteReceiver("https://pay.example/", api_key=KEY))

    @app.get("/weather", responses=RESPONSES)
    async def weather(purchase: Annotated[Purchase, Depends(PaymentRequired(price=100))]) -> dict[str, str]:
        return {"weather": "fine"}

`receivers` says who credits the packages, `purchases` what a package has bought, `gate` is the dependency, `answers`
keeps what was answered, so that whoever repeats a paid request gets the same answer.
"""

from __future__ import annotations

from sluice.fastapi.answers import Payments
from sluice.fastapi.gate import RESPONSES, PaymentRequired
from sluice.fastapi.in_process import InProcessReceiver
from sluice.fastapi.purchases import Purchase
from sluice.fastapi.receivers import ReceiverUnavailableError, RemoteReceiver

__all__ = [
    "RESPONSES",
    "InProcessReceiver",
    "PaymentRequired",
    "Payments",
    "Purchase",
    "ReceiverUnavailableError",
    "RemoteReceiver",
]
