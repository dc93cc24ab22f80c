--
-- The tables, the view and the types: columns in order, with types and defaults
--
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT * FROM no_plan();

CREATE FUNCTION pg_temp.columns(relation regclass)
RETURNS TABLE (name name, type text, kind text) LANGUAGE sql AS $$
	SELECT a.attname, format_type(a.atttypid, a.atttypmod),
		concat_ws(' ', CASE WHEN a.attnotnull THEN 'NOT NULL' END,
			CASE WHEN a.attidentity <> '' THEN 'IDENTITY ' || a.attidentity::text END,
			CASE a.attgenerated WHEN 's' THEN 'STORED ' || pg_get_expr(d.adbin, d.adrelid)
				ELSE 'DEFAULT ' || pg_get_expr(d.adbin, d.adrelid) END)
	FROM pg_attribute AS a LEFT JOIN pg_attrdef AS d ON a.attrelid = d.adrelid
		AND a.attnum = d.adnum
	WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum $$;

SELECT results_eq('SELECT * FROM pg_temp.columns(''digipay_payment'')', $$VALUES
	('ref_id'::name, 'text', 'NOT NULL'),
	('state', 'digipay_state', 'NOT NULL'),
	('code', 'text', 'NOT NULL'),
	('customer_no', 'text', 'NOT NULL'),
	('name', 'text', ''),
	('price', 'numeric', ''),
	('selling_price', 'numeric', ''),
	('admin', 'numeric', ''),
	('base_commission', 'numeric', ''),
	('balance', 'numeric', ''),
	('status', 'text', ''),
	('rc', 'text', ''),
	('message', 'text', ''),
	('sn', 'text', ''),
	('periode', 'text', ''),
	('desc', 'jsonb', ''),
	('error', 'text', ''),
	('testing', 'boolean', 'NOT NULL'),
	('requested_at', 'timestamp with time zone', 'NOT NULL'),
	('not_after', 'timestamp with time zone', ''),
	('sent_at', 'timestamp with time zone', ''),
	('replied_at', 'timestamp with time zone', ''),
	('final_at', 'timestamp with time zone', ''),
	('day', 'date', 'NOT NULL STORED (timezone(''Asia/Jakarta''::text, requested_at))::date'),
	('server', 'name', 'NOT NULL'),
	('account', 'text', 'NOT NULL'),
	('requested_by', 'name', 'NOT NULL'),
	('status_checks', 'integer', 'NOT NULL DEFAULT 0'),
	('next_check_at', 'timestamp with time zone', ''),
	('http_status', 'integer', ''),
	('max_price', 'numeric', ''),
	('reply', 'jsonb', ''),
	('origin', 'uuid', 'NOT NULL')$$, 'digipay_payment');

SELECT results_eq('SELECT * FROM pg_temp.columns(''digipay_inquiry'')', $$VALUES
	('ref_id'::name, 'text', 'NOT NULL'),
	('code', 'text', 'NOT NULL'),
	('customer_no', 'text', 'NOT NULL'),
	('name', 'text', ''),
	('price', 'numeric', ''),
	('selling_price', 'numeric', ''),
	('admin', 'numeric', ''),
	('base_commission', 'numeric', ''),
	('balance', 'numeric', ''),
	('status', 'text', ''),
	('rc', 'text', ''),
	('message', 'text', ''),
	('sn', 'text', ''),
	('periode', 'text', ''),
	('desc', 'jsonb', ''),
	('error', 'text', ''),
	('testing', 'boolean', 'NOT NULL'),
	('inquired_at', 'timestamp with time zone', 'NOT NULL'),
	('server', 'name', 'NOT NULL'),
	('account', 'text', 'NOT NULL'),
	('requested_by', 'name', 'NOT NULL'),
	('http_status', 'integer', ''),
	('reply', 'jsonb', '')$$, 'digipay_inquiry');
SELECT is_empty($$SELECT name, type FROM pg_temp.columns('digipay_inquiry')
	WHERE name <> 'inquired_at'
	EXCEPT SELECT name, type FROM pg_temp.columns('digipay_payment')$$,
	'an inquiry''s columns are those of a payment, but for inquired_at');

SELECT results_eq('SELECT * FROM pg_temp.columns(''digipay_event'')', $$VALUES
	('id'::name, 'bigint', 'NOT NULL IDENTITY a'),
	('server', 'name', 'NOT NULL'),
	('ref_id', 'text', 'NOT NULL'),
	('at', 'timestamp with time zone', 'NOT NULL DEFAULT clock_timestamp()'),
	('kind', 'text', 'NOT NULL'),
	('http_status', 'integer', ''),
	('curl_code', 'integer', ''),
	('note', 'text', ''),
	('body', 'bytea', '')$$, 'digipay_event');

SELECT results_eq('SELECT * FROM pg_temp.columns(''digipay_fence'')', $$VALUES
	('only_row'::name, 'boolean', 'NOT NULL DEFAULT true'),
	('origin', 'uuid', 'NOT NULL'), ('system_identifier', 'bigint', 'NOT NULL'),
	('timeline', 'integer', 'NOT NULL'), ('database', 'oid', 'NOT NULL'),
	('device', 'bigint', 'NOT NULL'), ('inode', 'bigint', 'NOT NULL'),
	('since', 'timestamp with time zone', 'NOT NULL DEFAULT clock_timestamp()'),
	('ask_first', 'boolean', 'NOT NULL DEFAULT false')$$, 'digipay_fence');

SELECT results_eq('SELECT * FROM pg_temp.columns(''digipay_unsettled'')', $$VALUES
	('server'::name, 'name', ''), ('ref_id', 'text', ''), ('state', 'digipay_state', ''),
	('code', 'text', ''), ('customer_no', 'text', ''), ('age', 'interval', ''),
	('next', 'text', ''), ('next_at', 'timestamp with time zone', ''),
	('not_after', 'timestamp with time zone', ''), ('status_checks', 'integer', ''),
	('rc', 'text', ''), ('message', 'text', ''), ('why', 'text', ''),
	('testing', 'boolean', '')$$, 'digipay_unsettled');

SELECT results_eq('SELECT * FROM pg_temp.columns(''digipay_response_code'')', $$VALUES
	('rc'::name, 'text', ''), ('meaning', 'text', ''), ('status', 'text', ''),
	('created', 'boolean', ''),
	('on_pay', 'text', ''), ('on_status', 'text', ''), ('on_webhook', 'text', '')$$,
	'digipay_response_code');

SELECT results_eq('SELECT * FROM pg_temp.columns(''digipay_detail_row'')', $$VALUES
	('no'::name, 'integer', ''), ('periode', 'text', ''), ('nilai_tagihan', 'numeric', ''),
	('admin', 'numeric', ''),
	('denda', 'numeric', ''), ('biaya_lain', 'numeric', ''), ('meter_awal', 'text', ''),
	('meter_akhir', 'text', ''),
	('no_ref', 'text', ''), ('usage', 'text', ''), ('extra', 'jsonb', '')$$, 'digipay_detail_row');

SELECT enum_has_labels('digipay_state'::name,
	'{queued, sending, not_sent, pending, unknown, succeeded, failed, rejected,
	refunded, cancelled, review}'::name[], 'the states, in order');

-- these relations and types, and no others (an identity column's sequence is the table's own)
SELECT set_eq($$SELECT c.relname, c.relkind FROM pg_class AS c
	JOIN pg_depend AS d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid
	WHERE d.deptype = 'e' AND d.refobjid = (SELECT oid FROM pg_extension
		WHERE extname = 'digipay')$$,
	$$VALUES ('digipay_payment'::name, 'r'::"char"), ('digipay_inquiry', 'r'),
		('digipay_event', 'r'),
	('digipay_event_id_seq', 'S'), ('digipay_fence', 'r'), ('digipay_response_code', 'v'),
	('digipay_unsettled', 'v')$$,
	'these relations and no others');
SELECT set_eq($$SELECT t.typname FROM pg_type AS t
	JOIN pg_depend AS d ON d.classid = 'pg_type'::regclass AND d.objid = t.oid
	WHERE d.deptype = 'e' AND d.refobjid = (SELECT oid FROM pg_extension
		WHERE extname = 'digipay')$$,
	$$VALUES ('digipay_state'::name), ('digipay_detail_row')$$, 'these types and no others');

-- keys and indexes, with their names, since the code looks them up by these
SELECT results_eq($$SELECT format('%s: %s', c.conname,
	pg_get_constraintdef(c.oid)) COLLATE "default"
	FROM pg_constraint AS c WHERE c.conrelid IN ('digipay_payment'::regclass,
		'digipay_inquiry'::regclass,
		'digipay_event'::regclass, 'digipay_fence'::regclass) AND c.contype <> 'n'
			ORDER BY c.conname COLLATE "C"$$, ARRAY[
	'digipay_event_pkey: PRIMARY KEY (id)',
	'digipay_fence_only_row_check: CHECK (only_row)',
	'digipay_fence_pkey: PRIMARY KEY (only_row)',
	'digipay_inquiry_pkey: PRIMARY KEY (server, ref_id)',
	'digipay_payment_account_ref_id_key: UNIQUE (account, ref_id)',
	'digipay_payment_pkey: PRIMARY KEY (server, ref_id)'], 'the keys');
SELECT results_eq($$SELECT regexp_replace(pg_get_indexdef(i.indexrelid), ' ON \S*digipay_',
	' ON digipay_')
	FROM pg_index AS i
	WHERE i.indrelid IN ('digipay_payment'::regclass, 'digipay_inquiry'::regclass,
		'digipay_event'::regclass, 'digipay_fence'::regclass)
		AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = i.indexrelid)
	ORDER BY i.indexrelid::regclass::text COLLATE "C"$$, ARRAY[
	'CREATE INDEX digipay_event_ref_id_idx ON digipay_event USING btree (ref_id, server)',
	'CREATE INDEX digipay_event_verdict_idx ON digipay_event USING btree (id) '
		'WHERE (kind = ANY (ARRAY[''cancelled''::text, ''settled''::text]))',
	'CREATE INDEX digipay_payment_next_check_at_idx ON digipay_payment USING btree (next_check_at) '
		'WHERE (next_check_at IS NOT NULL)'],
	'the other indexes: the journal''s is on what is not final');

-- how they are stored
SELECT is(c.relpersistence, 'p'::"char", c.relname || ' is logged') FROM pg_class AS c
WHERE c.relname IN ('digipay_payment', 'digipay_inquiry', 'digipay_event', 'digipay_fence')
	ORDER BY c.relname;
SELECT is(c.reloptions, '{fillfactor=50}'::text[],
	'the journal''s pages have room for updates in place')
FROM pg_class AS c WHERE c.oid = 'digipay_payment'::regclass;
SELECT ok(NOT c.relrowsecurity AND NOT c.relhasrules AND NOT c.relhastriggers,
	c.relname || ' has no policy, rule or trigger')
FROM pg_class AS c WHERE c.relname IN ('digipay_payment', 'digipay_inquiry', 'digipay_event',
	'digipay_fence') ORDER BY c.relname;

-- a dump carries the journal, but not the mark of whose it is
SELECT set_eq($$SELECT c::regclass::text, w FROM pg_extension,
	unnest(extconfig, extcondition) AS u (c, w) WHERE extname = 'digipay'$$,
	$$VALUES ('digipay_payment', ''), ('digipay_inquiry', ''), ('digipay_event', ''),
		('digipay_event_id_seq', '')$$,
	'what a dump carries');

SELECT is((SELECT extrelocatable FROM pg_extension WHERE extname = 'digipay'), false,
	'the extension stays in its schema');

SELECT * FROM finish();
ROLLBACK;
