--
-- The functions: arguments, results, labels, and who may call them
--
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT * FROM no_plan();

CREATE TEMPORARY TABLE contract (name name, arguments text, result text, volatility text,
	strict boolean, parallel text, public boolean, at_once boolean);
INSERT INTO contract VALUES
-- what calls out or concerns the worker: not STRICT, so that a NULL is an error
('digipay_pay', 'code text, customer_no text, ref_id text, testing boolean DEFAULT NULL::boolean, '
	'server name DEFAULT NULL::name, max_price numeric DEFAULT NULL::numeric',
	'digipay_payment', 'volatile', false, 'unsafe', false, true),
('digipay_submit', 'code text, customer_no text, ref_id text, testing boolean DEFAULT NULL::boolean, '
	'server name DEFAULT NULL::name, max_price numeric DEFAULT NULL::numeric, '
	'not_after timestamp with time zone DEFAULT NULL::timestamp with time zone',
	'digipay_payment', 'volatile', false, 'unsafe', false, true),
('digipay_wait', 'ref_id text, timeout interval DEFAULT ''00:01:30''::interval, '
	'server name DEFAULT NULL::name', 'digipay_payment', 'volatile', false, 'unsafe', false, true),
('digipay_wait_all', 'ref_ids text[], timeout interval DEFAULT ''00:01:30''::interval, '
	'server name DEFAULT NULL::name', 'SETOF digipay_payment',
	'volatile', false, 'unsafe', false, true),
('digipay_status', 'ref_id text, server name DEFAULT NULL::name, refresh boolean DEFAULT false',
	'digipay_payment', 'volatile', false, 'unsafe', false, true),
('digipay_retry', 'ref_id text, server name DEFAULT NULL::name', 'digipay_payment',
	'volatile', false, 'unsafe', false, true),
('digipay_cancel', 'ref_id text, server name DEFAULT NULL::name', 'digipay_payment',
	'volatile', false, 'unsafe', false, true),
('digipay_settle', 'ref_id text, outcome digipay_state, note text, server name DEFAULT NULL::name',
	'digipay_payment', 'volatile', false, 'unsafe', false, true),
('digipay_webhook', 'body bytea, signature text, server name DEFAULT NULL::name',
	'digipay_payment', 'volatile', false, 'unsafe', false, true),
('digipay_take_over', 'lost_nothing boolean DEFAULT false', 'void',
	'volatile', false, 'unsafe', false, true),
('digipay_stats', '', 'TABLE(started_at timestamp with time zone, sent bigint, succeeded bigint, '
	'failed bigint, rejected bigint, refunded bigint, pending bigint, unknown bigint, '
	'not_sent bigint, review bigint, cancelled bigint, status_questions bigint, retries bigint, '
	'bytes_sent bigint, bytes_received bigint, reply_ms_avg numeric, reply_ms_max numeric, '
	'in_flight bigint, queue_length bigint, webhooks bigint, webhooks_refused bigint)',
	'volatile', false, 'unsafe', false, true),
('digipay_inquire', 'code text, customer_no text, ref_id text, '
	'testing boolean DEFAULT NULL::boolean, server name DEFAULT NULL::name, '
	'year integer DEFAULT NULL::integer, amount numeric DEFAULT NULL::numeric',
	'digipay_inquiry', 'volatile', false, 'unsafe', false, true),
('digipay_health', 'server name DEFAULT NULL::name',
	'TABLE(item text, ok boolean, detail text, hint text)',
	'volatile', false, 'unsafe', false, true),
('digipay_balance', 'server name DEFAULT NULL::name', 'numeric',
	'volatile', false, 'unsafe', false, true),
('digipay_deposit', 'amount numeric, bank text, owner_name text, server name DEFAULT NULL::name',
	'digipay_ticket', 'volatile', false, 'unsafe', false, true),
('digipay_price_list', 'kind text DEFAULT ''pasca''::text, code text DEFAULT NULL::text, '
	'server name DEFAULT NULL::name', 'TABLE(name text, category text, brand text, type text, '
	'seller_name text, price numeric, admin numeric, commission numeric, code text, '
	'active boolean, buyer_active boolean, seller_active boolean, status text, '
	'unlimited_stock boolean, stock numeric, multi boolean, '
	'start_cut_off time without time zone, end_cut_off time without time zone, '
	'"desc" text, extra jsonb, listed_at timestamp with time zone)',
	'volatile', false, 'unsafe', false, true),
('digipay_sync_products', 'server name DEFAULT NULL::name', 'TABLE(products bigint, added bigint, '
	'changed bigint, gone bigint, back bigint)', 'volatile', false, 'unsafe', false, true),
('digipay_worker_start', '', 'boolean', 'volatile', false, 'unsafe', false, true),
('digipay_worker_stop', '', 'boolean', 'volatile', false, 'unsafe', false, true),
('digipay_purge', 'before date', 'bigint', 'volatile', false, 'unsafe', false, true),
-- what reads the journal for people
('digipay_product_stats', 'since date, until date', 'TABLE(server name, family text, code text, '
	'payments bigint, succeeded bigint, not_succeeded bigint, success_rate numeric, p50 interval, '
	'p95 interval, paid numeric, charged numeric, margin numeric)',
	'stable', false, 'safe', false, true),
('digipay_receipt', 'ref_id text, server name DEFAULT NULL::name', 'text',
	'stable', false, 'safe', false, true),
('digipay_is_open', 'code text, at timestamp with time zone DEFAULT now(), '
	'server name DEFAULT NULL::name', 'boolean', 'stable', false, 'safe', false, true),
-- what only reads its arguments
('digipay_detail', 'payment digipay_payment', 'SETOF digipay_detail_row', 'immutable', true, 'safe',
	true, true),
('digipay_detail_json', '"desc" jsonb', 'SETOF digipay_detail_row', 'immutable', true, 'safe', true,
	true),
('digipay_samsat_no', 'payment_code text, identity_no text', 'text', 'immutable', true, 'safe', true,
	true),
('digipay_response_codes', '', 'TABLE(rc text, meaning text, status text, created boolean, '
	'on_pay text, on_status text, on_webhook text)',
	'immutable', true, 'safe', true, true),
('digipay_period', 'periode text, family text DEFAULT NULL::text, '
	'OUT month daterange, OUT kind text, OUT number integer', 'record',
	'immutable', false, 'safe', true, true),
('digipay_to_numeric', 'value text', 'numeric', 'immutable', true, 'safe', true, true),
('digipay_to_integer', 'value text', 'integer', 'immutable', true, 'safe', true, true),
('digipay_to_date', 'value text', 'date', 'immutable', true, 'safe', true, true),
('digipay_bill_json', '"desc" jsonb, family text, periode text, selling_price numeric, '
	'admin numeric', 'TABLE(no integer, periode text, month daterange, kind text, number integer, '
	'amount numeric, fine numeric, other numeric, admin numeric)',
	'immutable', false, 'safe', true, true),
('digipay_rupiah', 'amount numeric', 'text', 'immutable', true, 'safe', true, true),
('digipay_to_boolean', 'value text', 'boolean', 'immutable', true, 'safe', true, true),
('digipay_to_time', 'value text', 'time without time zone', 'immutable', true, 'safe', true, true),
('digipay_price_list_json', 'list jsonb, dialect text', 'TABLE(name text, category text, brand text, '
	'type text, seller_name text, price numeric, admin numeric, commission numeric, code text, '
	'active boolean, buyer_active boolean, seller_active boolean, status text, '
	'unlimited_stock boolean, stock numeric, multi boolean, '
	'start_cut_off time without time zone, end_cut_off time without time zone, '
	'"desc" text, extra jsonb)', 'immutable', false, 'safe', true, true),
-- what CREATE SERVER calls
('digipay_validator', 'options text[], catalog oid', 'void', 'stable', true, 'safe', true, true);

CREATE TEMPORARY VIEW delivered AS
SELECT p.oid, p.proname AS name, pg_get_function_arguments(p.oid) AS arguments,
	pg_get_function_result(p.oid) AS result,
	CASE p.provolatile WHEN 'i' THEN 'immutable' WHEN 's' THEN 'stable'
		ELSE 'volatile' END AS volatility,
	p.proisstrict AS strict,
	CASE p.proparallel WHEN 's' THEN 'safe' WHEN 'r' THEN 'restricted'
		ELSE 'unsafe' END AS parallel,
	has_function_privilege('public', p.oid, 'EXECUTE') AS public,
	p.prosecdef, l.lanname, p.prokind, p.proleakproof
FROM pg_depend AS d
	JOIN pg_extension AS e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
		AND d.deptype = 'e'
	JOIN pg_proc AS p ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid
	JOIN pg_language AS l ON p.prolang = l.oid
WHERE e.extname = 'digipay';

SELECT set_eq('SELECT name FROM delivered', 'SELECT name FROM contract',
	'these functions and no others');
SELECT is((SELECT count(*) FROM delivered WHERE name = c.name), 1::bigint,
	c.name || ' is there once') FROM contract AS c;
SELECT is(d.arguments, c.arguments, c.name || ': arguments')
FROM contract AS c LEFT JOIN delivered AS d USING (name);
SELECT is(d.result, c.result, c.name || ': result')
FROM contract AS c LEFT JOIN delivered AS d USING (name);
SELECT is(d.volatility, c.volatility, c.name || ': volatility')
FROM contract AS c LEFT JOIN delivered AS d USING (name);
SELECT is(d.strict, c.strict, c.name || ': ' || CASE WHEN c.strict THEN 'STRICT'
	ELSE 'called on NULL' END)
FROM contract AS c LEFT JOIN delivered AS d USING (name);
SELECT is(d.parallel, c.parallel, c.name || ': parallel ' || c.parallel)
FROM contract AS c LEFT JOIN delivered AS d USING (name);
SELECT is(d.public, c.public, c.name || ': EXECUTE for ' || CASE WHEN c.public THEN 'everybody'
	ELSE 'the owner only' END)
FROM contract AS c LEFT JOIN delivered AS d USING (name);
SELECT is(d.lanname, CASE WHEN c.name IN ('digipay_product_stats', 'digipay_receipt',
	'digipay_rupiah', 'digipay_to_boolean', 'digipay_to_time', 'digipay_price_list_json',
	'digipay_is_open') THEN 'sql'::name ELSE 'c' END, c.name || ': language')
FROM contract AS c LEFT JOIN delivered AS d USING (name);
SELECT is(d.prosecdef, false, c.name || ': not SECURITY DEFINER')
FROM contract AS c LEFT JOIN delivered AS d USING (name);
SELECT is(d.proleakproof, false, c.name || ': not LEAKPROOF')
FROM contract AS c LEFT JOIN delivered AS d USING (name);
-- an explicit grant to anybody but the owner
SELECT is_empty('SELECT d.name, a.grantee::regrole
	FROM delivered AS d JOIN pg_proc AS p USING (oid), aclexplode(p.proacl) AS a
	WHERE a.grantee NOT IN (0, p.proowner)', 'no role has been given anything');

-- the wrapper
SELECT is(fdwvalidator::regproc::text, 'digipay_validator', 'the wrapper has its validator')
FROM pg_foreign_data_wrapper WHERE fdwname = 'digipay';
SELECT is(fdwhandler, 0::oid, 'the wrapper has no handler: there are no foreign tables')
FROM pg_foreign_data_wrapper WHERE fdwname = 'digipay';

-- calls as the contract writes them: by place, and by name in any order
PREPARE by_name AS SELECT * FROM digipay_pay(ref_id => '', max_price => 1, server => 'x',
	testing => true,
	customer_no => '1', code => 'pln');
SELECT throws_ok('by_name', '22023', NULL, 'digipay_pay by name');
SELECT throws_ok($$SELECT digipay_pay('pln', '1', '', true, 'x', 1)$$, '22023', NULL,
	'digipay_pay by place');
SELECT throws_ok($$SELECT digipay_inquire('pln', '1', '', true, 'x', 2024, 1000)$$, '22023', NULL,
	'digipay_inquire by place');
SELECT throws_ok($$SELECT digipay_inquire(code => 'pln', customer_no => '1', ref_id => '',
	year => 2024, amount => 1000)$$,
	'22023', NULL, 'digipay_inquire by name');

SELECT throws_ok($$SELECT digipay_submit(ref_id => '', not_after => now(), max_price => 1,
	server => 'x', testing => true, customer_no => '1', code => 'pln')$$, '22023', NULL,
	'digipay_submit by name');
SELECT throws_ok($$SELECT digipay_wait('', '1 s', 'x')$$, '22023', NULL, 'digipay_wait by place');
SELECT throws_ok($$SELECT digipay_wait_all(ref_ids => NULL, timeout => '1 s', server => 'x')$$,
	'22023', NULL, 'digipay_wait_all by name');
SELECT throws_ok($$SELECT digipay_status('', 'x', true)$$, '22023', NULL,
	'digipay_status by place');
SELECT throws_ok($$SELECT digipay_retry(server => 'x', ref_id => '')$$, '22023', NULL,
	'digipay_retry by name');
SELECT throws_ok($$SELECT digipay_cancel('', 'x')$$, '22023', NULL, 'digipay_cancel by place');
SELECT throws_ok($$SELECT digipay_settle('', 'failed', 'seen', 'x')$$, '22023', NULL,
	'digipay_settle by place');
SELECT throws_ok($$SELECT digipay_webhook(body => NULL, signature => '', server => 'x')$$,
	'22023', NULL, 'digipay_webhook by name');

SELECT throws_ok($$SELECT digipay_deposit(0, 'BCA', 'x', 'x')$$, '22023', NULL,
	'digipay_deposit by place');
SELECT throws_ok($$SELECT digipay_deposit(server => 'x', owner_name => 'x', bank => 'BCA',
	amount => 0)$$, '22023', NULL, 'digipay_deposit by name');

SELECT * FROM finish();
ROLLBACK;
