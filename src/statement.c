/*-------------------------------------------------------------------------
 *
 * statement.c
 *	  The SQL on our tables, and the transactions around it, for the worker.
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
		10,
		{TEXTOID, TEXTOID, TEXTOID, BOOLOID, NAMEOID, TEXTOID, NAMEOID, TEXTOID, UUIDOID, INT4OID}
	},
	[DP_SQL_CLAIM] = {
		"UPDATE $S.digipay_payment p SET state = 'sending', server = $5,"
		" max_price = $8::numeric, origin = $9, error = NULL, final_at = NULL, replied_at = NULL,"
		" sent_at = clock_timestamp(),"
		" next_check_at = coalesce(p.next_check_at, clock_timestamp() + $10 * interval '1 ms')"
		" WHERE p.account = $6 AND p.ref_id = $1 AND p.state IN ('not_sent', 'queued')"
		" AND p.code = $2 AND p.customer_no = $3 AND p.testing = $4"
		" AND " INQUIRY_AGREES,
		10,
		{TEXTOID, TEXTOID, TEXTOID, BOOLOID, NAMEOID, TEXTOID, NAMEOID, TEXTOID, UUIDOID, INT4OID}
	},
	[DP_SQL_FIND_PAYMENT] = {
		"SELECT state::text, code = $3 AND customer_no = $4 AND testing = $5"
		" FROM $S.digipay_payment WHERE account = $1 AND ref_id = $2",
		5, {TEXTOID, TEXTOID, TEXTOID, TEXTOID, BOOLOID}
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
		" clock_timestamp() + $22 * interval '1 ms')"
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
		" WHERE state = 'sending' AND next_check_at IS NOT NULL"
		" FOR UPDATE SKIP LOCKED),"
		" lost AS (UPDATE $S.digipay_payment p SET state = 'unknown', error = $1,"
		" next_check_at = clock_timestamp() FROM stale s"
		" WHERE p.server = s.server AND p.ref_id = s.ref_id RETURNING p.server, p.ref_id)"
		" INSERT INTO $S.digipay_event (server, ref_id, kind, note)"
		" SELECT server, ref_id, 'recovered', $1 FROM lost",
		1, {TEXTOID}
	},
	[DP_SQL_FIND_LEFTOVER] = {
		"SELECT FROM $S.digipay_payment"
		" WHERE state = 'sending' AND next_check_at IS NOT NULL LIMIT 1",
		0, {0}
	},
	[DP_SQL_GET_ORIGIN] = {"SELECT origin FROM $S.digipay_fence", 0, {0}},
	[DP_SQL_MAKE_ORIGIN] = {
		"INSERT INTO $S.digipay_fence (origin) VALUES (gen_random_uuid()) ON CONFLICT DO NOTHING",
		0, {0}
	},
};

static Oid	prepared_for = InvalidOid;	/* the extension that the plans are for */
static NameData prepared_schema;	/* and the name of its schema */
volatile sig_atomic_t dp_is_committing = false;

static Oid	journal = InvalidOid;	/* its table */
static bool holding = false;

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

/* A column of a SELECT's first row. */
Datum
dp_result(int column, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column, isnull);
}

/* A column of a SELECT's first row as text, NULL for NULL. */
char *
dp_result_text(int column)
{
	return SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column);
}

/* A boolean column of a SELECT's first row; NULL is false. */
bool
dp_result_bool(int column)
{
	bool		isnull;
	Datum		value = dp_result(column, &isnull);

	return !isnull && DatumGetBool(value);
}
