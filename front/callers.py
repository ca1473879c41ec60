"""Who calls a door, as a dependency: the API key is looked at before anything else of the request."""

from typing import Annotated

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import Request

from front.authentication import Caller
from shared.store.api_keys import Scope

_bearer = HTTPBearer(
    auto_error=False, scheme_name="ApiKey", description="An API key: `sluice keys create --scope read --scope spend`"
)


class Requires:
    """A dependency that lets only keys with one of the scopes in."""

    def __init__(self, *scopes: Scope) -> None:
        self._scopes = scopes

    async def __call__(
        self, request: Request, _key: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
    ) -> Caller:
        """Return who calls. Raises Problem with 401 or 403, LimitedError and UnavailableError."""
        state = request.app.state
        caller: Caller = await state.api_keys.require(
            request.headers.get("authorization"), *self._scopes, address=state.address_limits.address_of(request.scope)
        )
        return caller


Reader = Annotated[Caller, Depends(Requires(Scope.READ))]
Merchant = Annotated[Caller, Depends(Requires(Scope.RECEIVE))]
Spender = Annotated[Caller, Depends(Requires(Scope.SPEND))]
Manager = Annotated[Caller, Depends(Requires(Scope.SPEND, Scope.ADMIN))]
"""What moves money between us and our own channels only, or ends them: `spend` or `admin`."""
Administrator = Annotated[Caller, Depends(Requires(Scope.ADMIN))]
