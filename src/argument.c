/*-------------------------------------------------------------------------
 *
 * argument.c
 *	  The arguments of the functions, read and checked.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "compat.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "account.h"
#include "amount.h"
#include "argument.h"
#include "guc.h"

/* Raise 22023 for an argument. */
void
dp_bad_argument(const char *name, const char *what, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s %s", name, what),
			 errhint("%s", hint)));
}

/*
 * A text argument that goes to the provider: printable ASCII, not empty, no
 * blanks at its ends, at most max bytes, which dest has room for.
 */
void
dp_take_text(FunctionCallInfo fcinfo, int argno, const char *name, char *dest, size_t max)
{
	text	   *arg;
	const char *data;
	size_t		len;

	if (PG_ARGISNULL(argno))
		dp_bad_argument(name, "must not be NULL", "Give the bill's own value.");
	arg = PG_GETARG_TEXT_PP(argno);
	data = VARDATA_ANY(arg);
	len = VARSIZE_ANY_EXHDR(arg);
	if (len == 0)
		dp_bad_argument(name, "must not be empty", "Give the bill's own value.");
	if (len > max)
		dp_bad_argument(name, psprintf("must not be longer than %zu characters", max),
						"Shorten it; the provider takes no longer ones.");
	for (size_t i = 0; i < len; i++)
	{
		if (data[i] < ' ' || data[i] > '~')
			dp_bad_argument(name, "must be printable ASCII",
							"Remove line breaks, accents and other special characters.");
	}
	if (data[0] == ' ' || data[len - 1] == ' ')
		dp_bad_argument(name, "must not begin or end with a space", "Use trim() on it.");
	memcpy(dest, data, len);
	dest[len] = '\0';
}

/*
 * An amount as text: zero or more, finite, and of a sane length.  dest has room
 * for DP_AMOUNT_MAX characters.
 */
void
dp_take_amount(FunctionCallInfo fcinfo, int argno, const char *name, char *dest)
{
	char	   *text = DatumGetCString(DirectFunctionCall1(numeric_out,
														   PG_GETARG_DATUM(argno)));

	if (text[0] == '-' || !dp_amount_is_numeric(text, false))
		dp_bad_argument(name, "must be an amount of zero or more, of at most 100 digits",
						"Give it in rupiah.");
	strlcpy(dest, text, DP_AMOUNT_MAX + 1);
}

/* The amount of a deposit: whole rupiah, more than none, of at most 15 digits. */
void
dp_take_whole_rupiah(FunctionCallInfo fcinfo, int argno, DpAsk *ask)
{
	Datum		value = PG_GETARG_DATUM(argno);
	Datum		whole;

	dp_take_amount(fcinfo, argno, "amount", ask->amount);
	whole = DirectFunctionCall2(numeric_trunc, value, Int32GetDatum(0));
	strlcpy(ask->amount, DatumGetCString(DirectFunctionCall1(numeric_out, whole)),
			sizeof(ask->amount));
	if (!DatumGetBool(DirectFunctionCall2(numeric_eq, whole, value)) ||
		strcmp(ask->amount, "0") == 0 || strlen(ask->amount) > 15)
		dp_bad_argument("amount", "must be whole rupiah, more than zero, of at most 15 digits",
						"Give it without a fraction.");
}

/* The amount of an e-money inquiry: whole thousands, as an integer. */
void
dp_take_whole_thousands(FunctionCallInfo fcinfo, int argno, DpAsk *ask)
{
	Datum		thousand = DirectFunctionCall1(int8_numeric, Int64GetDatum(1000));
	Datum		value;
	Datum		rest;

	dp_take_amount(fcinfo, argno, "amount", ask->amount);
	value = PG_GETARG_DATUM(argno);
	rest = DirectFunctionCall2(numeric_mod, value, thousand);
	if (!DatumGetBool(DirectFunctionCall2(numeric_eq, rest,
										  DirectFunctionCall1(int8_numeric, Int64GetDatum(0)))) ||
		DatumGetBool(DirectFunctionCall2(numeric_lt, value, thousand)))
		dp_bad_argument("amount", "must be a multiple of 1000", "Give it in rupiah.");
	value = DirectFunctionCall2(numeric_round, value, Int32GetDatum(0));
	strlcpy(ask->amount, DatumGetCString(DirectFunctionCall1(numeric_out, value)),
			sizeof(ask->amount));
}

/*
 * The server, by name or the default, which the effective user must be allowed
 * to use; the account is loaded without its key.
 */
void
dp_take_server(FunctionCallInfo fcinfo, int argno, DpAsk *ask, DpAccount *account)
{
	dp_account_take(PG_ARGISNULL(argno) ? dp_guc_server : NameStr(*PG_GETARG_NAME(argno)),
					account);
	ask->server = account->server;
	namestrcpy(&ask->requested_by, GetUserNameFromId(GetUserId(), false));
}

/*
 * The arguments that paying, queueing and inquiring have in common (0 code, 1
 * customer_no, 2 ref_id, 3 testing, 4 server), checked.  Raises the contract's
 * errors.
 */
void
dp_take_bill(FunctionCallInfo fcinfo, DpCommand command, DpAsk *ask, DpAccount *account)
{
	memset(ask, 0, sizeof(*ask));
	ask->command = command;
	dp_take_text(fcinfo, 0, "code", ask->code, DP_CODE_MAX);
	dp_take_text(fcinfo, 1, "customer_no", ask->customer_no, DP_CUSTOMER_NO_MAX);
	dp_take_text(fcinfo, 2, "ref_id", ask->ref_id, DP_REF_ID_MAX);
	dp_take_server(fcinfo, 4, ask, account);
	ask->testing = PG_ARGISNULL(3) ? account->testing : PG_GETARG_BOOL(3);
}

/* The arguments of what is about one payment that is there already. */
void
dp_take_key(FunctionCallInfo fcinfo, int ref_id_argno, int server_argno, DpCommand command,
			DpAsk *ask, DpAccount *account)
{
	memset(ask, 0, sizeof(*ask));
	ask->command = command;
	dp_take_text(fcinfo, ref_id_argno, "ref_id", ask->ref_id, DP_REF_ID_MAX);
	dp_take_server(fcinfo, server_argno, ask, account);
}

/* A time-out: an interval of zero or more, as milliseconds. */
long
dp_take_milliseconds(FunctionCallInfo fcinfo, int argno, const char *name)
{
	Interval   *interval;
	double		ms;

	if (PG_ARGISNULL(argno))
		dp_bad_argument(name, "must not be NULL", "Give how long to wait at most.");
	interval = PG_GETARG_INTERVAL_P(argno);
	ms = interval->time / 1000.0 +
		((double) interval->day + interval->month * 30.0) * SECS_PER_DAY * 1000.0;
	if (ms < 0)
		dp_bad_argument(name, "must not be negative", "Give how long to wait at most.");
	return (long) Min(ms, 1000.0 * SECS_PER_DAY * 365);
}
