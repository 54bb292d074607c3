"""The part of the audit that is about usage: each query finds what was counted, rated or billed otherwise than it should (I5)."""

_OF_RUN = "u.run = %(run)s AND u.is_live"

# Names of the checks, how they are narrowed to a run, and the query, as `verify` runs them.
USAGE_QUERIES: tuple[tuple[str, str, str], ...] = (
    (
        "i5_rated_hole i5_rated_overlap",
        f"charge_id IN (SELECT u.charge_id FROM usage_ratedusage u WHERE {_OF_RUN})",
        """SELECT CASE WHEN starts < before THEN 'i5_rated_overlap' ELSE 'i5_rated_hole' END, 'charge ' || charge_id FROM (
               SELECT charge_id, lower(period) AS starts, lag(upper(period)) OVER (PARTITION BY charge_id ORDER BY lower(period)) AS before
               FROM usage_ratedusage WHERE is_live AND kind = 'Period' AND {scope}) r
           WHERE starts < before OR starts > before AND EXISTS (
               SELECT 1 FROM billing_chargesegment g WHERE g.charge_id = r.charge_id AND g.effective_start < starts
               AND (g.effective_end IS NULL OR g.effective_end > before AND g.effective_end > g.effective_start))""",
    ),
    (
        "i5_slice_sum",
        f"s.rated_id IN (SELECT u.id FROM usage_ratedusage u WHERE {_OF_RUN})",
        """SELECT 'usage slice ' || id FROM (
               SELECT s.id, s.quantity, s.records, s.first_day, s.last_day,
                      sum(r.quantity) AS units, count(r.id) AS amount, min(r.start_date) AS first_found, max(r.start_date) AS last_found
               FROM usage_usageslice s LEFT JOIN usage_usagerecord r ON r.slice_id = s.id WHERE {scope} GROUP BY s.id) x
           WHERE (quantity, records, first_day, last_day) IS DISTINCT FROM (units, amount::int, first_found, last_found)""",
    ),
    (
        "i5_slice_outside",
        _OF_RUN,
        """SELECT 'usage slice ' || s.id FROM usage_ratedusage u JOIN usage_usageslice s ON s.rated_id = u.id
           WHERE {scope} AND NOT (u.is_live AND u.charge_id = s.charge_id AND s.first_day >= u.counted_from AND s.last_day < upper(u.period))""",
    ),
    (
        "i5_usage_not_billed",
        _OF_RUN,
        """WITH live AS MATERIALIZED (
               SELECT u.id, u.amount FROM usage_ratedusage u WHERE {scope} AND u.is_live
           ), used AS (
               SELECT DISTINCT s.rated_id AS id FROM live JOIN usage_usageslice s ON s.rated_id = live.id
           ), billed AS (
               SELECT i.rated_usage_id AS id FROM live JOIN invoicing_invoiceitem i ON i.rated_usage_id = live.id
               JOIN invoicing_invoice v ON v.id = i.invoice_id WHERE v.status IN ('Draft', 'Posted')
           )
           SELECT 'rated usage ' || live.id FROM live LEFT JOIN used ON used.id = live.id LEFT JOIN billed ON billed.id = live.id
           WHERE billed.id IS NULL AND (live.amount <> 0 OR used.id IS NOT NULL)""",
    ),
    (
        "i5_usage_line",
        "v.bill_run_id = %(run)s",
        """SELECT 'item ' || i.id FROM invoicing_invoice v JOIN invoicing_invoiceitem i ON i.invoice_id = v.id AND i.kind = 'Usage'
           LEFT JOIN usage_ratedusage u ON u.id = i.rated_usage_id
           WHERE {scope} AND v.status IN ('Draft', 'Posted')
             AND NOT coalesce(u.is_live AND u.charge_id = i.charge_id AND u.amount = i.amount AND u.period = i.period, false)""",
    ),
)
