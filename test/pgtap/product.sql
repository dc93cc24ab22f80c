--
-- The typed views: every field of every sample reply in its family's view, bad
-- values as NULL, and the user's own product codes
--
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT * FROM no_plan();

-- one payment as the journal would have it
CREATE FUNCTION pg_temp.pay(ref_id text, code text, "desc" jsonb DEFAULT NULL,
	data jsonb DEFAULT '{}', state digipay_state DEFAULT 'succeeded', testing boolean DEFAULT false,
	server name DEFAULT 'digipay') RETURNS void LANGUAGE sql AS $$
	INSERT INTO digipay_payment (ref_id, state, code, customer_no, name, price, selling_price, admin,
		base_commission, sn, "desc", testing, requested_at, final_at, server, account,
		requested_by, next_check_at, origin)
	VALUES (ref_id, state, code, coalesce(data->>'customer_no', '1'), data->>'name',
		(data->>'price')::numeric, (data->>'selling_price')::numeric, (data->>'admin')::numeric,
		(data->>'base_commission')::numeric, data->>'sn', "desc", testing, '2024-05-01 17:30:00+00',
		CASE WHEN state IN ('queued', 'sending', 'pending', 'unknown') THEN NULL
			ELSE timestamptz '2024-05-01 17:30:02+00' END,
		server, 'demo@localhost:' || server, 'regress', CASE state WHEN 'review' THEN 'infinity'::timestamptz
			WHEN 'queued' THEN now() WHEN 'sending' THEN now() WHEN 'pending' THEN now()
			WHEN 'unknown' THEN now() END, '00000000-0000-0000-0000-000000000000') $$;

-- the rows of a family's view, as JSON
CREATE FUNCTION pg_temp.view(family text) RETURNS SETOF jsonb LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE format('SELECT to_jsonb(v) FROM %I AS v', 'digipay_' || family);
END $$;

--
-- The samples: what the provider documents as replies
--
\set samples `jq -cs '[.[].data]' test/provider/responses/*.json test/provider/responses/documented/*.json`
CREATE TEMPORARY TABLE sample AS
SELECT data->>'code' AS family, data, data->'desc' AS "desc"
FROM jsonb_array_elements(:'samples') AS data;
SELECT set_eq('SELECT family FROM sample',
	'{pln, pdam, hp, internet, bpjs, multifinance, pbb, pgas, tv, plnnontaglis, emoney, samsat, bpjstk,
	bpjstkpu, pdl}'::text[], 'a sample of each family');
SELECT count(pg_temp.pay('sample-' || family, family, "desc", data)) > 0 AS ignored FROM sample \gset

-- what a key of "desc" is
CREATE FUNCTION pg_temp.type_of(key text) RETURNS text LANGUAGE sql AS $$
	SELECT CASE WHEN key ~ '^(biaya_|jkk$|jkm$|jht$|jpk$|jpn$)' THEN 'numeric'
		WHEN key ~ '^(lembar_tagihan|daya|jumlah_peserta|tenor|tahun_)' THEN 'integer'
		WHEN key ~ '^(tgl_|tanggal_|jatuh_tempo)' THEN 'date'
		WHEN key = 'detail' THEN 'jsonb' ELSE 'text' END $$;
CREATE TEMPORARY TABLE field AS
SELECT s.family, f.key, f.value, f.value #>> '{}' AS as_text, pg_temp.type_of(f.key) AS type,
	(SELECT format_type(a.atttypid, NULL) FROM pg_attribute AS a
		WHERE a.attrelid = to_regclass('digipay_' || s.family) AND a.attname = f.key) AS found_type,
	v.row AS row, v.row->f.key AS found
FROM sample AS s, jsonb_each(s."desc") AS f,
	LATERAL (SELECT row FROM pg_temp.view(s.family) AS row WHERE row->>'ref_id' = 'sample-' || s.family) AS v;
SELECT cmp_ok((SELECT count(*) FROM field), '>=', 80::bigint, 'there are fields to look at');
SELECT is(found_type, type, format('%s: the type of %s', family, key)) FROM field ORDER BY family, key;
SELECT ok(CASE type WHEN 'text' THEN found #>> '{}' = as_text
		WHEN 'jsonb' THEN found = value
		WHEN 'date' THEN jsonb_typeof(found) = 'string'
		ELSE jsonb_typeof(found) = 'number' AND (found #>> '{}')::numeric = as_text::numeric END,
	format('%s: %s is %s', family, key, found)) FROM field ORDER BY family, key;
-- what was parsed has what it was parsed from beside it
SELECT is(row->>(key || '_text'), as_text, format('%s: %s_text', family, key)) FROM field
WHERE type = 'date' OR key IN ('tenor', 'tahun_pajak', 'tahun_buatan') ORDER BY family, key;
SELECT is(row->>key, wanted, format('%s: %s means %s', family, key, wanted))
FROM field JOIN (VALUES ('pdam', 'jatuh_tempo', '2014-12-15'), ('plnnontaglis', 'tanggal_registrasi', '2012-05-24'),
	('samsat', 'tgl_akhir_pajak_baru', '2021-03-09'), ('bpjstk', 'tgl_efektif', '2019-01-01'),
	('bpjstk', 'tgl_expired', '2019-01-31'), ('multifinance', 'tenor', '30'))
	AS w (family, key, wanted) USING (family, key);
SELECT is((row->>(key || '_m2'))::numeric, wanted::numeric, format('%s: %s is %s square metres', family, key, wanted))
FROM field JOIN (VALUES ('pbb', 'luas_tanah', 113), ('pbb', 'luas_gedung', 47), ('pdl', 'luas_tanah', 113),
	('pdl', 'luas_gedung', 47)) AS w (family, key, wanted) USING (family, key);

-- what every payment has, and the bill as sent
SELECT is(v.row - (SELECT array_agg(k) FROM jsonb_object_keys(v.row) AS k
		WHERE k NOT IN ('server', 'ref_id', 'day', 'state', 'code', 'customer_no', 'name', 'price',
			'selling_price', 'admin', 'base_commission', 'sn', 'requested_at', 'final_at', 'desc')),
	jsonb_build_object('server', 'digipay', 'ref_id', 'sample-' || s.family, 'day', '2024-05-02',
		'state', 'succeeded', 'code', s.family, 'requested_at', to_jsonb('2024-05-01 17:30:00+00'::timestamptz),
		'final_at', to_jsonb('2024-05-01 17:30:02+00'::timestamptz), 'desc', s."desc",
		'base_commission', NULL) || (s.data - '{ref_id, code, message, status, rc, balance, desc}'::text[]),
	s.family || ': what every payment has')
FROM sample AS s, LATERAL (SELECT row FROM pg_temp.view(s.family) AS row) AS v ORDER BY s.family;
-- each payment is in one view, and nothing else is in it
SELECT is((SELECT count(*) FROM pg_temp.view(family)), 1::bigint, family || ': one row') FROM sample ORDER BY family;

-- samsat's fee by either of its names; the documented one wins where both are there
SELECT pg_temp.pay('tnkb-' || no, 'samsat', "desc"::jsonb) IS NULL AS ignored FROM (VALUES
	(1, '{"biaya_tnkb": "60000"}'), (2, '{"biaya_admin_tnkb": "100000"}'),
	(3, '{"biaya_tnkb": 60000.5}'), (4, '{"biaya_admin_tnkb": null, "biaya_tnkb": "7"}'),
	(5, '{"biaya_tnkb": [1]}'), (6, '{}')) AS t (no, "desc") \g /dev/null
SELECT results_eq($$SELECT biaya_admin_tnkb FROM digipay_samsat WHERE ref_id LIKE 'tnkb-%' ORDER BY ref_id$$,
	'VALUES (60000::numeric), (100000), (60000.5), (7), (NULL), (NULL)', 'biaya_tnkb is read, too');

--
-- All states are there, tests are not
--
SELECT pg_temp.pay('state-' || s, 'pln', '{"daya": 900}', '{}', s) IS NULL AS ignored
FROM unnest(enum_range(NULL::digipay_state)) AS s \g /dev/null
SELECT results_eq($$SELECT state FROM digipay_pln WHERE ref_id LIKE 'state-%' ORDER BY state$$,
	'SELECT unnest(enum_range(NULL::digipay_state))', 'payments of all states');
SELECT pg_temp.pay('testing-' || family, family, "desc", data, 'succeeded', true) IS NULL AS ignored
	FROM sample \g /dev/null
SELECT is((SELECT count(*) FROM sample AS s, pg_temp.view(s.family) AS row WHERE row->>'ref_id' LIKE 'testing-%'),
	0::bigint, 'no test is in a typed view');
SELECT is((SELECT count(*) FROM digipay_product_payment WHERE ref_id LIKE 'testing-%'), 0::bigint,
	'nor in the view behind all reports');

--
-- Bad values: each field of each family with everything that does not belong
-- there.  Never an error; NULL where the type has no room for it.
--
CREATE TEMPORARY TABLE bad (no serial, value jsonb);
INSERT INTO bad (value) VALUES ('null'), ('true'), ('false'), ('""'), ('" "'), ('"x"'), ('"-"'), ('[]'),
	('{}'), ('[1, 2]'), ('{"a": {"b": [1]}}'), ('[[["1"]]]'), ('"NaN"'), ('"Infinity"'), ('"-Infinity"'),
	('"0x10"'), ('"1,000"'), ('"1.000.000"'), ('"Rp 5000"'), ('"１２３"'), ('"٣"'), ('"1 2"'), ('" 5"'), ('"5 "'),
	('"+5"'), ('"1e5"'), ('"1e999999"'), ('-1e-400'), ('1e400'), ('9e131000'), ('1e-16000'), ('"5\n"'), ('"--5"'),
	('"now"'), ('"31-02-2024"'), ('"2024-13-01"'), ('"M2"'), ('"-5 M2"'), ('"1e5 M2"'),
	('"\u0001"'), ('"''; DROP TABLE x; --"'), (to_jsonb(repeat('9', 20000))), (to_jsonb(repeat('9', 20000) || ' M2')),
	(to_jsonb(repeat('x', 20000))), (to_jsonb(repeat(' ', 20000))), (to_jsonb(repeat('é', 10000)));
-- and what is good, though odd
CREATE TEMPORARY TABLE good (no serial, value jsonb, type text, wanted text);
INSERT INTO good (value, type, wanted) VALUES ('0', 'numeric', '0'), ('"0"', 'numeric', '0'),
	('-5', 'numeric', '-5'), ('"-5"', 'numeric', '-5'), ('14000.50', 'numeric', '14000.50'),
	('"14000.50"', 'numeric', '14000.50'), ('1e3', 'numeric', '1000'), ('99999999999999999999', 'numeric',
		'99999999999999999999'),
	('0', 'integer', '0'), ('"000"', 'integer', '0'), ('"0000000012"', 'integer', '12'), ('2147483647', 'integer',
		'2147483647'),
	('"2147483648"', 'integer', NULL), ('99999999999', 'integer', NULL), ('-1', 'integer', NULL), ('1.5', 'integer',
		NULL),
	('"18446744073709551617"', 'integer', NULL), ('"4294967297"', 'integer', NULL),
	('20240229', 'date', '2024-02-29'), ('"20230229"', 'date', NULL), ('"99999999"', 'date', NULL),
		('"29 FEB 2024"', 'date', '2024-02-29');

CREATE TEMPORARY TABLE tried AS
SELECT f.family, f.key, f.type, format('bad-%s-%s-%s', f.family, f.key, b.no) AS ref_id, b.value, NULL AS wanted
FROM field AS f, bad AS b
UNION ALL
SELECT f.family, f.key, f.type, format('good-%s-%s-%s', f.family, f.key, g.no), g.value, g.wanted
FROM field AS f JOIN good AS g USING (type);
SELECT count(pg_temp.pay(t.ref_id, t.family, s."desc" || jsonb_build_object(t.key, t.value))) > 0
	AS ignored FROM tried AS t JOIN sample AS s USING (family) \gset
SELECT lives_ok(format($$DO 'BEGIN PERFORM v::text FROM %s AS v; END'$$, 'digipay_' || family),
	family || ': no bad value is an error') FROM sample ORDER BY family;
CREATE TEMPORARY TABLE read AS
SELECT s.family, row->>'ref_id' AS ref_id, row FROM sample AS s, pg_temp.view(s.family) AS row;
CREATE INDEX ON read (family, ref_id);
ANALYZE read, tried;
SELECT is((SELECT count(*) FROM read WHERE ref_id LIKE 'bad-%' OR ref_id LIKE 'good-%'),
	(SELECT count(*) FROM tried), 'no row is lost for a bad value');
-- what is no number, no day, and no area
SELECT is((SELECT string_agg(format('%s of %s, not %s', r.row->t.key, left(t.value::text, 30), t.wanted), E'\n')
		FROM tried AS t JOIN read AS r USING (family, ref_id)
		WHERE t.family = f.family AND t.key = f.key AND CASE t.type
			WHEN 'jsonb' THEN r.row->t.key IS DISTINCT FROM t.value
			WHEN 'text' THEN r.row->>t.key IS DISTINCT FROM t.value #>> '{}'
			ELSE r.row->>t.key IS DISTINCT FROM t.wanted END),
	NULL, format('%s: %s when it is bad', f.family, f.key))
FROM field AS f ORDER BY f.family, f.key;
SELECT is((SELECT count(*) FROM tried AS t JOIN read AS r USING (family, ref_id)
		WHERE (t.type = 'date' OR t.key IN ('tenor', 'tahun_pajak', 'tahun_buatan'))
			AND r.row->>(t.key || '_text') IS DISTINCT FROM t.value #>> '{}'), 0::bigint,
	'what could not be parsed is beside it, as sent');
SELECT is((SELECT string_agg(format('%s of %s', r.row->>(t.key || '_m2'), left(t.value::text, 30)), ', ')
		FROM tried AS t JOIN read AS r USING (family, ref_id)
		WHERE t.key LIKE 'luas_%' AND t.value NOT IN ('" 5"', '"5 "') AND r.row->>(t.key || '_m2') IS NOT NULL),
	NULL, 'what is no area has no square metres');
SELECT pg_temp.pay('area-' || a, 'pbb', jsonb_build_object('luas_tanah', a)) IS NULL AS ignored
FROM unnest('{113 M2, 113, 113m2, 47.5 m, " 0 M2 ", "1 2", 1.M2, 5 HA, 113 M22}'::text[]) AS a \g /dev/null
SELECT is(luas_tanah_m2, wanted, format('%L in square metres', luas_tanah)) FROM digipay_pbb JOIN (VALUES ('113 M2', 113), ('113', 113),
	('113m2', 113), ('47.5 m', 47.5), (' 0 M2 ', 0), ('1 2', NULL), ('1.M2', NULL), ('5 HA', NULL), ('113 M22', NULL))
	AS w (luas_tanah, wanted) USING (luas_tanah) WHERE ref_id LIKE 'area-%';

-- a "desc" that is no object
SELECT count(pg_temp.pay('odd-' || o.no || '-' || s.family, s.family, o."desc"::jsonb)) > 0 AS ignored
FROM sample AS s, (VALUES (1, NULL), (2, 'null'), (3, '[]'), (4, '[{"daya": 1}]'), (5, '"daya"'), (6, '1'),
	(7, 'true'), (8, '{}'), (9, '{"DAYA": 1}')) AS o (no, "desc") \gset
SELECT is((SELECT count(*) FROM pg_temp.view(s.family) AS row, jsonb_each(row) AS c
		WHERE row->>'ref_id' LIKE 'odd-%' AND c.value <> 'null'
			AND c.key NOT IN ('server', 'ref_id', 'day', 'state', 'code', 'customer_no', 'requested_at', 'final_at',
				'desc')),
	0::bigint, s.family || ': a "desc" that is no object has no fields')
FROM sample AS s ORDER BY s.family;
SELECT is((SELECT count(*) FROM sample AS s, pg_temp.view(s.family) AS row WHERE row->>'ref_id' LIKE 'odd-%'),
	(SELECT 9 * count(*) FROM sample), 'but its row is there');

--
-- Which code is what
--
SELECT set_eq('SELECT code, server, family, built_in FROM digipay_product_family', $$VALUES
	('pln', ''::name, 'pln', true), ('dspln', '', 'pln', true), ('BPLN', '', 'pln', true),
	('pdam', '', 'pdam', true), ('hp', '', 'hp', true), ('internet', '', 'internet', true),
	('bpjs', '', 'bpjs', true), ('multifinance', '', 'multifinance', true), ('pbb', '', 'pbb', true),
	('cimahi', '', 'pbb', true), ('pgas', '', 'pgas', true), ('tv', '', 'tv', true),
	('plnnontaglis', '', 'plnnontaglis', true), ('emoney', '', 'emoney', true),
	('samsat', '', 'samsat', true), ('bpjstk', '', 'bpjstk', true), ('bpjstkpu', '', 'bpjstkpu', true),
	('pdl', '', 'pdl', true)$$, 'the documented codes');
SELECT is((SELECT count(*) FROM digipay_product), 0::bigint, 'the table is the user''s alone');
DELETE FROM digipay_payment;
SELECT pg_temp.pay(server || '-' || code, code, '{}', '{}', 'succeeded', false, server::name) IS NULL AS ignored
FROM unnest('{pln, dspln, BPLN, cimahi, garut, gas1, PLN}'::text[]) AS code,
	unnest('{digipay, other}'::text[]) AS server
\g /dev/null
CREATE FUNCTION pg_temp.families() RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(ref_id || ' ' || coalesce(family, '?'), ', ' ORDER BY ref_id COLLATE "C")
	FROM digipay_product_payment $$;
SELECT is(pg_temp.families(), 'digipay-BPLN pln, digipay-PLN ?, digipay-cimahi pbb, digipay-dspln pln, '
	'digipay-garut ?, digipay-gas1 ?, digipay-pln pln, other-BPLN pln, other-PLN ?, other-cimahi pbb, '
	'other-dspln pln, other-garut ?, other-gas1 ?, other-pln pln', 'by the documented codes alone');
INSERT INTO digipay_product VALUES ('garut', 'pbb', DEFAULT), ('gas1', 'pgas', 'other');
SELECT is(pg_temp.families(), 'digipay-BPLN pln, digipay-PLN ?, digipay-cimahi pbb, digipay-dspln pln, '
	'digipay-garut pbb, digipay-gas1 ?, digipay-pln pln, other-BPLN pln, other-PLN ?, other-cimahi pbb, '
	'other-dspln pln, other-garut pbb, other-gas1 pgas, other-pln pln', 'codes of one''s own add to them');
INSERT INTO digipay_product VALUES ('pln', 'pdam', DEFAULT), ('cimahi', 'pdl', 'other'), ('garut', 'tv', 'digipay'),
	('dspln', 'hp', ''), ('dspln', 'internet', 'other');
SELECT is(pg_temp.families(), 'digipay-BPLN pln, digipay-PLN ?, digipay-cimahi pbb, digipay-dspln hp, '
	'digipay-garut tv, digipay-gas1 ?, digipay-pln pdam, other-BPLN pln, other-PLN ?, other-cimahi pdl, '
	'other-dspln internet, other-garut pbb, other-gas1 pgas, other-pln pdam',
		'or override them, for one server or all');
SELECT results_eq('SELECT ref_id FROM digipay_pdam ORDER BY ref_id', $$VALUES ('digipay-pln'), ('other-pln')$$,
	'the typed views follow');
SELECT results_eq('SELECT ref_id FROM digipay_pln ORDER BY ref_id COLLATE "C"', $$VALUES ('digipay-BPLN'),
	('other-BPLN')$$,
	'in both');
SELECT set_eq($$SELECT code, server, family, built_in FROM digipay_product_family
	WHERE code IN ('pln', 'dspln', 'cimahi', 'garut', 'gas1')$$, $$VALUES ('cimahi', ''::name, 'pbb', true),
	('cimahi', 'other', 'pdl', false), ('dspln', '', 'hp', false), ('dspln', 'other', 'internet', false),
	('garut', '', 'pbb', false), ('garut', 'digipay', 'tv', false), ('gas1', 'other', 'pgas', false),
	('pln', '', 'pdam', false)$$, 'the view joins both');
SELECT is((SELECT count(*) FROM digipay_product_payment), 14::bigint, 'no payment is there twice');
DELETE FROM digipay_product WHERE code = 'pln';
SELECT is((SELECT family FROM digipay_product_payment WHERE ref_id = 'other-pln'), 'pln',
	'without one''s own code the documented one is back');

SELECT throws_ok($$INSERT INTO digipay_product VALUES ('x', 'gas')$$, '23514', NULL, 'no such family');
SELECT throws_ok($$INSERT INTO digipay_product VALUES ('x', 'PLN')$$, '23514', NULL, 'families are in lower case');
SELECT throws_ok($$INSERT INTO digipay_product VALUES ('x', '')$$, '23514', NULL, 'an empty family');
SELECT throws_ok($$INSERT INTO digipay_product VALUES ('', 'pln')$$, '23514', NULL, 'an empty code');
SELECT throws_ok($$INSERT INTO digipay_product VALUES ('x', NULL)$$, '23502', NULL, 'a family that is NULL');
SELECT throws_ok($$INSERT INTO digipay_product VALUES (NULL, 'pln')$$, '23502', NULL, 'a code that is NULL');
SELECT throws_ok($$INSERT INTO digipay_product VALUES ('x', 'pln', NULL)$$, '23502', NULL, 'a server that is NULL');
SELECT throws_ok($$INSERT INTO digipay_product VALUES ('garut', 'pln')$$, '23505', NULL, 'a code twice');

--
-- One view is enough of a grant
--
CREATE ROLE regress_reader;
GRANT SELECT ON digipay_pbb TO regress_reader;
SET LOCAL ROLE regress_reader;
SELECT is((SELECT count(*) FROM digipay_pbb), 2::bigint, 'who may read one view reads it');
SELECT throws_ok('SELECT * FROM digipay_pln', '42501', NULL, 'and no other');
SELECT throws_ok('SELECT * FROM digipay_payment', '42501', NULL, 'nor the journal');
SELECT throws_ok($$INSERT INTO digipay_product VALUES ('y', 'pln')$$, '42501', NULL, 'nor writes the codes');
RESET ROLE;

--
-- Numbers from text
--
SELECT is(digipay_to_numeric(value)::text, wanted, format('amount %L', left(value, 30))) FROM (VALUES
	('14000', '14000'), ('0', '0'), ('-1.50', '-1.50'), ('007', '7'), ('', NULL), (' ', NULL), ('1e5', NULL),
	('NaN', NULL), ('Infinity', NULL), ('1.', NULL), ('.5', NULL), ('+1', NULL), ('1,000', NULL), ('１', NULL),
	('0x1', NULL), ('1_000', NULL), (' 1', NULL), (E'1\n', NULL), (repeat('9', 100000), NULL), (NULL,
		NULL)) AS v (value, wanted);
SELECT is(digipay_to_integer(value), wanted, format('whole number %L', left(value, 30))) FROM (VALUES
	('1300', 1300), ('002', 2), ('0', 0), ('2147483647', 2147483647), ('2147483648', NULL), ('4294967297', NULL),
	('18446744073709551617', NULL), ('-1', NULL), ('', NULL), (' 1', NULL), ('1.0', NULL), ('１', NULL), ('0x1', NULL),
	(repeat('0', 31) || '1', 1), (repeat('0', 1000), NULL), (repeat('9', 100000), NULL), (NULL, NULL)) AS v (value,
		wanted);

SELECT * FROM finish();
ROLLBACK;
