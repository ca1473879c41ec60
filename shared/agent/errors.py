"""What can go wrong in reading an agent."""

from __future__ import annotations


class UnreadableResponseError(Exception):
    """A proven response of a channel's agent that says nothing the agent 1.1 can say.

    The state must not advance past it: a guess at what it says would be a guess about money.
    """

    code = "unreadable_response"
