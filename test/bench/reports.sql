-- A journal of :rows payments over 24 months up to the day :last, at full width:
-- what the twelve products' sample replies hold, with amounts, periods, readings
-- and names that differ from row to row.  Of a hundred 93 succeed, one is
-- refunded, four fail, one is rejected, one taken back; every 200th is a test;
-- replies overtake each other.  The deposit is filled up once a day, which is a
-- gap that digipay_balance_gap has to find.
--
-- The samples have been paid already, by reports.sh.

CREATE UNLOGGED TABLE bench_sample AS
	SELECT p.*, row_number() OVER (ORDER BY p.code) - 1 AS number
	FROM digipay_payment p
	WHERE p.state = 'succeeded';

-- the product's own data of payment i, with an amount that is x more
CREATE FUNCTION bench_desc(code text, "desc" jsonb, i integer, x integer, day date) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE
		WHEN code IN ('pln', 'pdam', 'internet', 'tv', 'pgas') THEN
			jsonb_set("desc", '{detail,0}', jsonb_strip_nulls("desc"#>'{detail,0}' || jsonb_build_object(
				'nilai_tagihan', (("desc"#>>'{detail,0,nilai_tagihan}')::integer + x)::text,
				'periode', to_char(day, CASE code WHEN 'internet' THEN 'MON YYYY' WHEN 'tv' THEN 'MON YY'
					WHEN 'pgas' THEN 'MMYY' ELSE 'YYYYMM' END),
				'meter_awal', CASE WHEN code IN ('pln', 'pdam', 'pgas') THEN lpad(i::text, 8, '0') END)))
		WHEN code = 'multifinance' THEN "desc" || jsonb_build_object('no_rangka', 'MH1JFB' || i)
		WHEN code = 'plnnontaglis' THEN "desc" || jsonb_build_object('no_registrasi', i::text)
		WHEN code = 'samsat' THEN "desc" || jsonb_build_object('nomor_mesin', i::text)
		WHEN code IN ('bpjs', 'pbb') THEN "desc" || jsonb_build_object('alamat', 'JALAN MAWAR ' || i)
		ELSE "desc"
	END
$$;

CREATE PROCEDURE bench_fill(the_day date, payments integer) LANGUAGE sql AS $$
	INSERT INTO digipay_payment (ref_id, state, code, customer_no, name, price, selling_price, admin,
		base_commission, balance, status, rc, message, sn, periode, "desc", testing, requested_at,
		sent_at, replied_at, final_at, server, account, requested_by, http_status, reply, origin)
	SELECT p.ref_id, p.outcome::digipay_state, s.code, s.customer_no,
		CASE WHEN known THEN s.name END, CASE WHEN known THEN s.price + x END,
		CASE WHEN known THEN s.selling_price + x END, CASE WHEN known THEN s.admin END,
		CASE WHEN known THEN s.base_commission END, p.left_over,
		CASE WHEN known THEN 'Sukses' WHEN answer IS NOT NULL THEN 'Gagal' END, answer,
		CASE WHEN known THEN s.message WHEN answer IS NOT NULL THEN 'Transaksi Gagal' END,
		CASE WHEN known THEN s.sn END, s.periode, bill, p.testing, at, at + interval '3 ms',
		CASE WHEN answer IS NOT NULL THEN at + took END, at + took, s.server, s.account, s.requested_by, 200,
		CASE WHEN known THEN s.reply || jsonb_build_object('ref_id', p.ref_id, 'balance', p.left_over,
			'price', s.price + x, 'selling_price', s.selling_price + x, 'desc', bill) END, s.origin
	FROM (
		SELECT i, x, outcome, answer, known, a.testing, to_char(the_day, 'YYYYMMDD') || '-' || i AS ref_id, s,
			timezone('Asia/Jakarta', the_day::timestamp) + i * (interval '1 day' / (payments + 1)) AS at,
			(200 + i * 7919 % 2800) * CASE WHEN i % 100 = 3 THEN 200 ELSE 1 END * interval '1 ms' AS took,
			CASE WHEN known THEN 10000000000 - sum(CASE WHEN known AND NOT a.testing THEN s.price + x ELSE 0 END) OVER (ORDER BY i) END AS left_over,
			CASE WHEN known THEN bench_desc(s.code, s."desc", i, x, the_day) END AS bill
		FROM generate_series(1, payments) AS i
			CROSS JOIN LATERAL (SELECT i * 37 % 500 * 100, i % 200 = 7, CASE
					WHEN i % 100 < 93 THEN 'succeeded' WHEN i % 100 < 97 THEN 'failed'
					WHEN i % 100 = 97 THEN 'rejected' WHEN i % 100 = 98 THEN 'cancelled'
					ELSE 'refunded' END) AS a (x, testing, outcome)
			CROSS JOIN LATERAL (SELECT outcome IN ('succeeded', 'refunded'), CASE outcome
					WHEN 'succeeded' THEN '00' WHEN 'failed' THEN '02' WHEN 'rejected' THEN '44'
					WHEN 'refunded' THEN '74' END) AS b (known, answer)
			JOIN bench_sample s ON s.number = i * 31 % 12
	) AS p CROSS JOIN LATERAL (SELECT (p.s).*) AS s
	ORDER BY at
$$;

SELECT format('CALL bench_fill(%L, %s)', day::date, ceil(:rows / count(*) OVER ()))
FROM generate_series(:'last'::timestamp - interval '24 months' + interval '1 day', :'last', '1 day') AS day
ORDER BY day
\gexec

VACUUM (ANALYZE) digipay_payment;
