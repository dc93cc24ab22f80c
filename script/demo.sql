-- What script/demo shows.  Its variables: endpoint, tls_endpoint, ca_file and
-- books (of the provider's double); bold and plain for headings.

\set QUIET on
\set ON_ERROR_STOP on
SET client_min_messages = warning;
SET TimeZone = 'Asia/Jakarta';
\pset format wrapped
\pset columns 100
\set ECHO queries

\echo
\echo :bold'1. The account':plain
\echo A foreign server holds where the provider is, its PUBLIC user mapping who we are there.  A role
\echo that may pay needs USAGE on the server and EXECUTE on the function; it never sees the key.
\echo (This provider is a double on this machine: hence http and allow_private_address.)
\echo
CREATE EXTENSION digipay;
CREATE SERVER digipay FOREIGN DATA WRAPPER digipay OPTIONS (
    endpoint :'endpoint',
    allow_private_address 'true');
CREATE USER MAPPING FOR PUBLIC SERVER digipay OPTIONS (username 'demo', api_key 'demo-key');
CREATE ROLE cashier;
GRANT USAGE ON FOREIGN SERVER digipay TO cashier;
GRANT EXECUTE ON FUNCTION digipay_inquire, digipay_pay TO cashier;

\echo
\echo :bold'2. Is everything in place?':plain
\echo digipay_health looks at all that a payment needs, and says what to do about what is missing.
\echo
SELECT item, ok, detail FROM digipay_health();

\echo :bold'3. What is owed':plain
\echo Twelve bills, one of each kind, are in a table of ours.  An inquiry asks what each of them comes
\echo to; it moves no money.
\echo
\set ECHO none
CREATE TABLE bill (
    ref_id text PRIMARY KEY,
    customer text NOT NULL,
    code text NOT NULL,
    customer_no text NOT NULL,
    amount numeric              -- for what has no amount of its own
);
INSERT INTO bill VALUES
    ('demo-01', 'Ayu', 'pln', '530000000001', NULL),
    ('demo-02', 'Ayu', 'pdam', '1013226', NULL),
    ('demo-03', 'Budi', 'hp', '081234554320', NULL),
    ('demo-04', 'Budi', 'internet', '6391601001', NULL),
    ('demo-05', 'Citra', 'bpjs', '8801234560001', NULL),
    ('demo-06', 'Citra', 'multifinance', '6391601201', NULL),
    ('demo-07', 'Dewi', 'pbb', '329801092375999991', NULL),
    ('demo-08', 'Dewi', 'pgas', '0110014601', NULL),
    ('demo-09', 'Dewi', 'tv', '127246500101', NULL),
    ('demo-10', 'Eko', 'plnnontaglis', '3225030005921', NULL),
    ('demo-11', 'Eko', 'emoney', '082100000001', 50000),
    ('demo-12', 'Eko', 'samsat', '9658548523568701,0212502110170100', NULL);
GRANT SELECT ON bill TO cashier;
\set ECHO queries
SELECT b.code, b.customer_no, i.name, i.selling_price
FROM bill b
CROSS JOIN LATERAL digipay_inquire(b.code, b.customer_no, b.ref_id, amount => b.amount) i
ORDER BY b.ref_id;

\echo
\echo :bold'4. Twelve payments':plain
\echo The cashier pays them all in one statement.  Each payment was on disk before it left, and left
\echo once; max_price refuses one that has become dearer than we were told.
\echo
SET ROLE cashier;
SELECT b.customer, p.code, p.state, p.price, p.selling_price, p.admin, p.balance, p.sn
FROM bill b
CROSS JOIN LATERAL digipay_pay(b.code, b.customer_no, b.ref_id, max_price => 100000) p
ORDER BY p.ref_id;
RESET ROLE;

\echo
\echo :bold'5. One payment in full':plain
\echo The row that comes back is the row of the journal: every amount exact, the data of the product
\echo itself as jsonb.
\echo
SELECT * FROM digipay_payment WHERE ref_id = 'demo-01' \gx

\echo :bold'6. The periods of a bill':plain
\echo A bill may be for several months.  digipay_detail makes rows of them; a LEFT JOIN keeps the bills
\echo that have none.
\echo
SELECT p.ref_id, p.code, d.no, d.periode, d.nilai_tagihan, d.denda, d.meter_awal, d.meter_akhir
FROM digipay_payment p
LEFT JOIN LATERAL digipay_detail(p) d ON true
ORDER BY p.ref_id, d.no;

\echo :bold'7. ROLLBACK does not bring money back':plain
\echo A transaction pays and is rolled back.  The payment is in the journal all the same: digipay
\echo committed it, in a process of its own, before it left.
\echo
BEGIN;
SELECT ref_id, state, price FROM digipay_pay('pln', '530000000002', 'demo-rollback');
ROLLBACK;
SELECT ref_id, state, price, requested_by FROM digipay_payment WHERE ref_id = 'demo-rollback';

\echo :bold'8. The same ref_id twice':plain
\echo The ref_id is the key.  Asked to pay it again, digipay gives back the row and sends nothing; what
\echo counts are the books of the provider.
\echo
SELECT ref_id, state, price, replied_at FROM digipay_pay('pln', '530000000001', 'demo-01');
\set page `curl -s "$DIGIPAY_BOOKS?ref_id=demo-01"`
\echo '$ curl' :books?ref_id=demo-01
\set ECHO none
SELECT 'demo-01' AS ref_id, page->>'inquiries' AS inquiries, page->>'pay_requests' AS "payment requests",
    CASE page->>'booked' WHEN '1' THEN 'once' ELSE page->>'booked' || ' times' END AS booked
FROM (SELECT :'page'::jsonb) AS books (page);
\set ECHO queries

\echo :bold'9. A wrong key':plain
\echo The provider refuses; nothing was created there.  A refusal is a row, not an error, and says what
\echo to look at.
\echo
CREATE SERVER wrong_key FOREIGN DATA WRAPPER digipay OPTIONS (
    endpoint :'endpoint',
    allow_private_address 'true');
CREATE USER MAPPING FOR PUBLIC SERVER wrong_key OPTIONS (username 'demo', api_key 'mistyped');
SELECT state, rc, message, error
FROM digipay_pay('hp', '081234554320', 'demo-wrong-key', server => 'wrong_key') \gx
SELECT item, detail, hint FROM digipay_health('wrong_key') WHERE NOT ok \gx

\echo :bold'10. A provider that is down':plain
\echo The request could not leave.  An error from digipay_pay means that nothing was sent.
\echo
CREATE SERVER down FOREIGN DATA WRAPPER digipay OPTIONS (
    endpoint 'http://127.0.0.1:9/v1/user/api/transaction',
    allow_private_address 'true');
CREATE USER MAPPING FOR PUBLIC SERVER down OPTIONS (username 'demo', api_key 'demo-key');
\set ON_ERROR_STOP off
SELECT * FROM digipay_pay('hp', '081234554320', 'demo-down', server => 'down');
\echo SQLSTATE: :SQLSTATE
\echo
\set ON_ERROR_STOP on
SELECT ref_id, state, error FROM digipay_payment WHERE ref_id = 'demo-down' \gx

\echo :bold'11. Through TLS':plain
\echo As a real provider is reached.  The certificate is always checked; this one is signed by nobody
\echo but itself, so the server says which authority to believe.
\echo
CREATE SERVER tls FOREIGN DATA WRAPPER digipay OPTIONS (
    endpoint :'tls_endpoint',
    ca_file :'ca_file',
    allow_private_address 'true');
CREATE USER MAPPING FOR PUBLIC SERVER tls OPTIONS (username 'demo', api_key 'demo-key');
SELECT ref_id, state, name, price FROM digipay_pay('internet', '6391601001', 'demo-tls', server => 'tls');

\echo :bold'12. After COMMIT, and not before':plain
\echo digipay_submit queues a payment in our own transaction.  After a ROLLBACK there was nothing; after
\echo COMMIT the worker pays, many at the same time.  digipay_wait_all waits for them.
\echo
BEGIN;
SELECT ref_id, state FROM digipay_submit('tv', '127246500101', 'demo-queue-0');
ROLLBACK;
BEGIN;
SELECT ref_id, state FROM digipay_submit('tv', '127246500101', 'demo-queue-1');
SELECT ref_id, state FROM digipay_submit('pdam', '1013226', 'demo-queue-2');
COMMIT;
SELECT ref_id, state, price, requested_at, sent_at
FROM digipay_wait_all(ARRAY['demo-queue-1', 'demo-queue-2']);

\echo :bold'13. An answer that takes its time':plain
\echo The provider says Pending.  It is not paid again, but asked about: after a minute, then less and
\echo less often.  (Here it is asked after 0.3 seconds.)  digipay_unsettled has what is not over yet.
\echo
ALTER SERVER digipay OPTIONS (ADD status_interval '300');
SELECT ref_id, state, rc, message FROM digipay_pay('pln', '630000000001', 'demo-slow');
SELECT ref_id, state, next, status_checks, why FROM digipay_unsettled;
SELECT ref_id, state, rc, message, price, status_checks FROM digipay_wait('demo-slow', '30 s');
SELECT count(*) AS unsettled FROM digipay_unsettled;

\echo :bold'14. What the worker has done':plain
\echo
SELECT sent, succeeded, pending, rejected, not_sent, status_questions, reply_ms_avg, reply_ms_max
FROM digipay_stats() \gx

\echo :bold'15. Who paid what, and what we earn':plain
\echo Payments are rows, so the rest is SQL: our customers, the periods they paid and our margin.
\echo
SELECT b.customer, count(DISTINCT p.ref_id) AS bills, string_agg(DISTINCT p.code, ', ') AS products,
    count(d) AS periods, sum(d.denda) AS fines, t.paid, t.margin
FROM bill b
JOIN digipay_payment p USING (ref_id)
LEFT JOIN LATERAL digipay_detail(p) d ON true
JOIN LATERAL (
    SELECT sum(q.selling_price) AS paid, sum(q.selling_price - q.price) AS margin
    FROM bill c JOIN digipay_payment q USING (ref_id)
    WHERE c.customer = b.customer AND q.state = 'succeeded') t ON true
WHERE p.state = 'succeeded'
GROUP BY b.customer, t.paid, t.margin
ORDER BY b.customer;

\echo :bold'16. For those who read the results':plain
\echo Each kind of product has a view with typed columns; digipay_bill has a row for each period, with
\echo the month that it means; and there are reports by day.
\echo
SELECT ref_id, code, periode, lower(month) AS month, kind, number AS no, amount, fine, admin
FROM digipay_bill
WHERE ref_id IN (SELECT ref_id FROM bill) AND kind IS NOT NULL
ORDER BY ref_id, no;
SELECT nomor_polisi, merek_kb, tgl_akhir_pajak_baru, biaya_pokok_pkb, biaya_pokok_swd
FROM digipay_samsat;
SELECT server, family, payments, succeeded, success_rate, paid, charged, margin
FROM digipay_product_stats
ORDER BY margin DESC, family
LIMIT 5;

\echo :bold'17. A receipt':plain
\echo
\pset format unaligned
\pset tuples_only on
SELECT digipay_receipt(ref_id) FROM digipay_pln ORDER BY ref_id LIMIT 1;
\pset tuples_only off
\pset format wrapped
