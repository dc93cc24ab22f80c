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

SELECT results_eq('SELECT * FROM pg_temp.columns(''digipay_ticket'')', $$VALUES
	('id'::name, 'bigint', 'NOT NULL IDENTITY a'), ('state', 'text', 'NOT NULL'),
	('rc', 'text', ''), ('amount', 'numeric', ''), ('notes', 'text', ''), ('message', 'text', ''),
	('requested_amount', 'numeric', 'NOT NULL'), ('bank', 'text', 'NOT NULL'),
	('owner_name', 'text', 'NOT NULL'), ('error', 'text', ''),
	('requested_at', 'timestamp with time zone', 'NOT NULL'),
	('sent_at', 'timestamp with time zone', ''),
	('replied_at', 'timestamp with time zone', ''), ('server', 'name', 'NOT NULL'),
	('account', 'text', 'NOT NULL'), ('requested_by', 'name', 'NOT NULL'),
	('http_status', 'integer', ''), ('reply', 'jsonb', '')$$, 'digipay_ticket');

SELECT results_eq('SELECT * FROM pg_temp.columns(''digipay_price_list_call'')', $$VALUES
	('account'::name, 'text', 'NOT NULL'), ('kind', 'text', 'NOT NULL'), ('code', 'text', ''),
	('called_at', 'timestamp with time zone', ''),
	('replied_at', 'timestamp with time zone', ''), ('list', 'jsonb', ''), ('error', 'text', ''),
	('http_status', 'integer', ''), ('dialect', 'text', 'NOT NULL'),
	('server', 'name', 'NOT NULL'), ('requested_by', 'name', 'NOT NULL')$$,
	'digipay_price_list_call');
SELECT results_eq('SELECT * FROM pg_temp.columns(''digipay_catalogue'')', $$VALUES
	('server'::name, 'name', 'NOT NULL'), ('kind', 'text', 'NOT NULL'),
	('code', 'text', 'NOT NULL'), ('name', 'text', ''), ('category', 'text', ''),
	('brand', 'text', ''), ('seller_name', 'text', ''), ('admin', 'numeric', ''),
	('commission', 'numeric', ''), ('active', 'boolean', ''), ('status', 'text', ''),
	('start_cut_off', 'time without time zone', ''),
	('end_cut_off', 'time without time zone', ''), ('desc', 'text', ''), ('extra', 'jsonb', ''),
	('listed', 'boolean', 'NOT NULL'), ('synced_at', 'timestamp with time zone', 'NOT NULL')$$,
	'digipay_catalogue');
SELECT results_eq('SELECT * FROM pg_temp.columns(''digipay_catalogue_change'')', $$VALUES
	('id'::name, 'bigint', 'NOT NULL IDENTITY a'),
	('at', 'timestamp with time zone', 'NOT NULL DEFAULT clock_timestamp()'),
	('server', 'name', 'NOT NULL'), ('kind', 'text', 'NOT NULL'), ('code', 'text', 'NOT NULL'),
	('what', 'text', 'NOT NULL'), ('before', 'jsonb', ''), ('after', 'jsonb', '')$$,
	'digipay_catalogue_change');

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

SELECT results_eq('SELECT * FROM pg_temp.columns(''digipay_product'')', $$VALUES
	('code'::name, 'text', 'NOT NULL'), ('family', 'text', 'NOT NULL'),
	('server', 'name', 'NOT NULL DEFAULT ''''::name')$$, 'digipay_product');

-- the views for people who read: a list of columns is a contract, too
CREATE TEMPORARY TABLE contract (view name, columns text);
INSERT INTO contract VALUES
('product_family', 'code text, server name, family text, built_in boolean'),
('product_payment', 'server name, ref_id text, day date, state digipay_state, family text, '
	'code text, customer_no text, name text, price numeric, selling_price numeric, admin numeric, '
	'base_commission numeric, balance numeric, status text, rc text, message text, sn text, '
	'periode text, desc jsonb, error text, requested_at timestamptz, sent_at timestamptz, '
	'replied_at timestamptz, final_at timestamptz, account text, requested_by name, '
	'status_checks integer, next_check_at timestamptz, http_status integer'),
('bill', 'server name, ref_id text, day date, state digipay_state, family text, code text, '
	'customer_no text, name text, no integer, periode text, month daterange, kind text, '
	'number integer, amount numeric, fine numeric, other numeric, admin numeric'),
('daily', 'day date, server name, payments bigint, succeeded bigint, failed bigint, '
	'rejected bigint, refunded bigint, cancelled bigint, not_sent bigint, queued bigint, '
	'sending bigint, pending bigint, unknown bigint, review bigint, paid numeric, '
	'charged numeric, margin numeric'),
('product_stats', 'day date, server name, family text, code text, payments bigint, '
	'succeeded bigint, not_succeeded bigint, success_rate numeric, p50 interval, p95 interval, '
	'paid numeric, charged numeric, margin numeric'),
('response_stats', 'day date, server name, code text, rc text, meaning text, payments bigint, '
	'share numeric'),
('pending_age', 'bucket text, older_than interval, payments bigint, queued bigint, '
	'sending bigint, pending bigint, unknown bigint, review bigint, oldest interval'),
('booking', 'day date, account text, server name, ref_id text, replied_at timestamptz, '
	'price numeric, balance numeric'),
('balance_trend', 'day date, account text, opening numeric, lowest numeric, highest numeric, '
	'closing numeric, paid numeric, last_reply timestamptz'),
('balance_gap', 'day date, account text, server name, ref_id text, replied_at timestamptz, '
	'expected numeric, found numeric, difference numeric'),
('amount_mismatch', 'day date, server name, ref_id text, family text, code text, '
	'selling_price numeric, expected numeric, difference numeric');
-- a family's view begins with what every payment has, and ends with the bill as sent
INSERT INTO contract
SELECT family, concat_ws(', ', 'server name, ref_id text, day date, state digipay_state, '
	'code text, customer_no text, name text, price numeric, selling_price numeric, '
	'admin numeric, base_commission numeric, sn text, requested_at timestamptz, '
	'final_at timestamptz', own, 'desc jsonb')
FROM (VALUES
	('pln', 'tarif text, daya integer, lembar_tagihan integer, detail jsonb'),
	('pdam', 'tarif text, lembar_tagihan integer, alamat text, jatuh_tempo date, '
		'jatuh_tempo_text text, detail jsonb'),
	('hp', 'lembar_tagihan integer'),
	('internet', 'lembar_tagihan integer, detail jsonb'),
	('bpjs', 'lembar_tagihan integer, jumlah_peserta integer, alamat text, detail jsonb'),
	('multifinance', 'lembar_tagihan integer, item_name text, no_rangka text, no_pol text, '
		'tenor integer, tenor_text text, detail jsonb'),
	('pbb', 'lembar_tagihan integer, alamat text, tahun_pajak integer, tahun_pajak_text text, '
		'kelurahan text, kecamatan text, kode_kab_kota text, kab_kota text, '
		'luas_tanah_m2 numeric, luas_tanah text, luas_gedung_m2 numeric, luas_gedung text'),
	('pdl', 'lembar_tagihan integer, alamat text, tahun_pajak integer, tahun_pajak_text text, '
		'kelurahan text, kecamatan text, kode_kab_kota text, kab_kota text, provinsi text, '
		'luas_tanah_m2 numeric, luas_tanah text, luas_gedung_m2 numeric, luas_gedung text'),
	('pgas', 'lembar_tagihan integer, alamat text, detail jsonb'),
	('tv', 'lembar_tagihan integer, detail jsonb'),
	('plnnontaglis', 'lembar_tagihan integer, transaksi text, no_registrasi text, '
		'tanggal_registrasi date, tanggal_registrasi_text text'),
	('emoney', 'lembar_tagihan integer'),
	('samsat', 'lembar_tagihan integer, alamat text, nomor_identitas text, nomor_rangka text, '
		'nomor_mesin text, nomor_polisi text, milik_kenama text, merek_kb text, model_kb text, '
		'tahun_buatan integer, tahun_buatan_text text, tgl_akhir_pajak_baru date, '
		'tgl_akhir_pajak_baru_text text, biaya_pokok_bbn numeric, biaya_pokok_swd numeric, '
		'biaya_pokok_pkb numeric, biaya_denda_swd numeric, biaya_denda_bbn numeric, '
		'biaya_denda_pkb numeric, biaya_admin_stnk numeric, biaya_admin_tnkb numeric, '
		'biaya_parkir_pokok numeric, biaya_pajak_progresif numeric'),
	('bpjstk', 'lembar_tagihan integer, kode_iuran text, kode_program text, jkk numeric, '
		'jkm numeric, jht numeric, kantor_cabang text, tgl_efektif date, tgl_efektif_text text, '
		'tgl_expired date, tgl_expired_text text'),
	('bpjstkpu', 'lembar_tagihan integer, kode_iuran text, npp text, kode_divisi text, '
		'jkk numeric, jkm numeric, jht numeric, jpk numeric, jpn numeric')) AS f (family, own);
SELECT is((SELECT string_agg(name || ' ' || type, ', ')
		FROM pg_temp.columns(to_regclass('digipay_' || view))),
	replace(columns, 'timestamptz', 'timestamp with time zone'), 'digipay_' || view)
FROM contract ORDER BY view;

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
	('digipay_ticket', 'r'), ('digipay_ticket_id_seq', 'S'),
	('digipay_price_list_call', 'r'), ('digipay_catalogue', 'r'),
	('digipay_catalogue_change', 'r'), ('digipay_catalogue_change_id_seq', 'S'),
	('digipay_unsettled', 'v'), ('digipay_product', 'r')
	UNION ALL SELECT ('digipay_' || view)::name, 'v' FROM contract$$,
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
		'digipay_inquiry'::regclass, 'digipay_event'::regclass, 'digipay_fence'::regclass,
		'digipay_product'::regclass) AND c.contype <> 'n'
			ORDER BY c.conname COLLATE "C"$$, ARRAY[
	'digipay_event_pkey: PRIMARY KEY (id)',
	'digipay_fence_only_row_check: CHECK (only_row)',
	'digipay_fence_pkey: PRIMARY KEY (only_row)',
	'digipay_inquiry_pkey: PRIMARY KEY (server, ref_id)',
	'digipay_payment_account_ref_id_key: UNIQUE (account, ref_id)',
	'digipay_payment_pkey: PRIMARY KEY (server, ref_id)',
	'digipay_product_code_check: CHECK ((code <> ''''::text))',
	'digipay_product_family_check: CHECK ((family = ANY (ARRAY[''pln''::text, ''pdam''::text, '
		'''hp''::text, ''internet''::text, ''bpjs''::text, ''multifinance''::text, ''pbb''::text, '
		'''pgas''::text, ''tv''::text, ''plnnontaglis''::text, ''emoney''::text, ''samsat''::text, '
		'''bpjstk''::text, ''bpjstkpu''::text, ''pdl''::text])))',
	'digipay_product_pkey: PRIMARY KEY (code, server)'], 'the keys');
SELECT results_eq($$SELECT regexp_replace(pg_get_indexdef(i.indexrelid), ' ON \S*digipay_',
	' ON digipay_')
	FROM pg_index AS i
	WHERE i.indrelid IN ('digipay_payment'::regclass, 'digipay_inquiry'::regclass,
		'digipay_event'::regclass, 'digipay_fence'::regclass, 'digipay_product'::regclass)
		AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = i.indexrelid)
	ORDER BY i.indexrelid::regclass::text COLLATE "C"$$, ARRAY[
	'CREATE INDEX digipay_event_ref_id_idx ON digipay_event USING btree (ref_id, server)',
	'CREATE INDEX digipay_event_verdict_idx ON digipay_event USING btree (id) '
		'WHERE (kind = ANY (ARRAY[''cancelled''::text, ''settled''::text]))',
	'CREATE INDEX digipay_payment_asked_idx ON digipay_payment USING btree '
		'(((timezone(''Asia/Jakarta''::text, replied_at))::date)) WHERE (status_checks > 0)',
	'CREATE INDEX digipay_payment_day_idx ON digipay_payment USING btree (day)',
	'CREATE INDEX digipay_payment_next_check_at_idx ON digipay_payment USING btree (next_check_at) '
		'WHERE (next_check_at IS NOT NULL)',
	'CREATE INDEX digipay_payment_requested_at_idx ON digipay_payment USING btree (requested_at)'],
	'the other indexes: the worker''s is on what is not final');

-- how they are stored
SELECT is(c.relpersistence, 'p'::"char", c.relname || ' is logged') FROM pg_class AS c
WHERE c.relname IN ('digipay_payment', 'digipay_inquiry', 'digipay_event', 'digipay_fence',
	'digipay_product') ORDER BY c.relname;
SELECT is(c.reloptions, '{fillfactor=50}'::text[],
	'the journal''s pages have room for updates in place')
FROM pg_class AS c WHERE c.oid = 'digipay_payment'::regclass;
SELECT ok(NOT c.relrowsecurity AND NOT c.relhasrules AND NOT c.relhastriggers,
	c.relname || ' has no policy, rule or trigger')
FROM pg_class AS c WHERE c.relname IN ('digipay_payment', 'digipay_inquiry', 'digipay_event',
	'digipay_fence', 'digipay_product') ORDER BY c.relname;

-- a dump carries the journal, but not the mark of whose it is
SELECT set_eq($$SELECT c::regclass::text, w FROM pg_extension,
	unnest(extconfig, extcondition) AS u (c, w) WHERE extname = 'digipay'$$,
	$$VALUES ('digipay_payment', ''), ('digipay_inquiry', ''), ('digipay_event', ''),
		('digipay_event_id_seq', ''), ('digipay_product', ''), ('digipay_ticket', ''), ('digipay_ticket_id_seq', ''),
		('digipay_catalogue', ''), ('digipay_catalogue_change', ''),
		('digipay_catalogue_change_id_seq', '')$$,
	'what a dump carries');

SELECT is((SELECT extrelocatable FROM pg_extension WHERE extname = 'digipay'), false,
	'the extension stays in its schema');

SELECT * FROM finish();
ROLLBACK;
