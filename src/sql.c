/*-------------------------------------------------------------------------
 *
 * sql.c
 *	  The text of every statement on our tables, and the types of its parameters.
 *
 * $S stands for the extension's schema.  A statement that does the same for many
 * payments reads them as rows of a relation, DP_ROWS, by their columns' names.
 * Its plan is made once, perhaps while the journal is empty, so it must not be left
 * to the planner to scan a table for all rows instead of looking up each: hence the
 * LATERAL sub-selects, and OFFSET 0, which keeps them from being pulled up.  What
 * was looked up is then found by its ctid.  Where somebody has updated the row
 * meanwhile, that misses it, which the caller has to expect.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "sql.h"

/* The day of a point in time, by the provider's calendar. */
#define DAY_OF(time)	"timezone('Asia/Jakarta', " time ")::date"

/*
 * A good inquiry of the present day; asked about its row q.  The provider knows
 * only those that were made under the account that pays.
 */
#define IS_GOOD_TODAY(account) \
	"q.rc = '00' AND q.account = " account \
	" AND " DAY_OF("q.inquired_at") " = " DAY_OF("clock_timestamp()")

/*
 * The statements by which a payment is queued or leaves hold it against the
 * ref_id's inquiry in the same statement: it must have been for the same bill,
 * where there is a highest price, it must have said no more than that, and where
 * the server requires one, there must be a good one of the day.
 */
#define OF_INQUIRY(server, ref_id) \
	"SELECT FROM $S.digipay_inquiry q WHERE q.server = " server " AND q.ref_id = " ref_id

#define INQUIRY_IS_FOR(ref_id, code, customer_no, testing, server) \
	"NOT EXISTS (" OF_INQUIRY(server, ref_id) " AND (q.code <> " code \
	" OR q.customer_no <> " customer_no " OR q.testing <> " testing ") OFFSET 0)"

#define INQUIRY_AGREES_WITH(ref_id, code, customer_no, testing, server, account, max_price, required) \
	INQUIRY_IS_FOR(ref_id, code, customer_no, testing, server) \
	" AND (" max_price " IS NULL OR EXISTS (" OF_INQUIRY(server, ref_id) \
	" AND q.rc = '00' AND q.price <= " max_price "::numeric OFFSET 0))" \
	" AND (NOT " required " OR EXISTS (" OF_INQUIRY(server, ref_id) \
	" AND " IS_GOOD_TODAY(account) " OFFSET 0))"

#define INQUIRY_AGREES \
	INQUIRY_AGREES_WITH("$1", "$2", "$3", "$4", "$5", "$6", "$8", "$14")

/* Without a highest price, where no inquiry is required, this is all of it. */
#define INQUIRY_IS_MINE \
	INQUIRY_IS_FOR("$1", "$2", "$3", "$4", "$5")

#define ROWS_INQUIRY_IS_FOR \
	INQUIRY_IS_FOR("b.ref_id", "b.code", "b.customer_no", "b.testing", "b.server")
#define ROWS_INQUIRY_AGREES \
	INQUIRY_AGREES_WITH("b.ref_id", "b.code", "b.customer_no", "b.testing", "b.server", \
						"b.account", "b.max_price", "b.require_inquiry")

/* Parameters of the statements by which a payment is queued or leaves. */
#define INTENT_TYPES \
	TEXTOID, TEXTOID, TEXTOID, BOOLOID, NAMEOID, TEXTOID, NAMEOID, TEXTOID, UUIDOID, INT4OID, \
	BOOLOID, TIMESTAMPTZOID, TEXTOID, BOOLOID

static const char *const intent_columns[] = {
	"ref_id", "code", "customer_no", "testing", "server", "account", "requested_by",
	"max_price", "origin", "ms", "retry", "not_after", "why", "require_inquiry"
};

static const char *const outcome_columns[] = {
	"account", "ref_id", "name", "price", "selling_price", "admin", "base_commission", "balance",
	"status", "rc", "message", "sn", "periode", "desc", "reply", "http_status", "error",
	"state", "sent_at", "trusted", "final", "ms"
};

/* Write the intents of payments whose inquiry agrees. */
#define INTEND_IF(condition) \
	"INSERT INTO $S.digipay_payment AS p (ref_id, state, code, customer_no, testing," \
	" server, account, requested_by, max_price, origin, requested_at, sent_at, next_check_at)" \
	" SELECT b.ref_id, 'sending'::$S.digipay_state, b.code, b.customer_no, b.testing," \
	" b.server, b.account, b.requested_by, b.max_price::numeric, b.origin," \
	" clock_timestamp(), clock_timestamp(), clock_timestamp() + b.ms * interval '1 ms'" \
	" FROM " DP_ROWS " b WHERE " condition \
	" ON CONFLICT DO NOTHING RETURNING p.account, p.ref_id"

/*
 * Claim those of the queue; next_check_at is looked at in a way that no index of
 * what is due seems to fit, since that has the whole queue.
 */
#define CLAIM_QUEUED_IF(condition) \
	"UPDATE $S.digipay_payment p SET state = 'sending', error = NULL, status_checks = 0," \
	" sent_at = clock_timestamp() FROM " DP_ROWS " b" \
	" CROSS JOIN LATERAL (SELECT c.ctid FROM $S.digipay_payment c" \
	" WHERE c.account = b.account AND c.ref_id = b.ref_id AND c.state = 'queued'" \
	" AND c.origin = b.origin AND c.code = b.code AND c.customer_no = b.customer_no" \
	" AND c.testing = b.testing AND c.server = b.server" \
	" AND c.max_price IS NOT DISTINCT FROM b.max_price::numeric" \
	" AND coalesce(c.next_check_at, 'infinity') <= clock_timestamp()" \
	" AND coalesce(c.not_after, c.requested_at + b.ms * interval '1 ms') > clock_timestamp()" \
	" AND " condition " FOR UPDATE SKIP LOCKED) f" \
	" WHERE p.ctid = f.ctid RETURNING p.account, p.ref_id"

/*
 * Queue a payment if its inquiry agrees.  The time is a parameter ($15): with a
 * volatile function in it, the SELECT would be a plan of its own below the INSERT.
 */
#define ENQUEUE_IF(condition) \
	"INSERT INTO $S.digipay_payment AS p (ref_id, state, code, customer_no, testing," \
	" server, account, requested_by, max_price, origin, requested_at, next_check_at," \
	" not_after, error)" \
	" SELECT $1, 'queued'::$S.digipay_state, $2, $3, $4, $5, $6, $7, $8::numeric, $9," \
	" $15, $15, $12, $13 WHERE " condition \
	" ON CONFLICT DO NOTHING RETURNING p.ctid"

/* The row is this bill's, of our own queue, and in a state that lets it leave. */
#define MAY_LEAVE \
	"p.code = $2 AND p.customer_no = $3 AND p.testing = $4 AND p.origin = $9" \
	" AND (p.state IN ('not_sent', 'queued')" \
	" OR $11 AND p.state IN ('rejected', 'cancelled'))"

/*
 * After a take-over: has the provider not said twice yet that it does not know
 * the payment?  Asked about its row p; ASKED_SINCE is the parameter with the
 * time of the take-over.
 */
#define NOT_ASKED_ENOUGH(asked_since) \
	"(SELECT count(*) FROM $S.digipay_event e WHERE e.server = p.server" \
	" AND e.ref_id = p.ref_id AND e.kind = 'not_found' AND e.at > " asked_since ") < 2"

#define REPLY_COLUMNS \
	"name, price, selling_price, admin, base_commission, balance," \
	" status, rc, message, sn, periode, \"desc\", reply, http_status, error"

/* A list that answers the question for the kind $2 and the code $3. */
#define LIST_ANSWERS \
	"l.list IS NOT NULL AND l.kind = $2 AND (l.code IS NULL OR l.code = $3)"

/* What the history tells of a product x. */
#define PRODUCT_FACTS \
	"jsonb_build_object('name', x.name, 'category', x.category, 'brand', x.brand," \
	" 'seller_name', x.seller_name, 'admin', x.admin, 'commission', x.commission," \
	" 'active', x.active, 'status', x.status, 'start_cut_off', x.start_cut_off," \
	" 'end_cut_off', x.end_cut_off, 'desc', x.\"desc\")"

const DpStatementText dp_statement_texts[DP_SQL_COUNT] = {
	[DP_SQL_INTEND] = {INTEND_IF(ROWS_INQUIRY_AGREES), 14, {INTENT_TYPES}, intent_columns},
	[DP_SQL_INTEND_FREELY] = {
		INTEND_IF(ROWS_INQUIRY_IS_FOR), 14, {INTENT_TYPES}, intent_columns
	},
	[DP_SQL_ENQUEUE] = {ENQUEUE_IF(INQUIRY_AGREES), 15, {INTENT_TYPES, TIMESTAMPTZOID}, .by_key = true},
	[DP_SQL_ENQUEUE_FREELY] = {
		ENQUEUE_IF(INQUIRY_IS_MINE), 15, {INTENT_TYPES, TIMESTAMPTZOID}, .by_key = true
	},
	[DP_SQL_CLAIM] = {
		"UPDATE $S.digipay_payment p SET state = 'sending', server = $5,"
		" max_price = $8::numeric, error = NULL, final_at = NULL, replied_at = NULL,"
		" status_checks = 0, sent_at = clock_timestamp(),"
		" next_check_at = coalesce(p.next_check_at, clock_timestamp() + $10 * interval '1 ms')"
		" WHERE p.account = $6 AND p.ref_id = $1 AND " MAY_LEAVE
		" AND " INQUIRY_AGREES,
		14, {INTENT_TYPES}
	},
	[DP_SQL_CLAIM_QUEUED] = {
		CLAIM_QUEUED_IF(ROWS_INQUIRY_AGREES), 14, {INTENT_TYPES}, intent_columns
	},
	[DP_SQL_CLAIM_QUEUED_FREELY] = {
		CLAIM_QUEUED_IF(ROWS_INQUIRY_IS_FOR), 14, {INTENT_TYPES}, intent_columns
	},
	[DP_SQL_REQUEUE] = {
		"UPDATE $S.digipay_payment p SET state = 'queued', server = $5,"
		" max_price = $8::numeric, error = $13, final_at = NULL, replied_at = NULL,"
		" status_checks = 0, not_after = $12, next_check_at = clock_timestamp()"
		" WHERE p.account = $6 AND p.ref_id = $1 AND " MAY_LEAVE
		" AND " INQUIRY_AGREES " RETURNING p",
		14, {INTENT_TYPES}
	},
	[DP_SQL_PUT_BACK] = {
		"UPDATE $S.digipay_payment SET state = 'queued', error = $3, sent_at = NULL,"
		" next_check_at = least(clock_timestamp() + greatest(interval '1 s',"
		" least(interval '1 min', clock_timestamp() - requested_at)) * (1 + random() / 4),"
		" coalesce(not_after, requested_at + $4 * interval '1 ms'))"
		" WHERE account = $1 AND ref_id = $2 AND state = 'sending'",
		4, {TEXTOID, TEXTOID, TEXTOID, INT4OID}
	},
	[DP_SQL_CANCEL] = {
		"UPDATE $S.digipay_payment p SET state = 'cancelled', error = $3,"
		" final_at = clock_timestamp(), next_check_at = NULL"
		" WHERE p.account = $1 AND p.ref_id = $2 AND p.state = 'queued' AND p.origin = $4"
		" RETURNING p, p.server::text",
		4, {TEXTOID, TEXTOID, TEXTOID, UUIDOID}
	},
	[DP_SQL_EXPIRE] = {
		"WITH found AS MATERIALIZED (SELECT server, ref_id FROM $S.digipay_payment p"
		" WHERE next_check_at <= now() AND state = 'queued' AND server = $1 AND origin = $2"
		" AND coalesce(not_after, requested_at + $3 * interval '1 ms') <= clock_timestamp()"
		" AND NOT ($5 AND requested_at < $6 AND " NOT_ASKED_ENOUGH("$6") ")"
		" ORDER BY next_check_at LIMIT 1000 FOR UPDATE OF p SKIP LOCKED)"
		" UPDATE $S.digipay_payment p SET state = 'cancelled', error = $4,"
		" final_at = clock_timestamp(), next_check_at = NULL FROM found f"
		" WHERE p.server = f.server AND p.ref_id = f.ref_id RETURNING p.ref_id",
		6, {NAMEOID, UUIDOID, INT4OID, TEXTOID, BOOLOID, TIMESTAMPTZOID}
	},
	[DP_SQL_SETTLE] = {
		"UPDATE $S.digipay_payment p SET state = $3::$S.digipay_state, error = NULL,"
		" final_at = clock_timestamp(), next_check_at = NULL"
		" WHERE p.account = $1 AND p.ref_id = $2 AND p.state = 'review'"
		" RETURNING p, p.server::text",
		3, {TEXTOID, TEXTOID, TEXTOID}
	},
	[DP_SQL_FIND_PAYMENT] = {
		"SELECT state::text, code = $3 AND customer_no = $4 AND testing = $5, origin = $6"
		" FROM $S.digipay_payment WHERE account = $1 AND ref_id = $2",
		6, {TEXTOID, TEXTOID, TEXTOID, TEXTOID, BOOLOID, UUIDOID}
	},
	[DP_SQL_FIND_FOREIGN_PAYMENT] = {
		"SELECT account FROM $S.digipay_payment WHERE server = $1 AND ref_id = $2",
		2, {NAMEOID, TEXTOID}
	},
	[DP_SQL_FIND_INQUIRY] = {
		"SELECT code = $3 AND customer_no = $4 AND testing = $5,"
		" CASE WHEN rc = '00' THEN price::text END, rc = '00' AND price <= $6::numeric,"
		" " IS_GOOD_TODAY("$7") ", rc, account, account = $7, " DAY_OF("inquired_at") "::text"
		" FROM $S.digipay_inquiry q WHERE server = $1 AND ref_id = $2",
		7, {NAMEOID, TEXTOID, TEXTOID, TEXTOID, BOOLOID, TEXTOID, TEXTOID}
	},
	[DP_SQL_RECORD_OUTCOME] = {
		"UPDATE $S.digipay_payment p SET (" REPLY_COLUMNS ", state, sent_at, replied_at, final_at, next_check_at)"
		" = ROW (b.name, b.price::numeric, b.selling_price::numeric, b.admin::numeric,"
		" b.base_commission::numeric, b.balance::numeric, b.status, b.rc, b.message, b.sn,"
		" b.periode, b.\"desc\", b.reply, b.http_status, b.error, b.state::$S.digipay_state,"
		" b.sent_at, CASE WHEN b.trusted THEN clock_timestamp() END,"
		" CASE WHEN b.final THEN clock_timestamp() END,"
		" CASE WHEN b.state = 'review' THEN 'infinity'"
		" ELSE clock_timestamp() + b.ms * interval '1 ms' END)"
		" FROM " DP_ROWS " b"
		" CROSS JOIN LATERAL (SELECT c.ctid FROM $S.digipay_payment c"
		" WHERE c.account = b.account AND c.ref_id = b.ref_id AND c.state = 'sending' OFFSET 0) f"
		" WHERE p.ctid = f.ctid RETURNING p.account, p.ref_id",
		22,
		{TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID,
			TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, JSONBOID, JSONBOID, INT4OID, TEXTOID,
		TEXTOID, TIMESTAMPTZOID, BOOLOID, BOOLOID, INT4OID},
		outcome_columns
	},
	[DP_SQL_RECORD_INQUIRY] = {
		"INSERT INTO $S.digipay_inquiry (server, ref_id, " REPLY_COLUMNS
		", code, customer_no, testing, account, requested_by, inquired_at)"
		" VALUES ($1, $2, $3, $4::numeric, $5::numeric, $6::numeric, $7::numeric, $8::numeric,"
		" $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23)"
		" ON CONFLICT (server, ref_id) DO UPDATE SET (" REPLY_COLUMNS
		", code, customer_no, testing, account, requested_by, inquired_at)"
		" = ROW (excluded.name, excluded.price, excluded.selling_price, excluded.admin,"
		" excluded.base_commission, excluded.balance, excluded.status, excluded.rc, excluded.message,"
		" excluded.sn, excluded.periode, excluded.\"desc\", excluded.reply, excluded.http_status,"
		" excluded.error, excluded.code, excluded.customer_no, excluded.testing,"
		" excluded.account, excluded.requested_by, excluded.inquired_at)",
		23,
		{NAMEOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID,
			TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, JSONBOID, JSONBOID, INT4OID, TEXTOID,
		TEXTOID, TEXTOID, BOOLOID, TEXTOID, NAMEOID, TIMESTAMPTZOID}
	},
	[DP_SQL_RECORD_EVENT] = {
		"INSERT INTO $S.digipay_event (server, ref_id, kind, http_status, curl_code, note, body)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7)",
		7, {NAMEOID, TEXTOID, TEXTOID, INT4OID, INT4OID, TEXTOID, BYTEAOID}
	},
	[DP_SQL_RECOVER] = {
		"WITH stale AS (SELECT server, ref_id FROM $S.digipay_payment"
		" WHERE state = 'sending' AND next_check_at IS NOT NULL AND origin = $2"
		" AND sent_at < $3 FOR UPDATE SKIP LOCKED),"
		" lost AS (UPDATE $S.digipay_payment p SET state = 'unknown', error = $1,"
		" next_check_at = clock_timestamp() FROM stale s"
		" WHERE p.server = s.server AND p.ref_id = s.ref_id RETURNING p.server, p.ref_id)"
		" INSERT INTO $S.digipay_event (server, ref_id, kind, note)"
		" SELECT server, ref_id, 'recovered', $1 FROM lost",
		3, {TEXTOID, UUIDOID, TIMESTAMPTZOID}
	},
	[DP_SQL_FIND_LEFTOVER] = {
		"SELECT FROM $S.digipay_payment WHERE state = 'sending'"
		" AND next_check_at IS NOT NULL AND origin = $1 AND sent_at < $2 LIMIT 1",
		2, {UUIDOID, TIMESTAMPTZOID}
	},
	[DP_SQL_LOCK_PAYMENT] = {
		"SELECT FROM $S.digipay_payment WHERE account = $1 AND ref_id = $2"
		" FOR UPDATE SKIP LOCKED",
		2, {TEXTOID, TEXTOID}
	},
	[DP_SQL_PREPARED] = {
		"SELECT FROM pg_prepared_xacts WHERE database = current_database() LIMIT 1",
		0, {0}
	},
	[DP_SQL_FIND_ANY_PAYMENT] = {"SELECT FROM $S.digipay_payment LIMIT 1", 0, {0}},
	[DP_SQL_SET_FENCE] = {
		"INSERT INTO $S.digipay_fence AS f (origin, system_identifier, timeline, database,"
		" device, inode, ask_first)"
		" VALUES (coalesce($7, gen_random_uuid()), $1, $2, $3, $4, $5, $6)"
		" ON CONFLICT (only_row) DO UPDATE SET (origin, system_identifier, timeline, database,"
		" device, inode, ask_first, since) = ROW (excluded.origin, excluded.system_identifier,"
		" excluded.timeline, excluded.database, excluded.device, excluded.inode,"
		" excluded.ask_first, clock_timestamp()) RETURNING f.origin",
		7, {INT8OID, INT4OID, OIDOID, INT8OID, INT8OID, BOOLOID, UUIDOID}
	},
	[DP_SQL_TAKE_OVER] = {
		"WITH taken AS (UPDATE $S.digipay_payment SET origin = $1,"
		" state = CASE WHEN state = 'sending' THEN 'unknown'::$S.digipay_state ELSE state END,"
		" error = CASE WHEN state = 'sending' THEN $2 ELSE error END,"
		" next_check_at = CASE WHEN next_check_at < 'infinity' THEN clock_timestamp()"
		" ELSE next_check_at END"
		" WHERE origin <> $1 AND state IN ('queued', 'sending', 'pending', 'unknown',"
		" 'not_sent', 'rejected', 'cancelled', 'review') RETURNING ref_id)"
		" INSERT INTO $S.digipay_event (server, ref_id, kind, note)"
		" SELECT '', '', 'taken_over', format('%s took over %s payments%s', $3, count(*), $4) FROM taken",
		4, {UUIDOID, TEXTOID, TEXTOID, TEXTOID}
	},
	[DP_SQL_MUST_ASK] = {
		"SELECT ($3 OR requested_at < $4) AND " NOT_ASKED_ENOUGH("$4")
		" FROM $S.digipay_payment p WHERE account = $1 AND ref_id = $2",
		4, {TEXTOID, TEXTOID, BOOLOID, TIMESTAMPTZOID}
	},
	[DP_SQL_SERVERS] = {
		"SELECT s.oid FROM pg_foreign_server s, pg_foreign_data_wrapper w"
		" WHERE w.oid = s.srvfdw AND w.fdwname = 'digipay' ORDER BY s.oid",
		0, {0}
	},
	[DP_SQL_FIRST_DUE] = {
		"SELECT next_check_at FROM $S.digipay_payment"
		" WHERE next_check_at < 'infinity' ORDER BY next_check_at LIMIT 1",
		0, {0}
	},
	[DP_SQL_NEXT_DUE] = {
		"SELECT next_check_at FROM $S.digipay_payment"
		" WHERE next_check_at > now() AND next_check_at < 'infinity'"
		" ORDER BY next_check_at LIMIT 1",
		0, {0}
	},
	[DP_SQL_DUE_IN_QUEUE] = {
		"SELECT ref_id, code, customer_no, testing, requested_by, max_price::text,"
		" $5 AND (requested_at < $6 OR now() < $6 + interval '24 hours')"
		" AND " NOT_ASKED_ENOUGH("$6") ", next_check_at"
		" FROM $S.digipay_payment p WHERE next_check_at BETWEEN $7 AND now() AND state = 'queued'"
		" AND server = $1 AND account = $2 AND origin = $3 ORDER BY p.next_check_at LIMIT $4",
		7, {NAMEOID, TEXTOID, UUIDOID, INT4OID, BOOLOID, TIMESTAMPTZOID, TIMESTAMPTZOID}
	},
	[DP_SQL_DUE_QUESTIONS] = {
		"SELECT ref_id, code, customer_no, testing, requested_by, NULL, NULL, next_check_at"
		" FROM $S.digipay_payment p WHERE next_check_at BETWEEN $6 AND now()"
		" AND state IN ('pending', 'unknown') AND account = $1 AND origin = $2"
		" AND (status_checks > 0 OR sent_at IS NULL OR sent_at <= now() - $3 * interval '1 ms')"
		" AND (server = $5 OR NOT EXISTS (SELECT FROM pg_foreign_server s"
		" WHERE s.srvname = p.server))"
		" ORDER BY p.next_check_at LIMIT $4",
		6, {TEXTOID, UUIDOID, INT4OID, INT4OID, NAMEOID, TIMESTAMPTZOID}
	},
	[DP_SQL_QUEUE_LENGTH] = {
		"SELECT count(*)::integer FROM $S.digipay_payment"
		" WHERE next_check_at IS NOT NULL AND state = 'queued'",
		0, {0}
	},
	[DP_SQL_LAST_EVENT] = {"SELECT coalesce(max(id), 0) FROM $S.digipay_event", 0, {0}},
	[DP_SQL_NEW_VERDICTS] = {
		"SELECT e.id, e.server, e.ref_id, (SELECT p.state::text FROM $S.digipay_payment p"
		" WHERE p.server = e.server AND p.ref_id = e.ref_id)"
		" FROM $S.digipay_event e WHERE e.id > $1 AND e.kind IN ('cancelled', 'settled')"
		" ORDER BY e.id",
		1, {INT8OID}
	},
	[DP_SQL_HURRY] = {
		"UPDATE $S.digipay_payment SET next_check_at = clock_timestamp()"
		" WHERE account = $1 AND ref_id = $2 AND state = 'queued'",
		2, {TEXTOID, TEXTOID}
	},
	[DP_SQL_FIND_TO_ASK] = {
		"SELECT state::text, status_checks, next_check_at, greatest(sent_at, replied_at),"
		" coalesce(sent_at, requested_at) < now() - interval '90 days',"
		" (SELECT max(e.at) FROM $S.digipay_event e WHERE e.server = p.server"
		" AND e.ref_id = p.ref_id AND e.kind = 'asked'), server, sent_at"
		" FROM $S.digipay_payment p WHERE account = $1 AND ref_id = $2 AND origin = $3"
		" FOR UPDATE OF p SKIP LOCKED",
		3, {TEXTOID, TEXTOID, UUIDOID}
	},
	[DP_SQL_ASK] = {
		"UPDATE $S.digipay_payment SET status_checks = status_checks + 1,"
		" next_check_at = CASE WHEN next_check_at < 'infinity'"
		" THEN clock_timestamp() + $3 * interval '1 ms' ELSE next_check_at END"
		" WHERE account = $1 AND ref_id = $2",
		3, {TEXTOID, TEXTOID, INT4OID}
	},
	[DP_SQL_FIND_TO_JUDGE] = {
		"SELECT state::text, final_at IS NOT NULL, code, customer_no, testing, server,"
		" coalesce(sent_at, requested_at), requested_at"
		" FROM $S.digipay_payment p WHERE account = $1 AND ref_id = $2 FOR UPDATE",
		2, {TEXTOID, TEXTOID}
	},
	[DP_SQL_APPLY] = {
		"UPDATE $S.digipay_payment SET (" REPLY_COLUMNS ", state, replied_at, final_at, next_check_at)"
		" = ROW (coalesce($3, name), coalesce($4::numeric, price),"
		" coalesce($5::numeric, selling_price), coalesce($6::numeric, admin),"
		" coalesce($7::numeric, base_commission), coalesce($8::numeric, balance),"
		" coalesce($9, status), coalesce($10, rc), coalesce($11, message), coalesce($12, sn),"
		" coalesce($13, periode), coalesce($14, \"desc\"), coalesce($15, reply),"
		" coalesce($16, http_status), $17, $18::$S.digipay_state,"
		" CASE WHEN $19 THEN clock_timestamp() ELSE replied_at END,"
		" CASE WHEN $20 THEN clock_timestamp() END,"
		" CASE WHEN $20 THEN NULL WHEN $18 = 'review' THEN 'infinity'"
		" WHEN next_check_at < 'infinity' THEN next_check_at"
		" ELSE clock_timestamp() + $21 * interval '1 ms' END)"
		" WHERE account = $1 AND ref_id = $2",
		21,
		{TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID,
			TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, JSONBOID, JSONBOID, INT4OID, TEXTOID,
		TEXTOID, BOOLOID, BOOLOID, INT4OID}
	},
	[DP_SQL_CONTRADICT] = {
		"UPDATE $S.digipay_payment SET state = 'review', error = $3, next_check_at = 'infinity'"
		" WHERE account = $1 AND ref_id = $2",
		3, {TEXTOID, TEXTOID, TEXTOID}
	},
	[DP_SQL_ADD_FOREIGN] = {
		"INSERT INTO $S.digipay_payment (ref_id, state, code, customer_no, testing,"
		" server, account, requested_by, origin, requested_at, next_check_at)"
		" VALUES ($1, 'review', $2, $3, false, $4, $5, $6, $7, clock_timestamp(), 'infinity')"
		" ON CONFLICT DO NOTHING",
		7, {TEXTOID, TEXTOID, TEXTOID, NAMEOID, TEXTOID, NAMEOID, UUIDOID}
	},
	[DP_SQL_COUNT_EVENTS] = {
		"SELECT count(*)::integer, min(at) FROM $S.digipay_event"
		" WHERE ($1 IS NULL OR server = $1) AND ref_id = $2 AND kind = $3"
		" AND ($4 IS NULL OR note = $4)"
		" AND at >= $5",
		5, {NAMEOID, TEXTOID, TEXTOID, TEXTOID, TIMESTAMPTZOID}
	},
	[DP_SQL_ECHOES_INQUIRY] = {
		"SELECT FROM $S.digipay_inquiry WHERE server = $1 AND ref_id = $2"
		" AND rc = '00' AND balance = $3::numeric",
		3, {NAMEOID, TEXTOID, TEXTOID}
	},
	[DP_SQL_INTEND_TICKET] = {
		"INSERT INTO $S.digipay_ticket (state, server, account, requested_by,"
		" requested_amount, bank, owner_name, requested_at)"
		" VALUES ('sending', $1, $2, $3, $4::numeric, $5, $6, clock_timestamp()) RETURNING id",
		6, {NAMEOID, TEXTOID, NAMEOID, TEXTOID, TEXTOID, TEXTOID}
	},
	[DP_SQL_RECORD_TICKET] = {
		"UPDATE $S.digipay_ticket SET state = $2, rc = $3, amount = $4::numeric, notes = $5,"
		" message = $6, reply = $7, http_status = $8, error = $9, sent_at = $10,"
		" replied_at = CASE WHEN $11 THEN clock_timestamp() END"
		" WHERE id = $1 AND state = 'sending'",
		11, {INT8OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, JSONBOID, INT4OID, TEXTOID,
		TIMESTAMPTZOID, BOOLOID}
	},
	[DP_SQL_RECOVER_TICKETS] = {
		"WITH done AS (UPDATE $S.digipay_ticket t SET state = 'unknown', error = $1 WHERE t.id IN"
		" (SELECT s.id FROM $S.digipay_ticket s WHERE s.state = 'sending'"
		" AND s.requested_at < $2 FOR UPDATE SKIP LOCKED) RETURNING t.id)"
		" SELECT (SELECT count(*) FROM $S.digipay_ticket s WHERE s.state = 'sending'"
		" AND s.requested_at < $2) - (SELECT count(*) FROM done)",
		2, {TEXTOID, TIMESTAMPTZOID}
	},
	[DP_SQL_FIND_TICKET] = {
		"SELECT t FROM $S.digipay_ticket t WHERE t.id = $1",
		1, {INT8OID}
	},
	/* one call in five minutes, whatever the clock does */
	[DP_SQL_INTEND_LIST] = {
		"INSERT INTO $S.digipay_price_list_call AS l"
		" (account, kind, code, server, requested_by, dialect, called_at)"
		" VALUES ($1, $2, $3, $4, $5, $6, clock_timestamp())"
		" ON CONFLICT (account) DO UPDATE SET kind = excluded.kind, code = excluded.code,"
		" server = excluded.server, requested_by = excluded.requested_by,"
		" dialect = excluded.dialect, called_at = excluded.called_at, replied_at = NULL,"
		" list = NULL, error = NULL, http_status = NULL"
		" WHERE l.called_at IS NULL OR l.called_at NOT BETWEEN"
		" clock_timestamp() - interval '5 min' AND clock_timestamp() + interval '5 min'",
		6, {TEXTOID, TEXTOID, TEXTOID, NAMEOID, NAMEOID, TEXTOID}
	},
	[DP_SQL_FIND_LIST] = {
		"SELECT " LIST_ANSWERS ", ceil(extract(epoch FROM"
		" l.called_at + interval '5 min' - clock_timestamp()))::integer, l.error,"
		" concat_ws(' ', l.kind, l.code), l.list IS NOT NULL"
		" FROM $S.digipay_price_list_call l WHERE l.account = $1",
		3, {TEXTOID, TEXTOID, TEXTOID}
	},
	[DP_SQL_RECORD_LIST] = {
		"UPDATE $S.digipay_price_list_call SET list = $2, error = $3, http_status = $4,"
		" called_at = CASE WHEN $5 THEN called_at END,"
		" replied_at = CASE WHEN $2 IS NOT NULL THEN clock_timestamp() END WHERE account = $1",
		5, {TEXTOID, JSONBOID, TEXTOID, INT4OID, BOOLOID}
	},
	[DP_SQL_LIST_ROWS] = {
		"SELECT r.name, r.category, r.brand, r.type, r.seller_name, r.price, r.admin,"
		" r.commission, r.code, r.active, r.buyer_active, r.seller_active, r.status,"
		" r.unlimited_stock, r.stock, r.multi, r.start_cut_off, r.end_cut_off, r.\"desc\","
		" r.extra, l.replied_at FROM $S.digipay_price_list_call l"
		" CROSS JOIN LATERAL $S.digipay_price_list_json(l.list, l.dialect) r"
		" WHERE l.account = $1 AND " LIST_ANSWERS " AND ($3 IS NULL OR r.code = $3)",
		3, {TEXTOID, TEXTOID, TEXTOID}
	},
	[DP_SQL_LOCK_CATALOGUE] = {
		"LOCK TABLE $S.digipay_catalogue IN SHARE ROW EXCLUSIVE MODE",
		0, {0}
	},
	/* what is gone from the list stays, but is not sold any more */
	[DP_SQL_SYNC_CATALOGUE] = {
		"WITH item AS MATERIALIZED (SELECT r.*, l.replied_at"
		" FROM $S.digipay_price_list_call l"
		" CROSS JOIN LATERAL $S.digipay_price_list_json(l.list, l.dialect) r"
		" WHERE l.account = $1 AND l.list IS NOT NULL AND l.kind = 'pasca' AND l.code IS NULL),"
		" known AS MATERIALIZED (SELECT c.* FROM $S.digipay_catalogue c"
		" WHERE c.server = $2 AND c.kind = 'pasca'),"
		" written AS (INSERT INTO $S.digipay_catalogue (server, kind, code, name, category,"
		" brand, seller_name, admin, commission, active, status, start_cut_off, end_cut_off,"
		" \"desc\", extra, listed, synced_at)"
		" SELECT $2, 'pasca', i.code, i.name, i.category, i.brand, i.seller_name, i.admin,"
		" i.commission, i.active, i.status, i.start_cut_off, i.end_cut_off, i.\"desc\", i.extra,"
		" true, i.replied_at FROM item i"
		" ON CONFLICT (server, kind, code) DO UPDATE SET name = excluded.name,"
		" category = excluded.category, brand = excluded.brand,"
		" seller_name = excluded.seller_name, admin = excluded.admin,"
		" commission = excluded.commission, active = excluded.active, status = excluded.status,"
		" start_cut_off = excluded.start_cut_off, end_cut_off = excluded.end_cut_off,"
		" \"desc\" = excluded.\"desc\", extra = excluded.extra, listed = true,"
		" synced_at = excluded.synced_at),"
		" gone AS (UPDATE $S.digipay_catalogue c SET active = false, listed = false"
		" WHERE c.server = $2 AND c.kind = 'pasca' AND c.listed AND EXISTS (SELECT FROM item)"
		" AND NOT EXISTS (SELECT FROM item i WHERE i.code = c.code)),"
		" difference AS MATERIALIZED (SELECT coalesce(new.code, old.code) AS code,"
		" CASE WHEN old.code IS NULL THEN 'added' WHEN new.code IS NULL THEN 'gone'"
		" WHEN NOT old.listed THEN 'back' ELSE 'changed' END AS what,"
		" old.facts AS before, new.facts AS after"
		" FROM (SELECT x.code, " PRODUCT_FACTS " AS facts FROM item x) new"
		" FULL JOIN (SELECT x.code, x.listed, " PRODUCT_FACTS " AS facts FROM known x) old"
		" ON new.code = old.code"
		" WHERE EXISTS (SELECT FROM item) AND (old.code IS NULL OR new.code IS NULL AND old.listed"
		" OR new.code IS NOT NULL AND (NOT old.listed OR old.facts <> new.facts))),"
		" history AS (INSERT INTO $S.digipay_catalogue_change (server, kind, code, what, before, after)"
		" SELECT $2, 'pasca', d.code, d.what,"
		" CASE WHEN d.after IS NULL THEN d.before ELSE (SELECT jsonb_object_agg(b.key, b.value)"
		" FROM jsonb_each(d.before) b WHERE b.value <> d.after->b.key) END,"
		" CASE WHEN d.before IS NULL THEN d.after ELSE (SELECT jsonb_object_agg(a.key, a.value)"
		" FROM jsonb_each(d.after) a WHERE a.value <> d.before->a.key) END"
		" FROM difference d ORDER BY d.code COLLATE \"C\")"
		" SELECT (SELECT count(*) FROM item) AS products,"
		" count(*) FILTER (WHERE d.what = 'added') AS added,"
		" count(*) FILTER (WHERE d.what = 'changed') AS changed,"
		" count(*) FILTER (WHERE d.what = 'gone') AS gone,"
		" count(*) FILTER (WHERE d.what = 'back') AS back FROM difference d",
		2, {TEXTOID, NAMEOID}
	},
	/* retention; what a stub keeps is what a sum needs, and what proves the payment */
	[DP_SQL_PURGE_PAYMENTS] = {
		"UPDATE $S.digipay_payment p SET name = NULL, message = NULL, periode = NULL,"
		" \"desc\" = NULL, reply = NULL, error = 'purged'"
		" WHERE p.day < $1 AND p.next_check_at IS NULL AND p.error IS DISTINCT FROM 'purged'"
		" AND coalesce(p.final_at, p.requested_at) < timezone('Asia/Jakarta', $1::timestamp)",
		1, {DATEOID}
	},
	[DP_SQL_PURGE_INQUIRIES] = {
		"DELETE FROM $S.digipay_inquiry i"
		" WHERE i.inquired_at < timezone('Asia/Jakarta', $1::timestamp)"
		" AND NOT EXISTS (SELECT FROM $S.digipay_payment p"
		" WHERE p.server = i.server AND p.ref_id = i.ref_id AND p.error IS DISTINCT FROM 'purged')",
		1, {DATEOID}
	},
	[DP_SQL_PURGE_EVENTS] = {
		"DELETE FROM $S.digipay_event e"
		" WHERE e.at < timezone('Asia/Jakarta', $1::timestamp)"
		" AND NOT EXISTS (SELECT FROM $S.digipay_payment p"
		" WHERE p.server = e.server AND p.ref_id = e.ref_id AND p.error IS DISTINCT FROM 'purged')",
		1, {DATEOID}
	},
};
