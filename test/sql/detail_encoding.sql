--
-- Texts of all scripts in the periods, in a database that can hold them
--
SELECT getdatabaseencoding() <> 'UTF8' AS skip_test \gset
\if :skip_test
\quit
\endif
SET client_encoding = 'UTF8';
\pset null '(null)'

-- written as they are, or escaped
SELECT d.no, d.periode, length(d.periode), octet_length(d.periode), d.extra
FROM digipay_detail_json('{"detail": [
	{"periode": "José", "catatan": "naïve"},
	{"periode": "Jos\u00e9", "catatan": "na\u00efve"},
	{"periode": "lunas 👍", "👍": "ok"},
	{"periode": "lunas \ud83d\udc4d", "\ud83d\udc4d": "ok"},
	{"periode": "電気料金", "月": "五月"},
	{"periode": "\u96fb\u6c17\u6599\u91d1", "\u6708": "\u4e94\u6708"},
	{"periode": "العربية"},
	{"periode": "e\u0301", "x": "\u0001\t"}]}') AS d
ORDER BY d.no;
SELECT d.periode = U&'\96FB\6C17\6599\91D1' AS same
FROM digipay_detail_json('{"detail": {"periode": "電気料金"}}') AS d;

-- digits of another script, and signs that only look like the ASCII ones, are no amount
SELECT d.nilai_tagihan, d.extra
FROM digipay_detail_json('{"detail": [{"nilai_tagihan": "٨٠٠٠"}, {"nilai_tagihan": "８０００"},
	{"nilai_tagihan": "−500"}, {"nilai_tagihan": "8000\u00a0"}]}') AS d;

-- keys that only look like a column's
SELECT d.periode, d.extra
FROM digipay_detail_json('{"detail": [{"pėriode": "01"}, {"\u0440eriode": "01"},
	{"ｐｅｒｉｏｄｅ": "01"}]}') AS d;

-- in a stored payment
BEGIN;
INSERT INTO digipay_payment (ref_id, state, code, customer_no, name, "desc", testing, requested_at,
	server, account, requested_by, origin)
VALUES ('regress-1', 'succeeded', 'pln', '530000000001', 'José 電 👍',
	'{"alamat": "Jl. José 電 👍", "detail": [{"periode": "五月", "catatan": "👍"}]}', false,
		'2024-05-01 12:00+07', 'regress_server',
	'user@provider.example', 'regress_cashier', '00000000-0000-0000-0000-000000000000');
SELECT p.name, p.desc ->> 'alamat' AS alamat, d.periode, d.extra FROM digipay_payment AS p,
	digipay_detail(p) AS d;
ROLLBACK;

-- to a client with another encoding: what it can hold arrives
SET client_encoding = 'LATIN1';
SELECT octet_length(convert_to(d.periode, 'LATIN1')), length(d.periode)
FROM digipay_detail_json(E'{"detail": {"periode": "Jos\\u00e9"}}') AS d;
RESET client_encoding;
