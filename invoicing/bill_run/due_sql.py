"""What may be due, in SQL: one condition for the work list and for loading, so that the two never disagree.

The aliases are `s` for the subscription, `c` for its charge and `billed.day` for the day through which it is billed;
the parameters `target` and `credit_one_time` are given by name, and `excluded` for the work list. Pricing has the last word: these let too much through
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

# Usage has days left that have not been rated, or some that belongs to days rated before. A period that ends later is let
# through: only pricing knows where it ends.
_RATED_THROUGH = """(
    SELECT upper(r.period) FROM usage_ratedusage r WHERE r.charge_id = c.id AND r.is_live AND r.kind = 'Period' ORDER BY upper(r.period) DESC LIMIT 1
)"""
_TO_RATE = f"""(SELECT rated.day IS NULL OR rated.day < LEAST(
        %(target)s, s.term_end, (SELECT max(coalesce(g.effective_end, 'infinity')) FROM billing_chargesegment g WHERE g.charge_id = c.id))
    OR EXISTS (SELECT 1 FROM usage_usageslice u WHERE u.charge_id = c.id AND u.rated_id IS NULL AND u.first_day < rated.day)
    FROM (SELECT {_RATED_THROUGH} AS day) rated)"""

DUE = f"(CASE WHEN c.charge_type = 'Usage' THEN {_TO_RATE} ELSE {_LEFT} OR {TO_CREDIT} END)"

# Discounts are due with the lines that they reduce; by themselves only where they have changed for what is billed.
IS_DISCOUNT = "c.charge_model IN ('DiscountFixedAmount', 'DiscountPercentage')"

# The percentages of a discount, times days, by which an item has been reduced so far, as its latest line says, and those
# that are agreed on for the days that the item covers now. Where they are the same, there is nothing to bill.
_STANDING = """(
    SELECT coalesce(sum((w->>1)::numeric * (w->>2)::int), 0) FROM jsonb_array_elements((
        SELECT CASE WHEN x.derivation ? 'g' THEN x.derivation->'k'->'w' ELSE x.derivation->'w' END
        FROM invoicing_invoiceitem q JOIN invoicing_invoiceitem x ON x.reduces_id = q.id AND x.charge_id = e.charge_id
        JOIN invoicing_invoice xv ON xv.id = x.invoice_id AND xv.status <> 'Canceled'
        WHERE q.id = v.item_id OR q.credits_id = v.item_id ORDER BY x.id DESC LIMIT 1
    )) w
)"""
_AGREED = """(
    SELECT coalesce(sum(g.price * (LEAST(g.effective_end, upper(v.period)) - GREATEST(g.effective_start, lower(v.period)))), 0)
    FROM billing_chargesegment g WHERE g.charge_id = e.charge_id AND g.effective_start < upper(v.period)
      AND (g.effective_end IS NULL OR g.effective_end > GREATEST(g.effective_start, lower(v.period)))
)"""


def discount_lines(segment: str, since: str) -> str:
    """Return, to be joined laterally, the lines of a discount that begin with a `segment` and have days after `since`.

    That is what they are indexed by. Years of lines are not looked at; the offset keeps the planner from it.
    """
    return f"""(
        SELECT d.reduces_id FROM invoicing_invoiceitem d WHERE d.charge_id = {segment}.charge_id AND d.kind = 'Discount'
          AND (d.derivation->>'s')::int = {segment}.number AND upper(d.period) > {since} OFFSET 0
    )"""


# Items with days after the end of a segment `e` of percentage discount `c`, reduced by lines that were priced by it. Lines
# written since the change begin with another segment, so that however long a discount has been given, few are looked at.
CHANGED = f"""
FROM billing_chargesegment e CROSS JOIN LATERAL {discount_lines("e", "e.effective_end")} d
JOIN invoicing_invoiceitem r ON r.id = d.reduces_id
JOIN invoicing_coverage v ON v.item_id = coalesce(r.credits_id, r.id) AND upper(v.period) > e.effective_end
WHERE e.charge_id = c.id AND e.effective_end <= %(target)s AND {_STANDING} <> {_AGREED}
"""

# What puts an account on the work list: a charge of an included type, or a changed discount on lines of such a charge. The
# offset keeps the planner from looking for the changes of all charges at once.
ON_WORK_LIST = f"""(CASE WHEN {IS_DISCOUNT}
    THEN c.charge_model = 'DiscountPercentage'
        AND EXISTS (SELECT 1 {CHANGED} AND (CASE v.kind WHEN 'Once' THEN 'OneTime' ELSE 'Recurring' END) <> ALL(%(excluded)s) OFFSET 0)
    ELSE c.charge_type <> ALL(%(excluded)s) AND {DUE} END)"""

# What is loaded: every discount that has or will have a day to begin, for it may reduce what else is due.
TO_LOAD = (
    f"""(c.trigger_date <= %(target)s OR {IS_DISCOUNT} AND c.trigger_date IS NOT NULL) AND ({IS_DISCOUNT} OR {DUE})"""
)
