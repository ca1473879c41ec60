"""What can go wrong when the application is told. `code` is stable; no text holds a secret or what was sent."""

from __future__ import annotations


class WebhookError(Exception):
    """Base of the errors of this room."""

    code = "webhook"


class InvalidUrlError(WebhookError):
    """A URL that can never be one of a webhook; the text says which rule it breaks."""

    code = "invalid_url"


class CallError(WebhookError):
    """A call got no answer. Whether it has arrived is not known, but for the first two of those below."""

    code = "call_failed"


class ForbiddenAddressError(CallError):
    """The host leads to an address that must not be called; no connection was made."""

    code = "forbidden_address"


class UnknownHostError(CallError):
    """The name of the host leads nowhere now; no connection was made."""

    code = "unknown_host"


class UnreachableError(CallError):
    """No connection could be made, or it failed before there was an answer."""

    code = "unreachable"


class CallTimeoutError(CallError):
    """The answer was not there in time."""

    code = "timeout"


class SecretError(WebhookError):
    """A text that is no secret for signing."""

    code = "invalid_secret"


class SignatureError(WebhookError):
    """A message was not signed with one of the secrets, or not now."""

    code = "invalid_signature"
