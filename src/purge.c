/*-------------------------------------------------------------------------
 *
 * purge.c
 *	  Retention: what old payments leave behind.
 *
 *	  SELECT digipay_purge(current_date - 365);
 *
 * A payment's row stays, so that its ref_id is never paid again, with what a
 * sum over the years needs; names, replies and the product's own data go, and
 * with them the events and inquiries of that time.  All of it in the caller's
 * transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "compat.h"
#include "fmgr.h"
#include "utils/date.h"
#include "utils/timestamp.h"

#include "argument.h"
#include "digipay.h"
#include "situation.h"
#include "statement.h"

PG_FUNCTION_INFO_V1(digipay_purge);

/* As long as the provider knows a payment, its outcome may still change. */
#define DAYS_TO_KEEP	90

/* Today in Asia/Jakarta, as the journal's "day" counts. */
static DateADT
today(void)
{
	return (DateADT) ((GetCurrentTimestamp() + DP_JAKARTA_AHEAD) / USECS_PER_DAY);
}

/* Run one of the statements; how many rows it has changed. */
static uint64
purge(DpStatementId id, DateADT before)
{
	DpParams	params = {0};

	dp_param(&params, DateADTGetDatum(before));
	return dp_run(id, &params);
}

/*
 * digipay_purge(before date) returns bigint
 *
 * Make stubs of the payments that were asked for and became final before that
 * day, in Asia/Jakarta; how many.  What is not final, or waits for a person,
 * stays as it is.  22023 for a day inside the 90 that the provider remembers.
 */
Datum
digipay_purge(PG_FUNCTION_ARGS)
{
	DpSession	session;
	DateADT		before;
	uint64		count;

	dp_refuse_wrong_situation("digipay_purge");
	if (PG_ARGISNULL(0))
		dp_bad_argument("before", "must not be NULL", "Say up to which day payments may be reduced to stubs.");
	/* nothing is older than PostgreSQL's epoch, 2000, and a day of long ago may be no timestamp */
	before = Max(PG_GETARG_DATEADT(0), 0);
	if (before > today() - DAYS_TO_KEEP)
		dp_bad_argument("before", psprintf("must be at least %d days ago", DAYS_TO_KEEP),
						"So long the provider may still change its mind about a payment. Use an earlier day, as in digipay_purge(current_date - 365).");

	dp_session_begin(&session);
	count = purge(DP_SQL_PURGE_PAYMENTS, before);
	(void) purge(DP_SQL_PURGE_INQUIRIES, before);
	(void) purge(DP_SQL_PURGE_EVENTS, before);
	dp_session_end(&session);
	PG_RETURN_INT64((int64) count);
}
