"""Channels against what the ledger has told of them, against our closings, and against what peers could take."""

# ruff: noqa: S608 - statements are joined from constants only

from __future__ import annotations

from shared.channels.exposure import REPAIRED_VERSIONS
from shared.store.audit.rules import Invariant, Limits, Walk

_AT_RISK = "greatest(0, c.deposited_by_me - c.spent_by_me + c.spent_by_peer - c.credit)"
_REPAIRED = ", ".join(f"'{version}'" for version in sorted(REPAIRED_VERSIONS))
_CAN_BE_ROBBED = f"c.status <> 'closing_initiated_by_me' AND c.version NOT IN ({_REPAIRED})"
_UNLISTED = ""
"""No asset's name."""
_BALANCE = "CASE WHEN opened.payload ->> {0} ~ '^[0-9]{{1,15}}$' THEN (opened.payload ->> {0})::bigint END"
"""Numbers beyond what agents calculate with exactly are left out."""
_ROUNDED = 5
"""Agents calculate with 15 digits: so much may get lost of an amount of 16."""


def _at_risk_by_channel(limits: Limits) -> tuple[object, ...]:
    known = list(limits.exposure.by_asset)
    return (
        known,
        [limits.exposure.of(asset).max_by_channel for asset in known],
        limits.exposure.of(_UNLISTED).max_by_channel,
    )


CHANNELS = (
    Invariant(
        "channel_is_ours",
        "Every channel is one of the address that this database belongs to.",
        """
        SELECT c.aa_address, c.own_address, instance.own_address AS address_of_database
          FROM channels AS c, instance
         WHERE c.aa_address > $1 AND c.aa_address <= $2 AND c.own_address <> instance.own_address
        """,
        Walk.CHANNELS,
    ),
    Invariant(
        "events_have_no_gap",
        "Of every channel all events of its agent are on record, from the first to the last that was applied.",
        """
        SELECT c.aa_address, c.last_event_id, told.number AS recorded, told.newest
          FROM channels AS c
         CROSS JOIN LATERAL (
            SELECT count(*) AS number, coalesce(max(e.event_id), 0) AS newest FROM ledger_events AS e
             WHERE e.aa_address = c.aa_address
          ) AS told
         WHERE c.aa_address > $1 AND c.aa_address <= $2
           AND (told.number <> c.last_event_id OR told.newest <> c.last_event_id)
        """,
        Walk.CHANNELS,
    ),
    Invariant(
        "status_follows_events",
        "A channel's status and period are those of its last event.",
        """
        SELECT c.aa_address, c.status, c.period, last.kind AS last_event, last.period AS period_of_event
          FROM channels AS c
          LEFT JOIN LATERAL (
            SELECT e.kind, e.period, e.payload ->> 'initiated_by' AS initiator FROM ledger_events AS e
             WHERE e.aa_address = c.aa_address AND e.kind <> 'refused'
             ORDER BY e.event_id DESC LIMIT 1
          ) AS last ON true
         WHERE c.aa_address > $1 AND c.aa_address <= $2
           AND (c.period <> coalesce(last.period, 0)
                OR c.status <> CASE WHEN last.kind = 'opened' THEN 'open'
                                    WHEN last.kind = 'closing' AND last.initiator = c.own_address
                                      THEN 'closing_initiated_by_me'
                                    WHEN last.kind = 'closing' THEN 'closing_initiated_by_peer'
                                    ELSE 'closed' END)
        """,
        Walk.CHANNELS,
    ),
    Invariant(
        "balances_follow_events",
        "What both sides have deposited is what the agent said when it took the last deposit of the period.",
        f"""
        SELECT c.aa_address, c.period, c.deposited_by_peer, told.by_peer AS agent_of_peer, c.deposited_by_me,
               told.by_me AS agent_of_me
          FROM channels AS c
          LEFT JOIN LATERAL (
            SELECT e.payload FROM ledger_events AS e
             WHERE e.aa_address = c.aa_address AND e.kind = 'opened' AND e.period = c.period
             ORDER BY e.event_id DESC LIMIT 1
          ) AS opened ON true
         CROSS JOIN LATERAL (
            SELECT CASE WHEN opened.payload IS NULL THEN 0 ELSE {_BALANCE.format("c.peer_address")} END AS by_peer,
                   CASE WHEN opened.payload IS NULL THEN 0 ELSE {_BALANCE.format("c.own_address")} END AS by_me
          ) AS told
         WHERE c.aa_address > $1 AND c.aa_address <= $2 AND c.status <> 'closed'
           AND (told.by_peer <> c.deposited_by_peer OR told.by_me <> c.deposited_by_me)
        """,
        Walk.CHANNELS,
    ),
    Invariant(
        "periods_follow_each_other",
        "The events of a channel begin in period 1, never go back to an earlier period and skip none.",
        """
        SELECT told.aa_address, told.event_id, told.kind, told.period, told.before
          FROM (
            SELECT e.aa_address, e.event_id, e.kind, e.period,
                   lag(e.period) OVER (PARTITION BY e.aa_address ORDER BY e.event_id) AS before
              FROM ledger_events AS e
             WHERE e.aa_address > $1 AND e.aa_address <= $2 AND e.period IS NOT NULL
          ) AS told
         WHERE told.period NOT BETWEEN coalesce(told.before, 1) AND coalesce(told.before, 0) + 1
        """,
        Walk.CHANNELS,
    ),
    Invariant(
        "deposit_is_as_the_agent_answered",
        "A deposit of ours is confirmed or refused exactly if the agent has said so.",
        """
        SELECT d.aa_address, d.unit, d.amount, d.state, answer.kind AS agent_said
          FROM deposits AS d
          LEFT JOIN ledger_events AS answer
            ON answer.aa_address = d.aa_address AND answer.kind IN ('opened', 'refused')
           AND answer.payload ->> 'trigger_unit' = d.unit
         WHERE d.aa_address > $1 AND d.aa_address <= $2
           AND CASE answer.kind WHEN 'opened' THEN d.state <> 'confirmed'
                                WHEN 'refused' THEN d.state <> 'refused'
                                ELSE d.state NOT IN ('pending', 'bounced') END
        """,
        Walk.CHANNELS,
    ),
    Invariant(
        "own_deposits_arrived",
        "What we have deposited in the current period is no less than our deposits that the agent took in it.",
        """
        SELECT c.aa_address, c.period, c.deposited_by_me, taken.amount AS deposits_taken
          FROM channels AS c
         CROSS JOIN LATERAL (
            SELECT sum(d.amount) AS amount
              FROM ledger_events AS e
              JOIN deposits AS d ON d.aa_address = e.aa_address AND d.unit = e.payload ->> 'trigger_unit'
             WHERE e.aa_address = c.aa_address AND e.kind = 'opened' AND e.period = c.period
          ) AS taken
         WHERE c.aa_address > $1 AND c.aa_address <= $2 AND c.status <> 'closed' AND taken.amount > c.deposited_by_me
        """,
        Walk.CHANNELS,
    ),
    Invariant(
        "closing_claims_everything",
        "Every closing and every fraud proof of ours shows at least what was signed in the payments we accepted.",
        """
        SELECT j.aa_address, j.period, j.unit, j.purpose, signed.highest AS highest_signed,
               coalesce(shown.claimed, '0') AS claimed
          FROM journal AS j
         CROSS JOIN LATERAL (
            SELECT max(p.amount_spent) AS highest FROM all_payments AS p
             WHERE p.aa_address = j.aa_address AND p.period = j.period
          ) AS signed
          LEFT JOIN LATERAL (
            SELECT message -> 'payload' -> 'sentByPeer' -> 'signed_message' ->> 'amount_spent' AS claimed
              FROM json_array_elements(j.joint -> 'unit' -> 'messages') AS message
             WHERE message ->> 'app' = 'data' LIMIT 1
          ) AS shown ON true
         WHERE j.aa_address > $1 AND j.aa_address <= $2
           AND j.purpose IN ('close', 'fraud_proof') AND j.state <> 'failed'
           AND signed.highest > coalesce(shown.claimed::numeric, 0)
        """,
        Walk.CHANNELS,
    ),
    Invariant(
        "lies_are_not_confirmed",
        "We confirm no closing of a peer that claims less than he has signed.",
        f"""
        SELECT j.aa_address, j.period, j.unit, signed.highest AS highest_signed, told.claimed
          FROM journal AS j
          JOIN channels AS c USING (aa_address)
         CROSS JOIN LATERAL (
            SELECT max(p.amount_spent) AS highest FROM all_payments AS p
             WHERE p.aa_address = j.aa_address AND p.period = j.period
          ) AS signed
         CROSS JOIN LATERAL (
            SELECT e.payload ->> c.peer_address AS claimed FROM ledger_events AS e
             WHERE e.aa_address = j.aa_address AND e.period = j.period AND e.kind = 'closing'
               AND e.payload ->> 'initiated_by' = c.peer_address
             ORDER BY e.event_id DESC LIMIT 1
          ) AS told
         WHERE j.aa_address > $1 AND j.aa_address <= $2 AND j.purpose = 'confirm' AND j.state <> 'failed'
           AND CASE WHEN told.claimed ~ '^[0-9]{{1,16}}$' THEN told.claimed::bigint + {_ROUNDED} < signed.highest END
        """,
        Walk.CHANNELS,
    ),
    Invariant(
        "at_risk_within_limit",
        "No peer could take more from one channel than max_by_channel of SLUICE_EXPOSURE_LIMITS.",
        f"""
        SELECT c.aa_address, c.asset, {_AT_RISK} AS at_risk, coalesce(limits.amount, $5) AS max_by_channel
          FROM channels AS c
          LEFT JOIN unnest($3::text[], $4::bigint[]) AS limits (asset, amount) USING (asset)
         WHERE c.aa_address > $1 AND c.aa_address <= $2
           AND {_CAN_BE_ROBBED} AND {_AT_RISK} > coalesce(limits.amount, $5::bigint)
        """,
        Walk.CHANNELS,
        _at_risk_by_channel,
    ),
    Invariant(
        "at_risk_was_measured_right",
        "What is at risk in an asset is what its channels add up to. Asked once they have been quiet for 5 minutes.",
        f"""
        SELECT a.asset, a.at_risk, coalesce(found.amount, 0) + coalesce(coming.amount, 0) AS found,
               a.at_risk_measured_at
          FROM assets AS a
          LEFT JOIN (
            SELECT c.asset, sum({_AT_RISK}) FILTER (WHERE {_CAN_BE_ROBBED}) AS amount, max(c.updated_at) AS changed_at
              FROM channels AS c GROUP BY c.asset
          ) AS found USING (asset)
          LEFT JOIN (
            SELECT c.asset, sum(d.amount) FILTER (WHERE d.state = 'pending' AND {_CAN_BE_ROBBED}) AS amount,
                   max(greatest(d.created_at, d.settled_at)) AS changed_at
              FROM deposits AS d JOIN channels AS c USING (aa_address) GROUP BY c.asset
          ) AS coming USING (asset)
         WHERE a.at_risk_measured_at > greatest(found.changed_at, coming.changed_at) + interval '5 minutes'
           AND a.at_risk <> coalesce(found.amount, 0) + coalesce(coming.amount, 0)
        """,
    ),
    Invariant(
        "robbers_are_blocked",
        "A peer who has robbed us is blocked where he can do it again, until he is forgiven, and nobody else is.",
        f"""
        SELECT c.aa_address, c.peer_address, c.peer_has_robbed, robbed.unforgiven
          FROM channels AS c
         CROSS JOIN LATERAL (
            SELECT EXISTS (
              SELECT FROM robberies AS r WHERE r.peer_address = c.peer_address AND r.forgiven_at IS NULL
            ) AS unforgiven
          ) AS robbed
         WHERE c.aa_address > $1 AND c.aa_address <= $2
           AND ((c.peer_has_robbed AND NOT robbed.unforgiven)
                OR (NOT c.peer_has_robbed AND robbed.unforgiven
                    AND c.version NOT IN ({_REPAIRED})))
        """,
        Walk.CHANNELS,
    ),
    Invariant(
        "robbery_is_on_the_ledger",
        "Every robbery on record is an event of its channel that ended the period.",
        """
        SELECT r.aa_address, r.period, r.amount, r.unit
          FROM robberies AS r
         WHERE r.aa_address > $1 AND r.aa_address <= $2
           AND NOT EXISTS (
             SELECT FROM ledger_events AS e
              WHERE e.aa_address = r.aa_address AND e.period = r.period AND e.kind = 'closed' AND e.unit = r.unit
           )
        """,
        Walk.CHANNELS,
    ),
    Invariant(
        "doubt_has_a_reason",
        "A channel is in doubt only after a restore of the database, and in no period that has not begun.",
        """
        SELECT c.aa_address, c.unsure_period, c.period, c.status, instance.restored_at
          FROM channels AS c LEFT JOIN instance ON true
         WHERE c.aa_address > $1 AND c.aa_address <= $2 AND c.unsure_period > 0
           AND (instance.restored_at IS NULL OR c.unsure_period > c.period + (c.status = 'closed')::int)
        """,
        Walk.CHANNELS,
    ),
)
