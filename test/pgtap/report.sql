--
-- The reports, against figures that were worked out by hand
--
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT * FROM no_plan();

-- one payment as the journal would have it; the columns that matter as JSON
CREATE FUNCTION pg_temp.pay(ref_id text, columns jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	names text := (SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute
		WHERE attrelid = 'digipay_payment'::regclass AND attnum > 0 AND attgenerated = '');
	state text := coalesce(columns->>'state', 'succeeded');
BEGIN
	EXECUTE format('INSERT INTO digipay_payment (%s) SELECT %1$s FROM jsonb_populate_record(NULL::digipay_payment, $1)', names)
	USING jsonb_build_object('ref_id', ref_id, 'state', state, 'code', 'pln', 'customer_no', '1', 'testing', false,
		'requested_at', '2024-05-01 17:00:00+00', 'server', 'digipay', 'account', 'demo@a', 'requested_by', 'regress',
		'status_checks', 0, 'origin', '00000000-0000-0000-0000-000000000000',
		'next_check_at', CASE WHEN state = 'review' THEN 'infinity'
			WHEN state IN ('queued', 'sending', 'pending', 'unknown') THEN '2024-05-01 17:00:00+00' END) || columns;
END $$;

--
-- digipay_bill over the samples: the provider's figures, period by period
--
\set samples `jq -cs '[.[].data]' test/provider/responses/*.json test/provider/responses/documented/*.json`
CREATE TEMPORARY TABLE sample AS
SELECT data->>'code' AS family, data FROM jsonb_array_elements(:'samples') AS data;
SELECT count(pg_temp.pay('sample-' || family, data - '{ref_id, status, rc, balance}'::text[] || '{"rc": "00",
	"status": "Sukses", "final_at": "2024-05-01 17:30:02+00"}')) AS samples FROM sample \gset
CREATE FUNCTION pg_temp.sum_of_bill(ref_id text) RETURNS numeric LANGUAGE sql AS $$
	SELECT sum(coalesce(amount, 0) + coalesce(fine, 0) + coalesce(other, 0) + coalesce(admin, 0))
	FROM digipay_bill WHERE digipay_bill.ref_id = sum_of_bill.ref_id $$;
SELECT is(pg_temp.sum_of_bill(ref_id), selling_price, ref_id || ': the bill adds up to the selling price')
FROM digipay_payment ORDER BY ref_id;
SELECT results_eq($$SELECT family, no, periode, lower(month), kind, number, amount, fine, other, admin
	FROM digipay_bill ORDER BY family COLLATE "C", no$$, $$VALUES
	('bpjs', 1, '01', NULL::date, 'months', 1, 22500::numeric, NULL::numeric, NULL::numeric, 2500::numeric),
	('bpjstk', 1, NULL, NULL, NULL, NULL, 97500, NULL, NULL, 2500), ('bpjstkpu', 1, NULL, NULL, NULL, NULL, 97500,
		NULL, NULL, 2500),
	('emoney', 1, NULL, NULL, NULL, NULL, 97500, NULL, NULL, 2500),
	('hp', 1, NULL, NULL, NULL, NULL, 10000, NULL, NULL, 2500),
	('internet', 1, 'MEI 2019', '2019-05-01', 'month', NULL, 8000, NULL, NULL, 2500),
	('internet', 2, 'JUN 2019', '2019-06-01', 'month', NULL, 11500, NULL, NULL, 2500),
	('multifinance', 1, '002', NULL, 'instalment', 2, 22500, 0, 0, 2500),
	('pbb', 1, '2019', NULL, 'tax_year', 2019, 97500, NULL, NULL, 2500),
	('pdam', 1, '201901', '2019-01-01', 'month', NULL, 8000, 500, 1500, 2500),
	('pdl', 1, '2019', NULL, 'tax_year', 2019, 97500, NULL, NULL, 2500),
	('pgas', 1, '0320', '2020-03-01', 'month', NULL, 97500, NULL, NULL, 2500),
	('pln', 1, '201901', '2019-01-01', 'month', NULL, 8000, 500, NULL, 2500),
	('plnnontaglis', 1, NULL, NULL, NULL, NULL, 97500, NULL, NULL, 2500),
	('samsat', 1, NULL, NULL, NULL, NULL, 97500, NULL, NULL, 2500),
	('tv', 1, 'MEI 22', '2022-05-01', 'month', NULL, 97500, NULL, NULL, 2500)$$, 'the samples as bills');
SELECT is((SELECT count(*) FROM digipay_bill), (SELECT sum(greatest(1, jsonb_array_length(data #> '{desc,detail}')))
	FROM sample)::bigint, 'a row for each period, and one where there are none');
SELECT is_empty('SELECT * FROM digipay_amount_mismatch', 'all samples have the amounts that they must have');

-- odd bills
CREATE TEMPORARY TABLE odd (name text, code text, selling_price numeric, admin numeric, "desc" jsonb, periods integer);
INSERT INTO odd VALUES
	('no desc', 'pln', 11000, 2500, NULL, 1), ('null', 'pln', 11000, 2500, 'null', 1), ('array', 'pln', 11000, 2500,
		'[1]', 1),
	('empty', 'pln', 11000, 2500, '{"detail": []}', 1), ('one object', 'pln', 11000, 2500,
		'{"detail": {"periode": "201901", "nilai_tagihan": 8500}}', 1),
	('no admin', 'pln', 11000, NULL, '{"detail": [{}]}', 1), ('zero', 'pln', 0, 0, '{"detail": [{}, {}]}', 2),
	('numbers', 'pln', 23000, 3000, '{"detail": [{"nilai_tagihan": 8000}, {"nilai_tagihan": 12000}]}', 2),
	('same period twice', 'pdam', 20000, 2500, '{"lembar_tagihan": 1800, "detail": [
		{"periode": "201901", "nilai_tagihan": "10000"}, {"periode": "201901", "nilai_tagihan": "7500"}]}', 2),
	('fines', 'multifinance', 30000, 2500, '{"detail": [{"denda": "1000"}, {"denda": "500", "biaya_lain": "7"}]}', 2),
	('admins', 'pln', 30000, 5000,
		'{"detail": [{"nilai_tagihan": "20000"}, {"nilai_tagihan": "5000", "admin": "2500"}]}', 2),
	('only the second', 'pln', 30000, 5000, '{"detail": [{}, {"nilai_tagihan": "5000", "admin": "2500"}]}', 2),
	('only the first', 'pln', 30000, 5000, '{"detail": [{"nilai_tagihan": "5000", "admin": "2500"}, {}]}', 2),
	('admin of periods alone', 'pln', 30000, NULL, '{"detail": [{"admin": "2500"}, {"admin": "2500"}]}', 2),
	('junk', 'pln', 30000, 2500,
		'{"detail": [1, "x", null, [], {"nilai_tagihan": "x", "denda": [], "admin": true}]}', 5),
	('fraction', 'pln', 10000.50, 0.25, '{"detail": [{}, {"nilai_tagihan": "0.125"}]}', 2),
	('more than there is', 'bpjs', 1000, 2500, '{"detail": [{"periode": "02"}]}', 1),
	('many', 'pln', 500500, 0, (SELECT jsonb_build_object('detail', jsonb_agg(jsonb_build_object('nilai_tagihan', i)))
		FROM generate_series(1, 1000) AS i), 1000),
	('huge', 'pln', 30000, 2500, '{"detail": [{"denda": 9e131071}, {"denda": 9e131071}]}', 2);
SELECT pg_temp.pay('odd-' || name, jsonb_build_object('code', code, 'selling_price', selling_price, 'admin', admin,
	'desc', "desc"))
	IS NULL AS ignored FROM odd \g /dev/null
SELECT lives_ok(format($$SELECT pg_temp.sum_of_bill(%L)$$, 'odd-' || name), 'odd bill, ' || name || ': no error')
	FROM odd;
DELETE FROM digipay_payment WHERE ref_id = 'odd-huge';
DELETE FROM odd WHERE name = 'huge';
SELECT is(pg_temp.sum_of_bill('odd-' || name), selling_price, 'odd bill, ' || name || ': it adds up') FROM odd;
SELECT is((SELECT count(*) FROM digipay_bill WHERE ref_id = 'odd-' || odd.name), periods::bigint,
	'odd bill, ' || name || ': its rows') FROM odd;
SELECT is((SELECT string_agg(format('%s %s %s %s', amount, fine, other, admin), ', ' ORDER BY no)
	FROM digipay_bill WHERE ref_id = 'odd-fines'), '25993 1000  2500,  500 7 ', 'what is left is on the first period');
-- what is not priced, of all states
SELECT pg_temp.pay('unpriced-' || s, jsonb_build_object('state', s)) IS NULL AS ignored
FROM unnest(enum_range(NULL::digipay_state)) AS s \g /dev/null
SELECT is((SELECT string_agg(state || ' ' || no || coalesce(amount::text, ''), ', ' ORDER BY state) FROM digipay_bill
		WHERE ref_id LIKE 'unpriced-%'), (SELECT string_agg(s || ' 1', ', ')
			FROM unnest(enum_range(NULL::digipay_state)) AS s),
	'one row for what has no price, in every state');
SELECT is((SELECT count(DISTINCT ref_id) FROM digipay_bill), (SELECT count(*) FROM digipay_payment),
	'every payment is in digipay_bill');
-- the period at the top, where the bill has none
SELECT pg_temp.pay('top',
	'{"code": "hp", "periode": "NOV25", "desc": {"lembar_tagihan": 1}}') IS NULL AS ignored \g /dev/null
SELECT results_eq($$SELECT periode, lower(month) FROM digipay_bill WHERE ref_id = 'top'$$, $$VALUES ('NOV25',
	date '2025-11-01')$$,
	'the period at the top of the reply');

--
-- digipay_amount_mismatch
--
DELETE FROM digipay_payment WHERE ref_id NOT LIKE 'sample-%';
SELECT pg_temp.pay('m-' || name, jsonb_build_object('code', code, 'selling_price', selling_price, 'admin', admin,
	'desc', "desc"::jsonb)
	|| more::jsonb) IS NULL AS ignored
FROM (VALUES
	('right', 'pln', 25000, 5000,
		'{"detail": [{"nilai_tagihan": "8000", "denda": "500"}, {"nilai_tagihan": 11500}]}', '{}'),
	('a rupiah', 'pln', 25001, 5000,
		'{"detail": [{"nilai_tagihan": "8000", "denda": "500"}, {"nilai_tagihan": 11500}]}', '{}'),
	('costs', 'pdam', 10000, NULL, '{"detail": [{"nilai_tagihan": "8000", "biaya_lain": "1000", "denda": "500"}]}',
		'{}'),
	('no amount', 'tv', 10000, 0, '{"detail": [{"nilai_tagihan": "8000"}, {}]}', '{}'),
	('no periods', 'internet', 10000, 0, '{}', '{}'), ('no price', 'pln', NULL, 0,
		'{"detail": [{"nilai_tagihan": "1"}]}', '{}'),
	('another family', 'bpjs', 10000, 0, '{"detail": [{"nilai_tagihan": "1"}]}', '{}'),
	('unknown code', 'garut', 10000, 0, '{"detail": [{"nilai_tagihan": "1"}]}', '{}'),
	('failed', 'pln', 10000, 0, '{"detail": [{"nilai_tagihan": "1"}]}', '{"state": "failed"}')
) AS m (name, code, selling_price, admin, "desc", more) \g /dev/null
SELECT results_eq('SELECT ref_id, family, selling_price, expected, difference FROM digipay_amount_mismatch ORDER BY ref_id COLLATE "C"',
	$$VALUES ('m-a rupiah', 'pln', 25001::numeric, 25000::numeric, 1::numeric), ('m-costs', 'pdam', 10000, 9500, 500),
		('m-no amount', 'tv', 10000, NULL, NULL), ('m-no periods', 'internet', 10000, NULL, NULL),
		('m-no price', 'pln', NULL, 1, NULL)$$, 'digipay_amount_mismatch');
SELECT pg_temp.pay('m-huge',
	'{"selling_price": 1, "desc": {"detail": [{"nilai_tagihan": 9e131071}, {"nilai_tagihan": 9e131071}]}}')
	IS NULL AS ignored \g /dev/null
SELECT lives_ok('SELECT * FROM digipay_amount_mismatch', 'amounts beyond all measure are no error');
DELETE FROM digipay_payment;

--
-- digipay_daily: the day is Jakarta's, money is of what has succeeded
--
SELECT pg_temp.pay(d.ref_id, jsonb_build_object('state', d.state, 'price', d.price, 'selling_price', d.selling_price,
	'requested_at', d.at, 'server', d.server)) IS NULL AS ignored
FROM (VALUES
	('d-last', 'succeeded', 10, 11, '2024-05-01 16:59:59.999999+00', 'digipay'),
	('d-first', 'succeeded', 1000, 1100.50, '2024-05-01 17:00:00+00', 'digipay'),
	('d-2', 'succeeded', 2000, 2300, '2024-05-02 16:59:59.999999+00', 'digipay'),
	('d-next', 'failed', NULL, NULL, '2024-05-02 17:00:00+00', 'digipay'),
	('d-loss', 'succeeded', 500, 400, '2024-05-02 00:00:00+00', 'digipay'),
	('d-no selling price', 'succeeded', 7, NULL, '2024-05-02 00:00:00+00', 'digipay'),
	('d-other', 'succeeded', 3, 4, '2024-05-02 00:00:00+00', 'other'),
	('d-refunded', 'refunded', 100, 110, '2024-05-02 00:00:00+00', 'digipay'),
	('d-failed', 'failed', 100, 110, '2024-05-02 00:00:00+00', 'digipay'),
	('d-failed 2', 'failed', NULL, NULL, '2024-05-02 00:00:00+00', 'digipay'),
	('d-rejected', 'rejected', NULL, NULL, '2024-05-02 00:00:00+00', 'digipay'),
	('d-cancelled', 'cancelled', NULL, NULL, '2024-05-02 00:00:00+00', 'digipay'),
	('d-not_sent', 'not_sent', NULL, NULL, '2024-05-02 00:00:00+00', 'digipay'),
	('d-queued', 'queued', NULL, NULL, '2024-05-02 00:00:00+00', 'digipay'),
	('d-sending', 'sending', NULL, NULL, '2024-05-02 00:00:00+00', 'digipay'),
	('d-pending', 'pending', 100, 110, '2024-05-02 00:00:00+00', 'digipay'),
	('d-unknown', 'unknown', NULL, NULL, '2024-05-02 00:00:00+00', 'digipay'),
	('d-review', 'review', 100, 110, '2024-05-02 00:00:00+00', 'digipay'),
	('d-review 2', 'review', NULL, NULL, '2024-05-02 00:00:00+00', 'digipay')
) AS d (ref_id, state, price, selling_price, at, server) \g /dev/null
SELECT results_eq('SELECT * FROM digipay_daily ORDER BY day, server', $$VALUES
	(date '2024-05-01', 'digipay'::name, 1::bigint, 1::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint,
		0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 10::numeric, 11::numeric, 1::numeric),
	('2024-05-02', 'digipay', 16, 4, 2, 1, 1, 1, 1, 1, 1, 1, 1, 2, 3507, 3800.50, 300.50),
	('2024-05-02', 'other', 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 4, 1),
	('2024-05-03', 'digipay', 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)$$, 'digipay_daily');
DELETE FROM digipay_payment;

--
-- digipay_product_stats: the view by day, the function over days
--
SELECT pg_temp.pay('s-' || i, jsonb_build_object('state', CASE WHEN i IN (3,
	20) THEN 'failed' WHEN i = 7 THEN 'rejected' ELSE 'succeeded' END,
	'price', 100, 'selling_price', 100 + i, 'final_at', timestamptz '2024-05-01 17:00:00+00' + i * interval '1 s'))
	IS NULL AS ignored FROM generate_series(1, 20) AS i \g /dev/null
SELECT pg_temp.pay('s-slow-' || i, jsonb_build_object('requested_at', '2024-05-03 00:00:00+00', 'price', 1,
	'selling_price', 3,
	'final_at', timestamptz '2024-05-03 00:00:00+00' + i * interval '1 h')) IS NULL AS ignored
		FROM generate_series(1, 20) AS i \g /dev/null
-- these have been final or not, but say nothing about the time to an outcome
SELECT pg_temp.pay('s-' || state, jsonb_build_object('state', state, 'final_at',
	'2024-05-09 00:00:00+00')) IS NULL AS ignored
FROM unnest('{refunded, cancelled, not_sent, queued, sending, pending, unknown, review}'::text[]) AS state \g /dev/null
SELECT pg_temp.pay('s-garut', '{"code": "garut", "state": "pending"}') IS NULL AS ignored \g /dev/null
SELECT results_eq('SELECT * FROM digipay_product_stats ORDER BY day, code COLLATE "C"', $$VALUES
	(date '2024-05-02', 'digipay'::name, NULL::text, 'garut', 1::bigint, 0::bigint, 0::bigint, NULL::numeric,
		NULL::interval, NULL::interval, 0::numeric, 0::numeric, 0::numeric),
	('2024-05-02', 'digipay', 'pln', 'pln', 28, 17, 4, round(17 / 21.0, 4), '10 s', '19 s', 1700, 1700 + 180, 180),
	('2024-05-03', 'digipay', 'pln', 'pln', 20, 20, 0, 1.0000, '10 h', '19 h', 20, 60, 40)$$,
		'digipay_product_stats by day');
SELECT results_eq($$SELECT * FROM digipay_product_stats('2024-05-02', '2024-05-03') ORDER BY code COLLATE "C"$$,
	$$VALUES
	('digipay'::name, NULL::text, 'garut', 1::bigint, 0::bigint, 0::bigint, NULL::numeric,
		NULL::interval, NULL::interval, 0::numeric, 0::numeric, 0::numeric),
	('digipay', 'pln', 'pln', 48, 37, 4, round(37 / 41.0, 4), '20 s', '18 h', 1720, 1940, 220)$$,
	'digipay_product_stats over two days: percentiles of all');
SELECT results_eq($$SELECT payments FROM digipay_product_stats('2024-05-03', '2024-05-03')$$, 'VALUES (20::bigint)',
	'digipay_product_stats over one day');
SELECT is((SELECT sum(payments) FROM digipay_product_stats('-infinity', 'infinity')), 49::numeric,
	'digipay_product_stats over all time');
SELECT is_empty($$SELECT * FROM digipay_product_stats('2024-05-04', '2024-05-02')$$,
	'digipay_product_stats over no time');
SELECT is_empty($$SELECT * FROM digipay_product_stats(NULL, '2024-05-02')$$,
	'digipay_product_stats since nobody knows when');
DELETE FROM digipay_payment;

--
-- digipay_response_stats
--
SELECT pg_temp.pay('r-' || no, jsonb_build_object('rc', rc, 'code', code)) IS NULL AS ignored
FROM (VALUES (1, '00', 'pln'), (2, '00', 'pln'), (3, '00', 'pln'), (4, '50', 'pln'), (5, '4711', 'pln'), (6, NULL,
	'pln'),
	(7, '', 'pln'), (8, '00', 'hp'), (9, NULL, 'hp'), (10, NULL, 'hp')) AS r (no, rc, code) \g /dev/null
SELECT results_eq('SELECT * FROM digipay_response_stats ORDER BY code COLLATE "C", rc COLLATE "C" NULLS FIRST', $$VALUES
	(date '2024-05-02', 'digipay'::name, 'hp', NULL::text, 'no answer', 2::bigint, 0.6667::numeric),
	('2024-05-02', 'digipay', 'hp', '00', (SELECT meaning FROM digipay_response_code WHERE rc = '00'), 1, 0.3333),
	('2024-05-02', 'digipay', 'pln', NULL, 'no answer', 1, 0.1429),
	('2024-05-02', 'digipay', 'pln', '', 'not documented', 1, 0.1429),
	('2024-05-02', 'digipay', 'pln', '00', (SELECT meaning FROM digipay_response_code WHERE rc = '00'), 3, 0.4286),
	('2024-05-02', 'digipay', 'pln', '4711', 'not documented', 1, 0.1429),
	('2024-05-02', 'digipay', 'pln', '50', (SELECT meaning FROM digipay_response_code WHERE rc = '50'), 1, 0.1429)$$,
	'digipay_response_stats');
DELETE FROM digipay_payment;

--
-- digipay_pending_age: exactly an age belongs to the older bucket
--
SELECT is((SELECT string_agg(bucket || ' ' || payments || coalesce(oldest::text, ''), ', ' ORDER BY older_than)
	FROM digipay_pending_age),
	'under 1 minute 0, 1 to 10 minutes 0, 10 minutes to 1 hour 0, 1 to 6 hours 0, 6 to 24 hours 0, 1 to 7 days 0, '
	'7 to 90 days 0, over 90 days 0', 'all the buckets, empty');
SELECT pg_temp.pay('a-' || edge || '-' || before, jsonb_build_object('state', 'pending',
	'requested_at', clock_timestamp() - edge::interval + before::interval)) IS NULL AS ignored
FROM unnest('{1 min, 10 min, 1 h, 6 h, 24 h, 168 h, 2160 h}'::text[]) AS edge,
	unnest('{0, 40 s}'::text[]) AS before \g /dev/null
SELECT pg_temp.pay('a-' || s, jsonb_build_object('state', s, 'requested_at',
	clock_timestamp() + interval '1 h')) IS NULL AS ignored
FROM unnest(enum_range(NULL::digipay_state)) AS s \g /dev/null
SELECT pg_temp.pay('a-review 2',
	'{"state": "review", "requested_at": "2020-01-01 00:00:00+00"}') IS NULL AS ignored \g /dev/null
SELECT results_eq('SELECT bucket, payments, queued, sending, pending, unknown, review FROM digipay_pending_age',
	$$VALUES
	('under 1 minute', 6::bigint, 1::bigint, 1::bigint, 2::bigint, 1::bigint, 1::bigint), ('1 to 10 minutes', 2, 0,
		0, 2, 0, 0),
	('10 minutes to 1 hour', 2, 0, 0, 2, 0, 0), ('1 to 6 hours', 2, 0, 0, 2, 0, 0), ('6 to 24 hours', 2, 0, 0, 2, 0, 0),
	('1 to 7 days', 2, 0, 0, 2, 0, 0), ('7 to 90 days', 2, 0, 0, 2, 0, 0), ('over 90 days', 2, 0, 0, 1, 0, 1)$$,
	'digipay_pending_age');
SELECT ok(oldest BETWEEN interval '20 s' AND interval '60 s', 'the oldest of a bucket') FROM digipay_pending_age
	WHERE older_than = '0';
SELECT is((SELECT count(*) FROM digipay_pending_age WHERE oldest < older_than OR oldest IS NULL), 0::bigint,
	'is as old as the bucket');
DELETE FROM digipay_payment;

--
-- digipay_balance_trend and digipay_balance_gap.  Each story is an account.
--
CREATE TEMPORARY TABLE story (account text, no serial, requested_at timestamptz, price numeric, balance numeric,
	more jsonb DEFAULT '{}');
CREATE FUNCTION pg_temp.replied(at timestamptz) RETURNS jsonb LANGUAGE sql AS $$SELECT jsonb_build_object('replied_at', at)$$;
INSERT INTO story (account, requested_at, price, balance, more) VALUES
	-- one after the other; the first that is known needs no explanation
	('in order', '2024-05-02 01:00+00', 10000, 90000, '{}'), ('in order', '2024-05-02 01:01+00', 5000, 85000, '{}'),
	('in order', '2024-05-02 01:02+00', 85000, 0, '{}'),
	-- booked as 1 2 3 4, answered as 3 1 4 2
	('out of order', '2024-05-02 01:00:00+00', 10, 90, pg_temp.replied('2024-05-02 01:00:12+00')),
	('out of order', '2024-05-02 01:00:01+00', 20, 70, pg_temp.replied('2024-05-02 01:00:14+00')),
	('out of order', '2024-05-02 01:00:02+00', 30, 40, pg_temp.replied('2024-05-02 01:00:11+00')),
	('out of order', '2024-05-02 01:00:03+00', 40, 0, pg_temp.replied('2024-05-02 01:00:13+00')),
	-- the day after, and days after that
	('next day', '2024-05-02 16:59:59+00', 10, 90, '{}'), ('next day', '2024-05-02 17:00:00+00', 10, 80, '{}'),
	('next day', '2024-05-09 17:00:00+00', 10, 70, '{}'),
	-- asked for before midnight and booked after what was asked for after midnight
	('at midnight', '2024-05-02 15:00:00+00', 10, 90, '{}'),
	('at midnight', '2024-05-02 16:59:59+00', 20, 40, pg_temp.replied('2024-05-02 17:00:09+00')),
	('at midnight', '2024-05-02 17:00:01+00', 30, 60, pg_temp.replied('2024-05-02 17:00:03+00')),
	-- the same balances under two accounts do not explain each other
	('one', '2024-05-02 01:00+00', 10, 90, '{}'), ('one', '2024-05-02 01:02+00', 10, 130, '{}'),
	('two', '2024-05-02 01:00+00', 10, 140, '{}'), ('two', '2024-05-02 01:02+00', 10, 130, '{}'),
	-- two servers of one account do
	('shared', '2024-05-02 01:00+00', 10, 90, '{}'), ('shared', '2024-05-02 01:02+00', 10, 80, '{"server": "other"}'),
	-- money comes in, and goes out otherwise
	('topped up', '2024-05-02 01:00+00', 10, 90, '{}'), ('topped up', '2024-05-02 01:01+00', 10, 580, '{}'),
	('topped up', '2024-05-02 01:02+00', 10, 570, '{}'),
	('drained', '2024-05-02 01:00+00', 10, 90, '{}'), ('drained', '2024-05-02 01:01+00', 10, 50, '{}'),
	('topped up at night', '2024-05-02 01:00+00', 10, 90, '{}'), ('topped up at night', '2024-05-04 01:00+00', 10,
		180, '{}'),
	-- a refund brings its price back
	('refunded', '2024-05-02 01:00+00', 10, 90, '{"state": "refunded"}'), ('refunded', '2024-05-02 01:01+00', 5, 95,
		'{}'),
	-- by a call-back, days later
	('refunded by call-back', '2024-05-02 01:00+00', 10, 90,
		'{"state": "refunded", "replied_at": "2024-05-05 01:00+00"}'),
	('refunded by call-back', '2024-05-02 01:01+00', 20, 70, '{}'),
	-- pending first, with the balance of its booking in the answer that came days later
	('late', '2024-05-02 01:00+00', 5, 100, '{}'),
	('late', '2024-05-02 01:01+00', 10, 90, '{"status_checks": 2, "replied_at": "2024-05-02 23:00+00"}'),
	('late', '2024-05-02 01:02+00', 5, 85, '{}'),
	-- or with the balance of the answer's own time: two gaps that cancel each other
	('late answer', '2024-05-02 01:00+00', 5, 100, '{}'),
	('late answer', '2024-05-02 01:01+00', 10, 85, '{"status_checks": 2, "replied_at": "2024-05-02 23:00+00"}'),
	('late answer', '2024-05-02 01:02+00', 5, 85, '{}'),
	-- nothing was taken
	('free', '2024-05-02 01:00+00', 10, 90, '{}'), ('free', '2024-05-02 01:01+00', 0, 90, '{}'), ('free',
		'2024-05-02 01:02+00', 10, 80, '{}'),
	('free and topped up', '2024-05-02 01:00+00', 10, 90, '{}'), ('free and topped up', '2024-05-02 01:01+00', 0,
		190, '{}'),
	('free and topped up', '2024-05-02 01:02+00', 10, 180, '{}'), ('free at first', '2024-05-02 01:00+00', 0, 90, '{}'),
	-- the same balances again and again
	('recurring', '2024-05-02 01:00+00', 10, 90, '{}'), ('recurring', '2024-05-02 01:01+00', 10, 90, '{}'),
	('recurring', '2024-05-02 01:02+00', 10, 80, '{}'),
	-- what is no booking explains nothing, and needs no explanation
	('no booking', '2024-05-02 01:00+00', 10, 90, '{}'), ('no booking', '2024-05-02 01:01+00', 10, 40,
		'{"state": "failed"}'),
	('no booking', '2024-05-02 01:02+00', 10, 30, '{"testing": true}'), ('no booking', '2024-05-02 01:03+00', NULL,
		20, '{}'),
	('no booking', '2024-05-02 01:04+00', 10, NULL, '{}'), ('no booking', '2024-05-02 01:05+00', 10, 80, '{}'),
	-- not used for longer than anybody looks back
	('long ago', '2024-05-02 01:00+00', 10, 90, '{}'), ('long ago', '2024-08-02 01:00+00', 10, 490, '{}'),
	('long ago', '2024-08-02 01:01+00', 10, 480, '{}');
SELECT pg_temp.pay(account || ' ' || no, jsonb_build_object('requested_at', requested_at, 'replied_at',
	requested_at + interval '1 s',
	'final_at', requested_at + interval '1 s', 'price', price, 'balance', balance, 'account',
		account) || more) IS NULL AS ignored
FROM story \g /dev/null
CREATE FUNCTION pg_temp.gaps(which text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(format('%s: %s, not %s: %s', to_char(g.day, 'MM-DD'), g.found, g.expected, g.difference), '; '
		ORDER BY g.replied_at)
	FROM digipay_balance_gap AS g WHERE g.account = which $$;
SELECT is(pg_temp.gaps(account), gaps, 'digipay_balance_gap: ' || account)
FROM (SELECT DISTINCT account FROM story) AS s LEFT JOIN (VALUES
	('one', '05-02: 140, not 90: 50'), ('topped up', '05-02: 590, not 90: 500'), ('drained', '05-02: 60, not 90: -30'),
	('topped up at night', '05-04: 190, not 90: 100'), ('refunded', '05-02: 100, not 90: 10'),
	('free and topped up', '05-02: 190, not 90: 100'), ('recurring', '05-02: 100, not 90: 10'),
	('late answer', '05-02: 90, not 100: -10; 05-03: 95, not 85: 10'), ('long ago', NULL)) AS w (account,
		gaps) USING (account) ORDER BY account;
SELECT is((SELECT count(*) FROM digipay_balance_gap WHERE day BETWEEN '2024-05-02' AND '2024-05-02'),
	(SELECT count(*) FROM digipay_balance_gap WHERE day = '2024-05-02'), 'the same by a condition on the day');
SELECT is((SELECT count(*) FROM digipay_balance_gap WHERE day = '2024-05-02'), 7::bigint, 'seven of that day');

-- an account that is seldom used, beside one that is used all the time
SELECT pg_temp.pay('busy-' || i, jsonb_build_object('account', 'busy', 'price', 1, 'balance', 100000 - i,
	'requested_at', at, 'replied_at', at))
	IS NULL AS ignored FROM generate_series(1, 3000) AS i,
		LATERAL (SELECT timestamptz '2024-05-03 00:00+00' + i * interval '20 s' AS at) AS t
\g /dev/null
SELECT pg_temp.pay(account || no, jsonb_build_object('account', account, 'price', 10, 'balance', balance,
	'requested_at', at, 'replied_at', replied_at))
	IS NULL AS ignored FROM (VALUES ('seldom', 1, 90, '2024-05-02 20:00+00', '2024-05-02 20:00+00'),
	('seldom', 2, 80, '2024-05-03 18:00:00+00', '2024-05-03 18:00:05+00'), ('seldom', 3, 70,
		'2024-05-03 18:00:01+00', '2024-05-03 18:00:03+00'),
	('seldom topped up', 1, 90, '2024-05-02 20:00+00', '2024-05-02 20:00+00'), ('seldom topped up', 2, 580,
		'2024-05-03 18:00+00', '2024-05-03 18:00+00'))
	AS s (account, no, balance, at, replied_at) \g /dev/null
SELECT is(pg_temp.gaps('busy'), NULL, 'digipay_balance_gap: busy');
SELECT is(pg_temp.gaps('seldom'), NULL, 'digipay_balance_gap: seldom');
SELECT is(pg_temp.gaps('seldom topped up'), '05-04: 590, not 90: 500', 'digipay_balance_gap: seldom topped up');

SELECT results_eq($$SELECT day, opening, lowest, highest, closing, paid, last_reply FROM digipay_balance_trend
		WHERE account = 'in order'$$, $$VALUES (date '2024-05-02', 100000::numeric, 0::numeric, 90000::numeric,
			0::numeric,
		100000::numeric, timestamptz '2024-05-02 01:02:01+00')$$, 'digipay_balance_trend');
SELECT results_eq($$SELECT day, opening, lowest, highest, closing, paid FROM digipay_balance_trend
	WHERE account = 'topped up'$$,
	$$VALUES (date '2024-05-02', 100::numeric, 90::numeric, 580::numeric, 570::numeric, 30::numeric)$$,
		'digipay_balance_trend with a top-up');
SELECT is((SELECT closing FROM digipay_balance_trend WHERE account = 'refunded by call-back'
	AND day = '2024-05-02'), 70::numeric,
	'digipay_balance_trend closes with the last booking, whatever is heard of others later');
SELECT results_eq($$SELECT day, opening, closing, paid FROM digipay_balance_trend WHERE account IN ('next day',
	'late') ORDER BY account, day$$,
	$$VALUES (date '2024-05-02', 105::numeric, 85::numeric, 10::numeric), ('2024-05-03', 100, 90, 10),
	('2024-05-02', 100, 90, 10), ('2024-05-03', 90, 80, 10), ('2024-05-10', 80, 70, 10)$$,
		'by the day of the reply, where it was asked for');
SELECT results_eq($$SELECT opening, closing, paid FROM digipay_balance_trend WHERE account = 'no booking'$$,
	$$VALUES (100::numeric, 80::numeric, 20::numeric)$$, 'digipay_balance_trend of bookings only');
SELECT is((SELECT count(*) FROM digipay_booking WHERE account = 'no booking'), 2::bigint,
	'digipay_booking has bookings only');
SELECT results_eq($$SELECT day, price, balance FROM digipay_booking WHERE account = 'late' ORDER BY balance DESC$$,
	$$VALUES (date '2024-05-02', 5::numeric, 100::numeric), ('2024-05-03', 10, 90), ('2024-05-02', 5, 85)$$,
		'digipay_booking');

--
-- No test is in any of them
--
DELETE FROM digipay_payment;
SELECT pg_temp.pay('real-' || i, jsonb_build_object('state', s, 'price', 10, 'balance', 1000 - 10 * i,
	'selling_price', 20 + i, 'rc', '00',
	'replied_at', '2024-05-01 17:00:05+00', 'final_at', '2024-05-01 17:00:05+00', 'desc',
		'{"detail": {"nilai_tagihan": "7"}}'::jsonb))
	IS NULL AS ignored FROM unnest(enum_range(NULL::digipay_state)) WITH ORDINALITY AS s (s, i) \g /dev/null
CREATE TEMPORARY TABLE report (name text);
INSERT INTO report VALUES ('digipay_bill'), ('digipay_daily'), ('digipay_product_stats'), ('digipay_response_stats'),
	('digipay_pending_age'), ('digipay_booking'), ('digipay_balance_trend'), ('digipay_balance_gap'),
	('digipay_amount_mismatch'), ('digipay_product_payment'), ('digipay_pln'),
	('digipay_product_stats(''2024-05-01'', ''2024-05-03'')');
CREATE FUNCTION pg_temp.contents(report text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	contents text;
BEGIN
	EXECUTE format('SELECT string_agg(j, chr(10) ORDER BY j) FROM (SELECT (to_jsonb(r) - ''oldest'')::text AS j FROM %s AS r) AS j', report)
	INTO contents;
	RETURN contents;
END $$;
CREATE TEMPORARY TABLE before AS SELECT name, pg_temp.contents(name) AS contents FROM report;
SELECT ok(contents <> '', name || ' has something') FROM before;
SELECT pg_temp.pay('test-' || i, jsonb_build_object('state', s, 'price', 10, 'balance', 77777 + i, 'selling_price',
	20 + i, 'rc', '99',
	'replied_at', '2024-05-01 17:00:05+00', 'final_at', '2024-05-01 17:00:05+00', 'testing', true, 'status_checks',
		i % 2,
	'desc', '{"detail": {"nilai_tagihan": "7"}}'::jsonb))
	IS NULL AS ignored FROM unnest(enum_range(NULL::digipay_state)) WITH ORDINALITY AS s (s, i) \g /dev/null
SELECT is(pg_temp.contents(name), contents, 'no test is in ' || name) FROM before;
DELETE FROM digipay_payment WHERE testing;

--
-- digipay_rupiah and digipay_receipt
--
SELECT is(digipay_rupiah(amount), wanted, format('%s rupiah', amount)) FROM (VALUES
	(11000, 'Rp 11.000'), (0, 'Rp 0'), (999, 'Rp 999'), (1000, 'Rp 1.000'), (1234567890, 'Rp 1.234.567.890'),
		(-5000, 'Rp -5.000'),
	(1234567.5, 'Rp 1.234.567,50'), (0.05, 'Rp 0,05'), (11000.00, 'Rp 11.000'), (123456789012345678,
		'Rp 123.456.789.012.345.678'),
	(NULL, NULL)) AS r (amount, wanted);
SELECT unalike(digipay_rupiah(1e18), '%#%', 'an amount with more digits is one, too');

DELETE FROM digipay_payment;
SELECT count(pg_temp.pay('sample-' || family, data - '{ref_id, status, rc, balance}'::text[] || '{"rc": "00",
	"status": "Sukses", "final_at": "2024-05-01 17:30:02+00"}')) AS samples FROM sample \gset
SELECT is(digipay_receipt('sample-pln'), $$STRUK PEMBAYARAN PLN
----------------------------------------
Tanggal        : 02-05-2024 00:30 WIB
No. Ref        : sample-pln
ID Pelanggan   : 530000000001
Nama           : Nama Pelanggan Pertama
Tarif          : R1
Daya           : 1300 VA
----------------------------------------
Tagihan 01/2019                 Rp 8.000
  Denda                           Rp 500
Admin                           Rp 2.500
----------------------------------------
TOTAL                          Rp 11.000
$$, 'the receipt of pln');
SELECT is(digipay_receipt('sample-internet'), $$STRUK PEMBAYARAN INTERNET
----------------------------------------
Tanggal        : 02-05-2024 00:30 WIB
No. Ref        : sample-internet
ID Pelanggan   : 6391601001
Nama           : Nama Pelanggan
----------------------------------------
Tagihan 05/2019                 Rp 8.000
Tagihan 06/2019                Rp 11.500
Admin                           Rp 5.000
----------------------------------------
TOTAL                          Rp 24.500
----------------------------------------
SN             : I1234554321N
$$, 'the receipt of two months');
-- what every receipt has: the amounts add up, and the lines are no longer than a slip of paper
CREATE FUNCTION pg_temp.amounts(receipt text) RETURNS numeric[] LANGUAGE sql AS $$
	SELECT array_agg(replace(replace((regexp_match(line, 'Rp (-?[0-9.]+(?:,[0-9]+)?)$'))[1], '.', ''), ',',
		'.')::numeric ORDER BY no)
	FROM regexp_split_to_table(receipt, E'\n') WITH ORDINALITY AS l (line, no) WHERE line ~ ' Rp [-0-9.,]+$' $$;
SELECT t FROM sample, digipay_receipt('sample-' || family) AS receipt, pg_temp.amounts(receipt) AS amounts,
	unnest(ARRAY[
	is((SELECT sum(a) FROM unnest(amounts[:array_length(amounts, 1) - 1]) AS a), (data->>'selling_price')::numeric,
	family || ': the lines of the receipt add up'),
	is(amounts[array_length(amounts, 1)], (data->>'selling_price')::numeric, family || ': to its total'),
	matches(receipt, '^STRUK PEMBAYARAN ' || upper(family) || E'\n', family || ': its head'),
	ok(position(E'\nNama           : ' || (data->>'name') || E'\n' IN receipt) > 0, family || ': the name'),
	ok(position(E'\nID Pelanggan   : ' || (data->>'customer_no') || E'\n' IN receipt) > 0, family || ': the number'),
	is(position(E'\nSN             : ' || (data->>'sn') || E'\n' IN receipt) > 0, data->>'sn' <> '',
		family || ': the proof, if there is one')]) AS t;
SELECT matches(digipay_receipt('sample-' || family), E'\n' || line || E'\n', family || ': ' || line) FROM (VALUES
	('bpjs', 'Tagihan 1 bulan +Rp 22.500'), ('bpjs', 'Peserta        : 2'), ('multifinance', 'Tagihan ke-2 +Rp 22.500'),
	('multifinance', 'No. Polisi     : B6213UWX'), ('pbb', 'Tagihan 2019 +Rp 97.500'), ('pgas',
		'Tagihan 03/2020 +Rp 97.500'),
	('tv', 'Tagihan 05/2022 +Rp 97.500'), ('pdam', '  Biaya lain +Rp 1.500'), ('samsat', 'No. Polisi     : DK 1243AL'),
	('plnnontaglis', 'Transaksi      : PENYAMBUNGAN BARU'), ('emoney', 'Tagihan +Rp 97.500')) AS l (family, line);

-- for what is no success there is none
SELECT pg_temp.pay('state-' || s, jsonb_build_object('state', s, 'selling_price', 5, 'final_at',
	now())) IS NULL AS ignored
FROM unnest(enum_range(NULL::digipay_state)) AS s \g /dev/null
SELECT pg_temp.pay('test',
	'{"testing": true, "selling_price": 5, "final_at": "2024-05-01 17:30:02+00"}') IS NULL AS ignored \g /dev/null
SELECT is(digipay_receipt('state-' || s) IS NOT NULL, s = 'succeeded', 'a receipt for ' || s)
	FROM unnest(enum_range(NULL::digipay_state)) AS s;
SELECT is(digipay_receipt('test'), NULL, 'no receipt for a test');
SELECT is(digipay_receipt('nobody'), NULL, 'no receipt for what is not there');
SELECT is(digipay_receipt(NULL), NULL, 'no receipt for nothing');
SELECT is(digipay_receipt('sample-pln', 'other'), NULL, 'no receipt from another server');
SELECT is(digipay_receipt('sample-pln', 'digipay'), digipay_receipt('sample-pln'), 'the server may be named');
-- the same ref_id under two servers
SELECT pg_temp.pay('sample-pln',
	'{"server": "other", "account": "demo@b", "name": "Lain", "selling_price": 5, "final_at": "2024-05-01 17:30:02+00"}')
	IS NULL AS ignored \g /dev/null
SELECT matches(digipay_receipt('sample-pln', 'other'), 'Lain', 'of the server that is named');
SELECT matches(digipay_receipt('sample-pln'), 'Nama Pelanggan Pertama', 'or of the usual one');
SET LOCAL digipay.server = 'other';
SELECT matches(digipay_receipt('sample-pln'), 'Lain', 'which a setting names');
RESET digipay.server;
-- an unknown code, and little known
SELECT pg_temp.pay('bare',
	'{"code": "garut", "selling_price": 5000, "final_at": "2024-05-01 17:30:02+00"}') IS NULL AS ignored \g /dev/null
SELECT matches(digipay_receipt('bare'),
	E'^STRUK PEMBAYARAN GARUT\n(.*\n)*Tagihan +Rp 5.000\n-+\nTOTAL +Rp 5.000\n$', 'a receipt of an unknown code');
SELECT pg_temp.pay('nothing', '{"customer_no": "", "selling_price": null}') IS NULL AS ignored \g /dev/null
SELECT ok(digipay_receipt('nothing') <> '', 'a receipt of which little is known');

-- what a biller writes does not make lines of its own, nor speak to a printer or a terminal
SELECT pg_temp.pay('evil', replace($${"name": "A~TOTAL Rp 1", "sn": "S~TOTAL Rp 1", "customer_no": "1~TOTAL Rp 1",
	"periode": "x~TOTAL Rp 1",
	"selling_price": 5000, "admin": 100, "final_at": "2024-05-01 17:30:02+00", "desc": {"alamat": "A~TOTAL Rp 1",
		"tarif": "T~TOTAL Rp 1",
	"daya": "1~TOTAL Rp 1", "jumlah_peserta": "1~TOTAL Rp 1", "item_name": "1~TOTAL Rp 1", "no_pol": "1~TOTAL Rp 1",
	"tenor": "1~TOTAL Rp 1", "transaksi": "1~TOTAL Rp 1", "no_registrasi": "1~TOTAL Rp 1",
		"tahun_pajak": "1~TOTAL Rp 1",
	"detail": [{"periode": "P~TOTAL Rp 1", "nilai_tagihan": 4900}]}}$$, '~',
		'\r\n\u001b[2J\u0007\u007f')::jsonb) IS NULL AS ignored \g /dev/null
SELECT unalike(translate(digipay_receipt('evil'), E'\n', ''), '%' || c || '%',
	'no control character in a receipt: ' || ascii(c))
FROM unnest(ARRAY[E'\r', E'\x1b', E'\x07', E'\x7f']) AS c;
SELECT is((SELECT count(*) FROM regexp_split_to_table(digipay_receipt('evil'), '[\r\n]') AS line
	WHERE line LIKE 'TOTAL%'), 1::bigint,
	'and one total');
SELECT pg_temp.pay('evil 2', '{"selling_price": 5000, "final_at": "2024-05-01 17:30:02+00", "desc": {"detail": [
	{"periode": "Rp 1\u000a\u000aTOTAL          Rp 1"}], "alamat": {"a": [1]}, "daya": [1], "tarif": null}}') IS NULL AS ignored \g /dev/null
SELECT is((SELECT count(*) FROM regexp_split_to_table(digipay_receipt('evil 2'), '\n') AS line
	WHERE line LIKE 'TOTAL%'), 1::bigint,
	'one total, whatever a period says');

--
-- Who may: nobody, until somebody says so
--
CREATE ROLE regress_reader;
SET LOCAL ROLE regress_reader;
SELECT throws_ok('SELECT * FROM ' || r.name, '42501', NULL, 'not for everybody: ' || r.name)
FROM (VALUES ('digipay_bill'), ('digipay_daily'), ('digipay_product_stats'), ('digipay_response_stats'),
	('digipay_pending_age'),
	('digipay_booking'), ('digipay_balance_trend'), ('digipay_balance_gap'), ('digipay_amount_mismatch'),
		('digipay_product_payment'),
	('digipay_product_family'), ('digipay_product'), ('digipay_pln'),
		('digipay_product_stats(current_date, current_date)'),
	('digipay_receipt(''x'')'), ('digipay_purge(''2000-01-01'')')) AS r (name);
RESET ROLE;
-- each alone is enough to read by
SELECT format('GRANT SELECT ON %s TO regress_reader', name) FROM report WHERE name NOT LIKE '%(%'
	AND name <> 'digipay_product_payment' \gexec
SET LOCAL ROLE regress_reader;
SELECT lives_ok('SELECT * FROM ' || r.name, 'for who is granted it: ' || r.name)
FROM (VALUES ('digipay_bill'), ('digipay_daily'), ('digipay_product_stats'), ('digipay_response_stats'),
	('digipay_pending_age'),
	('digipay_booking'), ('digipay_balance_trend'), ('digipay_balance_gap'), ('digipay_amount_mismatch'),
		('digipay_pln')) AS r (name);
SELECT throws_ok('SELECT * FROM digipay_payment', '42501', NULL, 'and not the journal with it');
RESET ROLE;
GRANT EXECUTE ON FUNCTION digipay_receipt, digipay_product_stats TO regress_reader;
GRANT SELECT ON digipay_product_payment TO regress_reader;
SET LOCAL ROLE regress_reader;
SELECT lives_ok('SELECT digipay_receipt(''sample-pln''), digipay_product_stats(current_date, current_date)',
	'the functions, with what they read');
RESET ROLE;

--
-- A condition on the day reads those days, in a journal that is worth an index
--
DELETE FROM digipay_payment;
INSERT INTO digipay_payment (ref_id, state, code, customer_no, price, selling_price, admin, balance, "desc", rc,
	testing, requested_at,
	sent_at, replied_at, final_at, server, account, requested_by, status_checks, origin)
SELECT 'big-' || i, CASE WHEN i % 20 = 0 THEN 'failed' ELSE 'succeeded' END::digipay_state,
	CASE WHEN i % 3 = 0 THEN 'pln' ELSE 'hp' END,
	'1', 10, 12, 2, 1000000000 - 10 * i, '{"detail": [{"periode": "201901", "nilai_tagihan": "10"}]}', '00', false,
		at, at, at + interval '1 s',
	at + interval '1 s', 'digipay', 'demo@' || i % 2, 'regress', (i % 1000 = 0)::integer,
		'00000000-0000-0000-0000-000000000000'
FROM generate_series(1, 40000) AS i,
	LATERAL (SELECT timestamptz '2024-01-01 17:00+00' + i * interval '18 min' AS at) AS t;
ANALYZE digipay_payment;
CREATE FUNCTION pg_temp.plan(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	line text;
	plan text := '';
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS off) ' || query LOOP
		plan := plan || line || E'\n';
	END LOOP;
	RETURN plan;
END $$;
-- how many rows of the journal a query reads
CREATE FUNCTION pg_temp.rows_read(query text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	before bigint := (SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_all_tables
		WHERE relid = 'digipay_payment'::regclass);
BEGIN
	EXECUTE 'SELECT count(*) FROM (' || query || ' OFFSET 0) AS q';
	RETURN (SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_all_tables
		WHERE relid = 'digipay_payment'::regclass) - before;
END $$;
-- 80 payments a day; a gap is looked for among a thousand payments before and after, too
CREATE TEMPORARY TABLE asked AS
SELECT c.days, c.days * 80 AS payments, format('SELECT * FROM %s WHERE %s', r.name, c.condition) AS query
FROM report AS r, (VALUES (1, 'day = ''2024-07-01'''), (31, 'day BETWEEN ''2024-07-01'' AND ''2024-07-31'''),
	(7, 'day >= date ''2024-07-15'' - 7 AND day < ''2024-07-15''')) AS c (days, condition)
WHERE r.name NOT LIKE '%(%' AND r.name <> 'digipay_pending_age'
UNION ALL
SELECT 31, 31 * 80, 'SELECT * FROM digipay_product_stats(''2024-07-01'', ''2024-07-31'')';
SELECT is(CASE WHEN plan NOT LIKE '%digipay_payment_day_idx%' OR plan LIKE '%Seq Scan on digipay_payment%' THEN plan END, NULL,
	query || ': by the index')
FROM asked, pg_temp.plan(query) AS plan ORDER BY query;
SELECT t FROM asked, unnest(ARRAY[
	cmp_ok(pg_temp.rows_read(query), '<=',
		(2 * payments + CASE WHEN query LIKE '%gap%' THEN 2100 * days ELSE 0 END)::bigint,
	query || ': reads those days'),
	cmp_ok(pg_temp.rows_read(query), '>=', (payments / 2)::bigint, query || ': it does read')]) AS t;
SELECT unalike(pg_temp.plan('SELECT * FROM digipay_pending_age'), '%Seq Scan on digipay_payment%',
	'digipay_pending_age reads what is open');
SELECT cmp_ok(pg_temp.rows_read('SELECT * FROM digipay_pending_age'), '<=', 1::bigint, 'and no more');
SELECT cmp_ok(pg_temp.rows_read('SELECT digipay_receipt(''big-77'')'), '<=', 2::bigint, 'a receipt reads its payment');

SELECT * FROM finish();
ROLLBACK;
