/*-------------------------------------------------------------------------
 *
 * statement.c
 *	  The SQL on our tables, and the transactions around it: the worker's own,
 *	  and the caller's where a session queues a payment or takes it back.
 *
 * The only user of SPI.  Everything runs as the journal's owner, in a
 * security-restricted operation with a fixed search_path, so that a trigger or
 * function that somebody manages to put in the way runs with nobody's rights
 * but the owner's own.  Values go in as parameters: a statement's text, which
 * error messages and logs may show, holds no data.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "executor/spi.h"
#include "storage/ipc.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/reltrigger.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "objects.h"
#include "statement.h"

typedef struct Statement
{
	const char *sql;			/* $S stands for the schema */
	int			nparams;
	Oid			types[DP_MAX_PARAMS];
	SPIPlanPtr	plan;
} Statement;

/*
 * DP_SQL_INTEND and DP_SQL_CLAIM hold the payment against the ref_id's inquiry
 * in the same statement: it must have been for the same bill, and where there
 * is a highest price, it must have said no more than that.
 */
#define INQUIRY_AGREES \
	"NOT EXISTS (SELECT FROM $S.digipay_inquiry q WHERE q.server = $5 AND q.ref_id = $1" \
	" AND (q.code <> $2 OR q.customer_no <> $3 OR q.testing <> $4))" \
	" AND ($8 IS NULL OR EXISTS (SELECT FROM $S.digipay_inquiry q WHERE q.server = $5" \
	" AND q.ref_id = $1 AND q.rc = '00' AND q.price <= $8::numeric))"

/* Parameters of the statements by which a payment is queued or leaves. */
#define INTENT_TYPES \
	TEXTOID, TEXTOID, TEXTOID, BOOLOID, NAMEOID, TEXTOID, NAMEOID, TEXTOID, UUIDOID, INT4OID, \
	BOOLOID, TIMESTAMPTZOID, TEXTOID

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

static Statement statements[DP_SQL_COUNT] = {
	[DP_SQL_INTEND] = {
		"INSERT INTO $S.digipay_payment (ref_id, state, code, customer_no, testing,"
		" server, account, requested_by, max_price, origin, requested_at, sent_at, next_check_at)"
		" SELECT $1, 'sending'::$S.digipay_state, $2, $3, $4, $5, $6, $7, $8::numeric, $9,"
		" clock_timestamp(), clock_timestamp(), clock_timestamp() + $10 * interval '1 ms'"
		" WHERE " INQUIRY_AGREES
		" ON CONFLICT DO NOTHING",
		10, {INTENT_TYPES}
	},
	[DP_SQL_ENQUEUE] = {
		"INSERT INTO $S.digipay_payment AS p (ref_id, state, code, customer_no, testing,"
		" server, account, requested_by, max_price, origin, requested_at, next_check_at,"
		" not_after, error)"
		" SELECT $1, 'queued'::$S.digipay_state, $2, $3, $4, $5, $6, $7, $8::numeric, $9,"
		" clock_timestamp(), clock_timestamp(), $12, $13"
		" WHERE " INQUIRY_AGREES
		" ON CONFLICT DO NOTHING RETURNING p",
		13, {INTENT_TYPES}
	},
	[DP_SQL_CLAIM] = {
		"UPDATE $S.digipay_payment p SET state = 'sending', server = $5,"
		" max_price = $8::numeric, error = NULL, final_at = NULL, replied_at = NULL,"
		" status_checks = 0, sent_at = clock_timestamp(),"
		" next_check_at = coalesce(p.next_check_at, clock_timestamp() + $10 * interval '1 ms')"
		" WHERE p.account = $6 AND p.ref_id = $1 AND " MAY_LEAVE
		" AND " INQUIRY_AGREES,
		11, {INTENT_TYPES}
	},
	[DP_SQL_CLAIM_QUEUED] = {
		"WITH found AS MATERIALIZED (SELECT server, ref_id FROM $S.digipay_payment"
		" WHERE account = $6 AND ref_id = $1 AND state = 'queued' AND origin = $9"
		" AND coalesce(not_after, requested_at + $11 * interval '1 ms') > clock_timestamp()"
		" FOR UPDATE SKIP LOCKED)"
		" UPDATE $S.digipay_payment p SET state = 'sending', error = NULL, status_checks = 0,"
		" sent_at = clock_timestamp() FROM found f"
		" WHERE p.server = f.server AND p.ref_id = f.ref_id AND " INQUIRY_AGREES,
		11,
		{TEXTOID, TEXTOID, TEXTOID, BOOLOID, NAMEOID, TEXTOID, NAMEOID, TEXTOID, UUIDOID, INT4OID,
		INT4OID}
	},
	[DP_SQL_REQUEUE] = {
		"UPDATE $S.digipay_payment p SET state = 'queued', server = $5,"
		" max_price = $8::numeric, error = $13, final_at = NULL, replied_at = NULL,"
		" status_checks = 0, not_after = $12, next_check_at = clock_timestamp()"
		" WHERE p.account = $6 AND p.ref_id = $1 AND " MAY_LEAVE
		" AND " INQUIRY_AGREES " RETURNING p",
		13, {INTENT_TYPES}
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
		" RETURNING p",
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
		" WHERE p.account = $1 AND p.ref_id = $2 AND p.state = 'review' RETURNING p",
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
		" CASE WHEN rc = '00' THEN price::text END, rc = '00' AND price <= $6::numeric"
		" FROM $S.digipay_inquiry WHERE server = $1 AND ref_id = $2",
		6, {NAMEOID, TEXTOID, TEXTOID, TEXTOID, BOOLOID, TEXTOID}
	},
	[DP_SQL_RECORD_OUTCOME] = {
		"UPDATE $S.digipay_payment SET (" REPLY_COLUMNS ", state, sent_at, replied_at, final_at, next_check_at)"
		" = ROW ($3, $4::numeric, $5::numeric, $6::numeric, $7::numeric, $8::numeric,"
		" $9, $10, $11, $12, $13, $14, $15, $16, $17, $18::$S.digipay_state, $19,"
		" CASE WHEN $20 THEN clock_timestamp() END,"
		" CASE WHEN $21 THEN clock_timestamp() END,"
		" CASE WHEN $18 = 'review' THEN 'infinity'"
		" ELSE clock_timestamp() + $22 * interval '1 ms' END)"
		" WHERE account = $1 AND ref_id = $2 AND state = 'sending'",
		22,
		{TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID,
			TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, JSONBOID, JSONBOID, INT4OID, TEXTOID,
		TEXTOID, TIMESTAMPTZOID, BOOLOID, BOOLOID, INT4OID}
	},
	[DP_SQL_RECORD_INQUIRY] = {
		"INSERT INTO $S.digipay_inquiry (server, ref_id, " REPLY_COLUMNS
		", code, customer_no, testing, account, requested_by, inquired_at)"
		" VALUES ($1, $2, $3, $4::numeric, $5::numeric, $6::numeric, $7::numeric, $8::numeric,"
		" $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, clock_timestamp())"
		" ON CONFLICT (server, ref_id) DO UPDATE SET (" REPLY_COLUMNS
		", code, customer_no, testing, account, requested_by, inquired_at)"
		" = ROW (excluded.name, excluded.price, excluded.selling_price, excluded.admin,"
		" excluded.base_commission, excluded.balance, excluded.status, excluded.rc, excluded.message,"
		" excluded.sn, excluded.periode, excluded.\"desc\", excluded.reply, excluded.http_status,"
		" excluded.error, excluded.code, excluded.customer_no, excluded.testing,"
		" excluded.account, excluded.requested_by, excluded.inquired_at)",
		22,
		{NAMEOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID,
			TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, JSONBOID, JSONBOID, INT4OID, TEXTOID,
		TEXTOID, TEXTOID, BOOLOID, TEXTOID, NAMEOID}
	},
	[DP_SQL_RECORD_EVENT] = {
		"INSERT INTO $S.digipay_event (server, ref_id, kind, http_status, curl_code, note, body)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7)",
		7, {NAMEOID, TEXTOID, TEXTOID, INT4OID, INT4OID, TEXTOID, BYTEAOID}
	},
	[DP_SQL_RECOVER] = {
		"WITH stale AS (SELECT server, ref_id FROM $S.digipay_payment"
		" WHERE state = 'sending' AND next_check_at IS NOT NULL AND origin = $2"
		" FOR UPDATE SKIP LOCKED),"
		" lost AS (UPDATE $S.digipay_payment p SET state = 'unknown', error = $1,"
		" next_check_at = clock_timestamp() FROM stale s"
		" WHERE p.server = s.server AND p.ref_id = s.ref_id RETURNING p.server, p.ref_id)"
		" INSERT INTO $S.digipay_event (server, ref_id, kind, note)"
		" SELECT server, ref_id, 'recovered', $1 FROM lost",
		2, {TEXTOID, UUIDOID}
	},
	[DP_SQL_FIND_LEFTOVER] = {
		"SELECT FROM $S.digipay_payment"
		" WHERE state = 'sending' AND next_check_at IS NOT NULL AND origin = $1 LIMIT 1",
		1, {UUIDOID}
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
		" WHERE server = $1 AND ref_id = $2 AND kind = $3 AND ($4 IS NULL OR note = $4)"
		" AND at >= $5",
		5, {NAMEOID, TEXTOID, TEXTOID, TEXTOID, TIMESTAMPTZOID}
	},
	[DP_SQL_ECHOES_INQUIRY] = {
		"SELECT FROM $S.digipay_inquiry WHERE server = $1 AND ref_id = $2"
		" AND rc = '00' AND balance = $3::numeric",
		3, {NAMEOID, TEXTOID, TEXTOID}
	},
};

static Oid	prepared_for = InvalidOid;	/* the extension that the plans are for */
static NameData prepared_schema;	/* and the name of its schema */
volatile sig_atomic_t dp_is_committing = false;

static Oid	journal = InvalidOid;	/* its table */
static bool holding = false;
static bool as_last_committed = false;	/* whatever the transaction's snapshot */
static uint64 result_row = 0;	/* which row dp_result looks at */

/* ----------
 * Transactions
 * ----------
 */

/*
 * Force the settings that the statements depend on, whatever the database or
 * the role has.  Once, at the worker's start.
 */
void
dp_transaction_configure(void)
{
	static const struct
	{
		const char *name;
		const char *value;
	}			settings[] = {
		{"search_path", "pg_catalog, pg_temp"},
		{"session_replication_role", "origin"},
		{"default_transaction_isolation", "read committed"},
		{"default_transaction_read_only", "off"},
		{"default_transaction_deferrable", "off"},
		{"row_security", "off"},
		{"statement_timeout", "0"},
		{"idle_in_transaction_session_timeout", "0"},
		DP_SETTINGS_SINCE_17
		{"plan_cache_mode", "force_generic_plan"},
		{"enable_seqscan", "off"},
		{"enable_hashjoin", "off"},
		{"enable_mergejoin", "off"},
		{"enable_bitmapscan", "off"},
		{"enable_sort", "off"},	/* what is due is read in its index's order */
		{"enable_incremental_sort", "off"},
		{"jit", "off"},
		{"max_parallel_workers_per_gather", "0"},
		{"default_tablespace", ""},
	};

	for (int i = 0; i < (int) lengthof(settings); i++)
		SetConfigOption(settings[i].name, settings[i].value, PGC_SUSET, PGC_S_SESSION);

	dp_transaction_be_patient(true);

	/* an intent that is not flushed is none; stronger settings are kept */
	if (synchronous_commit < SYNCHRONOUS_COMMIT_REMOTE_FLUSH)
		SetConfigOption("synchronous_commit", "on", PGC_SUSET, PGC_S_SESSION);
}

/*
 * How long statements wait for somebody else's lock.  Patient is for the first
 * try; after that has failed there may be many locked rows, and each should
 * cost little.
 */
void
dp_transaction_be_patient(bool patient)
{
	SetConfigOption("lock_timeout", patient ? "200" : "10", PGC_SUSET, PGC_S_SESSION);
}

/* Owner of the journal. */
static Oid
journal_owner(Oid payment)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(payment));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", payment);
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

/* Is this the extension that the plans were made for, by the name they use? */
static bool
plans_fit(const DpObjects *objects)
{
	char	   *schema = get_namespace_name(objects->schema);

	if (schema == NULL)
		return false;
	if (!OidIsValid(prepared_for))
	{
		prepared_for = objects->extension;
		strlcpy(NameStr(prepared_schema), schema, NAMEDATALEN);
	}
	return prepared_for == objects->extension &&
		strcmp(NameStr(prepared_schema), schema) == 0;
}

/* Let the statements be prepared anew: the extension is another one. */
static void
forget_plans(const DpObjects *objects)
{
	for (int i = 0; i < DP_SQL_COUNT; i++)
	{
		if (statements[i].plan != NULL)
			SPI_freeplan(statements[i].plan);
		statements[i].plan = NULL;
	}
	prepared_for = InvalidOid;
	(void) plans_fit(objects);
}

/*
 * Begin a transaction for the statements below.  False, with no transaction,
 * when the extension is gone, or is another one than the plans were made for,
 * or its schema has another name.
 */
bool
dp_transaction_begin(void)
{
	const DpObjects *objects;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	objects = dp_objects();
	if (objects == NULL || !plans_fit(objects))
	{
		AbortCurrentTransaction();
		return false;
	}
	journal = objects->payment;
	SetUserIdAndSecContext(journal_owner(objects->payment),
						   SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
	SPI_connect();
	PushActiveSnapshot(GetTransactionSnapshot());
	return true;
}

/*
 * Commit, and flush.  Ends the process if it was asked to end while the commit
 * waited for a synchronous standby: what has been written is on our disk, but
 * may be lost in a failover, so nothing must be done on the strength of it.
 */
void
dp_transaction_commit(void)
{
	SPI_finish();
	PopActiveSnapshot();
	/* a cancel would end the wait for a standby; it comes too late anyway */
	dp_is_committing = true;
	QueryCancelPending = false;
	CommitTransactionCommand();
	dp_is_committing = false;
	SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID, 0);
	if (ProcDiePending)
		proc_exit(0);
}

/*
 * From now on, do not wait for a standby: for the last outcomes of a process
 * that ends, and sends nothing any more.
 */
void
dp_transaction_stop_waiting(void)
{
	SetConfigOption("synchronous_commit", "local", PGC_SUSET, PGC_S_SESSION);
}

/*
 * Abort; also from an error handler.  An abort releases the session's lock on
 * the journal as well.
 */
void
dp_transaction_abort(void)
{
	dp_is_committing = false;
	AbortCurrentTransaction();
	SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID, 0);
	holding = false;
}

/*
 * Hold the journal for the session while anything is in flight, so that DROP
 * EXTENSION waits; or let it go.  It is never waited for: right after a write
 * in the same transaction it is ours anyway, and otherwise the next call tries
 * again.
 */
void
dp_transaction_hold_journal(bool hold)
{
	static LOCKTAG tag;

	if (hold == holding)
		return;
	if (hold)
	{
		SET_LOCKTAG_RELATION(tag, MyDatabaseId, journal);
		holding = LockAcquire(&tag, RowExclusiveLock, true, true) != LOCKACQUIRE_NOT_AVAIL;
	}
	else
	{
		LockRelease(&tag, RowExclusiveLock, true);
		holding = false;
	}
}

/*
 * Could somebody's trigger or rule change what is written about a payment?  The
 * journal's owner can make one; a payment must not leave on the strength of a
 * row that says something else.
 */
bool
dp_journal_is_tampered_with(void)
{
	Relation	table = table_open(journal, RowExclusiveLock);
	bool		tampered = table->rd_rules != NULL ||
		(table->trigdesc != NULL &&
		 (table->trigdesc->trig_insert_before_row || table->trigdesc->trig_update_before_row));

	table_close(table, NoLock);
	return tampered;
}

/*
 * In a session: begin to run statements in the caller's own transaction, as the
 * journal's owner and with a search_path that the caller cannot meddle with.
 * An error on the way puts everything back.  Raises when the extension is gone.
 */
void
dp_session_begin(DpSession *session)
{
	const DpObjects *objects = dp_objects();

	if (objects == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("extension \"digipay\" is not installed"),
				 errhint("Run CREATE EXTENSION digipay.")));
	if (!plans_fit(objects))
		forget_plans(objects);
	journal = objects->payment;
	session->nest_level = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	GetUserIdAndSecContext(&session->user, &session->security);
	SetUserIdAndSecContext(journal_owner(objects->payment),
						   session->security | SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_NOFORCE_RLS);
	SPI_connect();

	/* the journal is what it is, not what it was when the transaction began */
	as_last_committed = IsolationUsesXactSnapshot();
}

/* The end of it; what the statements have returned is gone. */
void
dp_session_end(DpSession *session)
{
	SPI_finish();
	SetUserIdAndSecContext(session->user, session->security);
	AtEOXact_GUC(true, session->nest_level);
}

/* ----------
 * Statements
 * ----------
 */

/* A statement's text with the schema in place of $S; palloc'd. */
static char *
with_schema(const char *sql)
{
	const char *schema = quote_identifier(get_namespace_name(dp_objects()->schema));
	StringInfoData text;
	const char *mark;

	initStringInfo(&text);
	while ((mark = strstr(sql, "$S")) != NULL)
	{
		appendBinaryStringInfo(&text, sql, mark - sql);
		appendStringInfoString(&text, schema);
		sql = mark + 2;
	}
	appendStringInfoString(&text, sql);
	return text.data;
}

/*
 * Run a statement, prepared at its first use; params may be NULL if it has
 * none.  Returns how many rows it found or changed; a SELECT's first one is at
 * hand for dp_result until the next statement.
 */
uint64
dp_run(DpStatementId id, DpParams *params)
{
	Statement  *statement = &statements[id];
	int			rc;

	if (statement->plan == NULL)
	{
		SPIPlanPtr	plan = SPI_prepare(with_schema(statement->sql),
									   statement->nparams, statement->types);

		if (plan == NULL || SPI_keepplan(plan) != 0)
			elog(ERROR, "could not prepare a statement: %s",
				 SPI_result_code_string(SPI_result));
		statement->plan = plan;
	}
	result_row = 0;
	if (as_last_committed)
		rc = SPI_execute_snapshot(statement->plan, params ? params->values : NULL,
								  params ? params->nulls : NULL, GetLatestSnapshot(),
								  InvalidSnapshot, false, true, 0);
	else
		rc = SPI_execute_plan(statement->plan, params ? params->values : NULL,
							  params ? params->nulls : NULL, false, 0);
	if (rc < 0)
		elog(ERROR, "could not run a statement: %s", SPI_result_code_string(rc));
	return SPI_processed;
}

/* Add NULL. */
void
dp_param_null(DpParams *params)
{
	params->values[params->count] = (Datum) 0;
	params->nulls[params->count++] = 'n';
}

/* Add a value. */
void
dp_param(DpParams *params, Datum value)
{
	params->values[params->count] = value;
	params->nulls[params->count++] = ' ';
}

/* Add text in the database's encoding; NULL is NULL. */
void
dp_param_text(DpParams *params, const char *text)
{
	if (text == NULL)
		dp_param_null(params);
	else
		dp_param(params, CStringGetTextDatum(text));
}

/* Add a name. */
void
dp_param_name(DpParams *params, const char *name)
{
	Name		copy = palloc0(sizeof(NameData));

	namestrcpy(copy, name);
	dp_param(params, NameGetDatum(copy));
}

/* Add an integer; zero stands for NULL. */
void
dp_param_positive(DpParams *params, int value)
{
	if (value > 0)
		dp_param(params, Int32GetDatum(value));
	else
		dp_param_null(params);
}

/* Look at another row of the last statement's result than the first; from 0. */
void
dp_result_row(uint64 row)
{
	result_row = row;
}

/* A column of the result. */
Datum
dp_result(int column, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[result_row], SPI_tuptable->tupdesc,
						 column, isnull);
}

/* A column of the result as text, NULL for NULL. */
char *
dp_result_text(int column)
{
	return SPI_getvalue(SPI_tuptable->vals[result_row], SPI_tuptable->tupdesc, column);
}

/* An integer column of the result; NULL is zero. */
int
dp_result_int(int column)
{
	bool		isnull;
	Datum		value = dp_result(column, &isnull);

	return isnull ? 0 : DatumGetInt32(value);
}

/* The same, of the longer type. */
int64
dp_result_long(int column)
{
	bool		isnull;
	Datum		value = dp_result(column, &isnull);

	return isnull ? 0 : DatumGetInt64(value);
}

/* A column that holds a point in time; NULL is zero. */
TimestampTz
dp_result_time(int column)
{
	bool		isnull;
	Datum		value = dp_result(column, &isnull);

	return isnull ? 0 : DatumGetTimestampTz(value);
}

/* A boolean column of the result; NULL is false. */
bool
dp_result_bool(int column)
{
	bool		isnull;
	Datum		value = dp_result(column, &isnull);

	return !isnull && DatumGetBool(value);
}
