-- Final payments :from to :until, ten million of which would take 24 months up to
-- now: the first payment of the account "http" over and over, with a ref_id and
-- times of its own and amounts that differ, in the bill too.
INSERT INTO digipay_payment (ref_id, state, code, customer_no, name, price, selling_price, admin,
	base_commission, balance, status, rc, message, sn, periode, "desc", testing, requested_at,
	sent_at, replied_at, final_at, server, account, requested_by, http_status, reply, origin)
SELECT 'fill-' || to_char(i, 'FM000000000'), state, code, customer_no, name, price + i % 500 * 100,
	selling_price + i % 500 * 100, admin, base_commission, balance, status, rc, message, sn, periode,
	jsonb_set("desc", '{detail,0,nilai_tagihan}', to_jsonb((8000 + i)::text)), testing, at,
	at + interval '3 ms', at + interval '300 ms', at + interval '301 ms', server, account, requested_by,
	http_status, reply, origin
FROM digipay_payment, generate_series(:from, :until) AS i,
	LATERAL (SELECT timestamptz '2025-01-01 00:00:00+07' + i * interval '6.3 s') AS time (at)
WHERE server = 'http' AND ref_id = 'first';
