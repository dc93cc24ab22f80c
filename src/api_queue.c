/*-------------------------------------------------------------------------
 *
 * api_queue.c
 *	  The functions that queue payments, wait for them and find out about them:
 *	  read the arguments, check them, call, return.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "compat.h"
#include "fmgr.h"
#include "funcapi.h"
#include "storage/dsm.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "argument.h"
#include "client.h"
#include "digipay.h"
#include "guc.h"
#include "launch.h"
#include "lookup.h"
#include "mailbox.h"
#include "problem.h"
#include "situation.h"
#include "srf.h"
#include "state.h"
#include "submit.h"
#include "webhook.h"

/*
 * A waiting session looks for itself so often: soon, for what happened while it
 * went to wait; then rarely, for what happened without the worker.
 */
#define FIRST_LOOK_MS	50
#define NEXT_LOOK_MS	1000

PG_FUNCTION_INFO_V1(digipay_submit);
PG_FUNCTION_INFO_V1(digipay_wait);
PG_FUNCTION_INFO_V1(digipay_wait_all);
PG_FUNCTION_INFO_V1(digipay_status);
PG_FUNCTION_INFO_V1(digipay_cancel);
PG_FUNCTION_INFO_V1(digipay_settle);
PG_FUNCTION_INFO_V1(digipay_webhook);
PG_FUNCTION_INFO_V1(digipay_stats);

/* ----------
 * Into the queue, and back
 * ----------
 */

/* Once a session: the queue does not outlive a restart by itself. */
static void
warn_unless_preloaded(void)
{
	static bool warned = false;

	if (warned)
		return;
	warned = true;
	if (!dp_launch_is_listed())
		ereport(WARNING,
				(errcode(ERRCODE_WARNING),
				 errmsg("after a restart of the server, queued payments wait until somebody calls digipay"),
				 errhint("Add digipay to shared_preload_libraries, and this database to digipay.databases.")));
}

/*
 * Is the payment likely to be new, since the one before it was, in the same place
 * of the same statement?  Then it is inserted without a look whether it is
 * known, which the insertion finds out as well, at a higher price.
 */
static bool
is_likely_new(FunctionCallInfo fcinfo)
{
	return fcinfo->flinfo->fn_extra != NULL;
}

/* Was it? */
static void
note_whether_new(FunctionCallInfo fcinfo, bool was_new)
{
	fcinfo->flinfo->fn_extra = was_new ? fcinfo->flinfo : NULL;
}

/*
 * digipay_submit(code, customer_no, ref_id, testing, server, max_price, not_after)
 * returns digipay_payment
 *
 * Queue a payment in the caller's transaction.
 */
Datum
digipay_submit(PG_FUNCTION_ARGS)
{
	DpAsk		ask;
	DpAccount	account;
	DpFound		found;
	TimestampTz not_after = PG_ARGISNULL(6) ? 0 : PG_GETARG_TIMESTAMPTZ(6);
	DpProblem	problem;
	bool		written;
	Datum		row;

	dp_refuse_wrong_situation("digipay_submit");
	dp_take_bill(fcinfo, DP_PAY, &ask, &account);
	if (!PG_ARGISNULL(5))
		dp_take_amount(fcinfo, 5, "max_price", ask.max_price);
	if (!PG_ARGISNULL(6) && not_after <= GetCurrentTimestamp())
		dp_bad_argument("not_after", "must be in the future", "Give a later time, or none.");
	dp_submit_check_fence();
	warn_unless_preloaded();

	for (bool look = !is_likely_new(fcinfo);; look = true)
	{
		if (look && dp_lookup_payment_or_own(account.account, &ask, &found))
		{
			note_whether_new(fcinfo, false);
			dp_lookup_check_bill(&ask, &found);
			if (found.state != DP_NOT_SENT)
				PG_RETURN_DATUM(found.row);
		}
		row = dp_submit(&ask, &account, not_after, &written, &problem);
		note_whether_new(fcinfo, written);
		if (written)
			PG_RETURN_DATUM(row);
		/* what is known is returned as it stands, whatever is against it now */
		if (look && problem.sqlerrcode != 0)
			dp_problem_raise(&problem);
		/* somebody was faster: look again, and wait for him */
		CHECK_FOR_INTERRUPTS();
	}
}

/* Raise 55000: the payment is in another state than it must be. */
static void
wrong_state(const char *ref_id, DpState state, const char *what, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("payment \"%s\" is %s and cannot be %s", ref_id, dp_state_name(state), what),
			 errhint("%s", hint)));
}

/* The payment of that key, waiting for whoever is at work on it. */
static void
find_settled(const DpAccount *account, DpAsk *ask, DpFound *found)
{
	do
	{
		CHECK_FOR_INTERRUPTS();
		dp_lookup_bill(account, ask);	/* raises where there is none */
	} while (!dp_lookup_payment_or_own(account->account, ask, found));
}

/*
 * digipay_cancel(ref_id, server) returns digipay_payment: take back what is queued;
 * 55000 for what is not, or not any more.
 */
Datum
digipay_cancel(PG_FUNCTION_ARGS)
{
	DpAsk		ask;
	DpAccount	account;
	DpFound		found;
	Datum		row;

	dp_refuse_wrong_situation("digipay_cancel");
	dp_take_key(fcinfo, 0, 1, DP_PAY, &ask, &account);
	dp_submit_check_fence();
	find_settled(&account, &ask, &found);
	if (found.state == DP_CANCELLED)
		PG_RETURN_DATUM(found.row);
	if (found.state != DP_QUEUED || !dp_submit_cancel(&ask, &account, &row))
	{
		found.state = dp_lookup_existing(&account, &ask, &found);
		if (found.state == DP_QUEUED)
			ereport(ERROR,
					(errcode(DP_ERRCODE_PAUSED),
					 errmsg("payment \"%s\" belongs to the queue of another database", ask.ref_id),
					 errhint("Take it back there; if that database is no more, call digipay_take_over() here.")));
		wrong_state(ask.ref_id, found.state, "taken back",
					dp_state_is_final(found.state) ? "Look at its row in digipay_payment." :
					"It has left already; use digipay_wait for its outcome.");
	}
	PG_RETURN_DATUM(row);
}

/* The verdicts that a person may give. */
static DpState
take_verdict(FunctionCallInfo fcinfo, int argno)
{
	DpState		outcome;
	char	   *name;

	if (PG_ARGISNULL(argno))
		dp_bad_argument("outcome", "must not be NULL", "Say what has become of the payment.");
	name = DatumGetCString(DirectFunctionCall1(enum_out, PG_GETARG_DATUM(argno)));
	if (!dp_state_from_name(name, &outcome) ||
		!(outcome == DP_SUCCEEDED || outcome == DP_FAILED || outcome == DP_REJECTED ||
		  outcome == DP_REFUNDED))
		dp_bad_argument("outcome", "must be succeeded, failed, rejected or refunded",
						"A person's verdict is final; rejected means that it may be sent again.");
	return outcome;
}

/*
 * digipay_settle(ref_id, outcome, note, server) returns digipay_payment: a person's
 * verdict on what is in review; 55000 for what is not.
 */
Datum
digipay_settle(PG_FUNCTION_ARGS)
{
	DpAsk		ask;
	DpAccount	account;
	DpFound		found;
	DpState		outcome;
	char	   *note;
	Datum		row;

	dp_refuse_wrong_situation("digipay_settle");
	dp_take_key(fcinfo, 0, 3, DP_PAY, &ask, &account);
	outcome = take_verdict(fcinfo, 1);
	note = PG_ARGISNULL(2) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(2));
	if (note == NULL || note[strspn(note, " \t\n")] == '\0')
		dp_bad_argument("note", "must not be empty", "Say how you know; it is kept in digipay_event.");
	find_settled(&account, &ask, &found);
	if (found.state != DP_REVIEW || !dp_submit_settle(&ask, &account, outcome, note, &row))
	{
		found.state = dp_lookup_existing(&account, &ask, &found);
		wrong_state(ask.ref_id, found.state, "settled",
					"Only payments in review wait for a person.");
	}
	PG_RETURN_DATUM(row);
}

/* ----------
 * Waiting
 * ----------
 */

/* Where nobody waits: a standby has no worker. */
static void
refuse_to_wait(const char *function)
{
	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
				 errmsg("cannot execute %s() during recovery", function),
				 errhint("Call it on the primary server.")));
}

/* Wait until the payment is final or the deadline is over; the row then. */
static Datum
wait_for(DpAsk *ask, const DpAccount *account, TimestampTz deadline)
{
	DpFound		found;
	long		slice = FIRST_LOOK_MS;

	for (;;)
	{
		DpState		state = dp_lookup_existing(account, ask, &found);
		long		left = (long) ((deadline - GetCurrentTimestamp()) / 1000);

		if (found.own && !dp_state_is_final(state))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("payment \"%s\" was queued by this transaction", ask->ref_id),
					 errdetail("It is paid after COMMIT, so waiting for it here would be for ever."),
					 errhint("Commit first, then call digipay_wait.")));
		if (dp_state_is_final(state) || left <= 0)
			return found.row;
		dp_client_watch(ask, Min(left, slice));
		slice = NEXT_LOOK_MS;
	}
}

/* The point in time so many milliseconds from now. */
static TimestampTz
deadline_after(long ms)
{
	return GetCurrentTimestamp() + (int64) ms * 1000;
}

/*
 * digipay_wait(ref_id, timeout, server) returns digipay_payment: its row when it is
 * final or in review, or when the time is over.
 */
Datum
digipay_wait(PG_FUNCTION_ARGS)
{
	DpAsk		ask;
	DpAccount	account;
	TimestampTz deadline;

	refuse_to_wait("digipay_wait");
	dp_take_key(fcinfo, 0, 2, DP_WAIT, &ask, &account);
	deadline = deadline_after(dp_take_milliseconds(fcinfo, 1, "timeout"));
	PG_RETURN_DATUM(wait_for(&ask, &account, deadline));
}

/* Put a row, as digipay_wait returns it, into the result. */
static void
put_row(ReturnSetInfo *result, Datum row)
{
	HeapTupleHeader header = DatumGetHeapTupleHeader(row);
	HeapTupleData tuple;

	tuple.t_len = HeapTupleHeaderGetDatumLength(header);
	ItemPointerSetInvalid(&tuple.t_self);
	tuple.t_tableOid = InvalidOid;
	tuple.t_data = header;
	tuplestore_puttuple(result->setResult, &tuple);
}

/* One element of digipay_wait_all's array. */
static void
take_element(Datum item, bool isnull, DpAsk *ask)
{
	char	   *ref_id;

	if (isnull)
		dp_bad_argument("ref_ids", "must not have NULLs", "Leave them out.");
	ref_id = TextDatumGetCString(item);
	if (strlen(ref_id) > DP_REF_ID_MAX)
		dp_bad_argument("ref_ids", "must not have longer texts than 64 characters",
						"No payment has such a ref_id.");
	strlcpy(ask->ref_id, ref_id, sizeof(ask->ref_id));
}

/*
 * digipay_wait_all(ref_ids, timeout, server) returns setof digipay_payment, in the
 * order of the array; one time-out for all.
 */
Datum
digipay_wait_all(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = dp_srf_begin(fcinfo);
	TimestampTz deadline;
	DpAsk		ask;
	DpAccount	account;
	DpFound		found;
	ArrayType  *array;
	Datum	   *items;
	bool	   *nulls;
	int			nitems;

	refuse_to_wait("digipay_wait_all");
	memset(&ask, 0, sizeof(ask));
	ask.command = DP_WAIT;
	if (PG_ARGISNULL(0))
		dp_bad_argument("ref_ids", "must not be NULL", "Give an array of ref_ids.");
	array = PG_GETARG_ARRAYTYPE_P(0);
	dp_take_server(fcinfo, 2, &ask, &account);
	deadline = deadline_after(dp_take_milliseconds(fcinfo, 1, "timeout"));
	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &items, &nulls, &nitems);
	/* what is wrong shall be said before the wait, not after it */
	for (int round = 0; round < 2; round++)
	{
		for (int i = 0; i < nitems; i++)
		{
			take_element(items[i], nulls[i], &ask);
			if (round == 0)
				(void) dp_lookup_existing(&account, &ask, &found);
			else
				put_row(result, wait_for(&ask, &account, deadline));
		}
	}
	return (Datum) 0;
}

/* ----------
 * Finding out
 * ----------
 */

/*
 * Have the worker do what is asked about a payment; false if that should be
 * looked at again, since the worker ended.  Raises what it says.
 */
static bool
have_done(const DpAsk *ask, DpAnswer *answer)
{
	if (dp_client_ask(ask, answer) == DP_WAITED_LOST)
		return false;
	if (answer->kind == DP_ANSWER_PROBLEM)
		dp_problem_raise(&answer->problem);
	if (answer->kind == DP_ANSWER_BUSY)
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("the row of the payment could not be written because of a lock"),
				 errdetail("A transaction, perhaps this one, has locked its row or the table."),
				 errhint("Call again when that transaction has ended.")));
	return true;
}

/*
 * digipay_status(ref_id, server, refresh) returns digipay_payment: asks the provider,
 * unless that was done within the pace, or it is final and refresh is false.
 */
Datum
digipay_status(PG_FUNCTION_ARGS)
{
	DpAsk		ask;
	DpAccount	account;
	DpAnswer	answer;
	DpFound		found;
	DpState		state;

	dp_refuse_wrong_situation("digipay_status");
	dp_take_key(fcinfo, 0, 1, DP_STATUS, &ask, &account);
	ask.refresh = !PG_ARGISNULL(2) && PG_GETARG_BOOL(2);
	state = dp_lookup_existing(&account, &ask, &found);
	if (found.own || state == DP_QUEUED || state == DP_SENDING ||
		(dp_state_is_final(state) && !ask.refresh))
		PG_RETURN_DATUM(found.row);
	(void) have_done(&ask, &answer);
	(void) dp_lookup_existing(&account, &ask, &found);
	PG_RETURN_DATUM(found.row);
}

/* The call-back's body, where the worker can see it. */
static dsm_segment *
share_body(const bytea *body, DpAsk *ask)
{
	size_t		len = VARSIZE_ANY_EXHDR(body);
	dsm_segment *segment = dsm_create(Max(len, 1), 0);

	memcpy(dsm_segment_address(segment), VARDATA_ANY(body), len);
	ask->body_handle = dsm_segment_handle(segment);
	ask->body_len = (uint32) len;
	return segment;
}

/* Count and log a call-back that the provider has not signed, and raise 42501. */
static void
refuse_forged(const DpAccount *account)
{
	DpStats    *stats = dp_mailbox_stats();

	if (stats != NULL)
		pg_atomic_fetch_add_u64(&stats->webhooks_refused, 1);
	ereport(LOG,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("digipay refused a call-back for server \"%s\": wrong signature",
					account->server_name)));
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("the signature of the call-back is wrong"),
			 errhint("Check webhook_secret, and that the body is passed on byte by byte.")));
}

/*
 * digipay_webhook(body, signature, server) returns digipay_payment: applies a call-back;
 * 42501 if its signature is wrong, NULL if it is about no payment.
 */
Datum
digipay_webhook(PG_FUNCTION_ARGS)
{
	DpAsk		ask;
	DpAccount	account;
	DpAnswer	answer;
	DpFound		found;
	dsm_segment *segment;
	bytea	   *body;

	dp_refuse_wrong_situation("digipay_webhook");
	memset(&ask, 0, sizeof(ask));
	ask.command = DP_WEBHOOK;
	if (PG_ARGISNULL(0))
		dp_bad_argument("body", "must not be NULL", "Pass the request's body as it came.");
	body = PG_GETARG_BYTEA_PP(0);
	if (VARSIZE_ANY_EXHDR(body) > (size_t) dp_guc_max_response_size * 1024)
		dp_bad_argument("body", "is larger than digipay.max_response_size",
						"The provider sends no such call-backs.");
	dp_take_server(fcinfo, 2, &ask, &account);
	(void) dp_launch_ensure();
	if (PG_ARGISNULL(1) ||
		!dp_webhook_is_signed(ask.server, VARDATA_ANY(body), VARSIZE_ANY_EXHDR(body),
							  text_to_cstring(PG_GETARG_TEXT_PP(1))))
		refuse_forged(&account);

	segment = share_body(body, &ask);
	if (!have_done(&ask, &answer))
		ereport(ERROR,
				(errcode(DP_ERRCODE_NO_WORKER),
				 errmsg("the worker ended before the call-back was applied"),
				 errhint("Call digipay_webhook again; applying it twice does no harm.")));
	dsm_detach(segment);
	if (answer.kind != DP_ANSWER_ROW)
		PG_RETURN_NULL();
	strlcpy(ask.ref_id, answer.ref_id, sizeof(ask.ref_id));
	(void) dp_lookup_existing(&account, &ask, &found);
	PG_RETURN_DATUM(found.row);
}

/* ----------
 * Counters
 * ----------
 */

/* A counter as a bigint. */
static Datum
number(pg_atomic_uint64 *counter)
{
	return Int64GetDatum((int64) pg_atomic_read_u64(counter));
}

/* Microseconds as milliseconds with three places. */
static Datum
milliseconds(uint64 us)
{
	return DirectFunctionCall3(numeric_in, CStringGetDatum(psprintf(UINT64_FORMAT ".%03d", us / 1000,
																	(int) (us % 1000))),
							   ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
}

/*
 * digipay_stats() returns the worker's counters: one row, or none without a
 * worker.
 */
Datum
digipay_stats(PG_FUNCTION_ARGS)
{
	static const DpState states[] = {
		DP_SUCCEEDED, DP_FAILED, DP_REJECTED, DP_REFUNDED, DP_PENDING, DP_UNKNOWN,
		DP_NOT_SENT, DP_REVIEW, DP_CANCELLED
	};
	ReturnSetInfo *result = dp_srf_begin(fcinfo);
	DpStats    *stats = dp_mailbox_stats();
	Datum		values[21];
	bool		nulls[21] = {false};
	uint64		replies;
	int			n = 0;

	if (stats == NULL)
		return (Datum) 0;
	replies = pg_atomic_read_u64(&stats->replies);
	values[n++] = TimestampTzGetDatum(stats->started_at);
	values[n++] = number(&stats->sent);
	for (int i = 0; i < (int) lengthof(states); i++)
		values[n++] = number(&stats->outcomes[states[i]]);
	values[n++] = number(&stats->questions);
	values[n++] = number(&stats->retries);
	values[n++] = number(&stats->bytes_sent);
	values[n++] = number(&stats->bytes_received);
	nulls[n] = replies == 0;
	values[n++] = replies == 0 ? (Datum) 0 :
		milliseconds(pg_atomic_read_u64(&stats->reply_us) / replies);
	nulls[n] = replies == 0;
	values[n++] = replies == 0 ? (Datum) 0 : milliseconds(pg_atomic_read_u64(&stats->reply_us_max));
	values[n++] = number(&stats->in_flight);
	values[n++] = number(&stats->queue_length);
	values[n++] = number(&stats->webhooks);
	values[n++] = number(&stats->webhooks_refused);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	return (Datum) 0;
}
