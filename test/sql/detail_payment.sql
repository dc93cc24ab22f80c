--
-- The periods of payments in the journal
--
BEGIN;
INSERT INTO digipay_payment (ref_id, state, code, customer_no, "desc", testing, requested_at,
	server, account, requested_by, origin)
SELECT ref_id, state::digipay_state, 'pln', '530000000001', "desc"::jsonb, false,
	'2024-05-01 12:00+07', 'regress_server',
	'user@provider.example', 'regress_cashier', '00000000-0000-0000-0000-000000000000'
FROM (VALUES
	('regress-1', 'succeeded', '{"detail": [{"periode": "201901", "nilai_tagihan": "8000",
		"admin": "2500", "denda": "500"},
		{"periode": "201902", "nilai_tagihan": 9000.25, "admin": "2500"}]}'),
	('regress-2', 'succeeded', '{"lembar_tagihan": 1}'),
	('regress-3', 'failed', NULL),
	('regress-4', 'pending', '{"detail": {"periode": "201903", "nilai_tagihan": "1"}}')) AS v (
		ref_id, state, "desc");

-- with an outer join no payment is lost
SELECT p.ref_id, p.state, d.no, d.periode, d.nilai_tagihan, d.admin, d.denda
FROM digipay_payment AS p LEFT JOIN LATERAL digipay_detail(p) AS d ON true
ORDER BY p.ref_id, d.no;
SELECT p.ref_id, d.no
FROM digipay_payment AS p, digipay_detail(p) AS d
ORDER BY p.ref_id, d.no;
-- as a column, and by the attribute's way of writing it
SELECT p.ref_id, (digipay_detail(p)).periode FROM digipay_payment AS p ORDER BY 1, 2;
SELECT p.ref_id, p.digipay_detail FROM digipay_payment AS p ORDER BY 1, 2;
-- both functions agree
SELECT count(*) FROM (
	SELECT p.ref_id, d.* FROM digipay_payment AS p, digipay_detail(p) AS d
	EXCEPT ALL
	SELECT p.ref_id, d.* FROM digipay_payment AS p, digipay_detail_json(p.desc) AS d) AS difference;
SELECT sum(d.nilai_tagihan + coalesce(d.admin, 0) + coalesce(d.denda, 0)) FROM digipay_payment AS p,
	digipay_detail(p) AS d;

-- rows that are in no table
SELECT d.periode FROM digipay_detail(jsonb_populate_record(NULL::digipay_payment,
	'{"desc": {"detail": {"periode": "01"}}}')) AS d;
SELECT count(*) FROM digipay_detail(NULL);
SELECT count(*) FROM digipay_detail(jsonb_populate_record(NULL::digipay_payment, '{}'));
-- the empty side of an outer join
SELECT v.n, d.no
FROM (VALUES (1)) AS v (n) LEFT JOIN digipay_payment AS p ON p.ref_id = 'regress-none'
	LEFT JOIN LATERAL digipay_detail(p) AS d ON true;

-- stored out of line and compressed
UPDATE digipay_payment SET "desc" = (SELECT jsonb_build_object('detail',
	jsonb_agg(jsonb_build_object(
		'periode', n, 'nilai_tagihan', n, 'x', md5(n::text)) ORDER BY n))
			FROM generate_series(1, 5000) AS n)
WHERE ref_id = 'regress-4';
SELECT count(*), sum(d.nilai_tagihan), bool_and(d.extra ->> 'x' = md5(d.no::text))
FROM digipay_payment AS p, digipay_detail(p) AS d WHERE p.ref_id = 'regress-4';

-- an inquiry's periods, by the function that takes its desc
INSERT INTO digipay_inquiry (ref_id, code, customer_no, "desc", testing, inquired_at, server,
	account, requested_by)
VALUES ('regress-1', 'pln', '530000000001', '{"detail": [{"periode": "201901"}]}', false,
	'2024-05-01 12:00+07',
	'regress_server', 'user@provider.example', 'regress_cashier');
SELECT i.ref_id, d.no, d.periode FROM digipay_inquiry AS i, digipay_detail_json(i.desc) AS d;
ROLLBACK;
