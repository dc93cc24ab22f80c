/*-------------------------------------------------------------------------
 *
 * statement.c
 *	  The SQL on our tables, and the transactions around it: the worker's own,
 *	  and the caller's where a session queues a payment or takes it back.
 *
 * The only user of SPI.  Everything runs as the journal's owner with a fixed
 * search_path, in the worker also in a security-restricted operation, so that a
 * trigger or function that somebody manages to put in the way runs with nobody's
 * rights but the owner's own.  Values go in as parameters: a statement's text
 * (sql.c), which error messages and logs may show, holds no data.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "compat.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "storage/ipc.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/reltrigger.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/tuplestore.h"

#include "objects.h"
#include "sql.h"
#include "statement.h"

/*
 * Rows stay in memory, in kilobytes: an outcome must not depend on what
 * temp_file_limit leaves.
 */
#define ROWS_MEMORY		(1024 * 1024)

/* So many rows the planner is told of, since the first plan is kept. */
#define USUAL_ROWS	64

struct DpRows
{
	DpStatementId id;
	uint64		count;
	DpParams	first;
	Tuplestorestate *store;		/* with all rows, if there is more than one */
};

static SPIPlanPtr plans[DP_SQL_COUNT];
static SPIPlanPtr rows_plans[DP_SQL_COUNT]; /* for more than one row */
static TupleDesc row_types[DP_SQL_COUNT];	/* of those that take rows */
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
		if (plans[i] != NULL)
			SPI_freeplan(plans[i]);
		if (rows_plans[i] != NULL)
			SPI_freeplan(rows_plans[i]);
		plans[i] = rows_plans[i] = NULL;
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
		dp_transaction_abort();
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

/* The statement with one row of parameters in place of the rows; palloc'd. */
static char *
with_parameters(const DpStatementText *text, const char *sql)
{
	const char *rows = strstr(sql, "FROM " DP_ROWS " b");
	StringInfoData result;

	Assert(rows != NULL);
	initStringInfo(&result);
	appendBinaryStringInfo(&result, sql, rows - sql);
	appendStringInfoString(&result, "FROM (SELECT");
	for (int i = 0; i < text->nparams; i++)
		appendStringInfo(&result, "%s $%d AS %s", i > 0 ? "," : "", i + 1,
						 quote_identifier(text->columns[i]));
	appendStringInfoString(&result, ") b");
	appendStringInfoString(&result, rows + strlen("FROM " DP_ROWS " b"));
	return result.data;
}

/*
 * Have a statement planned by the indexes, whatever the session has set and
 * however small the tables are now: its plan is kept, and they will grow.
 */
static void
plan_by_index(SPIPlanPtr plan)
{
	int			nest_level = NewGUCNestLevel();
	CachedPlan *cached;

	(void) set_config_option("enable_seqscan", "off", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	cached = SPI_plan_get_cached_plan(plan);
	if (cached != NULL)
		ReleaseCachedPlan(cached, CurrentResourceOwner);
	AtEOXact_GUC(true, nest_level);
}

/*
 * A statement's plan, prepared at its first use.  One that takes rows has two: for
 * a single row, whose columns are parameters, and for more.
 */
static SPIPlanPtr
plan_of(DpStatementId id, bool many_rows)
{
	const DpStatementText *text = &dp_statement_texts[id];
	SPIPlanPtr *kept = many_rows ? &rows_plans[id] : &plans[id];

	if (*kept == NULL)
	{
		const char *sql = with_schema(text->sql);
		SPIPlanPtr	plan;

		if (text->columns != NULL && !many_rows)
			sql = with_parameters(text, sql);
		plan = SPI_prepare_cursor(sql, many_rows ? 0 : text->nparams,
								  unconstify(Oid *, &text->types[0]),
								  text->by_key ? CURSOR_OPT_GENERIC_PLAN : 0);
		if (plan == NULL || SPI_keepplan(plan) != 0)
			elog(ERROR, "could not prepare a statement: %s",
				 SPI_result_code_string(SPI_result));
		if (text->by_key)
			plan_by_index(plan);
		*kept = plan;
	}
	else if (text->by_key && !SPI_plan_is_valid(*kept))
		plan_by_index(*kept);
	return *kept;
}

/* Run a plan; params may be NULL if it has none.  Returns as dp_run. */
static uint64
run_plan(SPIPlanPtr plan, DpParams *params)
{
	int			rc;

	result_row = 0;
	if (as_last_committed)
		rc = SPI_execute_snapshot(plan, params ? params->values : NULL,
								  params ? params->nulls : NULL, GetLatestSnapshot(),
								  InvalidSnapshot, false, true, 0);
	else
		rc = SPI_execute_plan(plan, params ? params->values : NULL,
							  params ? params->nulls : NULL, false, 0);
	if (rc < 0)
		elog(ERROR, "could not run a statement: %s", SPI_result_code_string(rc));
	return SPI_processed;
}

/*
 * Run a statement, prepared at its first use; params may be NULL if it has
 * none.  Returns how many rows it found or changed; a SELECT's first one is at
 * hand for dp_result until the next statement.
 */
uint64
dp_run(DpStatementId id, DpParams *params)
{
	return run_plan(plan_of(id, false), params);
}

/* The type of a statement's rows; made at its first use. */
static TupleDesc
row_type(DpStatementId id)
{
	const DpStatementText *text = &dp_statement_texts[id];
	MemoryContext old;

	if (row_types[id] != NULL)
		return row_types[id];
	old = MemoryContextSwitchTo(TopMemoryContext);
	row_types[id] = CreateTemplateTupleDesc(text->nparams);
	for (int i = 0; i < text->nparams; i++)
		TupleDescInitEntry(row_types[id], i + 1, text->columns[i], text->types[i], -1, 0);
	MemoryContextSwitchTo(old);
	return row_types[id];
}

/* Begin to collect the rows of a statement that takes them. */
DpRows *
dp_rows_begin(DpStatementId id)
{
	DpRows	   *rows = palloc(sizeof(DpRows));

	rows->id = id;
	rows->count = 0;
	rows->store = NULL;
	return rows;
}

/* Put a row into the store. */
static void
store_row(DpRows *rows, DpParams *row)
{
	bool		nulls[DP_MAX_PARAMS];

	for (int i = 0; i < row->count; i++)
		nulls[i] = row->nulls[i] == 'n';
	tuplestore_putvalues(rows->store, row_type(rows->id), row->values, nulls);
}

/* One more row. */
void
dp_rows_add(DpRows *rows, DpParams *row)
{
	if (rows->count++ == 0)
	{
		rows->first = *row;
		return;
	}
	if (rows->store == NULL)
	{
		rows->store = tuplestore_begin_heap(false, false, ROWS_MEMORY);
		store_row(rows, &rows->first);
	}
	store_row(rows, row);
}

/*
 * Run the statement with the rows, once for all of them; they are gone then.  A
 * single row costs no more than parameters do.  Returns as dp_run.
 */
uint64
dp_run_rows(DpRows *rows)
{
	EphemeralNamedRelation relation;
	uint64		found;

	if (rows->store == NULL)
	{
		found = run_plan(plan_of(rows->id, false), &rows->first);
		pfree(rows);
		return found;
	}
	relation = palloc0(sizeof(EphemeralNamedRelationData));
	relation->md.name = pstrdup(DP_ROWS);
	relation->md.tupdesc = row_type(rows->id);
	relation->md.enrtype = ENR_NAMED_TUPLESTORE;
	relation->md.enrtuples = USUAL_ROWS;
	relation->reldata = rows->store;
	if (SPI_register_relation(relation) != SPI_OK_REL_REGISTER)
		elog(ERROR, "could not register the rows of a statement");
	found = run_plan(plan_of(rows->id, true), NULL);
	SPI_unregister_relation(DP_ROWS);
	tuplestore_end(rows->store);
	pfree(rows);
	return found;
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

/*
 * The row of the journal whose place (ctid) is in that column of the result, as
 * the statement has written it; in the current memory context.  To have it as a
 * value of the result takes several times as long.
 */
Datum
dp_result_written(int column)
{
	Relation	table = table_open(journal, NoLock);	/* the statement has locked it */
	TupleTableSlot *slot = table_slot_create(table, NULL);
	bool		isnull;
	Datum		place = dp_result(column, &isnull);
	Datum		row;

	/* any snapshot: somebody's trigger may have changed the row since */
	if (isnull || !table_tuple_fetch_row_version(table, (ItemPointer) DatumGetPointer(place),
												 SnapshotAny, slot))
		elog(ERROR, "could not read the row that was written");
	row = ExecFetchSlotHeapTupleDatum(slot);
	ExecDropSingleTupleTableSlot(slot);
	table_close(table, NoLock);
	return row;
}

/* A column of the result as text, NULL for NULL. */
char *
dp_result_text(int column)
{
	return SPI_getvalue(SPI_tuptable->vals[result_row], SPI_tuptable->tupdesc, column);
}

/* Does a column of type text hold this?  NULL does not. */
bool
dp_result_is(int column, const char *wanted)
{
	bool		isnull;
	Datum		value = dp_result(column, &isnull);
	text	   *packed = isnull ? NULL : DatumGetTextPP(value);

	return packed != NULL && VARSIZE_ANY_EXHDR(packed) == strlen(wanted) &&
		memcmp(VARDATA_ANY(packed), wanted, strlen(wanted)) == 0;
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
