/* sql/digipay--1.0.sql */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION digipay" to load this file. \quit

--
-- Accounts: a foreign server holds the endpoint, its PUBLIC user mapping the key
--

CREATE FUNCTION digipay_validator(options text[], catalog oid)
RETURNS void
AS 'MODULE_PATHNAME', 'digipay_validator'
LANGUAGE C STRICT STABLE PARALLEL SAFE;
COMMENT ON FUNCTION digipay_validator(text[], oid) IS
'checks the options of a digipay server and of its PUBLIC user mapping';

CREATE FOREIGN DATA WRAPPER digipay VALIDATOR digipay_validator;
COMMENT ON FOREIGN DATA WRAPPER digipay IS
'accounts at a bill-payment aggregator: one server for each account';

--
-- Types
--

CREATE TYPE digipay_state AS ENUM (
	'queued',
	'sending',
	'not_sent',
	'pending',
	'unknown',
	'succeeded',
	'failed',
	'rejected',
	'refunded',
	'cancelled',
	'review'
);
COMMENT ON TYPE digipay_state IS
'what is known of a payment: queued, sending, pending and unknown are open, the rest is final; review waits for a person';

CREATE TYPE digipay_detail_row AS (
	no integer,
	periode text,
	nilai_tagihan numeric,
	admin numeric,
	denda numeric,
	biaya_lain numeric,
	meter_awal text,
	meter_akhir text,
	no_ref text,
	usage text,
	extra jsonb
);
COMMENT ON TYPE digipay_detail_row IS
'one period of a bill; what has no column, or did not fit it, is in extra';
COMMENT ON COLUMN digipay_detail_row.no IS 'number of the period in the bill, from 1';
COMMENT ON COLUMN digipay_detail_row.periode IS 'the period, in the words of the provider';
COMMENT ON COLUMN digipay_detail_row.nilai_tagihan IS 'amount of the bill';
COMMENT ON COLUMN digipay_detail_row.admin IS 'admin fee';
COMMENT ON COLUMN digipay_detail_row.denda IS 'fine';
COMMENT ON COLUMN digipay_detail_row.biaya_lain IS 'other costs';
COMMENT ON COLUMN digipay_detail_row.meter_awal IS 'meter reading at the start, leading zeros kept';
COMMENT ON COLUMN digipay_detail_row.meter_akhir IS 'meter reading at the end, leading zeros kept';
COMMENT ON COLUMN digipay_detail_row.no_ref IS 'reference number';
COMMENT ON COLUMN digipay_detail_row.usage IS 'what was used';
COMMENT ON COLUMN digipay_detail_row.extra IS 'keys without a column, and values that did not fit theirs; NULL: none';

--
-- The journal.  Its row type is what the payment functions return.
--
-- A claim (queued or not_sent to sending) leaves next_check_at alone, so that
-- it can be a HOT update; the fill factor leaves the room for that.
--

CREATE TABLE digipay_payment (
	ref_id text NOT NULL,
	state digipay_state NOT NULL,
	code text NOT NULL,
	customer_no text NOT NULL,
	name text,
	price numeric,
	selling_price numeric,
	admin numeric,
	base_commission numeric,
	balance numeric,
	status text,
	rc text,
	message text,
	sn text,
	periode text,
	"desc" jsonb,
	error text,
	testing boolean NOT NULL,
	requested_at timestamptz NOT NULL,
	not_after timestamptz,
	sent_at timestamptz,
	replied_at timestamptz,
	final_at timestamptz,
	day date NOT NULL GENERATED ALWAYS AS
		(pg_catalog.timezone('Asia/Jakarta', requested_at)::pg_catalog.date) STORED,
	server name NOT NULL,
	account text NOT NULL,
	requested_by name NOT NULL,
	status_checks integer NOT NULL DEFAULT 0,
	next_check_at timestamptz,
	http_status integer,
	max_price numeric,
	reply jsonb,
	origin uuid NOT NULL,
	PRIMARY KEY (server, ref_id),
	UNIQUE (account, ref_id)
) WITH (fillfactor = 50);

-- the worker's one index: what is not final, by when something is due
CREATE INDEX digipay_payment_next_check_at_idx
	ON digipay_payment (next_check_at) WHERE next_check_at IS NOT NULL;
COMMENT ON INDEX digipay_payment_next_check_at_idx IS
'what is not final, by when something is due; for the worker';

COMMENT ON TABLE digipay_payment IS
'the journal: one row for each payment, on disk before the payment leaves';
COMMENT ON COLUMN digipay_payment.ref_id IS 'your reference; never paid twice under one account';
COMMENT ON COLUMN digipay_payment.state IS 'what is known of the payment';
COMMENT ON COLUMN digipay_payment.code IS 'the product, as asked';
COMMENT ON COLUMN digipay_payment.customer_no IS 'the customer number, as asked';
COMMENT ON COLUMN digipay_payment.name IS 'the customer''s name, from the provider';
COMMENT ON COLUMN digipay_payment.price IS 'what leaves our deposit';
COMMENT ON COLUMN digipay_payment.selling_price IS 'what our customer pays';
COMMENT ON COLUMN digipay_payment.admin IS 'total of the admin fees';
COMMENT ON COLUMN digipay_payment.base_commission IS 'commission, for the products that have one';
COMMENT ON COLUMN digipay_payment.balance IS 'our deposit after the payment, as the provider says';
COMMENT ON COLUMN digipay_payment.status IS 'the provider''s word: Sukses, Gagal or Pending';
COMMENT ON COLUMN digipay_payment.rc IS 'the provider''s response code, see digipay_response_code';
COMMENT ON COLUMN digipay_payment.message IS 'the provider''s message';
COMMENT ON COLUMN digipay_payment.sn IS 'the provider''s serial number: the proof of payment';
COMMENT ON COLUMN digipay_payment.periode IS 'the bill''s period, where the provider gives one at the top level';
COMMENT ON COLUMN digipay_payment."desc" IS 'the product''s own data, as sent; digipay_detail makes rows of its periods';
COMMENT ON COLUMN digipay_payment.error IS 'why the state is not_sent, unknown or review, or why a column could not be filled';
COMMENT ON COLUMN digipay_payment.testing IS 'true for a payment that the provider only pretends to make';
COMMENT ON COLUMN digipay_payment.requested_at IS 'when the payment was asked for';
COMMENT ON COLUMN digipay_payment.not_after IS 'a queued payment is cancelled instead of paid after this';
COMMENT ON COLUMN digipay_payment.sent_at IS 'when the request left';
COMMENT ON COLUMN digipay_payment.replied_at IS 'when the last trusted reply came';
COMMENT ON COLUMN digipay_payment.final_at IS 'when the state became final';
COMMENT ON COLUMN digipay_payment.day IS 'the day of requested_at in Asia/Jakarta';
COMMENT ON COLUMN digipay_payment.server IS 'the foreign server that it was paid through';
COMMENT ON COLUMN digipay_payment.account IS 'username@host at the time of the intent; the payment is only ever sent or asked about under it';
COMMENT ON COLUMN digipay_payment.requested_by IS 'the role that asked';
COMMENT ON COLUMN digipay_payment.status_checks IS 'how many status questions were asked';
COMMENT ON COLUMN digipay_payment.next_check_at IS 'when something is due; infinity for what is in review, NULL for what is final';
COMMENT ON COLUMN digipay_payment.http_status IS 'HTTP status of the last answer';
COMMENT ON COLUMN digipay_payment.max_price IS 'what the price was not to exceed';
COMMENT ON COLUMN digipay_payment.reply IS 'the reply''s whole data object, unknown keys included';
COMMENT ON COLUMN digipay_payment.origin IS 'the mark of the database that may pay this';

--
-- What the provider said was owed: the last answer for each ref_id
--

CREATE TABLE digipay_inquiry (
	ref_id text NOT NULL,
	code text NOT NULL,
	customer_no text NOT NULL,
	name text,
	price numeric,
	selling_price numeric,
	admin numeric,
	base_commission numeric,
	balance numeric,
	status text,
	rc text,
	message text,
	sn text,
	periode text,
	"desc" jsonb,
	error text,
	testing boolean NOT NULL,
	inquired_at timestamptz NOT NULL,
	server name NOT NULL,
	account text NOT NULL,
	requested_by name NOT NULL,
	http_status integer,
	reply jsonb,
	PRIMARY KEY (server, ref_id)
);
COMMENT ON TABLE digipay_inquiry IS
'what is owed: the provider''s last answer to an inquiry, one row for each ref_id';
COMMENT ON COLUMN digipay_inquiry.ref_id IS 'your reference; the payment uses the same one';
COMMENT ON COLUMN digipay_inquiry.code IS 'the product, as asked';
COMMENT ON COLUMN digipay_inquiry.customer_no IS 'the customer number, as asked';
COMMENT ON COLUMN digipay_inquiry.name IS 'the customer''s name, from the provider';
COMMENT ON COLUMN digipay_inquiry.price IS 'what a payment would take from our deposit';
COMMENT ON COLUMN digipay_inquiry.selling_price IS 'what our customer would pay';
COMMENT ON COLUMN digipay_inquiry.admin IS 'total of the admin fees';
COMMENT ON COLUMN digipay_inquiry.base_commission IS 'commission, for the products that have one';
COMMENT ON COLUMN digipay_inquiry.balance IS 'our deposit, as the provider says';
COMMENT ON COLUMN digipay_inquiry.status IS 'the provider''s word: Sukses, Gagal or Pending';
COMMENT ON COLUMN digipay_inquiry.rc IS 'the provider''s response code, see digipay_response_code';
COMMENT ON COLUMN digipay_inquiry.message IS 'the provider''s message';
COMMENT ON COLUMN digipay_inquiry.sn IS 'serial number; usually empty for an inquiry';
COMMENT ON COLUMN digipay_inquiry.periode IS 'the bill''s period, where the provider gives one at the top level';
COMMENT ON COLUMN digipay_inquiry."desc" IS 'the product''s own data, as sent; digipay_detail makes rows of its periods';
COMMENT ON COLUMN digipay_inquiry.error IS 'why a column could not be filled';
COMMENT ON COLUMN digipay_inquiry.testing IS 'true for a pretended bill';
COMMENT ON COLUMN digipay_inquiry.server IS 'the foreign server that it was asked through';
COMMENT ON COLUMN digipay_inquiry.account IS 'username@host that asked';
COMMENT ON COLUMN digipay_inquiry.requested_by IS 'the role that asked';
COMMENT ON COLUMN digipay_inquiry.http_status IS 'HTTP status of the last answer';
COMMENT ON COLUMN digipay_inquiry.reply IS 'the reply''s whole data object, unknown keys included';
COMMENT ON COLUMN digipay_inquiry.inquired_at IS 'when the answer came';

--
-- What happened besides: append-only
--

CREATE TABLE digipay_event (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	server name NOT NULL,
	ref_id text NOT NULL,
	at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	kind text NOT NULL,
	http_status integer,
	curl_code integer,
	note text,
	body bytea
);
COMMENT ON SEQUENCE digipay_event_id_seq IS 'numbers the events in the order of writing';
CREATE INDEX digipay_event_ref_id_idx ON digipay_event (ref_id, server);
COMMENT ON INDEX digipay_event_ref_id_idx IS 'the events of one payment or inquiry';
CREATE INDEX digipay_event_verdict_idx ON digipay_event (id) WHERE kind IN ('cancelled', 'settled');
COMMENT ON INDEX digipay_event_verdict_idx IS 'what sessions have decided, for the worker to tell of';
COMMENT ON TABLE digipay_event IS
'what went wrong or out of the ordinary, with the bytes of every reply that was not trusted or could not be stored';
COMMENT ON COLUMN digipay_event.id IS 'order of writing';
COMMENT ON COLUMN digipay_event.server IS 'the foreign server';
COMMENT ON COLUMN digipay_event.ref_id IS 'the payment or inquiry that it is about; empty where it is about none';
COMMENT ON COLUMN digipay_event.at IS 'when it was written';
COMMENT ON COLUMN digipay_event.kind IS
'untrusted (a reply that cannot be believed, or says nothing), transport (no complete reply), unstored (a trusted reply that this database cannot hold), recovered (found in flight after a crash), not_found (the provider does not know the ref_id), doubtful (it does not know the outcome, or is odd), ignored (an answer that changes nothing), contradiction (a final state is in doubt), asked (about a final payment), retried, cancelled, settled, webhook (a call-back about an unknown payment), taken_over';
COMMENT ON COLUMN digipay_event.http_status IS 'HTTP status, where there was one';
COMMENT ON COLUMN digipay_event.curl_code IS 'libcurl''s result code, where the transfer failed';
COMMENT ON COLUMN digipay_event.note IS 'what happened, in words';
COMMENT ON COLUMN digipay_event.body IS 'the bytes that came';

--
-- Whose queue this is: one row, written by the worker, never dumped, so that a
-- restored dump does not take itself for the original.
--

CREATE TABLE digipay_fence (
	only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
	origin uuid NOT NULL,
	system_identifier bigint NOT NULL,
	timeline integer NOT NULL,
	database oid NOT NULL,
	device bigint NOT NULL,
	inode bigint NOT NULL,
	since timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	ask_first boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE digipay_fence IS
'the mark of this database that every payment of the journal carries, and the place that it serves; not dumped';
COMMENT ON COLUMN digipay_fence.only_row IS 'keeps the table to one row';
COMMENT ON COLUMN digipay_fence.origin IS 'the mark that new payments get';
COMMENT ON COLUMN digipay_fence.system_identifier IS 'of the database cluster';
COMMENT ON COLUMN digipay_fence.timeline IS 'of the database cluster; another one after a promotion or a recovery to an earlier point';
COMMENT ON COLUMN digipay_fence.database IS 'oid of the database';
COMMENT ON COLUMN digipay_fence.device IS 'device of the file PG_VERSION in the data directory';
COMMENT ON COLUMN digipay_fence.inode IS 'inode of the file PG_VERSION in the data directory';
COMMENT ON COLUMN digipay_fence.since IS 'when the mark was made';
COMMENT ON COLUMN digipay_fence.ask_first IS 'whether older payments, and new ones for a day, are asked about before they are sent';

-- what a dump must carry
SELECT pg_catalog.pg_extension_config_dump('digipay_payment', '');
SELECT pg_catalog.pg_extension_config_dump('digipay_inquiry', '');
SELECT pg_catalog.pg_extension_config_dump('digipay_event', '');
SELECT pg_catalog.pg_extension_config_dump('digipay_event_id_seq', '');

--
-- Paying and asking.  These are not STRICT: a missing argument is an error,
-- never a silent NULL.
--

CREATE FUNCTION digipay_pay(
	code text,
	customer_no text,
	ref_id text,
	testing boolean DEFAULT NULL,
	server name DEFAULT NULL,
	max_price numeric DEFAULT NULL)
RETURNS digipay_payment
AS 'MODULE_PATHNAME', 'digipay_pay'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION digipay_pay(text, text, text, boolean, name, numeric) FROM PUBLIC;
COMMENT ON FUNCTION digipay_pay(text, text, text, boolean, name, numeric) IS
'pays one bill and waits for the provider''s answer; an error means that nothing was sent';

CREATE FUNCTION digipay_submit(
	code text,
	customer_no text,
	ref_id text,
	testing boolean DEFAULT NULL,
	server name DEFAULT NULL,
	max_price numeric DEFAULT NULL,
	not_after timestamptz DEFAULT NULL)
RETURNS digipay_payment
AS 'MODULE_PATHNAME', 'digipay_submit'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION digipay_submit(text, text, text, boolean, name, numeric, timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION digipay_submit(text, text, text, boolean, name, numeric, timestamptz) IS
'queues one payment in the caller''s transaction: paid after COMMIT, and nothing after ROLLBACK';

CREATE FUNCTION digipay_wait(
	ref_id text,
	timeout interval DEFAULT '90 s',
	server name DEFAULT NULL)
RETURNS digipay_payment
AS 'MODULE_PATHNAME', 'digipay_wait'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION digipay_wait(text, interval, name) FROM PUBLIC;
COMMENT ON FUNCTION digipay_wait(text, interval, name) IS
'waits until a payment is final or the time is over; its row then';

CREATE FUNCTION digipay_wait_all(
	ref_ids text[],
	timeout interval DEFAULT '90 s',
	server name DEFAULT NULL)
RETURNS SETOF digipay_payment
AS 'MODULE_PATHNAME', 'digipay_wait_all'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 100;
REVOKE ALL ON FUNCTION digipay_wait_all(text[], interval, name) FROM PUBLIC;
COMMENT ON FUNCTION digipay_wait_all(text[], interval, name) IS
'waits until all of these payments are final or the time is over; their rows then, in that order';

CREATE FUNCTION digipay_status(
	ref_id text,
	server name DEFAULT NULL,
	refresh boolean DEFAULT false)
RETURNS digipay_payment
AS 'MODULE_PATHNAME', 'digipay_status'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION digipay_status(text, name, boolean) FROM PUBLIC;
COMMENT ON FUNCTION digipay_status(text, name, boolean) IS
'asks the provider about a payment, unless that was done a moment ago; about a final one only with refresh';

CREATE FUNCTION digipay_retry(
	ref_id text,
	server name DEFAULT NULL)
RETURNS digipay_payment
AS 'MODULE_PATHNAME', 'digipay_retry'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION digipay_retry(text, name) FROM PUBLIC;
COMMENT ON FUNCTION digipay_retry(text, name) IS
'sends again what provably moved no money: not_sent, rejected, cancelled';

CREATE FUNCTION digipay_cancel(
	ref_id text,
	server name DEFAULT NULL)
RETURNS digipay_payment
AS 'MODULE_PATHNAME', 'digipay_cancel'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION digipay_cancel(text, name) FROM PUBLIC;
COMMENT ON FUNCTION digipay_cancel(text, name) IS
'takes back a payment that is still queued, in the caller''s transaction';

CREATE FUNCTION digipay_settle(
	ref_id text,
	outcome digipay_state,
	note text,
	server name DEFAULT NULL)
RETURNS digipay_payment
AS 'MODULE_PATHNAME', 'digipay_settle'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION digipay_settle(text, digipay_state, text, name) FROM PUBLIC;
COMMENT ON FUNCTION digipay_settle(text, digipay_state, text, name) IS
'a person''s verdict on a payment in review; who and why is kept in digipay_event';

CREATE FUNCTION digipay_webhook(
	body bytea,
	signature text,
	server name DEFAULT NULL)
RETURNS digipay_payment
AS 'MODULE_PATHNAME', 'digipay_webhook'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION digipay_webhook(bytea, text, name) FROM PUBLIC;
COMMENT ON FUNCTION digipay_webhook(bytea, text, name) IS
'applies the provider''s call-back, if its signature is right; NULL for a ping';

CREATE FUNCTION digipay_inquire(
	code text,
	customer_no text,
	ref_id text,
	testing boolean DEFAULT NULL,
	server name DEFAULT NULL,
	year integer DEFAULT NULL,
	amount numeric DEFAULT NULL)
RETURNS digipay_inquiry
AS 'MODULE_PATHNAME', 'digipay_inquire'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION digipay_inquire(text, text, text, boolean, name, integer, numeric) FROM PUBLIC;
COMMENT ON FUNCTION digipay_inquire(text, text, text, boolean, name, integer, numeric) IS
'asks what is owed; moves no money';

CREATE FUNCTION digipay_health(server name DEFAULT NULL)
RETURNS TABLE (item text, ok boolean, detail text, hint text)
AS 'MODULE_PATHNAME', 'digipay_health'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION digipay_health(name) FROM PUBLIC;
COMMENT ON FUNCTION digipay_health(name) IS
'looks at everything that a payment needs, and says what to do about what is missing';

CREATE FUNCTION digipay_worker_start()
RETURNS boolean
AS 'MODULE_PATHNAME', 'digipay_worker_start'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION digipay_worker_start() FROM PUBLIC;
COMMENT ON FUNCTION digipay_worker_start() IS
'starts this database''s worker; false when it was running already';

CREATE FUNCTION digipay_worker_stop()
RETURNS boolean
AS 'MODULE_PATHNAME', 'digipay_worker_stop'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION digipay_worker_stop() FROM PUBLIC;
COMMENT ON FUNCTION digipay_worker_stop() IS
'ends this database''s worker once its answers are in; false when none was running';

CREATE FUNCTION digipay_take_over(lost_nothing boolean DEFAULT false)
RETURNS void
AS 'MODULE_PATHNAME', 'digipay_take_over'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION digipay_take_over(boolean) FROM PUBLIC;
COMMENT ON FUNCTION digipay_take_over(boolean) IS
'makes this database''s queue its own after a copy, a restore or a promotion: call it when the other database pays no more';

CREATE FUNCTION digipay_stats()
RETURNS TABLE (started_at timestamptz, sent bigint, succeeded bigint, failed bigint,
	rejected bigint, refunded bigint, pending bigint, unknown bigint, not_sent bigint,
	review bigint, cancelled bigint, status_questions bigint, retries bigint,
	bytes_sent bigint, bytes_received bigint, reply_ms_avg numeric, reply_ms_max numeric,
	in_flight bigint, queue_length bigint, webhooks bigint, webhooks_refused bigint)
AS 'MODULE_PATHNAME', 'digipay_stats'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 1;
REVOKE ALL ON FUNCTION digipay_stats() FROM PUBLIC;
COMMENT ON FUNCTION digipay_stats() IS
'what the worker has done since its start; no row when none is running';

--
-- What is not over yet.  By the worker's index, so it costs what is open, not
-- what the journal holds.
--

CREATE VIEW digipay_unsettled AS
	SELECT p.server, p.ref_id, p.state, p.code, p.customer_no,
		pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) p.requested_at AS age,
		CASE p.state
			WHEN 'queued' THEN 'it is paid'
			WHEN 'sending' THEN 'its answer comes, or its time-out'
			WHEN 'review' THEN 'a person calls digipay_settle'
			ELSE 'the provider is asked'
		END AS next,
		CASE WHEN p.state NOT IN ('sending', 'review') THEN p.next_check_at END AS next_at,
		p.not_after, p.status_checks, p.rc, p.message,
		coalesce(p.error, CASE p.state
			WHEN 'queued' THEN 'it waits for its turn'
			WHEN 'sending' THEN 'it is on its way'
			WHEN 'pending' THEN 'the provider has not decided'
		END) AS why,
		p.testing
	FROM digipay_payment p
	WHERE p.next_check_at IS NOT NULL;
COMMENT ON VIEW digipay_unsettled IS
'the payments that are not final, or wait for a person: how old, what is next and when, and why';
COMMENT ON COLUMN digipay_unsettled.server IS 'the foreign server that it is paid through';
COMMENT ON COLUMN digipay_unsettled.ref_id IS 'your reference';
COMMENT ON COLUMN digipay_unsettled.state IS 'what is known of the payment';
COMMENT ON COLUMN digipay_unsettled.code IS 'the product';
COMMENT ON COLUMN digipay_unsettled.customer_no IS 'the customer number';
COMMENT ON COLUMN digipay_unsettled.age IS 'time since it was asked for';
COMMENT ON COLUMN digipay_unsettled.next IS 'what happens next';
COMMENT ON COLUMN digipay_unsettled.next_at IS 'not before when';
COMMENT ON COLUMN digipay_unsettled.not_after IS 'when a queued payment is cancelled instead of paid';
COMMENT ON COLUMN digipay_unsettled.status_checks IS 'how often the provider was asked';
COMMENT ON COLUMN digipay_unsettled.rc IS 'the provider''s last response code';
COMMENT ON COLUMN digipay_unsettled.message IS 'the provider''s last message';
COMMENT ON COLUMN digipay_unsettled.why IS 'why it is not final';
COMMENT ON COLUMN digipay_unsettled.testing IS 'true for a payment that the provider only pretends to make';

--
-- Reading what came back: pure functions, for everybody
--

CREATE FUNCTION digipay_detail_json("desc" jsonb)
RETURNS SETOF digipay_detail_row
AS 'MODULE_PATHNAME', 'digipay_detail_json'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 2;
COMMENT ON FUNCTION digipay_detail_json(jsonb) IS
'the periods of a bill as rows, from the product''s own data';

CREATE FUNCTION digipay_detail(payment digipay_payment)
RETURNS SETOF digipay_detail_row
AS 'MODULE_PATHNAME', 'digipay_detail'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 2;
COMMENT ON FUNCTION digipay_detail(digipay_payment) IS
'the periods of a payment''s bill as rows; use it with LEFT JOIN LATERAL';

CREATE FUNCTION digipay_response_codes()
RETURNS TABLE (rc text, meaning text, status text, created boolean,
	on_pay text, on_status text, on_webhook text)
AS 'MODULE_PATHNAME', 'digipay_response_codes'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 40;
COMMENT ON FUNCTION digipay_response_codes() IS
'the provider''s response codes and what digipay concludes from each; behind the view digipay_response_code';

CREATE VIEW digipay_response_code AS
	SELECT rc, meaning, status, created, on_pay, on_status, on_webhook
	FROM digipay_response_codes();
GRANT SELECT ON digipay_response_code TO PUBLIC;
COMMENT ON VIEW digipay_response_code IS
'the provider''s response codes and what digipay concludes from each; the row whose rc is NULL stands for all others';
COMMENT ON COLUMN digipay_response_code.rc IS 'response code; NULL stands for every code that has no row of its own';
COMMENT ON COLUMN digipay_response_code.meaning IS 'what the provider means by it';
COMMENT ON COLUMN digipay_response_code.status IS 'the status word that belongs to it; another one is a contradiction';
COMMENT ON COLUMN digipay_response_code.created IS 'whether the provider then has a transaction; NULL: not known';
COMMENT ON COLUMN digipay_response_code.on_pay IS 'the state of a payment that is answered so';
COMMENT ON COLUMN digipay_response_code.on_status IS 'the state that such an answer to a status question leads to; NULL: it says nothing about the payment';
COMMENT ON COLUMN digipay_response_code.on_webhook IS 'the state that such a call-back leads to; NULL: it says nothing about the payment';
