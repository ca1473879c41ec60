"""The draft of Moneysocket version 1, as far as it was ever built: codecs of beacon, envelope, wad and provider info.

It calls itself 0.99.99. There is no handshake, no encryption and no transport, and nobody to talk to; its beacons and
those of version 0 refuse each other. The rules are those of package `moneysocket1` of py-moneysocket, its quirks
included where they decide what a text means; where the reference fails with an exception, this refuses.
"""
