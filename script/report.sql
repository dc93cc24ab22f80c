-- The page that script/report writes: run by psql -X -q -A -t with the variables
-- day (empty: today in Asia/Jakarta) and days.
--
-- First the views are read, each once and by its days, in one snapshot, into
-- variables of psql.  What comes from data is escaped there and nowhere else: a
-- whole JSON text at once, since & < > are no part of its syntax.  What follows
-- only formats; it puts data between tags and never into an attribute.
--
-- This file is ASCII, so that it can be read by a database in any encoding.

\set ON_ERROR_STOP 1

BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY;

-- ------------------------------------------------------------------ the place

SELECT count(*) = 1 AS installed, coalesce(max(n.nspname), '') AS schema
FROM pg_catalog.pg_extension e
	JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
WHERE e.extname = 'digipay' \gset
\if :installed
\else
	\warn digipay is not installed in database :DBNAME
	\quit
\endif

SET LOCAL search_path = pg_catalog, :"schema", pg_temp;
SET LOCAL timezone = 'Asia/Jakarta';
SET LOCAL jit = off;

SELECT count(*) > 0 AS refused,
	string_agg(right_, ', ' ORDER BY right_) AS rights
FROM (
	SELECT 'USAGE on schema ' || :'schema'
	WHERE NOT has_schema_privilege(:'schema', 'USAGE')
	UNION ALL
	SELECT 'SELECT on ' || c.relname
	FROM pg_class c
	WHERE c.relnamespace = (SELECT n.oid FROM pg_namespace n WHERE n.nspname = :'schema')
		AND c.relname IN ('digipay_daily', 'digipay_pending_age', 'digipay_response_stats',
			'digipay_balance_trend', 'digipay_balance_gap', 'digipay_amount_mismatch')
		AND NOT has_table_privilege(c.oid, 'SELECT')
	UNION ALL
	-- for the function: it runs with the caller's rights
	SELECT 'SELECT on ' || c.relname || ' (' || string_agg(a.attname, ', ' ORDER BY a.attnum) || ')'
	FROM pg_class c
		JOIN pg_attribute a ON a.attrelid = c.oid
	WHERE c.relnamespace = (SELECT n.oid FROM pg_namespace n WHERE n.nspname = :'schema')
		AND c.relname = 'digipay_product_payment'
		AND a.attname IN ('day', 'server', 'family', 'code', 'state', 'price', 'selling_price',
			'requested_at', 'final_at')
		AND NOT has_column_privilege(c.oid, a.attnum, 'SELECT')
	GROUP BY c.relname
	UNION ALL
	SELECT 'EXECUTE on function digipay_product_stats(date, date)'
	FROM pg_proc f
	WHERE f.pronamespace = (SELECT n.oid FROM pg_namespace n WHERE n.nspname = :'schema')
		AND f.proname = 'digipay_product_stats' AND NOT has_function_privilege(f.oid, 'EXECUTE')
) AS missing (right_) \gset
\if :refused
	\warn role :USER lacks :rights; script/report --help has the grants
	\quit
\endif

-- -------------------------------------------------------------------- macros

-- of "value": any text; a number of things or per cent; the least round number
-- that an axis can end at, with a whole half; of "seconds": a time in words
\set escaped 'replace(replace(replace(value::text, ''&'', ''&amp;''), ''<'', ''&lt;''), ''>'', ''&gt;'')'
\set round_up '(SELECT min(n) FROM (SELECT s * power(10::numeric, e) AS n FROM generate_series(-1, 24) e, unnest(ARRAY[12, 15, 20, 25, 30, 40, 50, 60, 80, 100]) s) r WHERE n >= value AND mod(n, 2) = 0)'
\set duration 'CASE WHEN seconds < 10 THEN translate(to_char(seconds, ''FM0.0''), ''.'', '','') || ''&nbsp;s'' WHEN round(seconds) < 60 THEN round(seconds) || ''&nbsp;s'' WHEN round(seconds / 60) < 60 THEN round(seconds / 60) || ''&nbsp;min'' WHEN seconds < 86400 THEN floor(seconds / 3600) || ''&nbsp;h&nbsp;'' || floor(mod(seconds, 3600) / 60) || ''&nbsp;min'' ELSE floor(seconds / 86400) || ''&nbsp;d&nbsp;'' || floor(mod(seconds, 86400) / 3600) || ''&nbsp;h'' END'

-- ------------------------------------------------------------------- the data

SELECT day, day - :days + 1 AS since, day = timezone('Asia/Jakarta', now())::date AS is_today
FROM (SELECT coalesce(nullif(:'day', '')::date, timezone('Asia/Jakarta', now())::date) AS day) d \gset
SELECT :escaped AS database FROM (SELECT current_database() AS value) v \gset

SELECT :escaped AS daily
FROM (
	SELECT coalesce(jsonb_agg(d), '[]') AS value
	FROM digipay_daily d
	WHERE d.day BETWEEN :'since' AND :'day'
) v \gset

SELECT :escaped AS products
FROM (
	SELECT coalesce(jsonb_agg(to_jsonb(p) || jsonb_build_object(
		'p50', extract(epoch FROM p.p50), 'p95', extract(epoch FROM p.p95))), '[]') AS value
	FROM digipay_product_stats(:'since', :'day') p
) v \gset

SELECT :escaped AS codes
FROM (
	SELECT coalesce(jsonb_agg(r), '[]') AS value
	FROM (
		SELECT s.rc, s.meaning, sum(s.payments) AS payments
		FROM digipay_response_stats s
		WHERE s.day BETWEEN :'since' AND :'day' AND s.rc IS DISTINCT FROM '00'
		GROUP BY s.rc, s.meaning
	) r
) v \gset

SELECT :escaped AS ages
FROM (
	SELECT jsonb_agg(to_jsonb(a) || jsonb_build_object(
		'older_than', extract(epoch FROM a.older_than), 'oldest', extract(epoch FROM a.oldest))) AS value
	FROM digipay_pending_age a
) v \gset

SELECT :escaped AS balances
FROM (
	SELECT coalesce(jsonb_agg(b), '[]') AS value
	FROM digipay_balance_trend b
	WHERE b.day BETWEEN :'since' AND :'day'
) v \gset

-- of what may be long the last 50 only, and how many there are
WITH gap AS MATERIALIZED (
	SELECT g.day, g.account, g.ref_id, g.replied_at, g.expected, g.found, g.difference
	FROM digipay_balance_gap g
	WHERE g.day BETWEEN :'since' AND :'day'
)
SELECT :escaped AS gaps
FROM (
	SELECT jsonb_build_object(
		'all', (SELECT count(*) FROM gap),
		'out', (SELECT count(*) FROM gap WHERE difference < 0),
		'days', (SELECT coalesce(jsonb_agg(d), '[]')
			FROM (SELECT day, account, sum(difference) AS difference FROM gap GROUP BY day, account) d),
		'rows', (SELECT coalesce(jsonb_agg(r), '[]')
			FROM (SELECT * FROM gap ORDER BY replied_at DESC, account, ref_id LIMIT 50) r)) AS value
) v \gset

WITH mismatch AS MATERIALIZED (
	SELECT m.day, m.server, m.ref_id, m.code, m.selling_price, m.expected, m.difference
	FROM digipay_amount_mismatch m
	WHERE m.day BETWEEN :'since' AND :'day'
)
SELECT :escaped AS mismatches
FROM (
	SELECT jsonb_build_object(
		'all', (SELECT count(*) FROM mismatch),
		'rows', (SELECT coalesce(jsonb_agg(r), '[]')
			FROM (SELECT * FROM mismatch ORDER BY day DESC, server, ref_id LIMIT 50) r)) AS value
) v \gset

-- ------------------------------------------------------------- head and style

SELECT format($html$<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Payments of %s &ndash; %s</title>$html$, to_char(:'day'::date, 'FMDD Month YYYY'), :'database');

SELECT $html$<style>
:root {
	--paper: #f5f3ee; --sheet: #fffefb; --ink: #1b2330; --soft: #5a6473; --rule: #ddd8cd; --hair: #ebe7dd;
	--ok: #1d6f8a; --ok-soft: #cfe3ea; --bad: #bf3f2b; --bad-line: #f2b7ac; --open: #a86c0a; --open-line: #f3d9a4;
	--off: #8791a0; --good: #2a7a4b;
}
@media (prefers-color-scheme: dark) {
	:root {
		--paper: #10151b; --sheet: #171d25; --ink: #e6e9ee; --soft: #9ba6b5; --rule: #323c49; --hair: #252e39;
		--ok: #57b2d0; --ok-soft: #1f4352; --bad: #ef8a73; --bad-line: #8a3526; --open: #e0ad4a; --open-line: #7a5610;
		--off: #717c8b; --good: #6cc391;
	}
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
	margin: 0; background: var(--paper); color: var(--ink);
	font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif;
	font-variant-numeric: tabular-nums;
}
main, header, footer { max-width: 1080px; margin: 0 auto; padding: 0 24px; }
header { padding-top: 32px; }
header p { overflow-wrap: anywhere; }
.brand { margin: 0; color: var(--ok); font-weight: 700; letter-spacing: .04em; }
h1 { margin: 2px 0 4px; font-size: 2rem; line-height: 1.15; letter-spacing: -.015em; text-wrap: balance; }
h2 { margin: 0 0 2px; font-size: 1.2rem; letter-spacing: -.005em; }
h3 { margin: 24px 0 2px; font-size: 1rem; overflow-wrap: anywhere; }
p { margin: 4px 0; }
.soft, small { color: var(--soft); }
section { margin: 20px 0; padding: 20px 24px 24px; background: var(--sheet); border: 1px solid var(--rule); border-radius: 10px; }
section > p.soft { max-width: 96ch; }
.n { white-space: nowrap; }
code { font: .92em ui-monospace, "SF Mono", Consolas, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
a { color: inherit; text-underline-offset: 3px; }
a:hover { color: var(--ok); }
a:focus-visible, summary:focus-visible, .wide:focus-visible { outline: 2px solid var(--ok); outline-offset: 2px; }

.calls { list-style: none; margin: 18px 0 0; padding: 0; display: flex; flex-wrap: wrap; gap: 8px; }
.calls li { display: flex; align-items: center; gap: 8px; padding: 6px 14px 6px 8px; border: 1px solid var(--rule); border-radius: 99px; background: var(--sheet); }
.mark { display: inline-grid; place-items: center; flex: none; width: 20px; height: 20px; border-radius: 50%; background: var(--bad); color: var(--sheet); font-size: 13px; font-weight: 700; line-height: 1; }
.mark.good { background: var(--good); }

dl.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 1px; margin: 16px 0 0; background: var(--hair); border: 1px solid var(--hair); border-radius: 8px; overflow: hidden; }
dl.money { grid-template-columns: repeat(auto-fit, minmax(220px, 1fr)); }
dl.tiles > div { padding: 12px 16px 14px; background: var(--sheet); }
dt { color: var(--soft); font-size: .87rem; }
dd { margin: 0; }
dd.figure { font-size: 1.55rem; font-weight: 650; line-height: 1.25; letter-spacing: -.02em; white-space: nowrap; }
dd small { display: block; min-height: 1.5em; font-size: .82rem; }
.key { display: inline-block; width: 10px; height: 10px; margin-right: 6px; border-radius: 2px; }
.key.ok { background: var(--ok); } .key.bad { background: var(--bad); } .key.open { background: var(--open); } .key.off { background: var(--off); }

figure { margin: 14px 0 0; }
figcaption { display: flex; flex-wrap: wrap; gap: 2px 18px; margin-bottom: 10px; font-size: .87rem; }
figcaption strong { margin-right: auto; font-weight: 650; }
figcaption span { display: inline-flex; align-items: center; gap: 6px; color: var(--soft); }
.plot { display: grid; grid-template-columns: var(--axis) minmax(0, 1fr); column-gap: 8px; font-size: 12px; color: var(--soft); }
.ticks { position: relative; }
.ticks span { position: absolute; right: 0; transform: translateY(-50%); line-height: 1; white-space: nowrap; }
.days { grid-column: 2; position: relative; height: 20px; }
.days span { position: absolute; top: 5px; transform: translateX(-50%); line-height: 1; white-space: nowrap; }
.days span:last-child { left: auto !important; right: 0; transform: none; }
.plot svg { display: block; width: 100%; overflow: visible; }
.grid { stroke: var(--hair); } .zero { stroke: var(--off); }
rect.ok, .ok-fill { fill: var(--ok); } rect.off { fill: var(--off); }
rect.bad { fill: url(#hatched); stroke: var(--bad); stroke-width: 1; }
rect.open { fill: url(#dotted); stroke: var(--open); stroke-width: 1; }
.day:hover .hit { fill: var(--ink); fill-opacity: .05; }
.hit { fill: transparent; }
line.main { stroke: var(--ok); stroke-width: 2.25; stroke-linecap: round; }
line.range { stroke: var(--ok-soft); stroke-width: 7; }
circle.main { fill: var(--ok); stroke: var(--sheet); stroke-width: 1.5; }
text.gap { fill: var(--bad); font-size: 13px; text-anchor: middle; }

.wide { overflow-x: auto; margin-top: 12px; }
table { width: 100%; border-collapse: collapse; font-size: .9rem; }
th, td { padding: 6px 0 6px 18px; border-bottom: 1px solid var(--hair); text-align: right; vertical-align: baseline; white-space: nowrap; font-weight: 400; }
th:first-child, td:first-child { padding-left: 0; text-align: left; }
thead th { border-bottom-color: var(--rule); color: var(--soft); font-size: .82rem; vertical-align: bottom; }
tbody th { font-weight: 600; }
th.words, td.words { text-align: left; white-space: normal; }
td.ref { font-family: ui-monospace, "SF Mono", Consolas, "DejaVu Sans Mono", monospace; font-size: .84rem; text-align: left; }
th small { margin-left: 8px; font-weight: 400; }
tfoot th, tfoot td { border-bottom: 0; font-weight: 600; }
td.bar { width: 34%; min-width: 96px; text-align: left; }
.track { display: block; height: 12px; border-radius: 3px; background: var(--hair); overflow: hidden; }
.track i { display: block; height: 100%; border-radius: 3px; background: var(--ok); }
.track.bad i { background: var(--bad); } .track.open i { background: var(--open); }
details { margin-top: 12px; }
summary { cursor: pointer; color: var(--soft); font-size: .9rem; }
footer { padding-top: 4px; padding-bottom: 40px; font-size: .87rem; color: var(--soft); }

@media (max-width: 640px) {
	main, header, footer { padding-left: 12px; padding-right: 12px; }
	header { padding-top: 20px; }
	h1 { font-size: 1.55rem; }
	section { padding: 16px 14px 18px; margin: 12px 0; }
	dl.tiles { grid-template-columns: repeat(2, minmax(0, 1fr)); }
	dl.money { grid-template-columns: minmax(0, 1fr); }
	dl.tiles > div { padding: 10px 12px; }
	dl.tiles > div:first-child { grid-column: 1 / -1; }
	dd.figure { font-size: 1.35rem; }
	th, td { padding-left: 12px; }
	td.bar { width: 20%; min-width: 48px; }
	.minor { display: none; }
	th small { display: block; margin-left: 0; }
}
@media print { body { background: none; } section { break-inside: avoid; border: 0; padding: 0; } }
</style>
</head>
<body>
<svg width="0" height="0" style="position:absolute" aria-hidden="true">
<defs>
<pattern id="hatched" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="5" height="5" style="fill:var(--bad)"/><rect width="2" height="5" style="fill:var(--bad-line)"/></pattern>
<pattern id="dotted" width="5" height="5" patternUnits="userSpaceOnUse"><rect width="5" height="5" style="fill:var(--open)"/><circle cx="2.5" cy="2.5" r="1.3" style="fill:var(--open-line)"/></pattern>
</defs>
</svg>$html$;

-- ------------------------------------------------- header: what needs a person

WITH age AS (
	SELECT coalesce(sum(a.review), 0) AS review,
		coalesce(sum(a.payments - a.review) FILTER (WHERE a.older_than >= 3600), 0) AS old
	FROM jsonb_to_recordset(:'ages') a (older_than numeric, payments bigint, review bigint)
), call (no, n, one, many, target) AS (
	SELECT 1, review, 'payment waits for a person', 'payments wait for a person', 'open' FROM age
	UNION ALL
	SELECT 2, old, 'outcome is open for over an hour', 'outcomes are open for over an hour', 'open' FROM age
	UNION ALL
	SELECT 3, (:'gaps'::jsonb->>'out')::bigint, 'gap where money has left a balance', 'gaps where money has left a balance', 'balance'
	UNION ALL
	SELECT 4, (:'mismatches'::jsonb->>'all')::bigint, 'amount does not add up', 'amounts do not add up', 'amounts'
)
SELECT format($html$<header>
<p class="brand">digipay</p>
<h1>Payments of %s</h1>
<p class="soft">Database <strong>%s</strong> &middot; as of <time datetime="%s">%s</time> Asia/Jakarta (WIB) &middot; %s</p>
<ul class="calls" id="calls">
%s
</ul>
</header>
<main>$html$,
	to_char(:'day'::date, 'FMDay, FMDD FMMonth YYYY'), :'database',
	to_char(now(), 'YYYY-MM-DD"T"HH24:MI:SS"+07:00"'), to_char(now(), 'FMDD Mon YYYY HH24:MI:SS'),
	CASE WHEN :days = 1 THEN 'this day alone' ELSE format('charts and tables: the %s days from %s', :days,
		to_char(:'since'::date, 'FMDD Mon YYYY')) END,
	coalesce(string_agg(format('<li><span class="mark" aria-hidden="true">!</span><a href="#%s">%s %s</a></li>',
		c.target, substr(digipay_rupiah(c.n), 4), CASE WHEN c.n = 1 THEN c.one ELSE c.many END), E'\n' ORDER BY c.no),
		'<li><span class="mark good" aria-hidden="true">&#10003;</span>Nothing needs a person.</li>'))
FROM call c
WHERE c.n > 0;

-- ---------------------------------------------------------------------- today

WITH part AS (
	SELECT d.*, d.failed + d.rejected + d.refunded AS bad, d.not_sent + d.cancelled AS off,
		d.queued + d.sending + d.pending + d.unknown + d.review AS open, d.day = :'day' AS today
	FROM jsonb_to_recordset(:'daily') d (day date, server text, payments bigint, succeeded bigint,
		failed bigint, rejected bigint, refunded bigint, cancelled bigint, not_sent bigint,
		queued bigint, sending bigint, pending bigint, unknown bigint, review bigint,
		paid numeric, charged numeric, margin numeric)
), total AS (
	SELECT coalesce(sum(payments), 0) AS payments, coalesce(sum(succeeded), 0) AS succeeded,
		coalesce(sum(bad), 0) AS bad, coalesce(sum(open), 0) AS open, coalesce(sum(off), 0) AS off,
		coalesce(sum(paid), 0) AS paid, coalesce(sum(charged), 0) AS charged,
		coalesce(sum(margin), 0) AS margin,
		ARRAY[sum(failed), sum(rejected), sum(refunded)] AS bad_counts,
		ARRAY[sum(queued), sum(sending), sum(pending), sum(unknown), sum(review)] AS open_counts,
		ARRAY[sum(not_sent), sum(cancelled)] AS off_counts,
		(SELECT round(sum(b.payments) / (:days - 1), 0) FROM part b WHERE NOT b.today AND :days > 1) AS usual,
		(SELECT round(sum(b.margin) / (:days - 1), 0) FROM part b WHERE NOT b.today AND :days > 1) AS usual_margin
	FROM part WHERE today
), tile (no, money, id, key, label, figure, note) AS (
	SELECT t.no, t.money, t.id, t.key, t.label,
		CASE WHEN t.money THEN digipay_rupiah(t.n) ELSE substr(digipay_rupiah(t.n), 4) END, t.note
	FROM total
		CROSS JOIN LATERAL (VALUES
			(1, false, 'payments', NULL, 'Payments', payments,
				'&empty; ' || substr(digipay_rupiah(usual), 4) || ' a day before'),
			(2, false, 'succeeded', 'ok', 'Succeeded', succeeded,
				translate(to_char(100.0 * succeeded / nullif(succeeded + bad, 0), 'FM990.0'), '.', ',')
					|| ' % of the decided'),
			(3, false, 'bad', 'bad', 'Did not succeed', bad,
				(SELECT string_agg(substr(digipay_rupiah(n), 4) || '&nbsp;' || w, ', ') FROM unnest(bad_counts, ARRAY['failed', 'rejected', 'refunded']) u (n, w) WHERE n > 0)),
			(4, false, 'open', 'open', 'Open', open,
				(SELECT string_agg(substr(digipay_rupiah(n), 4) || '&nbsp;' || w, ', ') FROM unnest(open_counts, ARRAY['queued', 'sending', 'pending', 'unknown', 'in review']) u (n, w) WHERE n > 0)),
			(5, false, 'off', 'off', 'Never left', off,
				(SELECT string_agg(substr(digipay_rupiah(n), 4) || '&nbsp;' || w, ', ') FROM unnest(off_counts, ARRAY['not sent', 'cancelled']) u (n, w) WHERE n > 0)),
			(6, true, 'charged', NULL, 'Charged to customers', charged, 'selling price of what succeeded'),
			(7, true, 'paid', NULL, 'Paid from the deposit', paid, 'price of what succeeded'),
			(8, true, 'margin', NULL, 'Margin', margin,
				'&empty; ' || digipay_rupiah(usual_margin) || ' a day before')
		) AS t (no, money, id, key, label, n, note)
), tiles AS (
	SELECT t.money, string_agg(format('<div><dt>%s%s</dt><dd class="figure" id="today-%s">%s</dd><dd><small id="note-%s">%s</small></dd></div>',
		'<span class="key ' || t.key || '"></span>', t.label, t.id, t.figure, t.id, t.note), E'\n' ORDER BY t.no) AS html
	FROM tile t
	GROUP BY t.money
), servers AS (
	SELECT string_agg(format('<tr><th scope="row">%s</th><td>%s</td><td>%s</td><td>%s</td><td>%s</td><td>%s</td></tr>',
		p.server, substr(digipay_rupiah(p.payments), 4), substr(digipay_rupiah(p.succeeded), 4),
		digipay_rupiah(p.charged), digipay_rupiah(p.paid), digipay_rupiah(p.margin)), E'\n' ORDER BY p.server) AS html
	FROM part p
	WHERE p.today AND (SELECT count(DISTINCT q.server) FROM part q) > 1
)
SELECT format($html$<section id="today">
<h2>%s</h2>
%s<dl class="tiles">
%s
</dl>
<dl class="tiles money">
%s
</dl>$html$,
	CASE WHEN :'is_today' THEN 'Today so far' ELSE 'This day' END,
	CASE WHEN (SELECT payments FROM total) = 0 THEN E'<p class="soft">There is no payment of this day.</p>\n' ELSE '' END,
	(SELECT html FROM tiles WHERE NOT money), (SELECT html FROM tiles WHERE money))
	|| CASE WHEN (SELECT html FROM servers) IS NULL THEN '' ELSE format($html$
<div class="wide" tabindex="0" role="region" aria-label="The day by server">
<table id="servers">
<thead><tr><th scope="col">Server</th><th scope="col">Payments</th><th scope="col">Succeeded</th><th scope="col">Charged</th><th scope="col">Paid</th><th scope="col">Margin</th></tr></thead>
<tbody>
%s
</tbody>
</table>
</div>$html$, (SELECT html FROM servers)) END
	|| E'\n</section>';

-- ------------------------------------------------------------------- the days

WITH part AS (
	SELECT d.day, sum(d.payments) AS payments, sum(d.succeeded) AS ok,
		sum(d.failed + d.rejected + d.refunded) AS bad, sum(d.not_sent + d.cancelled) AS off,
		sum(d.queued + d.sending + d.pending + d.unknown + d.review) AS open,
		sum(d.paid) AS paid, sum(d.charged) AS charged, sum(d.margin) AS margin
	FROM jsonb_to_recordset(:'daily') d (day date, payments bigint, succeeded bigint,
		failed bigint, rejected bigint, refunded bigint, cancelled bigint, not_sent bigint,
		queued bigint, sending bigint, pending bigint, unknown bigint, review bigint,
		paid numeric, charged numeric, margin numeric)
	GROUP BY d.day
), days AS (
	SELECT i, :'since'::date + i AS day, 100.0 / :days AS band,
		round((i + 0.5) * 100.0 / :days, 3) AS x,
		least(72.0 / :days, 6) AS width,
		coalesce(p.payments, 0) AS payments, coalesce(p.ok, 0) AS ok, coalesce(p.bad, 0) AS bad,
		coalesce(p.open, 0) AS open, coalesce(p.off, 0) AS off, coalesce(p.paid, 0) AS paid,
		coalesce(p.charged, 0) AS charged, coalesce(p.margin, 0) AS margin
	FROM generate_series(0, :days - 1) i
		LEFT JOIN part p ON p.day = :'since'::date + i
), scale AS (
	SELECT (SELECT :round_up FROM (SELECT max(payments) AS value FROM days) v) AS top,
		(SELECT :round_up FROM (SELECT greatest(max(margin), 0) AS value FROM days) v) AS high,
		(SELECT CASE WHEN value > 0 THEN :round_up ELSE 0 END
			FROM (SELECT -min(margin) AS value FROM days) v) AS low
), bar AS (
	SELECT d.i, string_agg(format('<rect class="%s" x="%s%%" y="%s%%" width="%s%%" height="%s%%"/>', b.class,
			round(d.x - d.width / 2, 3), round(100 - 100 * b.upto / s.top, 3), round(d.width, 3),
			round(100 * b.n / s.top, 3)), '' ORDER BY b.no) AS html
	FROM days d
		CROSS JOIN scale s
		CROSS JOIN LATERAL (VALUES
			(1, 'ok', d.ok, d.ok), (2, 'bad', d.bad, d.ok + d.bad),
			(3, 'open', d.open, d.ok + d.bad + d.open),
			(4, 'off', d.off, d.ok + d.bad + d.open + d.off)) AS b (no, class, n, upto)
	WHERE b.n > 0
	GROUP BY d.i
), point AS (
	SELECT d.*, round(100 * (s.high - d.margin) / (s.high + s.low), 3) AS y
	FROM days d CROSS JOIN scale s
), segment AS (
	SELECT p.*, lag(p.x) OVER (ORDER BY p.i) AS x0, lag(p.y) OVER (ORDER BY p.i) AS y0
	FROM point p
), label AS (
	SELECT string_agg(format('<span style="left:%s%%"%s>%s</span>', d.x,
		CASE WHEN mod((:days - 1 - d.i) / ceil(:days / 6.0)::integer, 2) = 1 THEN ' class="minor"' END, to_char(d.day, 'FMDD Mon')), '' ORDER BY d.i) AS html
	FROM days d
	WHERE mod(:days - 1 - d.i, ceil(:days / 6.0)::integer) = 0
), total AS (
	SELECT sum(payments) AS payments, sum(ok) AS ok, sum(bad) AS bad, sum(open) AS open, sum(off) AS off,
		sum(charged) AS charged, sum(paid) AS paid, sum(margin) AS margin,
		max(payments) AS most
	FROM days
), axis AS (
	SELECT greatest(length(digipay_rupiah(s.high)), length(digipay_rupiah(-s.low))) + 1 AS width FROM scale s
)
SELECT CASE WHEN t.payments = 0 THEN format($html$<section id="days">
<h2>Day by day</h2>
<p>There is no payment from %s to %s.</p>
</section>$html$, to_char(:'since'::date, 'FMDD Mon YYYY'), to_char(:'day'::date, 'FMDD Mon YYYY'))
ELSE format($html$<section id="days">
<h2>Day by day</h2>
<p class="soft">%s payments from %s to %s, charged <span class="n">%s</span>, margin <span class="n">%s</span>.</p>
<figure>
<figcaption><strong>Payments a day</strong>
<span><svg width="12" height="12" aria-hidden="true"><rect class="ok" width="12" height="12"/></svg>succeeded</span>
<span><svg width="12" height="12" aria-hidden="true"><rect class="bad" x=".5" y=".5" width="11" height="11"/></svg>did not succeed</span>
<span><svg width="12" height="12" aria-hidden="true"><rect class="open" x=".5" y=".5" width="11" height="11"/></svg>open</span>
<span><svg width="12" height="12" aria-hidden="true"><rect class="off" width="12" height="12"/></svg>never left</span></figcaption>
<div class="plot" style="--axis:%sch">
<div class="ticks" aria-hidden="true"><span style="top:0%%">%s</span><span style="top:50%%">%s</span><span style="top:100%%">0</span></div>
<svg id="bars" height="190" role="img" aria-labelledby="bars-title bars-desc">
<title id="bars-title">Payments a day, by what became of them</title>
<desc id="bars-desc">%s payments in %s days, at most %s on a day: %s succeeded, %s did not, %s are open, %s never left. The table below has the figures.</desc>
<line class="grid" x1="0" x2="100%%" y1="0" y2="0"/><line class="grid" x1="0" x2="100%%" y1="50%%" y2="50%%"/>
%s
<line class="zero" x1="0" x2="100%%" y1="100%%" y2="100%%"/>
</svg>
</div>
</figure>
<figure>
<figcaption><strong>Margin a day</strong></figcaption>
<div class="plot" style="--axis:%sch">
<div class="ticks" aria-hidden="true"><span style="top:0%%">%s</span><span style="top:%s%%">Rp 0</span>%s</div>
<svg id="margin" height="96" role="img" aria-labelledby="margin-title margin-desc">
<title id="margin-title">Margin a day</title>
<desc id="margin-desc">Selling price less price of what succeeded, %s in all. The table below has the figures.</desc>
<line class="grid" x1="0" x2="100%%" y1="0" y2="0"/><line class="zero" x1="0" x2="100%%" y1="%s%%" y2="%s%%"/>
%s
%s
</svg>
<div class="days" aria-hidden="true">%s</div>
</div>
</figure>
<details><summary>These days as a table</summary>
<div class="wide" tabindex="0" role="region" aria-label="Day by day">
<table id="daily">
<thead><tr><th scope="col">Day</th><th scope="col">Payments</th><th scope="col">Succeeded</th><th scope="col">Did not</th><th scope="col">Open</th><th scope="col">Never left</th><th scope="col">Charged</th><th scope="col">Paid</th><th scope="col">Margin</th></tr></thead>
<tbody>
%s
</tbody>
<tfoot>
%s
</tfoot>
</table>
</div>
</details>
</section>$html$,
	substr(digipay_rupiah(t.payments), 4), to_char(:'since'::date, 'FMDD Mon YYYY'), to_char(:'day'::date, 'FMDD Mon YYYY'),
	digipay_rupiah(t.charged), digipay_rupiah(t.margin),
	a.width, substr(digipay_rupiah(s.top), 4), substr(digipay_rupiah(s.top / 2), 4),
	t.payments, :days, t.most, t.ok, t.bad, t.open, t.off,
	(SELECT string_agg(format('<g class="day"><title>%s: %s payments, %s succeeded, %s did not, %s open, %s never left</title>%s<rect class="hit" x="%s%%" y="0" width="%s%%" height="100%%"/></g>',
			to_char(d.day, 'FMDD Mon YYYY'), d.payments, d.ok, d.bad, d.open, d.off, b.html,
			round(d.x - d.band / 2, 3), round(d.band, 3)), E'\n' ORDER BY d.i)
		FROM days d LEFT JOIN bar b ON b.i = d.i),
	a.width, digipay_rupiah(s.high), round(100 * s.high / (s.high + s.low), 3),
	CASE WHEN s.low > 0 THEN format('<span style="top:100%%">%s</span>', digipay_rupiah(-s.low)) END,
	digipay_rupiah(t.margin), round(100 * s.high / (s.high + s.low), 3), round(100 * s.high / (s.high + s.low), 3),
	(SELECT string_agg(format('<line class="main" x1="%s%%" y1="%s%%" x2="%s%%" y2="%s%%"/>', p.x0, p.y0, p.x, p.y), '' ORDER BY p.i)
			FILTER (WHERE p.x0 IS NOT NULL)
		FROM segment p),
	(SELECT string_agg(format('<g class="day"><title>%s: %s</title><circle class="main" cx="%s%%" cy="%s%%" r="3.5"/><rect class="hit" x="%s%%" y="0" width="%s%%" height="100%%"/></g>',
			to_char(p.day, 'FMDD Mon YYYY'), digipay_rupiah(p.margin), p.x, p.y, round(p.x - p.band / 2, 3), round(p.band, 3)), E'\n' ORDER BY p.i)
		FROM point p),
	l.html,
	(SELECT string_agg(format('<tr><th scope="row">%s</th><td>%s</td><td>%s</td><td>%s</td><td>%s</td><td>%s</td><td>%s</td><td>%s</td><td>%s</td></tr>',
			to_char(d.day, 'Dy FMDD Mon'), substr(digipay_rupiah(d.payments), 4), substr(digipay_rupiah(d.ok), 4),
			substr(digipay_rupiah(d.bad), 4), substr(digipay_rupiah(d.open), 4), substr(digipay_rupiah(d.off), 4),
			digipay_rupiah(d.charged), digipay_rupiah(d.paid), digipay_rupiah(d.margin)), E'\n' ORDER BY d.i DESC)
		FROM days d),
	format('<tr><th scope="row">All</th><td>%s</td><td>%s</td><td>%s</td><td>%s</td><td>%s</td><td>%s</td><td>%s</td><td>%s</td></tr>',
		substr(digipay_rupiah(t.payments), 4), substr(digipay_rupiah(t.ok), 4), substr(digipay_rupiah(t.bad), 4),
		substr(digipay_rupiah(t.open), 4), substr(digipay_rupiah(t.off), 4),
		digipay_rupiah(t.charged), digipay_rupiah(t.paid), digipay_rupiah(t.margin)))
END
FROM total t CROSS JOIN scale s CROSS JOIN label l CROSS JOIN axis a;

-- -------------------------------------------------------------- open outcomes

WITH age AS (
	SELECT a.*, sum(a.payments) OVER () AS all, max(a.payments) OVER () AS most, max(a.oldest) OVER () AS seconds
	FROM jsonb_to_recordset(:'ages') a (bucket text, older_than numeric, payments bigint, queued bigint,
		sending bigint, pending bigint, unknown bigint, review bigint, oldest numeric)
)
SELECT format($html$<section id="open">
<h2>Open outcomes by age</h2>
%s
</section>$html$, CASE WHEN min(a.all) = 0 THEN '<p>Nothing is open: every payment has its outcome.</p>'
ELSE format($html$<p class="soft"><span id="open-all">%s</span> without a final outcome now, whatever their day; the oldest for %s. <code>SELECT * FROM digipay_unsettled</code> lists them, with what comes next.</p>
<div class="wide" tabindex="0" role="region" aria-label="Open outcomes by age">
<table id="ages">
<thead><tr><th scope="col">Age</th><th scope="col">Payments</th><th scope="col" class="words minor"></th><th scope="col" class="words">Of these</th></tr></thead>
<tbody>
%s
</tbody>
</table>
</div>$html$, substr(digipay_rupiah(min(a.all)), 4), (SELECT :duration FROM (SELECT min(a.seconds) AS seconds) v),
	string_agg(format('<tr><th scope="row">%s</th><td>%s</td><td class="bar minor" aria-hidden="true">%s</td><td class="words">%s</td></tr>',
		a.bucket, substr(digipay_rupiah(a.payments), 4),
		CASE WHEN a.payments > 0 THEN format('<span class="track %s"><i style="width:%s%%"></i></span>',
			CASE WHEN a.older_than >= 3600 THEN 'bad' ELSE 'open' END,
			round(100.0 * a.payments / nullif(a.most, 0), 2)) END,
		(SELECT string_agg(substr(digipay_rupiah(n), 4) || '&nbsp;' || w, ', ') FROM unnest(ARRAY[a.queued, a.sending, a.pending, a.unknown, a.review],
			ARRAY['queued', 'sending', 'pending', 'unknown', 'in review']) u (n, w) WHERE n > 0)),
		E'\n' ORDER BY a.older_than)) END)
FROM age a;

-- ------------------------------------------------------------------- products

WITH product AS (
	SELECT p.*, (SELECT count(DISTINCT d.server) FROM jsonb_to_recordset(:'products') d (server text)) AS servers,
		row_number() OVER (ORDER BY p.payments DESC, p.code, p.server) AS no, count(*) OVER () AS all
	FROM jsonb_to_recordset(:'products') p (server text, family text, code text, payments bigint,
		succeeded bigint, not_succeeded bigint, success_rate numeric, p50 numeric, p95 numeric,
		charged numeric, margin numeric)
)
SELECT format($html$<section id="products">
<h2>Success rate by product</h2>
%s
</section>$html$, CASE WHEN count(*) = 0 THEN '<p>There is no payment in these days.</p>'
ELSE format($html$<p class="soft">Succeeded, of the payments that were decided. Half of them were final within the time p50, 19 of 20 within p95, counted from the request.%s</p>
<div class="wide" tabindex="0" role="region" aria-label="Success rate by product">
<table id="rates">
<thead><tr><th scope="col">Product</th><th scope="col">Success</th><th scope="col" class="words minor">Rate</th><th scope="col">Payments</th><th scope="col">p50</th><th scope="col">p95</th><th scope="col">Charged</th><th scope="col">Margin</th></tr></thead>
<tbody>
%s
</tbody>
</table>
</div>$html$,
	CASE WHEN min(p.all) > 60 THEN format(' These are the 60 most used of %s.', min(p.all)) ELSE '' END,
	string_agg(format('<tr><th scope="row">%s<small>%s</small></th><td>%s</td><td class="bar minor" aria-hidden="true"><span class="track"><i style="width:%s%%"></i></span></td><td>%s</td><td>%s</td><td>%s</td><td>%s</td><td>%s</td></tr>',
		p.code, concat_ws(' &middot; ', CASE WHEN p.family IS NULL THEN 'family not known'
			WHEN p.family <> p.code THEN p.family END, CASE WHEN p.servers > 1 THEN p.server END),
		coalesce(translate(to_char(100 * p.success_rate, 'FM990.0'), '.', ',') || '&nbsp;%', '&ndash;'),
		coalesce(round(100 * p.success_rate, 2), 0), substr(digipay_rupiah(p.payments), 4),
		coalesce((SELECT :duration FROM (SELECT p.p50 AS seconds) v), '&ndash;'),
		coalesce((SELECT :duration FROM (SELECT p.p95 AS seconds) v), '&ndash;'),
		digipay_rupiah(p.charged), digipay_rupiah(p.margin)), E'\n' ORDER BY p.no)
		FILTER (WHERE p.no <= 60)) END)
FROM product p;

-- ------------------------------------------------------------- response codes

WITH total AS (
	SELECT sum(d.payments) AS payments FROM jsonb_to_recordset(:'daily') d (payments bigint)
), code AS (
	SELECT c.*, max(c.payments) OVER () AS most
	FROM jsonb_to_recordset(:'codes') c (rc text, meaning text, payments bigint)
)
SELECT format($html$<section id="codes">
<h2>Answers other than 00</h2>
%s
</section>$html$, CASE
	WHEN coalesce(min(t.payments), 0) = 0 THEN '<p>There is no payment in these days.</p>'
	WHEN count(c) = 0 THEN '<p>None: every payment of these days was answered with 00.</p>'
ELSE format($html$<p class="soft">The last response code of each payment, and its share of the %s payments.</p>
<div class="wide" tabindex="0" role="region" aria-label="Response codes other than 00">
<table id="answers">
<thead><tr><th scope="col">Code</th><th scope="col" class="words">Meaning</th><th scope="col">Payments</th><th scope="col">Share</th><th scope="col" class="words"></th></tr></thead>
<tbody>
%s
</tbody>
</table>
</div>$html$, substr(digipay_rupiah(min(t.payments)), 4),
	string_agg(format('<tr><th scope="row">%s</th><td class="words">%s</td><td>%s</td><td>%s&nbsp;%%</td><td class="bar" aria-hidden="true"><span class="track bad"><i style="width:%s%%"></i></span></td></tr>',
		coalesce(c.rc, '&ndash;'), c.meaning, substr(digipay_rupiah(c.payments), 4),
		translate(to_char(100.0 * c.payments / t.payments, 'FM990.00'), '.', ','),
		round(100.0 * c.payments / c.most, 2)), E'\n' ORDER BY c.payments DESC, c.rc)) END)
FROM total t LEFT JOIN code c ON true;

-- -------------------------------------------------------------------- balance

SELECT $html$<section id="balance">
<h2>Balance of the deposit</h2>
<p class="soft">As the provider's replies tell it, by the day of the reply. The least of a day is what was left after some booking; money that came in shows as a gap.</p>$html$
	|| CASE WHEN jsonb_array_length(:'balances') = 0 THEN E'\n<p>No reply of these days tells of a balance.</p>' ELSE '' END;

WITH trend AS (
	SELECT b.*, :'since'::date AS since, b.day - :'since' AS i, dense_rank() OVER (ORDER BY b.account) AS no,
		round((b.day - :'since' + 0.5) * 100.0 / :days, 3) AS x
	FROM jsonb_to_recordset(:'balances') b (day date, account text, opening numeric, lowest numeric,
		highest numeric, closing numeric, paid numeric)
), scale AS (
	SELECT t.account, t.no,
		(SELECT :round_up FROM (SELECT greatest(max(t.highest), max(t.closing), 0) AS value) v) AS high,
		(SELECT CASE WHEN value > 0 THEN :round_up ELSE 0 END FROM (SELECT -min(t.lowest) AS value) v) AS low,
		min(t.lowest) AS least, (array_agg(t.closing ORDER BY t.day DESC))[1] AS now,
		(array_agg(t.day ORDER BY t.day DESC))[1] AS last, sum(t.paid) AS paid
	FROM trend t
	GROUP BY t.account, t.no
), point AS (
	SELECT t.*, round(100 * (s.high - t.closing) / (s.high + s.low), 3) AS y,
		round(100 * (s.high - t.lowest) / (s.high + s.low), 3) AS y_low,
		round(100 * (s.high - t.highest) / (s.high + s.low), 3) AS y_high
	FROM trend t JOIN scale s ON s.account = t.account
), segment AS (
	SELECT p.*, lag(p.x) OVER w AS x0, lag(p.y) OVER w AS y0
	FROM point p
	WINDOW w AS (PARTITION BY p.account ORDER BY p.day)
), gap AS (
	SELECT g.account, g.day, g.difference
	FROM jsonb_to_recordset(:'gaps'::jsonb->'days') g (day date, account text, difference numeric)
)
SELECT format($html$<h3>%s</h3>
<p class="soft"><span class="n">%s</span> after the last reply, of <span class="n">%s</span>; the least was <span class="n">%s</span>; paid <span class="n">%s</span>.</p>
<figure>
<figcaption><strong></strong>
<span><svg width="18" height="10" aria-hidden="true"><line class="main" x1="1" x2="17" y1="5" y2="5"/></svg>at the end of the day</span>
<span><svg width="8" height="14" aria-hidden="true"><line class="range" x1="4" x2="4" y1="4" y2="10"/></svg>from the least to the most of the day</span>
<span><svg width="14" height="12" aria-hidden="true"><text class="gap" x="7" y="11">&#9650;</text></svg>a gap</span></figcaption>
<div class="plot" style="--axis:%sch">
<div class="ticks" aria-hidden="true"><span style="top:0%%">%s</span><span style="top:%s%%">%s</span>%s</div>
<svg id="balance-%s" height="150" role="img" aria-labelledby="balance-%s-title balance-%s-desc">
<title id="balance-%s-title">Balance by day of %s</title>
<desc id="balance-%s-desc">%s at the end, %s at the least. The table below has the figures.</desc>
<line class="grid" x1="0" x2="100%%" y1="0" y2="0"/><line class="grid" x1="0" x2="100%%" y1="50%%" y2="50%%"/>
%s
%s
%s
<line class="zero" x1="0" x2="100%%" y1="%s%%" y2="%s%%"/>
</svg>
<div class="days" aria-hidden="true">%s</div>
</div>
</figure>
<details><summary>The balance as a table</summary>
<div class="wide" tabindex="0" role="region" aria-label="Balance by day">
<table id="balance-%s-table">
<thead><tr><th scope="col">Day</th><th scope="col">Before the first</th><th scope="col">Least</th><th scope="col">Most</th><th scope="col">At the end</th><th scope="col">Paid</th></tr></thead>
<tbody>
%s
</tbody>
</table>
</div>
</details>$html$,
	s.account, digipay_rupiah(s.now), to_char(s.last, 'FMDD Mon YYYY'), digipay_rupiah(s.least), digipay_rupiah(s.paid),
	greatest(length(digipay_rupiah(s.high)), length(digipay_rupiah(-s.low))) + 1,
	digipay_rupiah(s.high),
	CASE WHEN s.low > 0 THEN round(100 * s.high / (s.high + s.low), 3) ELSE 50 END,
	CASE WHEN s.low > 0 THEN 'Rp 0' ELSE digipay_rupiah(s.high / 2) END,
	format('<span style="top:100%%">%s</span>', digipay_rupiah(-s.low)),
	s.no, s.no, s.no, s.no, s.account, s.no, digipay_rupiah(s.now), digipay_rupiah(s.least),
	(SELECT string_agg(format('<line class="range" x1="%s%%" y1="%s%%" x2="%s%%" y2="%s%%"/>', p.x, p.y_high, p.x, p.y_low), '' ORDER BY p.day)
		FROM point p WHERE p.account = s.account),
	(SELECT string_agg(format('<line class="main" x1="%s%%" y1="%s%%" x2="%s%%" y2="%s%%"/>', p.x0, p.y0, p.x, p.y), '' ORDER BY p.day)
			FILTER (WHERE p.x0 IS NOT NULL)
		FROM segment p WHERE p.account = s.account),
	(SELECT string_agg(format('<g class="day"><title>%s: %s at the end, least %s</title><circle class="main" cx="%s%%" cy="%s%%" r="3.5"/><rect class="hit" x="%s%%" y="0" width="%s%%" height="100%%"/></g>',
			to_char(p.day, 'FMDD Mon YYYY'), digipay_rupiah(p.closing), digipay_rupiah(p.lowest), p.x, p.y,
			round(p.x - 50.0 / :days, 3), round(100.0 / :days, 3)), E'\n' ORDER BY p.day)
		FROM point p WHERE p.account = s.account) ||
	coalesce((SELECT E'\n' || string_agg(format('<text class="gap" x="%s%%" y="97%%">&#9650;<title>%s: %s not explained</title></text>',
			round((g.day - :'since' + 0.5) * 100.0 / :days, 3), to_char(g.day, 'FMDD Mon YYYY'), digipay_rupiah(g.difference)), '' ORDER BY g.day)
		FROM gap g WHERE g.account = s.account), ''),
	round(100 * s.high / (s.high + s.low), 3), round(100 * s.high / (s.high + s.low), 3),
	(SELECT string_agg(format('<span style="left:%s%%"%s>%s</span>', round((i + 0.5) * 100.0 / :days, 3),
			CASE WHEN mod((:days - 1 - i) / ceil(:days / 6.0)::integer, 2) = 1 THEN ' class="minor"' END, to_char(:'since'::date + i, 'FMDD Mon')), '' ORDER BY i)
		FROM generate_series(0, :days - 1) i
		WHERE mod(:days - 1 - i, ceil(:days / 6.0)::integer) = 0),
	s.no,
	(SELECT string_agg(format('<tr><th scope="row">%s</th><td>%s</td><td>%s</td><td>%s</td><td>%s</td><td>%s</td></tr>',
			to_char(t.day, 'Dy FMDD Mon'), digipay_rupiah(t.opening), digipay_rupiah(t.lowest), digipay_rupiah(t.highest),
			digipay_rupiah(t.closing), digipay_rupiah(t.paid)), E'\n' ORDER BY t.day DESC)
		FROM trend t WHERE t.account = s.account))
FROM scale s
ORDER BY s.account;

WITH gap AS (
	SELECT g.*, (:'gaps'::jsonb->>'all')::numeric AS all
	FROM jsonb_to_recordset(:'gaps'::jsonb->'rows') g (account text, ref_id text, replied_at timestamptz,
		expected numeric, found numeric, difference numeric)
)
SELECT E'<h3 id="gaps">Gaps</h3>\n' || CASE
	WHEN jsonb_array_length(:'balances') = 0 THEN '<p>There is no balance to look into.</p>'
	WHEN count(*) = 0 THEN '<p>None: every balance is explained by the payments.</p>'
ELSE format($html$<p class="soft">What was there before a payment and no other payment has left. A top-up is money that came in.%s</p>
<div class="wide" tabindex="0" role="region" aria-label="Gaps of the balance">
<table id="gap-list">
<thead><tr><th scope="col">Reply</th><th scope="col" class="words">Before payment</th><th scope="col" class="words">Account</th><th scope="col">Expected</th><th scope="col">Found</th><th scope="col">Difference</th><th scope="col" class="words">Money</th></tr></thead>
<tbody>
%s
</tbody>
</table>
</div>$html$,
	CASE WHEN min(g.all) > 50 THEN format(' These are the last 50 of %s.', substr(digipay_rupiah(min(g.all)), 4)) ELSE '' END,
	string_agg(format('<tr><th scope="row">%s</th><td class="ref">%s</td><td class="words">%s</td><td>%s</td><td>%s</td><td>%s</td><td class="words">%s</td></tr>',
		to_char(g.replied_at, 'FMDD Mon HH24:MI:SS'), g.ref_id, g.account, coalesce(digipay_rupiah(g.expected), '&ndash;'),
		digipay_rupiah(g.found), coalesce(digipay_rupiah(g.difference), '&ndash;'),
		CASE WHEN g.difference < 0 THEN 'went out' WHEN g.difference > 0 THEN 'came in' ELSE '' END), E'\n' ORDER BY g.replied_at DESC, g.account, g.ref_id)) END || E'\n</section>'
FROM gap g;

-- -------------------------------------------------------------------- amounts

WITH mismatch AS (
	SELECT m.*, (:'mismatches'::jsonb->>'all')::numeric AS all
	FROM jsonb_to_recordset(:'mismatches'::jsonb->'rows') m (day date, server text, ref_id text, code text,
		selling_price numeric, expected numeric, difference numeric)
)
SELECT E'<section id="amounts">\n<h2>Amounts that do not add up</h2>\n' || CASE
	WHEN count(*) = 0 THEN '<p>None: every selling price is the sum of its periods and the admin fee.</p>'
ELSE format($html$<p class="soft">Payments whose selling price is not the sum of their periods and the admin fee, of the families where it must be.%s</p>
<div class="wide" tabindex="0" role="region" aria-label="Amounts that do not add up">
<table id="amount-list">
<thead><tr><th scope="col">Day</th><th scope="col" class="words">Payment</th><th scope="col" class="words">Server</th><th scope="col" class="words">Product</th><th scope="col">Selling price</th><th scope="col">Sum</th><th scope="col">Difference</th></tr></thead>
<tbody>
%s
</tbody>
</table>
</div>$html$,
	CASE WHEN min(m.all) > 50 THEN format(' These are the last 50 of %s.', substr(digipay_rupiah(min(m.all)), 4)) ELSE '' END,
	string_agg(format('<tr><th scope="row">%s</th><td class="ref">%s</td><td class="words">%s</td><td class="words">%s</td><td>%s</td><td>%s</td><td>%s</td></tr>',
		to_char(m.day, 'FMDD Mon'), m.ref_id, m.server, m.code, coalesce(digipay_rupiah(m.selling_price), '&ndash;'),
		coalesce(digipay_rupiah(m.expected), 'a period has none'), coalesce(digipay_rupiah(m.difference), '&ndash;')), E'\n' ORDER BY m.day DESC, m.server, m.ref_id)) END || E'\n</section>'
FROM mismatch m;

-- ----------------------------------------------------------------------- end

SELECT $html$</main>
<footer>
<p>Written by digipay's script/report from the views <code>digipay_daily</code>, <code>digipay_pending_age</code>, <code>digipay_product_stats</code>, <code>digipay_response_stats</code>, <code>digipay_balance_trend</code>, <code>digipay_balance_gap</code> and <code>digipay_amount_mismatch</code>, in one snapshot. Payments with <code>testing</code> are not counted. Days and times are those of Asia/Jakarta; numbers are written the Indonesian way: 1.234,5.</p>
</footer>
</body>
</html>$html$;

COMMIT;
