"""Webhooks: events are written down as deliveries (`planning`) and sent (`sending`), under the vault's lease.

It has connections and a resolver of its own: servers of other people must not keep the vault waiting.
"""
