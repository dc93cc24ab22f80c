/*-------------------------------------------------------------------------
 *
 * journal.c
 *	  What the worker writes and reads in SQL, and the transactions around it.
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

#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "executor/spi.h"
#include "pgstat.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "charset.h"
#include "journal.h"
#include "objects.h"
#include "problem.h"
#include "state.h"

/* The statements.  %s is the extension's schema, already quoted. */
typedef enum StatementId
{
	INTEND,
	CLAIM,
	FIND_PAYMENT,
	FIND_FOREIGN_PAYMENT,
	FIND_INQUIRY,
	RECORD_OUTCOME,
	RECORD_INQUIRY,
	RECORD_EVENT,
	RECOVER,
	GET_ORIGIN,
	MAKE_ORIGIN,
	N_STATEMENTS
} StatementId;

#define MAX_PARAMS	24

typedef struct Statement
{
	const char *sql;			/* $S stands for the schema */
	int			nparams;
	Oid			types[MAX_PARAMS];
	SPIPlanPtr	plan;
} Statement;

/*
 * INTEND and CLAIM hold the payment against the ref_id's inquiry in the same
 * statement: it must have been for the same bill, and where there is a highest
 * price, it must have said no more than that.
 */
#define INQUIRY_AGREES \
	"(q.ref_id IS NULL OR (q.code = $2 AND q.customer_no = $3 AND q.testing = $4))" \
	" AND ($8::numeric IS NULL OR (q.rc = '00' AND q.price <= $8::numeric))"

#define REPLY_COLUMNS \
	"name, price, selling_price, admin, base_commission, balance," \
	" status, rc, message, sn, periode, \"desc\", reply, http_status, error"

static Statement statements[N_STATEMENTS] = {
	[INTEND] = {
		"INSERT INTO $S.digipay_payment (ref_id, state, code, customer_no, testing,"
		" server, account, requested_by, max_price, origin, requested_at, sent_at, next_check_at)"
		" SELECT $1, 'sending', $2, $3, $4, $5, $6, $7, $8::numeric, $9,"
		" clock_timestamp(), clock_timestamp(), clock_timestamp() + $10 * interval '1 ms'"
		" FROM (SELECT 1) AS one LEFT JOIN $S.digipay_inquiry q ON q.server = $5 AND q.ref_id = $1"
		" WHERE " INQUIRY_AGREES
		" ON CONFLICT DO NOTHING",
		10,
		{TEXTOID, TEXTOID, TEXTOID, BOOLOID, NAMEOID, TEXTOID, NAMEOID, TEXTOID, UUIDOID, INT4OID}
	},
	[CLAIM] = {
		"UPDATE $S.digipay_payment p SET state = 'sending', server = $5,"
		" max_price = $8::numeric, origin = $9, error = NULL, final_at = NULL, replied_at = NULL,"
		" sent_at = clock_timestamp(),"
		" next_check_at = coalesce(p.next_check_at, clock_timestamp() + $10 * interval '1 ms')"
		" FROM (SELECT 1) AS one LEFT JOIN $S.digipay_inquiry q ON q.server = $5 AND q.ref_id = $1"
		" WHERE p.account = $6 AND p.ref_id = $1 AND p.state IN ('not_sent', 'queued')"
		" AND p.code = $2 AND p.customer_no = $3 AND p.testing = $4"
		" AND " INQUIRY_AGREES,
		10,
		{TEXTOID, TEXTOID, TEXTOID, BOOLOID, NAMEOID, TEXTOID, NAMEOID, TEXTOID, UUIDOID, INT4OID}
	},
	[FIND_PAYMENT] = {
		"SELECT state::text, code = $3 AND customer_no = $4 AND testing = $5"
		" FROM $S.digipay_payment WHERE account = $1 AND ref_id = $2",
		5, {TEXTOID, TEXTOID, TEXTOID, TEXTOID, BOOLOID}
	},
	[FIND_FOREIGN_PAYMENT] = {
		"SELECT account FROM $S.digipay_payment WHERE server = $1 AND ref_id = $2",
		2, {NAMEOID, TEXTOID}
	},
	[FIND_INQUIRY] = {
		"SELECT code = $3 AND customer_no = $4 AND testing = $5,"
		" CASE WHEN rc = '00' THEN price::text END"
		" FROM $S.digipay_inquiry WHERE server = $1 AND ref_id = $2",
		5, {NAMEOID, TEXTOID, TEXTOID, TEXTOID, BOOLOID}
	},
	[RECORD_OUTCOME] = {
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
	[RECORD_INQUIRY] = {
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
	[RECORD_EVENT] = {
		"INSERT INTO $S.digipay_event (server, ref_id, kind, http_status, curl_code, note, body)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7)",
		7, {NAMEOID, TEXTOID, TEXTOID, INT4OID, INT4OID, TEXTOID, BYTEAOID}
	},
	[RECOVER] = {
		"WITH lost AS (UPDATE $S.digipay_payment SET state = 'unknown', error = $1,"
		" next_check_at = clock_timestamp()"
		" WHERE state = 'sending' AND next_check_at IS NOT NULL RETURNING server, ref_id)"
		" INSERT INTO $S.digipay_event (server, ref_id, kind, note)"
		" SELECT server, ref_id, 'recovered', $1 FROM lost",
		1, {TEXTOID}
	},
	[GET_ORIGIN] = {"SELECT origin FROM $S.digipay_fence", 0, {0}},
	[MAKE_ORIGIN] = {
		"INSERT INTO $S.digipay_fence (origin) VALUES (gen_random_uuid()) ON CONFLICT DO NOTHING",
		0, {0}
	},
};

static Oid	prepared_for = InvalidOid;	/* the extension that the plans are for */
static pg_uuid_t origin;
static LockRelId held_relation;
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
dp_journal_configure(void)
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
#if PG_VERSION_NUM >= 170000
		{"transaction_timeout", "0"},
#endif
		{"lock_timeout", "200"},
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

	/* an intent that is not flushed is none; stronger settings are kept */
	if (synchronous_commit < SYNCHRONOUS_COMMIT_REMOTE_FLUSH)
		SetConfigOption("synchronous_commit", "on", PGC_SUSET, PGC_S_SESSION);
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

/*
 * Begin a transaction for the statements below.  False, with no transaction,
 * when the extension is gone, or is another one than the plans were made for.
 */
bool
dp_journal_begin(void)
{
	const DpObjects *objects;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	objects = dp_objects();
	if (objects == NULL ||
		(OidIsValid(prepared_for) && prepared_for != objects->extension))
	{
		AbortCurrentTransaction();
		return false;
	}
	prepared_for = objects->extension;
	SetUserIdAndSecContext(journal_owner(objects->payment),
						   SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
	SPI_connect();
	PushActiveSnapshot(GetTransactionSnapshot());
	return true;
}

/* Commit, and flush. */
void
dp_journal_commit(void)
{
	SPI_finish();
	PopActiveSnapshot();
	SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID, 0);
	CommitTransactionCommand();
}

/* Abort; also from an error handler. */
void
dp_journal_abort(void)
{
	AbortCurrentTransaction();
}

/*
 * Hold the journal for the session while anything is in flight, so that DROP
 * EXTENSION waits.  Taking it must follow a write in the same transaction,
 * which has the same lock, so it is never waited for.
 */
void
dp_journal_hold(bool hold)
{
	if (hold == holding)
		return;
	if (hold)
	{
		held_relation.relId = dp_objects()->payment;
		held_relation.dbId = MyDatabaseId;
		LockRelationIdForSession(&held_relation, RowExclusiveLock);
	}
	else
		UnlockRelationIdForSession(&held_relation, RowExclusiveLock);
	holding = hold;
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
 * Run a statement, prepared at its first use.  nulls has 'n' for NULL.  Returns
 * how many rows it found or changed; a SELECT's are in SPI_tuptable.
 */
static uint64
run(StatementId id, Datum *values, const char *nulls)
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
	rc = SPI_execute_plan(statement->plan, values, nulls, false, 0);
	if (rc < 0)
		elog(ERROR, "could not run a statement: %s", SPI_result_code_string(rc));
	return SPI_processed;
}

/* Parameters of a statement, filled one after the other. */
typedef struct Params
{
	Datum		values[MAX_PARAMS];
	char		nulls[MAX_PARAMS];
	int			count;
} Params;

static void
add_null(Params *params)
{
	params->values[params->count] = (Datum) 0;
	params->nulls[params->count++] = 'n';
}

static void
add_datum(Params *params, Datum value)
{
	params->values[params->count] = value;
	params->nulls[params->count++] = ' ';
}

/* Text in the database's encoding; NULL is NULL. */
static void
add_text(Params *params, const char *text)
{
	if (text == NULL)
		add_null(params);
	else
		add_datum(params, CStringGetTextDatum(text));
}

static void
add_name(Params *params, const char *name)
{
	Name		copy = palloc0(sizeof(NameData));

	namestrcpy(copy, name);
	add_datum(params, NameGetDatum(copy));
}

/* Note that a column stays empty. */
static void
note_unfit(StringInfo note, const char *column)
{
	appendStringInfo(note, "%s%s cannot be held in this database's encoding or limits",
					 note->len > 0 ? "; " : "", column);
}

/* A text of the provider's, which the database may not be able to hold. */
static void
add_reply_text(Params *params, const char *utf8, const char *column, StringInfo note)
{
	char	   *text = utf8 != NULL ? dp_from_utf8(utf8) : NULL;

	add_text(params, text);
	if (utf8 != NULL && text == NULL)
		note_unfit(note, column);
}

/* JSON of the provider's; returns false if the database cannot hold it. */
static bool
add_reply_json(Params *params, const char *utf8, const char *column, StringInfo note)
{
	Datum		jsonb;

	if (utf8 == NULL)
		add_null(params);
	else if (dp_json_to_jsonb(utf8, &jsonb))
		add_datum(params, jsonb);
	else
	{
		add_null(params);
		note_unfit(note, column);
		return false;
	}
	return true;
}

/* A column of a SELECT's first row as text, NULL for NULL. */
static char *
result_text(int column)
{
	return SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column);
}

/* A boolean column of a SELECT's first row; NULL is false. */
static bool
result_bool(int column)
{
	bool		isnull;
	Datum		value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc,
									  column, &isnull);

	return !isnull && DatumGetBool(value);
}

/* ----------
 * Start
 * ----------
 */

/* The mark of this database; made if there is none. */
pg_uuid_t
dp_journal_origin(void)
{
	bool		isnull;
	Datum		value;

	if (run(GET_ORIGIN, NULL, NULL) == 0)
	{
		run(MAKE_ORIGIN, NULL, NULL);
		if (run(GET_ORIGIN, NULL, NULL) == 0)
			elog(ERROR, "could not make the mark of this database");
	}
	value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	memcpy(&origin, DatumGetUUIDP(value), sizeof(origin));
	return origin;
}

/*
 * Whatever is in flight while we have just become the only worker belongs to
 * one that is gone: it may have been sent.  Returns how many there were.
 */
int
dp_journal_recover(void)
{
	Params		params = {.count = 0};

	add_text(&params, "the worker ended while the payment was on its way; it may have been made");
	return (int) run(RECOVER, params.values, params.nulls);
}

/* ----------
 * Before a request leaves
 * ----------
 */

static void
other_bill(DpProblem *problem, const char *ref_id, const char *why)
{
	dp_problem_set(problem, DP_ERRCODE_OTHER_BILL,
				   psprintf("ref_id \"%s\" belongs to another bill", ref_id));
	dp_problem_detail(problem, "%s", why);
	dp_problem_hint(problem, "Use a new ref_id for each bill.");
}

/* Why did the inquiry not agree?  False if it does. */
static bool
inquiry_disagrees(const DpAsk *ask, const DpAccount *account, DpProblem *problem)
{
	Params		params = {.count = 0};
	uint64		found;
	char	   *price;

	add_name(&params, account->server_name);
	add_text(&params, ask->ref_id);
	add_text(&params, ask->code);
	add_text(&params, ask->customer_no);
	add_datum(&params, BoolGetDatum(ask->testing));
	found = run(FIND_INQUIRY, params.values, params.nulls);
	if (found > 0 && !result_bool(1))
	{
		other_bill(problem, ask->ref_id,
				   "The inquiry of this ref_id was for another code, customer_no or testing.");
		return true;
	}
	if (ask->max_price[0] == '\0')
		return false;
	price = found > 0 ? result_text(2) : NULL;
	dp_problem_set(problem, DP_ERRCODE_MAX_PRICE,
				   price != NULL ? "the price is more than max_price" :
				   "there is no inquiry to hold max_price against");
	if (price != NULL)
		dp_problem_detail(problem, "The inquiry of ref_id \"%s\" says %s, max_price is %s.",
						  ask->ref_id, price, ask->max_price);
	else
		dp_problem_detail(problem, "ref_id \"%s\" has no inquiry that says a price.", ask->ref_id);
	dp_problem_hint(problem, price != NULL ?
					"Call digipay_pay with a higher max_price, or do not pay." :
					"Call digipay_inquire with the same ref_id first.");
	return true;
}

/*
 * The insertion did nothing: find out why, and take over the row if it is one
 * that may leave.  params are those of INTEND.
 */
static DpIntent
resolve_conflict(const DpAsk *ask, const DpAccount *account, Params *params,
				 DpProblem *problem)
{
	Params		key = {.count = 0};
	DpState		state;

	add_text(&key, account->account);
	add_text(&key, ask->ref_id);
	add_text(&key, ask->code);
	add_text(&key, ask->customer_no);
	add_datum(&key, BoolGetDatum(ask->testing));
	if (run(FIND_PAYMENT, key.values, key.nulls) > 0)
	{
		if (!result_bool(2))
		{
			other_bill(problem, ask->ref_id,
					   "There is a payment with this ref_id and another code, customer_no or testing.");
			return DP_INTENT_REFUSED;
		}
		if (!dp_state_from_name(result_text(1), &state))
			elog(ERROR, "unrecognized payment state");
		if (state == DP_SENDING)
			return DP_INTENT_SENDING;
		if (!dp_state_may_leave(state))
			return DP_INTENT_KNOWN;
		if (run(CLAIM, params->values, params->nulls) > 0)
			return DP_INTENT_MADE;
	}
	else
	{
		Params		foreign_key = {.count = 0};

		add_name(&foreign_key, account->server_name);
		add_text(&foreign_key, ask->ref_id);
		if (run(FIND_FOREIGN_PAYMENT, foreign_key.values, foreign_key.nulls) > 0)
		{
			other_bill(problem, ask->ref_id,
					   psprintf("It was used through this server under account \"%s\".",
								result_text(1)));
			return DP_INTENT_REFUSED;
		}
	}
	if (inquiry_disagrees(ask, account, problem))
		return DP_INTENT_REFUSED;
	ereport(ERROR,
			(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
			 errmsg("payment \"%s\" was changed meanwhile", ask->ref_id)));
}

/*
 * Write a payment's intent, or find out why it must not be sent.  Raises 55P03
 * where another transaction holds the row.
 */
DpIntent
dp_journal_intend(const DpAsk *ask, const DpAccount *account, DpProblem *problem)
{
	Params		params = {.count = 0};

	if (account->paused)
	{
		dp_problem_set(problem, DP_ERRCODE_PAUSED,
					   psprintf("server \"%s\" is paused", account->server_name));
		dp_problem_hint(problem, "Its owner ends that with ALTER SERVER ... OPTIONS (SET paused 'false').");
		return DP_INTENT_REFUSED;
	}
	add_text(&params, ask->ref_id);
	add_text(&params, ask->code);
	add_text(&params, ask->customer_no);
	add_datum(&params, BoolGetDatum(ask->testing));
	add_name(&params, account->server_name);
	add_text(&params, account->account);
	add_datum(&params, NameGetDatum(&ask->requested_by));
	add_text(&params, ask->max_price[0] ? ask->max_price : NULL);
	add_datum(&params, UUIDPGetDatum(&origin));
	add_datum(&params, Int32GetDatum(account->status_interval));

	if (run(INTEND, params.values, params.nulls) > 0)
		return DP_INTENT_MADE;
	return resolve_conflict(ask, account, &params, problem);
}

/* May this ref_id be inquired about?  Not if it is another bill's payment. */
bool
dp_journal_may_inquire(const DpAsk *ask, const DpAccount *account, DpProblem *problem)
{
	Params		params = {.count = 0};

	add_text(&params, account->account);
	add_text(&params, ask->ref_id);
	add_text(&params, ask->code);
	add_text(&params, ask->customer_no);
	add_datum(&params, BoolGetDatum(ask->testing));
	if (run(FIND_PAYMENT, params.values, params.nulls) > 0 && !result_bool(2))
	{
		other_bill(problem, ask->ref_id,
				   "There is a payment with this ref_id and another code, customer_no or testing.");
		return false;
	}
	return true;
}

/* ----------
 * After the answer
 * ----------
 */

/* Write an event.  The body is kept only when with_body. */
static void
record_event(const char *server, const char *ref_id, const char *kind, const char *note,
			 const DpResponse *response, bool with_body)
{
	Params		params = {.count = 0};

	add_name(&params, server);
	add_text(&params, ref_id);
	add_text(&params, kind);
	if (response->http_status > 0)
		add_datum(&params, Int32GetDatum(response->http_status));
	else
		add_null(&params);
	if (response->curl_code != 0)
		add_datum(&params, Int32GetDatum(response->curl_code));
	else
		add_null(&params);
	add_text(&params, note);
	if (with_body && response->body_len > 0)
		add_datum(&params, PointerGetDatum(cstring_to_text_with_len(response->body,
																	response->body_len)));
	else
		add_null(&params);
	run(RECORD_EVENT, params.values, params.nulls);
}

/*
 * Add the parameters that both tables have for a reply, in the order of
 * REPLY_COLUMNS.  What a reply says counts only when it is trusted.  Returns
 * false if the database cannot hold the reply as jsonb.
 */
static bool
add_reply(Params *params, const DpResponse *response, const DpReply *reply,
		  const char *error)
{
	static const DpReply nothing;
	StringInfoData note;
	bool		stored;

	initStringInfo(&note);
	if (error != NULL)
		appendStringInfoString(&note, error);
	if (reply->trusted && reply->note != NULL)
		appendStringInfo(&note, "%s%s", note.len > 0 ? "; " : "", reply->note);
	if (!reply->trusted)
		reply = &nothing;

	add_reply_text(params, reply->name, "name", &note);
	add_text(params, reply->price);
	add_text(params, reply->selling_price);
	add_text(params, reply->admin);
	add_text(params, reply->base_commission);
	add_text(params, reply->balance);
	add_reply_text(params, reply->status, "status", &note);
	add_reply_text(params, reply->rc, "rc", &note);
	add_reply_text(params, reply->message, "message", &note);
	add_reply_text(params, reply->sn, "sn", &note);
	add_reply_text(params, reply->periode, "periode", &note);
	(void) add_reply_json(params, reply->desc, "desc", &note);
	stored = add_reply_json(params, reply->data, "reply", &note);
	if (response->http_status > 0)
		add_datum(params, Int32GetDatum(response->http_status));
	else
		add_null(params);
	add_text(params, note.len > 0 ? note.data : NULL);
	return stored;
}

/*
 * Write a payment's outcome: state not_sent if the request did not leave, else
 * what the reply says.
 */
void
dp_journal_outcome(const DpAsk *ask, const DpAccount *account,
				   const DpResponse *response, const DpReply *reply)
{
	Params		params = {.count = 0};
	DpState		state = response->departed ? reply->state : DP_NOT_SENT;
	bool		final = dp_state_is_final(state);
	const char *error = response->complete ? reply->reason : response->error;
	bool		stored;

	add_text(&params, account->account);
	add_text(&params, ask->ref_id);
	stored = add_reply(&params, response, reply, error);
	add_text(&params, dp_state_name(state));
	if (response->departed)
		add_datum(&params, TimestampTzGetDatum(response->sent_at));
	else
		add_null(&params);
	add_datum(&params, BoolGetDatum(reply->trusted));
	add_datum(&params, BoolGetDatum(final && state != DP_REVIEW));
	if (final)
		add_null(&params);
	else
		add_datum(&params, Int32GetDatum(account->status_interval));

	if (run(RECORD_OUTCOME, params.values, params.nulls) == 0)
		record_event(account->server_name, ask->ref_id, "unstored",
					 psprintf("the row in state sending has gone; the outcome was %s",
							  dp_state_name(state)), response, true);
	else if (!response->complete)
		record_event(account->server_name, ask->ref_id, "transport", error, response, true);
	else if (!reply->trusted)
		record_event(account->server_name, ask->ref_id, "untrusted", error, response, true);
	else if (!stored)
		record_event(account->server_name, ask->ref_id, "unstored",
					 "this database cannot hold the reply as jsonb", response, true);
}

/*
 * Write what an inquiry brought: the answer if there was a trustworthy one,
 * else an event.
 */
void
dp_journal_inquiry(const DpAsk *ask, const DpAccount *account,
				   const DpResponse *response, const DpReply *reply)
{
	Params		params = {.count = 0};
	bool		stored;

	if (!response->complete || !reply->trusted)
	{
		record_event(account->server_name, ask->ref_id,
					 response->complete ? "untrusted" : "transport",
					 response->complete ? reply->reason : response->error,
					 response, true);
		return;
	}
	add_name(&params, account->server_name);
	add_text(&params, ask->ref_id);
	stored = add_reply(&params, response, reply, NULL);
	add_text(&params, ask->code);
	add_text(&params, ask->customer_no);
	add_datum(&params, BoolGetDatum(ask->testing));
	add_text(&params, account->account);
	add_datum(&params, NameGetDatum(&ask->requested_by));
	run(RECORD_INQUIRY, params.values, params.nulls);
	if (!stored)
		record_event(account->server_name, ask->ref_id, "unstored",
					 "this database cannot hold the reply as jsonb", response, true);
}

/*
 * Keep a reply's bytes whose outcome cannot be written now, so that they
 * survive this worker.
 */
void
dp_journal_unrecorded(const DpAsk *ask, const DpAccount *account,
					  const DpResponse *response)
{
	record_event(account->server_name, ask->ref_id, "unstored",
				 "the outcome could not be written yet; it is tried again", response, true);
}
