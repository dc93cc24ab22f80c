/*-------------------------------------------------------------------------
 *
 * api_account.c
 *	  The functions that are about the account, not about a bill: read the
 *	  arguments, check them, call, return.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

#include "argument.h"
#include "client.h"
#include "digipay.h"
#include "problem.h"
#include "situation.h"

PG_FUNCTION_INFO_V1(digipay_balance);

/* An amount that a reply had as text; it has been checked. */
static Datum
amount_datum(const char *text)
{
	return DirectFunctionCall3(numeric_in, CStringGetDatum(text),
							   ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
}

Datum
digipay_balance(PG_FUNCTION_ARGS)
{
	DpAsk		ask;
	DpAccount	account;
	DpAnswer	answer;

	dp_refuse_wrong_situation("digipay_balance");
	memset(&ask, 0, sizeof(ask));
	ask.command = DP_BALANCE;
	dp_take_server(fcinfo, 0, &ask, &account);
	if (dp_client_ask(&ask, &answer) == DP_WAITED_LOST)
		ereport(ERROR,
				(errcode(DP_ERRCODE_NO_ANSWER),
				 errmsg("the question for the balance had no trustworthy answer"),
				 errdetail("The worker ended while the answer was awaited."),
				 errhint("Call digipay_balance again.")));
	if (answer.kind == DP_ANSWER_PROBLEM)
		dp_problem_raise(&answer.problem);
	if (answer.kind != DP_ANSWER_AMOUNT)
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("the question for the balance could not be asked because of a lock"),
				 errdetail("A transaction, perhaps this one, has locked a table of digipay's.  Nothing was sent."),
				 errhint("Call digipay_balance again when that transaction has ended.")));
	PG_RETURN_DATUM(amount_datum(answer.amount));
}
