/*-------------------------------------------------------------------------
 *
 * cast.c
 *	  Casts that do not raise: text from a bill as a number, or NULL.
 *
 *	  SELECT digipay_to_numeric('14000'), digipay_to_integer('002');
 *	  -> 14000 | 2
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

#include "amount.h"

PG_FUNCTION_INFO_V1(digipay_to_numeric);
PG_FUNCTION_INFO_V1(digipay_to_integer);

/*
 * digipay_to_numeric(value text) returns numeric
 *
 * By the same rule as the amounts of a reply, so that a view says of a bill what
 * the journal says.
 */
Datum
digipay_to_numeric(PG_FUNCTION_ARGS)
{
	char	   *value = text_to_cstring(PG_GETARG_TEXT_PP(0));

	if (!dp_amount_is_numeric(value, false))
		PG_RETURN_NULL();
	PG_RETURN_DATUM(DirectFunctionCall3(numeric_in, CStringGetDatum(value),
										ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
}

/*
 * digipay_to_integer(value text) returns integer
 *
 * Digits alone, leading zeros allowed: a count, a year, a number of an instalment.
 */
Datum
digipay_to_integer(PG_FUNCTION_ARGS)
{
	char	   *value = text_to_cstring(PG_GETARG_TEXT_PP(0));
	size_t		length = strlen(value);
	int64		number = 0;

	if (length == 0 || length > 32 || strspn(value, "0123456789") != length)
		PG_RETURN_NULL();
	for (size_t i = 0; i < length && number <= PG_INT32_MAX; i++)
		number = number * 10 + (value[i] - '0');
	if (number > PG_INT32_MAX)
		PG_RETURN_NULL();
	PG_RETURN_INT32((int32) number);
}
