"""The books of webhooks: what waits has its lane, what is held its place, and nothing that happened is left out."""

# ruff: noqa: S608 - statements are joined from constants only

from __future__ import annotations

from shared.store.audit.rules import Invariant
from shared.store.webhook_planning import EVENTS, PAYMENTS

_NEWEST = 1_000
"""Events before each webhook's position that are looked for: older ones may be forgotten, or too many to keep."""

WEBHOOKS = (
    Invariant(
        "delivery_has_its_lane",
        "A webhook has a lane to be sent from where a delivery waits, and nowhere else.",
        """
        SELECT webhook_id, lane, coalesce(waiting.pending, 0) AS pending, l.webhook_id IS NOT NULL AS has_lane
          FROM (
            SELECT webhook_id, lane, count(*) AS pending FROM webhook_deliveries
             WHERE state = 'pending' GROUP BY webhook_id, lane
          ) AS waiting
          FULL JOIN webhook_lanes AS l USING (webhook_id, lane)
         WHERE l.webhook_id IS NULL OR waiting.pending IS NULL
        """,
    ),
    Invariant(
        "held_lane_is_behind_its_webhook",
        "A lane is held from an event that its webhook has passed by, and no webhook is ahead of the events.",
        """
        SELECT w.id AS webhook_id, h.lane, h.held_from, w.position, given.newest AS newest_given_out
          FROM webhooks AS w LEFT JOIN webhook_held_lanes AS h ON h.webhook_id = w.id
         CROSS JOIN (
            SELECT CASE WHEN is_called THEN last_value ELSE 0 END AS newest FROM payments_id_seq
          ) AS given
         WHERE h.held_from > w.position OR w.position > given.newest
        """,
    ),
    Invariant(
        "event_is_delivered_or_held",
        "Of the newest events that a webhook has passed by each one that it wants has a delivery, or is held.",
        # Only what happened since the webhook was last changed, and since the oldest delivery on record has ended: of
        # such events none was forgotten. A minute for clocks and transactions that begin before they take a number.
        f"""
        SELECT w.id AS webhook_id, passed.id AS event_id, passed.kind, passed.aa_address, w.position
          FROM webhooks AS w
         CROSS JOIN LATERAL (
            SELECT * FROM (
              ({EVENTS} WHERE id <= w.position ORDER BY id DESC LIMIT {_NEWEST})
              UNION ALL
              ({PAYMENTS} WHERE id <= w.position ORDER BY id DESC LIMIT {_NEWEST})
            ) AS merged ORDER BY id DESC LIMIT {_NEWEST}
          ) AS passed
         WHERE passed.event_at > interval '1 minute' + greatest(
                 w.updated_at, (SELECT coalesce(min(finished_at), 'infinity') FROM webhook_deliveries
                                 WHERE finished_at IS NOT NULL))
           AND coalesce(passed.addressee = w.id, w.types IS NULL OR passed.kind = ANY(w.types))
           AND NOT EXISTS (
             SELECT FROM webhook_deliveries AS d WHERE d.webhook_id = w.id AND d.event_id = passed.id
           )
           AND NOT EXISTS (
             SELECT FROM webhook_held_lanes AS h
              WHERE h.webhook_id = w.id AND h.lane = coalesce(passed.aa_address, '') AND h.held_from <= passed.id
           )
        """,
    ),
)
