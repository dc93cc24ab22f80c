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
COMMENT ON COLUMN digipay_inquiry.inquired_at IS 'when the question left that this answers';

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

--
-- Deposit tickets: what was asked for, and what is to be transferred
--

CREATE TABLE digipay_ticket (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	state text NOT NULL CONSTRAINT digipay_ticket_state_check CHECK (
		state IN ('sending', 'open', 'refused', 'not_sent', 'unknown')),
	rc text,
	amount numeric,
	notes text,
	message text,
	requested_amount numeric NOT NULL,
	bank text NOT NULL,
	owner_name text NOT NULL,
	error text,
	requested_at timestamptz NOT NULL,
	sent_at timestamptz,
	replied_at timestamptz,
	server name NOT NULL,
	account text NOT NULL,
	requested_by name NOT NULL,
	http_status integer,
	reply jsonb
);
COMMENT ON SEQUENCE digipay_ticket_id_seq IS 'numbers the deposit tickets';
COMMENT ON TABLE digipay_ticket IS
'deposit tickets: one row for each call of digipay_deposit, on disk before it leaves';
COMMENT ON COLUMN digipay_ticket.id IS 'number of the ticket in this database';
COMMENT ON COLUMN digipay_ticket.state IS
'sending (on its way), open (the provider waits for the transfer), refused (there is none), not_sent (nothing left), unknown (there may be one)';
COMMENT ON COLUMN digipay_ticket.rc IS 'the provider''s response code';
COMMENT ON COLUMN digipay_ticket.amount IS 'the exact sum to be transferred';
COMMENT ON COLUMN digipay_ticket.notes IS 'what the provider says about the transfer';
COMMENT ON COLUMN digipay_ticket.message IS 'the provider''s message, of a refusal';
COMMENT ON COLUMN digipay_ticket.requested_amount IS 'how much was asked for';
COMMENT ON COLUMN digipay_ticket.bank IS 'the bank, as asked';
COMMENT ON COLUMN digipay_ticket.owner_name IS 'name of the bank account''s owner, as asked';
COMMENT ON COLUMN digipay_ticket.error IS 'why the state is not_sent or unknown, or why something is missing';
COMMENT ON COLUMN digipay_ticket.requested_at IS 'when it was asked for';
COMMENT ON COLUMN digipay_ticket.sent_at IS 'when the request left';
COMMENT ON COLUMN digipay_ticket.replied_at IS 'when a trusted reply came';
COMMENT ON COLUMN digipay_ticket.server IS 'the foreign server that it was asked through';
COMMENT ON COLUMN digipay_ticket.account IS 'username@host whose deposit it is';
COMMENT ON COLUMN digipay_ticket.requested_by IS 'the role that asked';
COMMENT ON COLUMN digipay_ticket.http_status IS 'HTTP status of the answer';
COMMENT ON COLUMN digipay_ticket.reply IS 'the reply''s whole data object, unknown keys included';

--
-- The price list: when each account asked for it last, what came, and the
-- catalogue that is kept of it, with the history of its changes
--

CREATE TABLE digipay_price_list_call (
	account text PRIMARY KEY,
	kind text NOT NULL,
	code text,
	called_at timestamptz,
	replied_at timestamptz,
	list jsonb,
	error text,
	http_status integer,
	dialect text NOT NULL,
	server name NOT NULL,
	requested_by name NOT NULL
);
COMMENT ON TABLE digipay_price_list_call IS
'the last question for the price list, one row for each account: the provider takes one in five minutes; not dumped';
COMMENT ON COLUMN digipay_price_list_call.account IS 'username@host that asked';
COMMENT ON COLUMN digipay_price_list_call.kind IS 'pasca or prepaid';
COMMENT ON COLUMN digipay_price_list_call.code IS 'the one product that was asked for; NULL: all';
COMMENT ON COLUMN digipay_price_list_call.called_at IS 'when it was asked; NULL: the question did not leave';
COMMENT ON COLUMN digipay_price_list_call.replied_at IS 'when the list came';
COMMENT ON COLUMN digipay_price_list_call.list IS 'the list, as sent';
COMMENT ON COLUMN digipay_price_list_call.error IS 'why there is no list';
COMMENT ON COLUMN digipay_price_list_call.http_status IS 'HTTP status of the answer';
COMMENT ON COLUMN digipay_price_list_call.dialect IS 'the dialect that the list is in';
COMMENT ON COLUMN digipay_price_list_call.server IS 'the foreign server that it was asked through';
COMMENT ON COLUMN digipay_price_list_call.requested_by IS 'the role that asked';

CREATE TABLE digipay_catalogue (
	server name NOT NULL,
	kind text NOT NULL,
	code text NOT NULL,
	name text,
	category text,
	brand text,
	seller_name text,
	admin numeric,
	commission numeric,
	active boolean,
	status text,
	start_cut_off time,
	end_cut_off time,
	"desc" text,
	extra jsonb,
	listed boolean NOT NULL,
	synced_at timestamptz NOT NULL,
	PRIMARY KEY (server, kind, code)
);
COMMENT ON TABLE digipay_catalogue IS
'the products of each server, as digipay_sync_products was told last';
COMMENT ON COLUMN digipay_catalogue.server IS 'the foreign server';
COMMENT ON COLUMN digipay_catalogue.kind IS 'pasca: products whose bills are paid';
COMMENT ON COLUMN digipay_catalogue.code IS 'the code, as given to digipay_pay';
COMMENT ON COLUMN digipay_catalogue.name IS 'what the provider calls the product';
COMMENT ON COLUMN digipay_catalogue.category IS 'the provider''s category';
COMMENT ON COLUMN digipay_catalogue.brand IS 'the provider''s brand, which tells the family of a code that says nothing';
COMMENT ON COLUMN digipay_catalogue.seller_name IS 'who sells it to the provider';
COMMENT ON COLUMN digipay_catalogue.admin IS 'admin fee';
COMMENT ON COLUMN digipay_catalogue.commission IS 'our commission';
COMMENT ON COLUMN digipay_catalogue.active IS 'whether it is sold; NULL: the provider''s word for it is not understood';
COMMENT ON COLUMN digipay_catalogue.status IS 'the provider''s word for that, where there is one';
COMMENT ON COLUMN digipay_catalogue.start_cut_off IS 'when it closes each day, in Asia/Jakarta; NULL: not, or at midnight where it opens at a time';
COMMENT ON COLUMN digipay_catalogue.end_cut_off IS 'when it opens again; NULL: it does not close, or at midnight where it closes at a time';
COMMENT ON COLUMN digipay_catalogue."desc" IS 'the provider''s description';
COMMENT ON COLUMN digipay_catalogue.extra IS 'keys without a column, and values that did not fit theirs; NULL: none';
COMMENT ON COLUMN digipay_catalogue.listed IS 'whether the last list had it';
COMMENT ON COLUMN digipay_catalogue.synced_at IS 'when the list came that had it last';

CREATE TABLE digipay_catalogue_change (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	server name NOT NULL,
	kind text NOT NULL,
	code text NOT NULL,
	what text NOT NULL CONSTRAINT digipay_catalogue_change_what_check CHECK (
		what IN ('added', 'changed', 'gone', 'back')),
	before jsonb,
	after jsonb
);
COMMENT ON SEQUENCE digipay_catalogue_change_id_seq IS 'numbers the changes of the catalogue';
CREATE INDEX digipay_catalogue_change_code_idx ON digipay_catalogue_change (code, server);
COMMENT ON INDEX digipay_catalogue_change_code_idx IS 'the history of one product';
COMMENT ON TABLE digipay_catalogue_change IS
'the history of the catalogue: what digipay_sync_products has found to be different';
COMMENT ON COLUMN digipay_catalogue_change.id IS 'order of writing';
COMMENT ON COLUMN digipay_catalogue_change.at IS 'when it was found';
COMMENT ON COLUMN digipay_catalogue_change.server IS 'the foreign server';
COMMENT ON COLUMN digipay_catalogue_change.kind IS 'the kind of product';
COMMENT ON COLUMN digipay_catalogue_change.code IS 'the product';
COMMENT ON COLUMN digipay_catalogue_change.what IS 'added, changed, gone (not in the list any more), back';
COMMENT ON COLUMN digipay_catalogue_change.before IS 'what was different before; of what is gone, all; NULL: nothing was there';
COMMENT ON COLUMN digipay_catalogue_change.after IS 'the same now; of what was added, all; NULL: nothing is there';

-- what a dump must carry
SELECT pg_catalog.pg_extension_config_dump('digipay_payment', '');
SELECT pg_catalog.pg_extension_config_dump('digipay_inquiry', '');
SELECT pg_catalog.pg_extension_config_dump('digipay_event', '');
SELECT pg_catalog.pg_extension_config_dump('digipay_event_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('digipay_ticket', '');
SELECT pg_catalog.pg_extension_config_dump('digipay_ticket_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('digipay_catalogue', '');
SELECT pg_catalog.pg_extension_config_dump('digipay_catalogue_change', '');
SELECT pg_catalog.pg_extension_config_dump('digipay_catalogue_change_id_seq', '');

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

CREATE FUNCTION digipay_balance(server name DEFAULT NULL)
RETURNS numeric
AS 'MODULE_PATHNAME', 'digipay_balance'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION digipay_balance(name) FROM PUBLIC;
COMMENT ON FUNCTION digipay_balance(name) IS
'asks the provider what is left of our deposit';

CREATE FUNCTION digipay_deposit(
	amount numeric,
	bank text,
	owner_name text,
	server name DEFAULT NULL)
RETURNS digipay_ticket
AS 'MODULE_PATHNAME', 'digipay_deposit'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION digipay_deposit(numeric, text, text, name) FROM PUBLIC;
COMMENT ON FUNCTION digipay_deposit(numeric, text, text, name) IS
'opens a deposit ticket: what to transfer, exactly; each call opens one more';

CREATE FUNCTION digipay_price_list(
	kind text DEFAULT 'pasca',
	code text DEFAULT NULL,
	server name DEFAULT NULL)
RETURNS TABLE (name text, category text, brand text, type text, seller_name text, price numeric,
	admin numeric, commission numeric, code text, active boolean, buyer_active boolean,
	seller_active boolean, status text, unlimited_stock boolean, stock numeric, multi boolean,
	start_cut_off time, end_cut_off time, "desc" text, extra jsonb, listed_at timestamptz)
AS 'MODULE_PATHNAME', 'digipay_price_list'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 500;
REVOKE ALL ON FUNCTION digipay_price_list(text, text, name) FROM PUBLIC;
COMMENT ON FUNCTION digipay_price_list(text, text, name) IS
'asks what is sold, and for how much; at most once in five minutes, in which the answer serves again';

CREATE FUNCTION digipay_sync_products(server name DEFAULT NULL)
RETURNS TABLE (products bigint, added bigint, changed bigint, gone bigint, back bigint)
AS 'MODULE_PATHNAME', 'digipay_sync_products'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 1;
REVOKE ALL ON FUNCTION digipay_sync_products(name) FROM PUBLIC;
COMMENT ON FUNCTION digipay_sync_products(name) IS
'brings digipay_catalogue up to the provider''s price list, in the caller''s transaction';

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

CREATE FUNCTION digipay_purge(before date)
RETURNS bigint
AS 'MODULE_PATHNAME', 'digipay_purge'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION digipay_purge(date) FROM PUBLIC;
COMMENT ON FUNCTION digipay_purge(date) IS
'reduces the payments before that day to stubs, which still keep their ref_ids from being paid again; how many';

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

--
-- From here on only pg_catalog is on the search_path, so that no operator or
-- function that waits in the schema can slip into a view; our own objects are
-- named with their schema.
--

SET LOCAL search_path TO pg_catalog, pg_temp;

--
-- What a bill's words mean: pure functions, for everybody.  None that reads raises;
-- what cannot be read is NULL.
--

CREATE FUNCTION @extschema@.digipay_period(periode text, family text DEFAULT NULL,
	OUT month daterange, OUT kind text, OUT number integer)
AS 'MODULE_PATHNAME', 'digipay_period'
LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.digipay_period(text, text) IS
'what a bill''s period means: a month, or months (how many), an instalment (which one), a tax_year; the product family decides where digits alone cannot';

CREATE FUNCTION @extschema@.digipay_samsat_no(payment_code text, identity_no text)
RETURNS text
AS 'MODULE_PATHNAME', 'digipay_samsat_no'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.digipay_samsat_no(text, text) IS
'the customer_no of a vehicle tax from its two parts; NULL if one of them is';

CREATE FUNCTION @extschema@.digipay_to_numeric(value text)
RETURNS numeric
AS 'MODULE_PATHNAME', 'digipay_to_numeric'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.digipay_to_numeric(text) IS
'an amount from a bill''s text; NULL for what is none';

CREATE FUNCTION @extschema@.digipay_to_integer(value text)
RETURNS integer
AS 'MODULE_PATHNAME', 'digipay_to_integer'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.digipay_to_integer(text) IS
'a whole number from a bill''s text, leading zeros allowed; NULL for what is none';

CREATE FUNCTION @extschema@.digipay_to_date(value text)
RETURNS date
AS 'MODULE_PATHNAME', 'digipay_to_date'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.digipay_to_date(text) IS
'a day from a bill''s text, of several the last one; NULL for what is none';

--
-- What a price list says, in either dialect, and whether a product can be had
--

CREATE FUNCTION @extschema@.digipay_to_boolean(value text)
RETURNS boolean
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
	SELECT CASE
		WHEN lower(btrim(value)) IN ('true', 't', '1', 'on', 'active', 'aktif', 'available', 'normal', 'open') THEN true
		WHEN lower(btrim(value)) IN ('false', 'f', '0', 'off', 'inactive', 'non-aktif', 'nonaktif', 'tidak aktif',
			'unavailable', 'gangguan', 'closed', 'tutup') THEN false
	END;
END;
COMMENT ON FUNCTION @extschema@.digipay_to_boolean(text) IS
'yes or no from a price list''s text; NULL for what is neither';

CREATE FUNCTION @extschema@.digipay_to_time(value text)
RETURNS time
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
	SELECT CASE WHEN value ~ '^ *([01]?[0-9]|2[0-3]):[0-5]?[0-9](:[0-5]?[0-9])? *$' THEN
			make_time(split_part(value, ':', 1)::integer, split_part(value, ':', 2)::integer, 0) END;
END;
COMMENT ON FUNCTION @extschema@.digipay_to_time(text) IS
'hours and minutes from a price list''s text; NULL for what is none';

CREATE FUNCTION @extschema@.digipay_price_list_json(list jsonb, dialect text)
RETURNS TABLE (name text, category text, brand text, type text, seller_name text, price numeric,
	admin numeric, commission numeric, code text, active boolean, buyer_active boolean,
	seller_active boolean, status text, unlimited_stock boolean, stock numeric, multi boolean,
	start_cut_off time, end_cut_off time, "desc" text, extra jsonb)
LANGUAGE sql IMMUTABLE PARALLEL SAFE ROWS 500
BEGIN ATOMIC
	SELECT item.row->>key.name, item.row->>'category', item.row->>'brand', item.row->>'type',
		item.row->>'seller_name', @extschema@.digipay_to_numeric(item.row->>'price'),
		@extschema@.digipay_to_numeric(item.row->>'admin'), @extschema@.digipay_to_numeric(item.row->>'commission'),
		item.row->>key.code,
		CASE WHEN key.code = 'buyer_sku_code' THEN @extschema@.digipay_to_boolean(item.row->>'buyer_product_status')
				AND @extschema@.digipay_to_boolean(item.row->>'seller_product_status')
			ELSE @extschema@.digipay_to_boolean(item.row->>'status') END,
		@extschema@.digipay_to_boolean(item.row->>'buyer_product_status'),
		@extschema@.digipay_to_boolean(item.row->>'seller_product_status'),
		item.row->>'status', @extschema@.digipay_to_boolean(item.row->>'unlimited_stock'),
		@extschema@.digipay_to_numeric(item.row->>'stock'), @extschema@.digipay_to_boolean(item.row->>'multi'),
		nullif(@extschema@.digipay_to_time(item.row->>'start_cut_off'), '00:00'),
		nullif(@extschema@.digipay_to_time(item.row->>'end_cut_off'), '00:00'), item.row->>'desc',
		(SELECT jsonb_object_agg(e.key, e.value) FROM jsonb_each(item.row) e
		WHERE CASE
			WHEN e.key IN (key.name, key.code, 'category', 'brand', 'type', 'seller_name', 'status', 'desc') THEN false
			WHEN e.value #>> '{}' IS NULL OR e.value #>> '{}' = '' THEN e.key NOT IN ('price', 'admin', 'commission',
				'stock', 'buyer_product_status', 'seller_product_status', 'unlimited_stock', 'multi',
				'start_cut_off', 'end_cut_off')
			WHEN e.key IN ('price', 'admin', 'commission', 'stock') THEN @extschema@.digipay_to_numeric(e.value #>> '{}') IS NULL
			WHEN e.key IN ('buyer_product_status', 'seller_product_status', 'unlimited_stock', 'multi')
				THEN @extschema@.digipay_to_boolean(e.value #>> '{}') IS NULL
			WHEN e.key IN ('start_cut_off', 'end_cut_off') THEN @extschema@.digipay_to_time(e.value #>> '{}') IS NULL
			ELSE true END)
	FROM jsonb_array_elements(digipay_price_list_json.list) item (row)
		JOIN (VALUES ('digiswitch', 'name', 'code'), ('digiflazz', 'product_name', 'buyer_sku_code'))
			AS key (dialect, name, code) ON key.dialect = digipay_price_list_json.dialect;
END;
COMMENT ON FUNCTION @extschema@.digipay_price_list_json(jsonb, text) IS
'the rows of a price list, as sent in that dialect; behind digipay_price_list and the catalogue';

CREATE FUNCTION @extschema@.digipay_is_open(code text, at timestamptz DEFAULT now(), server name DEFAULT NULL)
RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	-- a cut-off that has one end only has the other at midnight
	SELECT c.active AND NOT CASE
			WHEN c.start_cut_off IS NULL AND c.end_cut_off IS NULL THEN false
			WHEN d.start < d.stop THEN d.now >= d.start AND d.now < d.stop
			WHEN d.start > d.stop THEN d.now >= d.start OR d.now < d.stop
			ELSE false
		END
	FROM @extschema@.digipay_catalogue c
		CROSS JOIN LATERAL (SELECT timezone('Asia/Jakarta', digipay_is_open.at)::time AS now,
			coalesce(c.start_cut_off, '00:00') AS start, coalesce(c.end_cut_off, '00:00') AS stop) AS d
	WHERE c.code = digipay_is_open.code AND c.kind = 'pasca'
		AND c.server = coalesce(digipay_is_open.server,
			nullif(current_setting('digipay.server', true), '')::name, 'digipay');
END;
REVOKE ALL ON FUNCTION @extschema@.digipay_is_open(text, timestamptz, name) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.digipay_is_open(text, timestamptz, name) IS
'whether a product is sold at that time, by the catalogue; NULL: it is not in there, or that is not understood';

--
-- Which family of products a code belongs to.  Codes are chosen for each
-- account, so there is a table for the user's own beside the documented ones.
--

CREATE TABLE @extschema@.digipay_product (
	code text NOT NULL CHECK (code OPERATOR(pg_catalog.<>) ''),
	family text NOT NULL CONSTRAINT digipay_product_family_check CHECK (family IN (
		'pln', 'pdam', 'hp', 'internet', 'bpjs', 'multifinance', 'pbb', 'pgas', 'tv',
		'plnnontaglis', 'emoney', 'samsat', 'bpjstk', 'bpjstkpu', 'pdl')),
	server name NOT NULL DEFAULT '',
	PRIMARY KEY (code, server)
);
COMMENT ON TABLE @extschema@.digipay_product IS
'your own product codes and what they are: adds to the documented codes, or overrides them';
COMMENT ON COLUMN @extschema@.digipay_product.code IS 'the code, as given to digipay_pay';
COMMENT ON COLUMN @extschema@.digipay_product.family IS 'the family of products that it belongs to';
COMMENT ON COLUMN @extschema@.digipay_product.server IS 'the server where it means that; empty: every server that says nothing else';
SELECT pg_catalog.pg_extension_config_dump('@extschema@.digipay_product', '');

-- Your own codes go first, then the documented ones, then what the catalogue says:
-- a brand or a category that has one family only.
CREATE VIEW @extschema@.digipay_product_family AS
	-- not materialized, or no report would run in parallel
	WITH documented (code, family) AS NOT MATERIALIZED (VALUES
		('pln', 'pln'), ('dspln', 'pln'), ('BPLN', 'pln'), ('pdam', 'pdam'), ('hp', 'hp'),
		('internet', 'internet'), ('bpjs', 'bpjs'), ('multifinance', 'multifinance'),
		('pbb', 'pbb'), ('cimahi', 'pbb'), ('pgas', 'pgas'), ('tv', 'tv'),
		('plnnontaglis', 'plnnontaglis'), ('emoney', 'emoney'), ('samsat', 'samsat'),
		('bpjstk', 'bpjstk'), ('bpjstkpu', 'bpjstkpu'), ('pdl', 'pdl')
	), named (name, family) AS NOT MATERIALIZED (VALUES
		('PLN PASCABAYAR', 'pln'), ('PLN POSTPAID', 'pln'), ('PDAM', 'pdam'),
		('HP PASCABAYAR', 'hp'), ('INTERNET PASCABAYAR', 'internet'), ('BPJS KESEHATAN', 'bpjs'),
		('MULTIFINANCE', 'multifinance'), ('PBB', 'pbb'), ('GAS NEGARA', 'pgas'),
		('TV PASCABAYAR', 'tv'), ('PLN NONTAGLIS', 'plnnontaglis'), ('E-MONEY', 'emoney'),
		('SAMSAT', 'samsat'), ('BPJS KETENAGAKERJAAN', 'bpjstk'),
		('BPJS KETENAGAKERJAAN PU', 'bpjstkpu'), ('PDL', 'pdl')
	)
	SELECT own.code, own.server, own.family, false AS built_in
	FROM @extschema@.digipay_product own
	UNION ALL
	SELECT documented.code, '', documented.family, true
	FROM documented
	WHERE NOT EXISTS (
		SELECT FROM @extschema@.digipay_product own
		WHERE own.code = documented.code AND own.server = '')
	UNION ALL
	SELECT c.code, c.server, coalesce(of_brand.family, of_category.family), true
	FROM @extschema@.digipay_catalogue c
		LEFT JOIN named of_brand ON of_brand.name = upper(c.brand)
		LEFT JOIN named of_category ON of_category.name = upper(c.category)
	WHERE c.kind = 'pasca' AND coalesce(of_brand.family, of_category.family) IS NOT NULL
		AND NOT EXISTS (
			SELECT FROM @extschema@.digipay_product own
			WHERE own.code = c.code AND own.server IN ('', c.server))
		AND c.code NOT IN (SELECT documented.code FROM documented);
COMMENT ON VIEW @extschema@.digipay_product_family IS
'all known product codes and their families: yours, the documented ones, and those that the catalogue tells by brand or category';
COMMENT ON COLUMN @extschema@.digipay_product_family.code IS 'the code, as given to digipay_pay';
COMMENT ON COLUMN @extschema@.digipay_product_family.server IS 'the server where it means that; empty: every server that says nothing else';
COMMENT ON COLUMN @extschema@.digipay_product_family.family IS 'the family of products that it belongs to';
COMMENT ON COLUMN @extschema@.digipay_product_family.built_in IS 'true for a documented code or one of the catalogue, false for one of yours';

--
-- The payments as reports see them: no tests, and with their family.
--

-- for reports of some days, and for the latest payments; what these index never
-- changes, so that claims stay HOT updates.  (Two, since the planner thinks a scan
-- by an index of both columns several times as dear as it is.)
CREATE INDEX digipay_payment_day_idx ON @extschema@.digipay_payment (day);
COMMENT ON INDEX @extschema@.digipay_payment_day_idx IS 'the payments of some days; for reports';
CREATE INDEX digipay_payment_requested_at_idx ON @extschema@.digipay_payment (requested_at);
COMMENT ON INDEX @extschema@.digipay_payment_requested_at_idx IS 'the latest payments; for reports';

CREATE VIEW @extschema@.digipay_product_payment AS
	SELECT p.server, p.ref_id, p.day, p.state, coalesce(own.family, every.family, listed.family) AS family,
		p.code, p.customer_no, p.name, p.price, p.selling_price, p.admin,
		p.base_commission, p.balance, p.status, p.rc, p.message, p.sn, p.periode,
		p."desc", p.error, p.requested_at, p.sent_at, p.replied_at, p.final_at,
		p.account, p.requested_by, p.status_checks, p.next_check_at, p.http_status
	FROM @extschema@.digipay_payment p
		LEFT JOIN @extschema@.digipay_product own ON own.code = p.code AND own.server = p.server
		LEFT JOIN @extschema@.digipay_product_family every ON every.code = p.code AND every.server = ''
		LEFT JOIN @extschema@.digipay_product_family listed ON listed.code = p.code AND listed.server = p.server
			AND listed.built_in
	WHERE NOT p.testing;
COMMENT ON VIEW @extschema@.digipay_product_payment IS
'the payments, tests left out, each with the family of its product; all reports read this';

--
-- One view for each family: what every payment has, then the fields of its
-- "desc" by their own names.  Made from one list, so that the families cannot
-- drift apart.  What is parsed has its text beside it, as sent; "desc" has all.
--
--	text	as sent
--	number	an amount
--	count	a whole number
--	ordinal	the same from text with leading zeros, and that text
--	date	a day, and the text that it was read from
--	area	square metres, and the text that they were read from
--	json	as sent
--

DO $make$
DECLARE
	common CONSTANT text := 'p.server, p.ref_id, p.day, p.state, p.code, p.customer_no, p.name, '
		'p.price, p.selling_price, p.admin, p.base_commission, p.sn, p.requested_at, p.final_at';
	comments jsonb := '{"family": "the family of the product; NULL: not known, see digipay_product"}';
	views regclass[] := ARRAY['@extschema@.digipay_product_payment'::regclass];
	view record;
	field record;
BEGIN
	FOR view IN
		WITH field (no, families, key, kind, comment) AS (
			SELECT pg_catalog.row_number() OVER (), listed.*
			FROM (VALUES
				('{pln,pdam}', 'tarif', 'text', 'tariff'),
				('{pln}', 'daya', 'count', 'power, in VA'),
				('{pln,pdam,hp,internet,bpjs,multifinance,pbb,pgas,tv,plnnontaglis,emoney,samsat,bpjstk,bpjstkpu,pdl}',
					'lembar_tagihan', 'count', 'number of bills, as the provider says; digipay_bill counts them'),
				('{bpjs}', 'jumlah_peserta', 'count', 'number of persons insured'),
				('{pdam,bpjs,pbb,pgas,samsat,pdl}', 'alamat', 'text', 'address'),
				('{pdam}', 'jatuh_tempo', 'date', 'when the bill is due, at the latest'),
				('{multifinance}', 'item_name', 'text', 'what is paid for'),
				('{multifinance}', 'no_rangka', 'text', 'chassis number'),
				('{multifinance}', 'no_pol', 'text', 'number plate'),
				('{multifinance}', 'tenor', 'ordinal', 'number of instalments in all'),
				('{pbb,pdl}', 'tahun_pajak', 'ordinal', 'tax year'),
				('{pbb,pdl}', 'kelurahan', 'text', 'ward'),
				('{pbb,pdl}', 'kecamatan', 'text', 'district'),
				('{pbb,pdl}', 'kode_kab_kota', 'text', 'code of the regency or city'),
				('{pbb,pdl}', 'kab_kota', 'text', 'regency or city'),
				('{pdl}', 'provinsi', 'text', 'province'),
				('{pbb,pdl}', 'luas_tanah', 'area', 'land'),
				('{pbb,pdl}', 'luas_gedung', 'area', 'building'),
				('{plnnontaglis}', 'transaksi', 'text', 'what is paid for'),
				('{plnnontaglis}', 'no_registrasi', 'text', 'registration number'),
				('{plnnontaglis}', 'tanggal_registrasi', 'date', 'day of registration'),
				('{samsat}', 'nomor_identitas', 'text', 'identity number of the owner'),
				('{samsat}', 'nomor_rangka', 'text', 'chassis number'),
				('{samsat}', 'nomor_mesin', 'text', 'engine number'),
				('{samsat}', 'nomor_polisi', 'text', 'number plate'),
				('{samsat}', 'milik_kenama', 'text', 'which of the owner''s vehicles'),
				('{samsat}', 'merek_kb', 'text', 'make'),
				('{samsat}', 'model_kb', 'text', 'model'),
				('{samsat}', 'tahun_buatan', 'ordinal', 'year of manufacture'),
				('{samsat}', 'tgl_akhir_pajak_baru', 'date', 'last day that the tax is paid for'),
				('{samsat}', 'biaya_pokok_bbn', 'number', 'transfer duty'),
				('{samsat}', 'biaya_pokok_swd', 'number', 'accident insurance'),
				('{samsat}', 'biaya_pokok_pkb', 'number', 'vehicle tax'),
				('{samsat}', 'biaya_denda_swd', 'number', 'fine on the accident insurance'),
				('{samsat}', 'biaya_denda_bbn', 'number', 'fine on the transfer duty'),
				('{samsat}', 'biaya_denda_pkb', 'number', 'fine on the vehicle tax'),
				('{samsat}', 'biaya_admin_stnk', 'number', 'fee for the registration document'),
				('{samsat}', 'biaya_admin_tnkb', 'number', 'fee for the number plate; the provider also calls it biaya_tnkb, which is read as well'),
				('{samsat}', 'biaya_parkir_pokok', 'number', 'parking'),
				('{samsat}', 'biaya_pajak_progresif', 'number', 'progressive tax'),
				('{bpjstk,bpjstkpu}', 'kode_iuran', 'text', 'code of the contribution'),
				('{bpjstk}', 'kode_program', 'text', 'code of the programme'),
				('{bpjstkpu}', 'npp', 'text', 'number of the company'),
				('{bpjstkpu}', 'kode_divisi', 'text', 'code of the division'),
				('{bpjstk,bpjstkpu}', 'jkk', 'number', 'work accident insurance'),
				('{bpjstk,bpjstkpu}', 'jkm', 'number', 'life insurance'),
				('{bpjstk,bpjstkpu}', 'jht', 'number', 'old-age savings'),
				('{bpjstkpu}', 'jpk', 'number', 'health insurance'),
				('{bpjstkpu}', 'jpn', 'number', 'pension'),
				('{bpjstk}', 'kantor_cabang', 'text', 'branch'),
				('{bpjstk}', 'tgl_efektif', 'date', 'valid from'),
				('{bpjstk}', 'tgl_expired', 'date', 'valid until'),
				('{pln,pdam,internet,bpjs,multifinance,pgas,tv}', 'detail', 'json',
					'the bill''s periods, as sent; digipay_bill has a row for each')
			) AS listed
		), source AS (
			SELECT f.*, pg_catalog.unnest(f.families::text[]) AS family, CASE f.key
					WHEN 'biaya_admin_tnkb' THEN
						'coalesce(p."desc"->>''biaya_admin_tnkb'', p."desc"->>''biaya_tnkb'')'
					ELSE format('p."desc"->>%L', f.key)
				END AS value
			FROM field f
		)
		SELECT '@extschema@.digipay_' || s.family AS name, s.family,
			pg_catalog.jsonb_object_agg(s.key, s.comment) AS comments,
			string_agg(format(CASE s.kind
					WHEN 'text' THEN '%1$s AS %2$I'
					WHEN 'number' THEN '%7$s.digipay_to_numeric(%1$s) AS %2$I'
					WHEN 'count' THEN '%7$s.digipay_to_integer(%1$s) AS %2$I'
					WHEN 'ordinal' THEN '%7$s.digipay_to_integer(%1$s) AS %2$I, %1$s AS %3$I'
					WHEN 'date' THEN '%7$s.digipay_to_date(%1$s) AS %2$I, %1$s AS %3$I'
					WHEN 'area' THEN '%7$s.digipay_to_numeric("substring"(%1$s, %5$L)) AS %4$I, %1$s AS %2$I'
					WHEN 'json' THEN 'p."desc"->%6$L AS %2$I'
				END, s.value, s.key, s.key || '_text', s.key || '_m2',
				'^ *([0-9]+(?:[.][0-9]+)?) *(?:[mM]2?)? *$', s.key, '@extschema@'), ', ' ORDER BY s.no) AS columns
		FROM source s
		GROUP BY s.family
	LOOP
		EXECUTE format('CREATE VIEW %s AS SELECT %s, %s, p."desc" FROM %s.digipay_product_payment p WHERE p.family = %L',
			view.name, common, view.columns, '@extschema@', view.family);
		EXECUTE format('COMMENT ON VIEW %s IS %L', view.name,
			format('the payments of the family %s, tests left out, with the fields of their bills', view.family));
		comments := comments || view.comments;
		views := views || view.name::regclass;
	END LOOP;

	FOR field IN
		SELECT a.attrelid::regclass AS view, a.attname AS name, coalesce(comments->>a.attname,
			CASE WHEN a.attname LIKE '%\_text' THEN left(a.attname, -5) || ', as sent' END,
			CASE WHEN a.attname LIKE '%\_m2' THEN left(a.attname, -3) || ', in square metres' END,
			col_description(j.attrelid, j.attnum)) AS comment
		FROM pg_attribute a
			LEFT JOIN pg_attribute j
				ON j.attrelid = '@extschema@.digipay_payment'::regclass AND j.attname = a.attname
		WHERE a.attrelid = ANY (views) AND a.attnum > 0
	LOOP
		EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', field.view, field.name, field.comment);
	END LOOP;
END
$make$;

--
-- Reports.  By the day in Asia/Jakarta: a condition on "day" reads those days
-- and no others.  Money counts where it has moved: in what has succeeded.
--

CREATE FUNCTION @extschema@.digipay_bill_json("desc" jsonb, family text, periode text,
	selling_price numeric, admin numeric)
RETURNS TABLE (no integer, periode text, month daterange, kind text, number integer,
	amount numeric, fine numeric, other numeric, admin numeric)
AS 'MODULE_PATHNAME', 'digipay_bill_json'
LANGUAGE C IMMUTABLE PARALLEL SAFE ROWS 1;
COMMENT ON FUNCTION @extschema@.digipay_bill_json(jsonb, text, text, numeric, numeric) IS
'the periods of a payment''s bill, at least one, with money that adds up to the selling price; behind the view digipay_bill';

CREATE VIEW @extschema@.digipay_bill AS
	SELECT p.server, p.ref_id, p.day, p.state, p.family, p.code, p.customer_no, p.name,
		b.no, b.periode, b.month, b.kind, b.number, b.amount, b.fine, b.other, b.admin
	FROM @extschema@.digipay_product_payment p
		CROSS JOIN LATERAL @extschema@.digipay_bill_json(p."desc", p.family, p.periode, p.selling_price, p.admin) b;
COMMENT ON VIEW @extschema@.digipay_bill IS
'one row for each period of each payment''s bill, at least one; amount, fine, other and admin add up to the selling price';

CREATE VIEW @extschema@.digipay_daily AS
	SELECT p.day, p.server, count(*) AS payments,
		count(*) FILTER (WHERE p.state = 'succeeded') AS succeeded,
		count(*) FILTER (WHERE p.state = 'failed') AS failed,
		count(*) FILTER (WHERE p.state = 'rejected') AS rejected,
		count(*) FILTER (WHERE p.state = 'refunded') AS refunded,
		count(*) FILTER (WHERE p.state = 'cancelled') AS cancelled,
		count(*) FILTER (WHERE p.state = 'not_sent') AS not_sent,
		count(*) FILTER (WHERE p.state = 'queued') AS queued,
		count(*) FILTER (WHERE p.state = 'sending') AS sending,
		count(*) FILTER (WHERE p.state = 'pending') AS pending,
		count(*) FILTER (WHERE p.state = 'unknown') AS unknown,
		count(*) FILTER (WHERE p.state = 'review') AS review,
		coalesce(sum(p.price) FILTER (WHERE p.state = 'succeeded'), 0) AS paid,
		coalesce(sum(p.selling_price) FILTER (WHERE p.state = 'succeeded'), 0) AS charged,
		coalesce(sum(p.selling_price - p.price) FILTER (WHERE p.state = 'succeeded'), 0) AS margin
	FROM @extschema@.digipay_product_payment p
	GROUP BY p.day, p.server;
COMMENT ON VIEW @extschema@.digipay_daily IS
'payments and money of each day and server';

-- a view for a look at the days, and a function for what cannot be added up
CREATE VIEW @extschema@.digipay_product_stats AS
	SELECT p.day, p.server, p.family, p.code, count(*) AS payments,
		count(*) FILTER (WHERE p.state = 'succeeded') AS succeeded,
		count(*) FILTER (WHERE p.state IN ('failed', 'rejected', 'refunded')) AS not_succeeded,
		round(avg(CASE WHEN p.state = 'succeeded' THEN 1
				WHEN p.state IN ('failed', 'rejected', 'refunded') THEN 0 END), 4) AS success_rate,
		percentile_disc(0.5) WITHIN GROUP (ORDER BY p.final_at - p.requested_at)
			FILTER (WHERE p.state IN ('succeeded', 'failed', 'rejected')) AS p50,
		percentile_disc(0.95) WITHIN GROUP (ORDER BY p.final_at - p.requested_at)
			FILTER (WHERE p.state IN ('succeeded', 'failed', 'rejected')) AS p95,
		coalesce(sum(p.price) FILTER (WHERE p.state = 'succeeded'), 0) AS paid,
		coalesce(sum(p.selling_price) FILTER (WHERE p.state = 'succeeded'), 0) AS charged,
		coalesce(sum(p.selling_price - p.price) FILTER (WHERE p.state = 'succeeded'), 0) AS margin
	FROM @extschema@.digipay_product_payment p
	GROUP BY p.day, p.server, p.family, p.code;
COMMENT ON VIEW @extschema@.digipay_product_stats IS
'of each day, server and product: how many succeed, how long it takes, and what it earns';

CREATE FUNCTION @extschema@.digipay_product_stats(since date, until date)
RETURNS TABLE (server name, family text, code text, payments bigint, succeeded bigint,
	not_succeeded bigint, success_rate numeric, p50 interval, p95 interval,
	paid numeric, charged numeric, margin numeric)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 50
BEGIN ATOMIC
	SELECT p.server, p.family, p.code, count(*),
		count(*) FILTER (WHERE p.state = 'succeeded'),
		count(*) FILTER (WHERE p.state IN ('failed', 'rejected', 'refunded')),
		round(avg(CASE WHEN p.state = 'succeeded' THEN 1
				WHEN p.state IN ('failed', 'rejected', 'refunded') THEN 0 END), 4),
		percentile_disc(0.5) WITHIN GROUP (ORDER BY p.final_at - p.requested_at)
			FILTER (WHERE p.state IN ('succeeded', 'failed', 'rejected')),
		percentile_disc(0.95) WITHIN GROUP (ORDER BY p.final_at - p.requested_at)
			FILTER (WHERE p.state IN ('succeeded', 'failed', 'rejected')),
		coalesce(sum(p.price) FILTER (WHERE p.state = 'succeeded'), 0),
		coalesce(sum(p.selling_price) FILTER (WHERE p.state = 'succeeded'), 0),
		coalesce(sum(p.selling_price - p.price) FILTER (WHERE p.state = 'succeeded'), 0)
	FROM @extschema@.digipay_product_payment p
	WHERE p.day BETWEEN since AND until
	GROUP BY p.server, p.family, p.code;
END;
REVOKE ALL ON FUNCTION @extschema@.digipay_product_stats(date, date) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.digipay_product_stats(date, date) IS
'the view digipay_product_stats over all these days together, both included';

CREATE VIEW @extschema@.digipay_response_stats AS
	SELECT p.day, p.server, p.code, p.rc,
		coalesce(r.meaning, CASE WHEN p.rc IS NULL THEN 'no answer' ELSE 'not documented' END) AS meaning,
		count(*) AS payments,
		round(count(*) / sum(count(*)) OVER (PARTITION BY p.day, p.server, p.code), 4) AS share
	FROM @extschema@.digipay_product_payment p
		LEFT JOIN @extschema@.digipay_response_codes() r ON r.rc = p.rc
	GROUP BY p.day, p.server, p.code, p.rc, r.meaning;
COMMENT ON VIEW @extschema@.digipay_response_stats IS
'what the provider answers: how often each response code, of each day, server and product';

CREATE VIEW @extschema@.digipay_pending_age AS
	SELECT b.bucket, b.older_than,
		count(p.ref_id) AS payments,
		count(*) FILTER (WHERE p.state = 'queued') AS queued,
		count(*) FILTER (WHERE p.state = 'sending') AS sending,
		count(*) FILTER (WHERE p.state = 'pending') AS pending,
		count(*) FILTER (WHERE p.state = 'unknown') AS unknown,
		count(*) FILTER (WHERE p.state = 'review') AS review,
		max(p.age) AS oldest
	FROM (VALUES
			('under 1 minute', interval '0', interval '1 min'),
			('1 to 10 minutes', interval '1 min', interval '10 min'),
			('10 minutes to 1 hour', interval '10 min', interval '1 h'),
			('1 to 6 hours', interval '1 h', interval '6 h'),
			('6 to 24 hours', interval '6 h', interval '24 h'),
			('1 to 7 days', interval '24 h', interval '7 d'),
			('7 to 90 days', interval '7 d', interval '90 d'),
			('over 90 days', interval '90 d', NULL)
		) AS b (bucket, older_than, younger_than)
		LEFT JOIN (
			SELECT u.ref_id, u.state, greatest(u.age, interval '0') AS age
			FROM @extschema@.digipay_unsettled u
			WHERE NOT u.testing
		) AS p ON p.age >= b.older_than AND (p.age < b.younger_than OR b.younger_than IS NULL)
	GROUP BY b.bucket, b.older_than
	ORDER BY b.older_than;
COMMENT ON VIEW @extschema@.digipay_pending_age IS
'what is not final, or waits for a person, by its age; always all the buckets';

-- What the provider's replies tell of the deposit.  A balance is of the day of
-- the reply: mostly that is the payment's own, and of what was asked about, which
-- is little and in an index, that of the answer.  What was refunded since has the
-- balance of its booking, but the reply of its refund.
CREATE INDEX digipay_payment_asked_idx
	ON @extschema@.digipay_payment ((timezone('Asia/Jakarta', replied_at)::date))
	WHERE status_checks > 0;
COMMENT ON INDEX @extschema@.digipay_payment_asked_idx IS
'what the provider was asked about, by the day of its answer; for reports';

CREATE VIEW @extschema@.digipay_booking AS
	SELECT p.day, p.account, p.server, p.ref_id,
		CASE p.state WHEN 'refunded' THEN coalesce(p.sent_at, p.requested_at) ELSE p.replied_at END AS replied_at,
		p.price, p.balance
	FROM @extschema@.digipay_payment p
	WHERE (p.status_checks = 0 OR p.state = 'refunded')
		AND p.state IN ('succeeded', 'refunded') AND NOT p.testing
		AND p.price IS NOT NULL AND p.balance IS NOT NULL
	UNION ALL
	SELECT timezone('Asia/Jakarta', p.replied_at)::date, p.account, p.server, p.ref_id,
		p.replied_at, p.price, p.balance
	FROM @extschema@.digipay_payment p
	WHERE p.status_checks > 0 AND p.state = 'succeeded' AND NOT p.testing
		AND p.price IS NOT NULL AND p.balance IS NOT NULL;
COMMENT ON VIEW @extschema@.digipay_booking IS
'what was taken from a deposit and what was left of it, by the day of the reply';

CREATE VIEW @extschema@.digipay_balance_trend AS
	SELECT b.day, b.account,
		(array_agg(b.balance + b.price ORDER BY b.replied_at, b.ref_id))[1] AS opening,
		min(b.balance) AS lowest, max(b.balance) AS highest,
		(array_agg(b.balance ORDER BY b.replied_at DESC, b.ref_id DESC))[1] AS closing,
		sum(b.price) AS paid, max(b.replied_at) AS last_reply
	FROM @extschema@.digipay_booking b
	GROUP BY b.day, b.account;
COMMENT ON VIEW @extschema@.digipay_balance_trend IS
'the deposit of each account by day, as the provider''s replies tell it';

-- What was there before a booking must be what another booking has left: mostly
-- the one before, but replies of what is in flight together come in any order,
-- so any of the day will do, and at midnight the last of the day before that the
-- account was used, or the first of the next day.  Day by day, so that a
-- condition on the day reads those days and the edges of their neighbours.  (A
-- booking of nothing shows nothing.)
CREATE VIEW @extschema@.digipay_balance_gap AS
	SELECT d.day, gap.account, gap.server, gap.ref_id, gap.replied_at,
		gap.expected, gap.before AS found, gap.before - gap.expected AS difference
	FROM generate_series(
			(SELECT min(p.day) FROM @extschema@.digipay_payment p)::timestamp,
			(SELECT timezone('Asia/Jakarta', now())::date)::timestamp,
			interval '1 day') AS s (at)
		CROSS JOIN LATERAL (SELECT s.at::date AS day, timezone('Asia/Jakarta', s.at) AS midnight) AS d
		CROSS JOIN LATERAL (
			WITH today AS MATERIALIZED (
				SELECT b.account, b.server, b.ref_id, b.replied_at, b.balance,
					b.balance + b.price AS before
				FROM @extschema@.digipay_booking b
				WHERE b.day = d.day AND b.price <> 0
			), edge AS MATERIALIZED (
				(SELECT p.account, p.balance
				FROM @extschema@.digipay_payment p
				WHERE p.requested_at >= d.midnight - interval '31 days' AND p.requested_at < d.midnight
					AND p.state IN ('succeeded', 'refunded') AND NOT p.testing AND p.balance IS NOT NULL
				ORDER BY p.requested_at DESC
				LIMIT 1000)
				UNION ALL
				SELECT p.account, p.balance
				FROM @extschema@.digipay_payment p
				WHERE timezone('Asia/Jakarta', p.replied_at)::date IN (d.day - 1, d.day + 1)
					AND p.status_checks > 0 AND p.state = 'succeeded' AND NOT p.testing AND p.balance IS NOT NULL
				UNION ALL
				(SELECT p.account, p.balance
				FROM @extschema@.digipay_payment p
				WHERE p.requested_at >= d.midnight + interval '1 day'
					AND p.requested_at < d.midnight + interval '2 days'
					AND p.state IN ('succeeded', 'refunded') AND NOT p.testing AND p.balance IS NOT NULL
				ORDER BY p.requested_at
				LIMIT 1000)
			), suspect AS MATERIALIZED (
				SELECT t.account, t.server, t.ref_id, t.replied_at, t.before,
					row_number() OVER (PARTITION BY t.account ORDER BY t.replied_at) AS no
				FROM today t
				WHERE (t.account, t.before) NOT IN (SELECT k.account, k.balance FROM today k)
					AND (t.account, t.before) NOT IN (SELECT e.account, e.balance FROM edge e)
			), opening AS MATERIALIZED (
				SELECT t.account, min(t.replied_at) AS at
				FROM today t
				GROUP BY t.account
			), sequence AS MATERIALIZED (
				SELECT t.account, t.ref_id,
					lag(t.balance) OVER (PARTITION BY t.account ORDER BY t.replied_at) AS previous
				FROM today t
				-- where there is more to explain than how the day began
				WHERE t.account IN (SELECT s.account FROM suspect s JOIN opening o ON o.account = s.account
					WHERE s.replied_at > o.at)
			)
			SELECT s.account, s.server, s.ref_id, s.replied_at, s.before,
				coalesce(q.previous, last.balance) AS expected
			FROM suspect s
				LEFT JOIN sequence q ON q.account = s.account AND q.ref_id = s.ref_id
				LEFT JOIN LATERAL (
					SELECT p.balance
					FROM @extschema@.digipay_payment p
					WHERE s.no = 1 AND p.account = s.account
						AND p.requested_at >= d.midnight - interval '31 days' AND p.requested_at < d.midnight
						-- not what counts today
						AND NOT (p.status_checks > 0 AND p.state = 'succeeded' AND p.replied_at >= d.midnight)
						AND p.state IN ('succeeded', 'refunded') AND NOT p.testing AND p.balance IS NOT NULL
					ORDER BY p.requested_at DESC
					LIMIT 1
				) AS last ON true
			-- an account that is seldom used has its last booking before the edge; and
			-- the first booking that is known of one has none before it
			WHERE CASE WHEN s.no > 1 THEN true ELSE last.balance <> s.before END
		) AS gap;
COMMENT ON VIEW @extschema@.digipay_balance_gap IS
'a deposit before a booking that no other booking has left: money came in (a positive difference), or went out by other ways';

-- where it was true in all that the provider documents
CREATE VIEW @extschema@.digipay_amount_mismatch AS
	SELECT p.day, p.server, p.ref_id, p.family, p.code, p.selling_price, bill.expected,
		p.selling_price - bill.expected AS difference
	FROM @extschema@.digipay_product_payment p
		CROSS JOIN LATERAL (
			SELECT CASE WHEN count(*) = count(d.nilai_tagihan) THEN
					sum(d.nilai_tagihan + coalesce(d.denda, 0) + coalesce(d.biaya_lain, 0))
					+ coalesce(p.admin, 0)
				END AS expected
			FROM @extschema@.digipay_detail_json(p."desc") d
		) AS bill
	WHERE p.state = 'succeeded' AND p.family IN ('pln', 'pdam', 'internet', 'tv')
		-- of a stub the periods are gone
		AND p.error IS DISTINCT FROM 'purged'
		AND p.selling_price IS DISTINCT FROM bill.expected;
COMMENT ON VIEW @extschema@.digipay_amount_mismatch IS
'payments whose selling price is not the sum of their periods and the admin fee, of the families where it must be';

CREATE FUNCTION @extschema@.digipay_rupiah(amount numeric)
RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
	SELECT 'Rp ' || translate(to_char(amount,
		CASE WHEN amount = trunc(amount) THEN 'FM999,999,999,999,999,999,999,999,999,990'
			ELSE 'FM999,999,999,999,999,999,999,999,999,990.00' END), ',.', '.,');
END;
COMMENT ON FUNCTION @extschema@.digipay_rupiah(numeric) IS
'an amount as Indonesians write it: Rp 11.000';

CREATE FUNCTION @extschema@.digipay_receipt(ref_id text, server name DEFAULT NULL)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	WITH payment AS (
		SELECT p.* FROM @extschema@.digipay_product_payment p
		WHERE p.ref_id = digipay_receipt.ref_id AND p.state = 'succeeded'
			AND p.server = coalesce(digipay_receipt.server,
				nullif(current_setting('digipay.server', true), '')::name, 'digipay')
	), line (part, no, label, value, is_amount) AS (
		SELECT 1, 1, 'Tanggal', to_char(timezone('Asia/Jakarta', p.final_at), 'DD-MM-YYYY HH24:MI') || ' WIB', false
		FROM payment p
		UNION ALL
		SELECT 1, f.no, f.label, f.value, false
		FROM payment p
			CROSS JOIN LATERAL (VALUES
				(2, 'No. Ref', p.ref_id),
				(3, 'ID Pelanggan', p.customer_no),
				(4, 'Nama', p.name),
				(5, 'Alamat', p."desc"->>'alamat'),
				(6, 'Tarif', p."desc"->>'tarif'),
				(7, 'Daya', (p."desc"->>'daya') || ' VA'),
				(8, 'Peserta', p."desc"->>'jumlah_peserta'),
				(9, 'Barang', p."desc"->>'item_name'),
				(10, 'No. Polisi', coalesce(p."desc"->>'no_pol', p."desc"->>'nomor_polisi')),
				(11, 'Tenor', p."desc"->>'tenor'),
				(12, 'Transaksi', p."desc"->>'transaksi'),
				(13, 'No. Registrasi', p."desc"->>'no_registrasi')
			) AS f (no, label, value)
		WHERE f.value <> ''
		UNION ALL
		SELECT 2, b.no * 3 + f.no, f.label, @extschema@.digipay_rupiah(f.amount), true
		FROM payment p
			CROSS JOIN LATERAL @extschema@.digipay_bill_json(p."desc", p.family, p.periode, p.selling_price, p.admin) b
			CROSS JOIN LATERAL (VALUES
				(0, coalesce('Tagihan ' || CASE b.kind
						WHEN 'month' THEN to_char(lower(b.month), 'MM/YYYY')
						WHEN 'months' THEN b.number || ' bulan'
						WHEN 'instalment' THEN 'ke-' || b.number
						WHEN 'tax_year' THEN b.number::text
						ELSE b.periode END, 'Tagihan'), b.amount),
				(1, '  Denda', nullif(b.fine, 0)),
				(2, '  Biaya lain', nullif(b.other, 0))
			) AS f (no, label, amount)
		WHERE f.amount IS NOT NULL
		UNION ALL
		SELECT 2, 1000000, 'Admin', @extschema@.digipay_rupiah(p.admin), true FROM payment p WHERE p.admin <> 0
		UNION ALL
		SELECT 3, 1, 'TOTAL', @extschema@.digipay_rupiah(p.selling_price), true FROM payment p
		UNION ALL
		SELECT 4, 1, 'SN', p.sn, false FROM payment p WHERE p.sn <> ''
	), part (part, text) AS (
		SELECT l.part, string_agg(CASE
				WHEN l.is_amount THEN rpad(l.label, greatest(40 - length(l.value), length(l.label) + 1)) || l.value
				ELSE rpad(l.label, 15) || ': ' || l.value
			END, E'\n' ORDER BY l.no) || E'\n'
		-- nothing that the provider sends may begin a line of its own
		FROM (SELECT part, no, regexp_replace(label, '[[:cntrl:]]', ' ', 'g'),
				regexp_replace(value, '[[:cntrl:]]', ' ', 'g'), is_amount
			FROM line) AS l (part, no, label, value, is_amount)
		GROUP BY l.part
	)
	SELECT 'STRUK PEMBAYARAN ' || upper(coalesce(p.family, p.code)) || E'\n' ||
		(SELECT string_agg(repeat('-', 40) || E'\n' || part.text, '' ORDER BY part.part) FROM part)
	FROM payment p;
END;
REVOKE ALL ON FUNCTION @extschema@.digipay_receipt(text, name) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.digipay_receipt(text, name) IS
'a receipt for the customer, as text; NULL for what has not succeeded, or was a test';

--
-- What the columns of the reports are
--

DO $make$
DECLARE
	meaning record;
BEGIN
	FOR meaning IN
		SELECT c.oid::regclass AS view, a.attname AS name, what.comment
		FROM unnest('{digipay_bill,digipay_daily,digipay_product_stats,digipay_response_stats,
				digipay_pending_age,digipay_booking,digipay_balance_trend,digipay_balance_gap,
				digipay_amount_mismatch}'::text[]) AS report (name)
			CROSS JOIN LATERAL (SELECT ('@extschema@.' || report.name)::regclass) AS c (oid)
			JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
			LEFT JOIN LATERAL (
				SELECT w.comment
				FROM (VALUES
					('digipay_balance_gap', 'day', 'the day of the reply, in Asia/Jakarta'),
					('digipay_booking', 'day', 'the day of the reply, in Asia/Jakarta'),
					('digipay_balance_trend', 'day', 'the day of the replies, in Asia/Jakarta'),
					('digipay_amount_mismatch', 'expected', 'the sum of the periods and the admin fee; NULL: a period has no amount'),
					('digipay_daily', 'payments', 'how many were asked for'),
					('digipay_booking', 'price', 'what was taken from the deposit'),
					('digipay_booking', 'balance', 'what was left of it'),
					(NULL, 'day', 'the day that the payment was asked for, in Asia/Jakarta'),
					(NULL, 'server', 'the foreign server that it was paid through'),
					(NULL, 'account', 'username@host'),
					(NULL, 'ref_id', 'your reference'),
					(NULL, 'state', 'what is known of the payment'),
					(NULL, 'family', 'the family of the product; NULL: not known, see digipay_product'),
					(NULL, 'code', 'the product'),
					(NULL, 'customer_no', 'the customer number'),
					(NULL, 'name', 'the customer''s name'),
					(NULL, 'no', 'number of the period in the bill, from 1'),
					(NULL, 'periode', 'the period, in the words of the provider'),
					(NULL, 'month', 'the month that the period means, see digipay_period'),
					(NULL, 'kind', 'what the period is: month, months, instalment, tax_year; NULL: not understood'),
					(NULL, 'number', 'how many months, which instalment, or the tax year'),
					(NULL, 'amount', 'nilai_tagihan; where it is unsaid, the first such period has what the selling price leaves'),
					(NULL, 'fine', 'denda'),
					(NULL, 'other', 'biaya_lain'),
					(NULL, 'admin', 'admin fee; where it is unsaid, the first such period has what the others leave of it'),
					(NULL, 'payments', 'how many'),
					(NULL, 'not_succeeded', 'failed, rejected or refunded'),
					(NULL, 'success_rate', 'succeeded, of those that succeeded or did not; 0 to 1'),
					(NULL, 'p50', 'half of them were final within this time'),
					(NULL, 'p95', '19 of 20 were final within this time'),
					(NULL, 'paid', 'money that left the deposit: price of what has succeeded'),
					(NULL, 'charged', 'money from customers: selling_price of what has succeeded'),
					(NULL, 'margin', 'selling_price - price of what has succeeded'),
					(NULL, 'rc', 'response code; NULL: no answer'),
					(NULL, 'meaning', 'what the response code means'),
					(NULL, 'share', 'of the payments of that day, server and product; 0 to 1'),
					(NULL, 'bucket', 'the age, in words'),
					(NULL, 'older_than', 'the least age in this bucket'),
					(NULL, 'oldest', 'the greatest age in this bucket'),
					(NULL, 'replied_at', 'when the reply came; of what was refunded since, when it was sent'),
					(NULL, 'opening', 'the deposit before the first booking of the day'),
					(NULL, 'lowest', 'the least that was left after a booking'),
					(NULL, 'highest', 'the most that was left after a booking'),
					(NULL, 'closing', 'what was left after the last booking'),
					(NULL, 'last_reply', 'when the last of them was heard of'),
					(NULL, 'expected', 'what the booking before has left'),
					(NULL, 'found', 'what was there: balance + price of this booking'),
					(NULL, 'difference', 'what nothing explains'),
					(NULL, 'selling_price', 'what our customer paid')
				) AS w (view, name, comment)
				WHERE w.name = a.attname AND coalesce(w.view = report.name, true)
				UNION ALL
				SELECT 'how many are ' || a.attname
				WHERE a.attname IN (SELECT e.enumlabel FROM pg_catalog.pg_enum e
					WHERE e.enumtypid = '@extschema@.digipay_state'::regtype)
				LIMIT 1
			) AS what ON true
		WHERE a.attnum > 0
	LOOP
		IF meaning.comment IS NULL THEN
			RAISE EXCEPTION 'no comment for %.%', meaning.view, meaning.name;
		END IF;
		EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', meaning.view, meaning.name, meaning.comment);
	END LOOP;
END
$make$;
