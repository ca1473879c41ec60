"""What was paid, against what was signed: by peers to us, and by us to peers."""

# ruff: noqa: S608 - statements are joined from constants only

from __future__ import annotations

from shared.store.audit.rules import Invariant, Limits, Walk

_CURRENT = "c.period + (c.status = 'closed')::int"
"""The period that packages signed now belong to."""


def _unconfirmed_by_channel(limits: Limits) -> tuple[object, ...]:
    known = limits.unconfirmed
    return (list(known), [limit.max_by_channel for limit in known.values()])


def _unconfirmed_by_asset(limits: Limits) -> tuple[object, ...]:
    known = limits.unconfirmed
    return (list(known), [limit.max_by_asset for limit in known.values()])


PAYMENTS = (
    Invariant(
        "payments_add_up",
        "The payments of a channel's current period plus its credit are what the peer has signed.",
        f"""
        SELECT c.aa_address, {_CURRENT} AS period, c.spent_by_peer, c.credit, coalesce(paid.amount, 0) AS paid
          FROM channels AS c
          LEFT JOIN LATERAL (
            SELECT sum(p.payment_amount) AS amount FROM payments AS p
             WHERE p.aa_address = c.aa_address AND p.period = {_CURRENT}
          ) AS paid ON true
         WHERE c.aa_address > $1 AND c.aa_address <= $2
           AND coalesce(paid.amount, 0) + c.credit <> c.spent_by_peer
        """,
        Walk.CHANNELS,
    ),
    Invariant(
        "spent_is_highest_signed",
        "What a peer has spent is the highest amount_spent among the payments of the channel's current period.",
        f"""
        SELECT c.aa_address, {_CURRENT} AS period, c.spent_by_peer, coalesce(signed.highest, 0) AS highest_signed
          FROM channels AS c
          LEFT JOIN LATERAL (
            SELECT max(p.amount_spent) AS highest FROM payments AS p
             WHERE p.aa_address = c.aa_address AND p.period = {_CURRENT}
          ) AS signed ON true
         WHERE c.aa_address > $1 AND c.aa_address <= $2 AND coalesce(signed.highest, 0) <> c.spent_by_peer
        """,
        Walk.CHANNELS,
    ),
    Invariant(
        "credit_was_signed",
        "In no period, however old, was more credited than the highest amount the peer has signed.",
        """
        SELECT p.aa_address, p.period, sum(p.payment_amount) AS paid, max(p.amount_spent) AS highest_signed
          FROM all_payments AS p
         WHERE p.aa_address > $1 AND p.aa_address <= $2
         GROUP BY p.aa_address, p.period
        HAVING sum(p.payment_amount) > max(p.amount_spent)
        """,
        Walk.CHANNELS,
    ),
    Invariant(
        "payment_credited_once",
        "No payment is on record twice under its channel, period, amount_spent and payment_amount.",
        """
        SELECT p.aa_address, p.period, p.amount_spent, p.payment_amount, count(*) AS times
          FROM all_payments AS p
         WHERE p.aa_address > $1 AND p.aa_address <= $2
         GROUP BY p.aa_address, p.period, p.amount_spent, p.payment_amount
        HAVING count(*) > 1
        """,
        Walk.CHANNELS,
    ),
    Invariant(
        "payment_fits_its_channel",
        "A payment is of its channel's asset, and of a period that has begun.",
        f"""
        SELECT p.aa_address, p.period, p.amount_spent, p.payment_amount, p.asset, c.asset AS asset_of_channel,
               {_CURRENT} AS current_period
          FROM all_payments AS p JOIN channels AS c USING (aa_address)
         WHERE p.aa_address > $1 AND p.aa_address <= $2
           AND (p.asset <> c.asset OR p.period > {_CURRENT})
        """,
        Walk.CHANNELS,
    ),
    Invariant(
        "unconfirmed_within_limit",
        "What a peer has signed beyond all confirmed deposits is within max_by_channel of SLUICE_UNCONFIRMED_LIMITS.",
        """
        SELECT c.aa_address, c.asset, c.spent_by_peer, c.deposited_by_peer, c.spent_by_me, c.unconfirmed_used,
               coalesce(limits.amount, 0) AS max_by_channel
          FROM channels AS c
          LEFT JOIN unnest($3::text[], $4::bigint[]) AS limits (asset, amount) USING (asset)
         WHERE c.aa_address > $1 AND c.aa_address <= $2
           AND greatest(0, c.spent_by_peer - c.deposited_by_peer - c.spent_by_me) > coalesce(limits.amount, 0)
        """,
        Walk.CHANNELS,
        _unconfirmed_by_channel,
    ),
    Invariant(
        "unconfirmed_of_asset_within_limit",
        "The same in all channels of an asset together is within max_by_asset of SLUICE_UNCONFIRMED_LIMITS.",
        """
        SELECT used.asset, used.amount AS unconfirmed_used, coalesce(limits.amount, 0) AS max_by_asset
          FROM (
            SELECT asset, sum(unconfirmed_used) AS amount FROM channels WHERE unconfirmed_used > 0 GROUP BY asset
          ) AS used
          LEFT JOIN unnest($1::text[], $2::bigint[]) AS limits (asset, amount) USING (asset)
         WHERE used.amount > coalesce(limits.amount, 0)
        """,
        arguments=_unconfirmed_by_asset,
    ),
    Invariant(
        "sent_payments_add_up",
        "The packages that we have signed in a channel's current period add up to what we have spent in it.",
        f"""
        SELECT c.aa_address, {_CURRENT} AS period, c.spent_by_me, coalesce(sent.paid, 0) AS signed,
               coalesce(sent.highest, 0) AS highest_signed
          FROM channels AS c
          LEFT JOIN LATERAL (
            SELECT sum(s.payment_amount) AS paid, max(s.amount_spent) AS highest FROM sent_payments AS s
             WHERE s.aa_address = c.aa_address AND s.period = {_CURRENT}
          ) AS sent ON true
         WHERE c.aa_address > $1 AND c.aa_address <= $2
           AND (coalesce(sent.paid, 0) <> c.spent_by_me OR coalesce(sent.highest, 0) <> c.spent_by_me)
        """,
        Walk.CHANNELS,
    ),
    Invariant(
        "sent_payments_follow_each_other",
        "Each package of ours signs for what those before it in the period did, plus its own amount.",
        """
        SELECT sent.aa_address, sent.period, sent.amount_spent, sent.payment_amount, sent.so_far
          FROM (
            SELECT s.aa_address, s.period, s.amount_spent, s.payment_amount,
                   sum(s.payment_amount) OVER (PARTITION BY s.aa_address, s.period ORDER BY s.amount_spent) AS so_far
              FROM sent_payments AS s
             WHERE s.aa_address > $1 AND s.aa_address <= $2
          ) AS sent
         WHERE sent.so_far <> sent.amount_spent
        """,
        Walk.CHANNELS,
    ),
    Invariant(
        "own_spending_is_covered",
        "We have signed for no more than what we deposited, or ordered deposited, and what the peer has paid us.",
        """
        SELECT c.aa_address, c.spent_by_me, c.deposited_by_me, c.spent_by_peer, coalesce(ordered.amount, 0) AS ordered
          FROM channels AS c
          LEFT JOIN LATERAL (
            SELECT sum(d.amount) AS amount FROM deposits AS d
             WHERE d.aa_address = c.aa_address AND d.state <> 'confirmed'
          ) AS ordered ON true
         WHERE c.aa_address > $1 AND c.aa_address <= $2
           AND c.spent_by_me > c.deposited_by_me + c.spent_by_peer + coalesce(ordered.amount, 0)
        """,
        Walk.CHANNELS,
    ),
    Invariant(
        "sent_payment_is_its_commands",
        "A package that a command has signed is for the command's channel, and the command one that pays or signs.",
        """
        SELECT s.aa_address, s.period, s.amount_spent, s.command_id, m.kind, m.aa_address AS channel_of_command
          FROM sent_payments AS s JOIN commands AS m ON m.id = s.command_id
         WHERE s.aa_address > $1 AND s.aa_address <= $2
           AND (m.aa_address IS DISTINCT FROM s.aa_address OR m.kind NOT IN ('pay', 'sign'))
        """,
        Walk.CHANNELS,
    ),
)
