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
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

#include "argument.h"
#include "catalogue.h"
#include "client.h"
#include "digipay.h"
#include "problem.h"
#include "situation.h"
#include "srf.h"
#include "ticket.h"

PG_FUNCTION_INFO_V1(digipay_balance);
PG_FUNCTION_INFO_V1(digipay_deposit);
PG_FUNCTION_INFO_V1(digipay_price_list);
PG_FUNCTION_INFO_V1(digipay_sync_products);

/* An amount that a reply had as text; it has been checked. */
static Datum
amount_datum(const char *text)
{
	return DirectFunctionCall3(numeric_in, CStringGetDatum(text),
							   ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
}

/*
 * digipay_balance(server) returns numeric: what the provider says is left;
 * PY005 without a trustworthy answer.
 */
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

/*
 * digipay_deposit(amount, bank, owner_name, server) returns digipay_ticket
 *
 * Open a deposit ticket.  PY001: none was asked for.  PY005: there may be one.
 */
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

/* ----------
 * The price list
 * ----------
 */

/* Have the worker get the list, unless it has the answer already. */
static void
get_list(const DpAsk *ask, DpAnswer *answer)
{
	if (dp_client_ask(ask, answer) == DP_WAITED_LOST)
		ereport(ERROR,
				(errcode(DP_ERRCODE_NO_ANSWER),
				 errmsg("the question for the price list had no trustworthy answer"),
				 errdetail("The worker ended while the answer was awaited."),
				 errhint("Call again in five minutes.")));
	if (answer->kind == DP_ANSWER_PROBLEM)
		dp_problem_raise(&answer->problem);
	if (answer->kind == DP_ANSWER_BUSY)
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("the question for the price list could not be written because of a lock"),
				 errdetail("A transaction, perhaps this one, has locked digipay_price_list_call.  Nothing was sent."),
				 errhint("Call again when that transaction has ended.")));
}

/* Raise: there is nothing to show, which is never shown as nothing. */
static void
no_product(const DpAsk *ask)
{
	ereport(ERROR,
			(errcode(DP_ERRCODE_NO_ANSWER),
			 errmsg("the price list does not have what was asked for"),
			 ask->code[0] == '\0' ? errdetail("It has been asked for anew meanwhile.") :
			 errdetail("There is no product \"%s\" in it.", ask->code),
			 errhint("Call again in five minutes; digipay_price_list without a code has all products.")));
}

/*
 * digipay_price_list(kind, code, server) returns the rows of the list, never none: what
 * is no list is PY005.
 */
Datum
digipay_price_list(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = dp_srf_begin(fcinfo);
	char	   *kind = PG_ARGISNULL(0) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(0));
	DpAsk		ask;
	DpAccount	account;
	DpAnswer	answer;

	dp_refuse_wrong_situation("digipay_price_list");
	memset(&ask, 0, sizeof(ask));
	ask.command = DP_PRICE_LIST;
	if (kind == NULL || (strcmp(kind, "pasca") != 0 && strcmp(kind, "prepaid") != 0))
		dp_bad_argument("kind", "must be pasca or prepaid", "Bills are pasca.");
	ask.prepaid = strcmp(kind, "prepaid") == 0;
	if (!PG_ARGISNULL(1))
		dp_take_text(fcinfo, 1, "code", ask.code, DP_CODE_MAX);
	dp_take_server(fcinfo, 2, &ask, &account);
	get_list(&ask, &answer);
	if (dp_list_rows(&ask, answer.account, result) == 0)
		no_product(&ask);
	return (Datum) 0;
}

/*
 * digipay_sync_products(server) returns how many products there are, and how many
 * of them are new, changed, gone or back.  An error leaves the catalogue as it was.
 */
Datum
digipay_sync_products(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = dp_srf_begin(fcinfo);
	DpAsk		ask;
	DpAccount	account;
	DpAnswer	answer;

	dp_refuse_wrong_situation("digipay_sync_products");
	memset(&ask, 0, sizeof(ask));
	ask.command = DP_PRICE_LIST;
	dp_take_server(fcinfo, 0, &ask, &account);
	get_list(&ask, &answer);
	if (!dp_catalogue_sync(&ask, answer.account, account.server_name, result))
		no_product(&ask);
	return (Datum) 0;
}
