"""What may be due, in SQL: one condition for the work list and for loading, so that the two never disagree.

The aliases are `s` for the subscription, `c` for its charge and `billed.day` for the day through which it is billed;
the parameters `target` and `credit_one_time` are given by name. Pricing has the last word: these let too much through
rather than too little.
"""

# Subscriptions that have begun: what became of them since is told by their segments.
BEGUN = "s.status NOT IN ('Draft', 'PendingActivation', 'PendingAcceptance')"

BILLED_THROUGH = """LEFT JOIN LATERAL (
    SELECT upper(v.period) AS day FROM invoicing_coverage v WHERE v.charge_id = c.id ORDER BY upper(v.period) DESC LIMIT 1
) billed ON true"""

# Something is left to bill: in advance a period must have begun; in arrears it ends even later, so the test holds for both.
_LEFT = """(billed.day IS NULL OR billed.day <= %(target)s AND c.charge_type <> 'OneTime' AND billed.day < LEAST(
    s.term_end, (SELECT max(coalesce(g.effective_end, 'infinity')) FROM billing_chargesegment g WHERE g.charge_id = c.id)))"""

# Days are covered by an item whose segment has come to end before them.
_OF_SEGMENT = "g.charge_id = v.charge_id AND g.number = (i.derivation->>'s')::int"
CREDITABLE = f"""
FROM invoicing_coverage v JOIN invoicing_invoiceitem i ON i.id = v.item_id JOIN billing_chargesegment g ON {_OF_SEGMENT}
WHERE v.charge_id = c.id AND upper(v.period) > LEAST(g.effective_end, s.term_end) AND LEAST(g.effective_end, s.term_end) <= %(target)s
"""
TO_CREDIT = f"""(CASE WHEN billed.day IS NULL OR c.charge_type = 'OneTime' AND NOT %(credit_one_time)s THEN false
    WHEN s.term_end < billed.day OR EXISTS (SELECT 1 FROM billing_chargesegment e WHERE e.charge_id = c.id AND e.effective_end < billed.day)
    THEN EXISTS (SELECT 1 {CREDITABLE}) ELSE false END)"""

DUE = f"({_LEFT} OR {TO_CREDIT})"
