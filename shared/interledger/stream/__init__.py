"""STREAM (RFC-0029): money and data in sealed packets between the two ends of a payment, over any number of hops."""
