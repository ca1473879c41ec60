"""What the vault has written: units, coins, deposits under way, commands and their answers."""

from __future__ import annotations

from shared.store.audit.rules import Invariant, Walk

VAULT = (
    Invariant(
        "one_unfinished_unit_for_one_end",
        "Of all units for one purpose, channel, period and reference the fate of at most one is open.",
        """
        SELECT j.purpose, j.aa_address, j.period, j.reference, count(*) AS unfinished, min(j.unit) AS unit,
               max(j.unit) AS another_unit
          FROM journal AS j
         WHERE j.state IN ('composed', 'posted')
         GROUP BY j.purpose, j.aa_address, j.period, j.reference
        HAVING count(*) > 1
        """,
    ),
    Invariant(
        "journal_holds_what_it_names",
        "The unit that is stored in a line of the journal is the one that the line names.",
        """
        SELECT j.id, j.purpose, j.unit, left(j.joint -> 'unit' ->> 'unit', 44) AS unit_stored
          FROM journal AS j
         WHERE j.id > $1 AND j.id <= $2 AND j.joint -> 'unit' ->> 'unit' IS DISTINCT FROM j.unit
        """,
        Walk.JOURNAL,
    ),
    Invariant(
        "coin_spent_once",
        "No coin of the wallet is spent by two units that are final on the ledger.",
        """
        SELECT spent.coin_unit, spent.message_index, spent.output_index, min(spent.unit) AS unit,
               max(spent.unit) AS another_unit
          FROM (
            SELECT u.unit, input ->> 'unit' AS coin_unit, input ->> 'message_index' AS message_index,
                   input ->> 'output_index' AS output_index
              FROM wallet_units AS u
             CROSS JOIN LATERAL json_array_elements(
                CASE json_typeof(u.joint -> 'unit' -> 'messages')
                  WHEN 'array' THEN u.joint -> 'unit' -> 'messages' END
              ) AS message
             CROSS JOIN LATERAL json_array_elements(
                CASE json_typeof(message -> 'payload' -> 'inputs')
                  WHEN 'array' THEN message -> 'payload' -> 'inputs' END
              ) AS input
             WHERE u.is_stable AND u.sequence = 'good' AND message ->> 'app' = 'payment'
          ) AS spent
         WHERE spent.coin_unit IS NOT NULL
         GROUP BY spent.coin_unit, spent.message_index, spent.output_index
        HAVING min(spent.unit) <> max(spent.unit)
        """,
    ),
    Invariant(
        "deposit_is_journaled",
        "Every deposit of ours is a unit of the journal, and on its way exactly as long as the unit is.",
        """
        SELECT d.aa_address, d.unit, d.amount, d.state, j.state AS state_of_unit
          FROM deposits AS d LEFT JOIN journal AS j ON j.unit = d.unit AND j.aa_address = d.aa_address
         WHERE d.aa_address > $1 AND d.aa_address <= $2
           AND (j.unit IS NULL OR (d.state = 'pending') <> (j.state IN ('composed', 'posted')))
        """,
        Walk.CHANNELS,
    ),
    Invariant(
        "command_succeeded_with_a_result",
        "A command that has succeeded carries its result.",
        """
        SELECT m.id, m.kind, m.aa_address, m.finished_at
          FROM commands AS m
         WHERE m.id > $1 AND m.id <= $2 AND m.state = 'succeeded' AND m.result IS NULL
        """,
        Walk.COMMANDS,
    ),
    Invariant(
        "command_names_a_journaled_unit",
        "The unit that a command's result names is in the journal.",
        """
        SELECT m.id, m.kind, m.aa_address, left(m.result ->> 'unit', 44) AS unit
          FROM commands AS m
         WHERE m.id > $1 AND m.id <= $2 AND m.state = 'succeeded' AND json_typeof(m.result -> 'unit') = 'string'
           AND NOT EXISTS (SELECT FROM journal AS j WHERE j.unit = m.result ->> 'unit')
        """,
        Walk.COMMANDS,
    ),
    Invariant(
        "paying_command_has_signed",
        "A command that has paid, or signed, has a package on record; one that has paid, a delivered one.",
        """
        SELECT m.id, m.kind, m.aa_address, s.state AS state_of_package
          FROM commands AS m LEFT JOIN sent_payments AS s ON s.command_id = m.id
         WHERE m.id > $1 AND m.id <= $2 AND m.state = 'succeeded' AND m.kind IN ('pay', 'sign')
           AND (s.command_id IS NULL OR (m.kind = 'pay' AND s.state <> 'delivered'))
        """,
        Walk.COMMANDS,
    ),
    Invariant(
        "command_runs_under_a_known_term",
        "No command was taken on under a term of the lease that was never given out.",
        """
        SELECT m.id, m.kind, m.state, m.lease_term, held.term AS newest_term
          FROM commands AS m, (SELECT coalesce(max(term), 0) AS term FROM lease) AS held
         WHERE m.id > $1 AND m.id <= $2 AND m.lease_term > held.term
        """,
        Walk.COMMANDS,
    ),
    Invariant(
        "kept_answer_is_final",
        "A success that is kept as the answer to a request is that of a command that has ended.",
        """
        SELECT k.api_key_id, k.command_id, k.status, m.kind, m.state
          FROM kept_answers AS k JOIN commands AS m ON m.id = k.command_id
         WHERE m.id > $1 AND m.id <= $2
           AND k.status BETWEEN 200 AND 299 AND k.status <> 202 AND m.finished_at IS NULL
        """,
        Walk.COMMANDS,
    ),
)
