/*-------------------------------------------------------------------------
 *
 * api.c
 *	  The functions that pay and inquire, and those for the worker: read the
 *	  arguments, check them, call, return.
 *
 * What queues, waits and asks about payments is in api_queue.c, what only reads
 * in detail.c, the look at everything in health.c, the options' validator in
 * option.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "argument.h"
#include "client.h"
#include "credential.h"
#include "digipay.h"
#include "launch.h"
#include "lookup.h"
#include "problem.h"
#include "situation.h"
#include "srf.h"
#include "state.h"

/*
 * How often a payment whose row another transaction has just taken is looked at
 * again before we say so.
 */
#define BUSY_TRIES	3

PG_FUNCTION_INFO_V1(digipay_pay);
PG_FUNCTION_INFO_V1(digipay_retry);
PG_FUNCTION_INFO_V1(digipay_inquire);
PG_FUNCTION_INFO_V1(digipay_samsat_no);
PG_FUNCTION_INFO_V1(digipay_take_over);
PG_FUNCTION_INFO_V1(digipay_worker_start);
PG_FUNCTION_INFO_V1(digipay_worker_stop);
PG_FUNCTION_INFO_V1(digipay_response_codes);

/* ----------
 * Paying
 * ----------
 */

/*
 * The journal's row after the worker is through with it, under the account that
 * the worker has used.  False if there is none, so no intent was written.
 */
static bool
read_back(const DpAsk *ask, const char *account, DpFound *found)
{
	if (!dp_lookup_payment(account, ask, found))
		return false;
	dp_lookup_check_bill(ask, found);
	return true;
}

/*
 * Have the worker pay.  True with the journal's row; false if that should be
 * tried again, since nothing was sent: another transaction holds the row, or the
 * worker ended before it had written the intent.
 */
static bool
hand_over(const DpAsk *ask, DpAccount *account, DpFound *found)
{
	DpAnswer	answer;
	DpProblem	problem;

	if (dp_client_ask(ask, &answer) == DP_WAITED_LOST)
	{
		if (read_back(ask, account->account, found))
			return true;
		/* the options may have changed before the worker read them */
		if (!dp_account_load(ask->server, false, account, &problem))
			dp_problem_raise(&problem);
		return read_back(ask, account->account, found);
	}
	if (answer.kind == DP_ANSWER_PROBLEM)
		dp_problem_raise(&answer.problem);
	if (answer.kind != DP_ANSWER_ROW)
		return false;
	if (!read_back(ask, answer.account, found))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the row of payment \"%s\" has been removed from the journal", ask->ref_id),
				 errdetail("Somebody deleted it while the payment was on its way.  It may have been made."),
				 errhint("Ask the provider before you pay this bill again.")));
	return true;
}

/*
 * Raise unless the journal has as many columns as the query was planned for.
 * The executor would find out as well, but only when the payment has been made.
 */
static void
check_columns(FunctionCallInfo fcinfo)
{
	const ReturnSetInfo *info = (const ReturnSetInfo *) fcinfo->resultinfo;

	if (info != NULL && IsA(info, ReturnSetInfo) && info->expectedDesc != NULL &&
		info->expectedDesc->natts != dp_lookup_column_count())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the columns of the journal have changed since the statement was planned"),
				 errdetail("Nothing was sent."),
				 errhint("Run the statement again.")));
}

/*
 * Must the payment be sent again?  Raises 55000 where that would be wrong: only
 * what provably moved no money may be.  Another session's retry is waited for.
 */
static bool
retry_is_needed(const DpAsk *ask, DpState state)
{
	if (!dp_state_may_be_retried(state) && state != DP_SENDING)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("payment \"%s\" is %s and cannot be sent again", ask->ref_id,
						dp_state_name(state)),
				 errdetail("That is for payments that are over and have provably moved no money: not_sent, rejected and cancelled."),
				 errhint(dp_state_is_final(state) ?
						 "Use a new ref_id if the bill is still to be paid." :
						 "Use digipay_wait for its outcome.")));
	return true;
}

/*
 * Pay, or find out what has become of the payment.  Returns the journal's row.
 */
static Datum
pay(FunctionCallInfo fcinfo, const DpAsk *ask, DpAccount *account)
{
	DpFound		found;
	bool		done = false;

	for (int tries = 0; tries < BUSY_TRIES && !done; tries++)
	{
		bool		known = dp_lookup_payment_settled(account->account, ask, &found);

		check_columns(fcinfo);
		if (known)
		{
			dp_lookup_check_bill(ask, &found);
			done = ask->retry ? !retry_is_needed(ask, found.state) :
				!dp_state_may_leave(found.state) && found.state != DP_SENDING;
		}
		done = done || hand_over(ask, account, &found);
		dp_lookup_done();
	}
	if (!done)
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("payment \"%s\" could not be written because of a lock", ask->ref_id),
				 errdetail("A transaction, perhaps this one, has locked its row or the table.  Nothing was sent."),
				 errhint("Call digipay_pay again with the same ref_id when that transaction has ended.")));
	return found.row;
}

/*
 * digipay_pay(code, customer_no, ref_id, testing, server, max_price) returns
 * digipay_payment
 *
 * Pay a bill and wait for the provider's answer.  An ERROR other than a cancel
 * means that nothing was sent.
 */
Datum
digipay_pay(PG_FUNCTION_ARGS)
{
	DpAsk		ask;
	DpAccount	account;

	dp_refuse_wrong_situation("digipay_pay");
	dp_take_bill(fcinfo, DP_PAY, &ask, &account);
	if (!PG_ARGISNULL(5))
		dp_take_amount(fcinfo, 5, "max_price", ask.max_price);
	PG_RETURN_DATUM(pay(fcinfo, &ask, &account));
}

/*
 * Send again what provably moved no money: the bill is the row's.
 */
Datum
digipay_retry(PG_FUNCTION_ARGS)
{
	DpAsk		ask;
	DpAccount	account;

	dp_refuse_wrong_situation("digipay_retry");
	dp_take_key(fcinfo, 0, 1, DP_PAY, &ask, &account);
	ask.retry = true;
	dp_lookup_bill(&account, &ask);
	PG_RETURN_DATUM(pay(fcinfo, &ask, &account));
}

/* ----------
 * Inquiring
 * ----------
 */

Datum
digipay_inquire(PG_FUNCTION_ARGS)
{
	DpAsk		ask;
	DpAccount	account;
	DpAnswer	answer;
	DpFound		found;

	dp_refuse_wrong_situation("digipay_inquire");
	dp_take_bill(fcinfo, DP_INQUIRE, &ask, &account);
	if (!PG_ARGISNULL(5))
	{
		ask.year = PG_GETARG_INT32(5);
		if (ask.year < 1900 || ask.year > 2999)
			dp_bad_argument("year", "must be a year of four digits", "Give the tax year.");
	}
	if (!PG_ARGISNULL(6))
		dp_take_whole_thousands(fcinfo, 6, &ask);

	if (dp_client_ask(&ask, &answer) == DP_WAITED_LOST)
		ereport(ERROR,
				(errcode(DP_ERRCODE_NO_ANSWER),
				 errmsg("the inquiry \"%s\" had no trustworthy answer", ask.ref_id),
				 errdetail("The worker ended while the answer was awaited."),
				 errhint("Call digipay_inquire again.")));
	if (answer.kind == DP_ANSWER_PROBLEM)
		dp_problem_raise(&answer.problem);
	if (answer.kind == DP_ANSWER_BUSY ||
		!dp_lookup_inquiry(account.server_name, &ask, &found))
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("inquiry \"%s\" could not be written because of a lock", ask.ref_id),
				 errdetail("A transaction, perhaps this one, has locked its row or the table."),
				 errhint("Call digipay_inquire again when that transaction has ended.")));
	if (!found.same_bill)
		ereport(ERROR,
				(errcode(DP_ERRCODE_OTHER_BILL),
				 errmsg("ref_id \"%s\" belongs to another bill", ask.ref_id),
				 errdetail("Another session has inquired about another code, customer_no or testing with it at the same time."),
				 errhint("Use a new ref_id for each bill.")));
	PG_RETURN_DATUM(found.row);
}

/* One part of a vehicle tax's number, behind what dest holds already. */
static void
add_samsat_part(FunctionCallInfo fcinfo, int argno, const char *name, char *dest)
{
	char		part[DP_CUSTOMER_NO_MAX + 1];

	dp_take_text(fcinfo, argno, name, part, DP_CUSTOMER_NO_MAX);
	if (strchr(part, ',') != NULL)
		dp_bad_argument(name, "must not have a comma",
						"Give payment code and identity number apart; the comma is put between them.");
	if (strlen(dest) + strlen(part) > DP_CUSTOMER_NO_MAX)
		dp_bad_argument(name, "must fit into 128 characters, with the other part and the comma",
						"Give the numbers alone.");
	strcat(dest, part);
}

/* The customer_no of a vehicle tax: its two parts, with a comma between. */
Datum
digipay_samsat_no(PG_FUNCTION_ARGS)
{
	char		customer_no[DP_CUSTOMER_NO_MAX + 2] = "";

	add_samsat_part(fcinfo, 0, "payment_code", customer_no);
	strcat(customer_no, ",");
	add_samsat_part(fcinfo, 1, "identity_no", customer_no);
	PG_RETURN_TEXT_P(cstring_to_text(customer_no));
}

/* ----------
 * The worker
 * ----------
 */

Datum
digipay_worker_start(PG_FUNCTION_ARGS)
{
	dp_refuse_wrong_situation("digipay_worker_start");
	PG_RETURN_BOOL(dp_launch_ensure());
}

/*
 * digipay_worker_stop() returns boolean: end this database's worker, if there
 * is one.
 */
Datum
digipay_worker_stop(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(dp_launch_stop());
}

/* Make this queue ours; see fence.c. */
Datum
digipay_take_over(PG_FUNCTION_ARGS)
{
	DpAsk		ask;
	DpAnswer	answer;

	dp_refuse_wrong_situation("digipay_take_over");
	memset(&ask, 0, sizeof(ask));
	ask.command = DP_TAKE_OVER;
	ask.lost_nothing = !PG_ARGISNULL(0) && PG_GETARG_BOOL(0);
	namestrcpy(&ask.requested_by, GetUserNameFromId(GetUserId(), false));
	if (dp_client_ask(&ask, &answer) == DP_WAITED_LOST)
		ereport(ERROR,
				(errcode(DP_ERRCODE_NO_WORKER),
				 errmsg("the worker ended before it had taken over"),
				 errhint("See the line \"fence\" of digipay_health(); call digipay_take_over() again if it is still up.")));
	if (answer.kind == DP_ANSWER_PROBLEM)
		dp_problem_raise(&answer.problem);
	if (answer.kind == DP_ANSWER_BUSY)
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("the queue could not be taken over because of a lock"),
				 errdetail("A transaction, perhaps this one, has locked payments or the table."),
				 errhint("Call digipay_take_over() again when that transaction has ended.")));
	PG_RETURN_VOID();
}

/* ----------
 * The response codes
 * ----------
 */

/* A conclusion as text; NULL when there is none. */
static Datum
conclusion(int state, bool *isnull)
{
	*isnull = state == DP_NO_CHANGE;
	return *isnull ? (Datum) 0 : CStringGetTextDatum(dp_state_name((DpState) state));
}

/* A constant text, or NULL. */
static Datum
constant(const char *text, bool *isnull)
{
	*isnull = text == NULL;
	return *isnull ? (Datum) 0 : CStringGetTextDatum(text);
}

/* digipay_response_codes() returns the list of state.c as rows. */
Datum
digipay_response_codes(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = dp_srf_begin(fcinfo);
	const DpResponseCode *code;

	for (int i = 0; (code = dp_response_code_at(i)) != NULL; i++)
	{
		Datum		values[7];
		bool		nulls[7] = {false};

		values[0] = constant(code->rc, &nulls[0]);
		values[1] = constant(code->meaning, &nulls[1]);
		values[2] = constant(dp_status_word_name(code->status), &nulls[2]);
		nulls[3] = code->created == DP_CREATED_MAYBE;
		values[3] = BoolGetDatum(code->created == DP_CREATED_YES);
		values[4] = conclusion(code->on_pay, &nulls[4]);
		values[5] = conclusion(code->on_status, &nulls[5]);
		values[6] = conclusion(code->on_webhook, &nulls[6]);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}
