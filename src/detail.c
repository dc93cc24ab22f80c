/*-------------------------------------------------------------------------
 *
 * detail.c
 *	  A bill's periods as rows: set-returning functions over jsonb.
 *
 * Immutable: what is not as documented goes into "extra" instead of raising,
 * since a report over a million payments must not stop at one odd bill.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

#include "amount.h"
#include "detail.h"
#include "srf.h"

PG_FUNCTION_INFO_V1(digipay_detail);
PG_FUNCTION_INFO_V1(digipay_detail_json);

/*
 * Longest number that is an amount.  numeric holds 131,072 digits, and a sum of
 * bills must never reach them.
 */
#define NUMBER_MAX		16000

/* Most periods of a bill whose memory is not worth a context of its own. */
#define FEW_PERIODS		12

#define KEY(text)		text, sizeof(text) - 1

/* The keys of a period that have a column, by column. */
static const struct
{
	const char *key;
	int			len;			/* its length */
	bool		amount;
}			columns[DP_DETAIL_COLUMNS] = {
	[DP_DETAIL_PERIODE] = {KEY("periode"), false},
	[DP_DETAIL_NILAI_TAGIHAN] = {KEY("nilai_tagihan"), true},
	[DP_DETAIL_ADMIN] = {KEY("admin"), true},
	[DP_DETAIL_DENDA] = {KEY("denda"), true},
	[DP_DETAIL_BIAYA_LAIN] = {KEY("biaya_lain"), true},
	[DP_DETAIL_METER_AWAL] = {KEY("meter_awal"), false},
	[DP_DETAIL_METER_AKHIR] = {KEY("meter_akhir"), false},
	[DP_DETAIL_NO_REF] = {KEY("no_ref"), false},
	[DP_DETAIL_USAGE] = {KEY("usage"), false},
};

/* The column of that key, -1 if it has none. */
static int
find_column(const JsonbValue *key)
{
	for (int i = DP_DETAIL_PERIODE; i < DP_DETAIL_EXTRA; i++)
	{
		if (columns[i].len == key->val.string.len &&
			memcmp(columns[i].key, key->val.string.val, key->val.string.len) == 0)
			return i;
	}
	return -1;
}

/*
 * A value as an amount; false if it is none, or a number so long that a sum of
 * such could raise.
 */
static bool
as_amount(const JsonbValue *value, Datum *amount)
{
	char	   *text;
	bool		good;

	if (value->type == jbvNumeric)
		text = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
	else if (value->type == jbvString)
		text = pnstrdup(value->val.string.val, value->val.string.len);
	else
		return false;
	good = value->type == jbvNumeric ? strlen(text) <= NUMBER_MAX : dp_amount_is_numeric(text, false);
	if (good)
		*amount = value->type == jbvNumeric ? NumericGetDatum(value->val.numeric) :
			DirectFunctionCall3(numeric_in, CStringGetDatum(text),
								ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
	pfree(text);
	return good;
}

/* A value as text, leading zeros and all; false if it is neither text nor number. */
static bool
as_text(const JsonbValue *value, Datum *text)
{
	if (value->type == jbvString)
		*text = PointerGetDatum(cstring_to_text_with_len(value->val.string.val,
														 value->val.string.len));
	else if (value->type == jbvNumeric)
		*text = CStringGetTextDatum(DatumGetCString(DirectFunctionCall1(numeric_out,
																		NumericGetDatum(value->val.numeric))));
	else
		return false;
	return true;
}

/*
 * Put one member of a period into its column.  False if it has to go to extra:
 * no such column, or the value does not fit.
 */
static bool
put_member(const JsonbValue *key, const JsonbValue *value, Datum *values, bool *nulls)
{
	int			column = find_column(key);

	if (column < 0)
		return false;
	if (value->type == jbvNull)
		return true;
	if (columns[column].amount ? !as_amount(value, &values[column]) :
		!as_text(value, &values[column]))
		return false;
	nulls[column] = false;
	return true;
}

/* The members of a period's object into columns; the rest into extra. */
static void
put_period(JsonbContainer *period, Datum *values, bool *nulls)
{
	JsonbIterator *it = JsonbIteratorInit(period);
	JsonbParseState *state = NULL;
	JsonbValue *extra = NULL;
	JsonbValue	key;
	JsonbValue	value;
	JsonbIteratorToken token;

	while ((token = JsonbIteratorNext(&it, &key, true)) != WJB_DONE)
	{
		if (token != WJB_KEY)
			continue;
		(void) JsonbIteratorNext(&it, &value, true);
		if (put_member(&key, &value, values, nulls))
			continue;
		if (state == NULL)
			(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
		(void) pushJsonbValue(&state, WJB_KEY, &key);
		(void) pushJsonbValue(&state, WJB_VALUE, &value);
	}
	if (state != NULL)
	{
		extra = pushJsonbValue(&state, WJB_END_OBJECT, NULL);
		values[DP_DETAIL_EXTRA] = JsonbPGetDatum(JsonbValueToJsonb(extra));
		nulls[DP_DETAIL_EXTRA] = false;
	}
}

/* One period, which is an object or, oddly, something else. */
static void
take_period(DpPeriodTaker take, void *taker, int no, JsonbValue *period)
{
	Datum		values[DP_DETAIL_COLUMNS];
	bool		nulls[DP_DETAIL_COLUMNS];

	memset(nulls, true, sizeof(nulls));
	values[DP_DETAIL_NO] = Int32GetDatum(no);
	nulls[DP_DETAIL_NO] = false;
	if (period->type == jbvBinary && JsonContainerIsObject(period->val.binary.data))
		put_period(period->val.binary.data, values, nulls);
	else
	{
		values[DP_DETAIL_EXTRA] = JsonbPGetDatum(JsonbValueToJsonb(period));
		nulls[DP_DETAIL_EXTRA] = false;
	}
	take(taker, values, nulls);
}

/*
 * The elements of the array "detail", each a period.  The memory for the few of
 * an everyday bill is the caller's, who frees it after each bill; making some of
 * our own would take as long as a period does.
 */
static void
take_array(DpPeriodTaker take, void *taker, JsonbContainer *array)
{
	MemoryContext per_row = JsonContainerSize(array) <= FEW_PERIODS ? NULL :
		AllocSetContextCreate(CurrentMemoryContext, "digipay detail", ALLOCSET_DEFAULT_SIZES);
	JsonbIterator *it = JsonbIteratorInit(array);
	JsonbValue	element;
	JsonbIteratorToken token;
	int			no = 0;

	/* the iterator's own memory is in the outer context */
	while ((token = JsonbIteratorNext(&it, &element, true)) != WJB_DONE)
	{
		MemoryContext old = CurrentMemoryContext;

		if (token != WJB_ELEM)
			continue;
		CHECK_FOR_INTERRUPTS();
		if (per_row != NULL)
			MemoryContextSwitchTo(per_row);
		take_period(take, taker, ++no, &element);
		MemoryContextSwitchTo(old);
		if (per_row != NULL)
			MemoryContextReset(per_row);
	}
	if (per_row != NULL)
		MemoryContextDelete(per_row);
}

/*
 * Hand over the periods in a product's own data, each in memory that may be reused
 * for the next.  "detail" missing, null or empty has none; a single object
 * counts as one.
 */
void
dp_detail_read(Jsonb *desc, DpPeriodTaker take, void *taker)
{
	JsonbValue	detail;
	JsonbValue *found;

	if (!JB_ROOT_IS_OBJECT(desc))
		return;
	found = getKeyJsonValueFromContainer(&desc->root, "detail", strlen("detail"), &detail);
	if (found == NULL || found->type == jbvNull ||
		(found->type == jbvString && found->val.string.len == 0))
		return;
	if (found->type == jbvBinary && JsonContainerSize(found->val.binary.data) == 0)
		return;
	if (found->type == jbvBinary && JsonContainerIsArray(found->val.binary.data))
		take_array(take, taker, found->val.binary.data);
	else
		take_period(take, taker, 1, found);
}

/* A period as a row of the result. */
static void
put_row(void *taker, Datum *values, bool *nulls)
{
	ReturnSetInfo *result = taker;

	dp_srf_put(result, values, nulls);
}

/* digipay_detail_json("desc" jsonb) returns setof digipay_detail_row. */
Datum
digipay_detail_json(PG_FUNCTION_ARGS)
{
	dp_detail_read(PG_GETARG_JSONB_P(0), put_row, dp_srf_begin_small(fcinfo));
	return (Datum) 0;
}

/*
 * digipay_detail(payment digipay_payment) returns setof digipay_detail_row:
 * the same of a whole row.
 */
Datum
digipay_detail(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = dp_srf_begin_small(fcinfo);
	bool		isnull;
	Datum		desc = GetAttributeByName(PG_GETARG_HEAPTUPLEHEADER(0), "desc", &isnull);

	if (!isnull)
		dp_detail_read(DatumGetJsonbP(desc), put_row, result);
	return (Datum) 0;
}
