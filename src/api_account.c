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
#include "ticket.h"

PG_FUNCTION_INFO_V1(digipay_balance);
PG_FUNCTION_INFO_V1(digipay_deposit);

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

/*
 * The arguments of a deposit.  What a bank and its customers are called differs
 * from one provider to the next, so that only the form is checked.
 */
static void
take_deposit(FunctionCallInfo fcinfo, DpAsk *ask)
{
	if (PG_ARGISNULL(0))
		dp_bad_argument("amount", "must not be NULL", "Give how much is to be deposited, in rupiah.");
	dp_take_whole_rupiah(fcinfo, 0, ask);
	if (PG_ARGISNULL(1))
		dp_bad_argument("bank", "must not be NULL", "Give the bank that you transfer from, as the provider calls it.");
	dp_take_text(fcinfo, 1, "bank", ask->bank, DP_BANK_MAX);
	if (PG_ARGISNULL(2))
		dp_bad_argument("owner_name", "must not be NULL", "Give the name of the bank account that you transfer from.");
	dp_take_text(fcinfo, 2, "owner_name", ask->owner_name, DP_OWNER_NAME_MAX);
}

Datum
digipay_deposit(PG_FUNCTION_ARGS)
{
	DpAsk		ask;
	DpAccount	account;
	DpAnswer	answer;
	Datum		row;

	dp_refuse_wrong_situation("digipay_deposit");
	memset(&ask, 0, sizeof(ask));
	ask.command = DP_DEPOSIT;
	take_deposit(fcinfo, &ask);
	dp_take_server(fcinfo, 3, &ask, &account);
	if (dp_client_ask(&ask, &answer) == DP_WAITED_LOST)
		ereport(ERROR,
				(errcode(DP_ERRCODE_NO_ANSWER),
				 errmsg("the deposit had no trustworthy answer; a ticket may have been opened"),
				 errdetail("The worker ended while the answer was awaited."),
				 errhint("Look at digipay_ticket, and at the provider's own list of tickets, before you call digipay_deposit again.")));
	if (answer.kind == DP_ANSWER_PROBLEM)
		dp_problem_raise(&answer.problem);
	if (answer.kind == DP_ANSWER_BUSY)
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("the deposit could not be written because of a lock"),
				 errdetail("A transaction, perhaps this one, has locked digipay_ticket.  Nothing was sent."),
				 errhint("Call digipay_deposit again when that transaction has ended.")));
	if (!dp_ticket_read(answer.ticket, &row))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the row of the deposit ticket has been removed"),
				 errdetail("Somebody deleted it meanwhile.  The ticket may have been opened."),
				 errhint("Look at the provider's own list of tickets.")));
	PG_RETURN_DATUM(row);
}
