"""A ledger plugin whose money is claims of payment channels; what a claim is worth is said by who is asked for it.

from shared.interledger.channel_plugin import ChannelPlugin
"""

from shared.interledger.channel_plugin.plugin import ChannelPlugin
from shared.interledger.channel_plugin.ports import AcceptedBy, Credit, Pays, Takes

__all__ = ["AcceptedBy", "ChannelPlugin", "Credit", "Pays", "Takes"]
