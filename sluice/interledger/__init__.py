"""Interledger over Obyte channels, usable alone: who signs claims, who takes them, and where they are kept.

    book = ClaimBook(path)
    plugin = ChannelPlugin(opts, takes=ChannelTakes(book, network, channel_of))   # is paid
    plugin = ChannelPlugin(opts, pays=PayerPays(payer, aa_address))               # pays, with the payer's wallet
    plugin = ChannelPlugin(opts, pays=ChannelPays(book, signer, channel))         # pays, with a key and nothing else

`shared.interledger` knows nothing of Obyte; here the two meet.
"""

from __future__ import annotations

from shared.interledger.channel_plugin import AcceptedBy, ChannelPlugin, Credit, Pays, Takes
from sluice.interledger.book import ClaimBook
from sluice.interledger.paying import ChannelPays, PayerPays
from sluice.interledger.taking import ChannelTakes

__all__ = [
    "AcceptedBy",
    "ChannelPays",
    "ChannelPlugin",
    "ChannelTakes",
    "ClaimBook",
    "Credit",
    "PayerPays",
    "Pays",
    "Takes",
]
