/*-------------------------------------------------------------------------
 *
 * bill.c
 *	  A payment as the bills that it paid: one row for each period, at least
 *	  one, whose money adds up.  Behind the view digipay_bill.
 *
 * Some products say what each period costs, some only what all cost together.
 * So that a report may add up what it finds, what the provider leaves unsaid is
 * put on the first period that it is unsaid of: of the admin fee what the other
 * periods leave, and of the selling price what everything else leaves.
 *
 * In C, since a report of a month needs this half a million times: the same as
 * joins over digipay_detail_json and digipay_period takes several times as
 * long.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

#include "calendar.h"
#include "detail.h"
#include "srf.h"

PG_FUNCTION_INFO_V1(digipay_bill_json);

/* Columns of the result; three from COLUMN_MONTH on are those of digipay_period. */
#define COLUMN_NO		0
#define COLUMN_PERIODE	1
#define COLUMN_MONTH	2
#define COLUMN_AMOUNT	5
#define COLUMN_FINE		6
#define COLUMN_OTHER	7
#define COLUMN_ADMIN	8
#define N_COLUMNS		9

/* One period; a pointer is NULL where the provider says nothing. */
typedef struct Period
{
	int			no;
	text	   *periode;
	Numeric		amount;
	Numeric		fine;
	Numeric		other;
	Numeric		admin;
} Period;

/* The periods of one payment. */
typedef struct Bill
{
	MemoryContext context;		/* theirs */
	Period	   *periods;
	int			count;
	int			room;
} Bill;

/* A copy of that column, NULL if it is. */
static void *
keep(DpDetailColumn column, Datum *values, bool *nulls)
{
	return nulls[column] ? NULL : DatumGetPointer(datumCopy(values[column], false, -1));
}

/* Take one period over from digipay_detail_row. */
static void
take_period(void *taker, Datum *values, bool *nulls)
{
	Bill	   *bill = taker;
	MemoryContext old = MemoryContextSwitchTo(bill->context);
	Period	   *period;

	if (bill->count == bill->room)
	{
		bill->room = bill->room * 2 + 4;
		bill->periods = bill->periods == NULL ?
			palloc(bill->room * sizeof(Period)) :
			repalloc(bill->periods, bill->room * sizeof(Period));
	}
	period = &bill->periods[bill->count++];
	period->no = DatumGetInt32(values[DP_DETAIL_NO]);
	period->periode = keep(DP_DETAIL_PERIODE, values, nulls);
	period->amount = keep(DP_DETAIL_NILAI_TAGIHAN, values, nulls);
	period->fine = keep(DP_DETAIL_DENDA, values, nulls);
	period->other = keep(DP_DETAIL_BIAYA_LAIN, values, nulls);
	period->admin = keep(DP_DETAIL_ADMIN, values, nulls);
	MemoryContextSwitchTo(old);
}

/* What is left of a sum; a part that is not there takes nothing. */
static Numeric
less(Numeric sum, Numeric part)
{
	return part == NULL ? sum :
		DatumGetNumeric(DirectFunctionCall2(numeric_sub, NumericGetDatum(sum), NumericGetDatum(part)));
}

/* What a sum leaves beside all that the periods say. */
static Numeric
less_all(Numeric sum, const Bill *bill, bool admin_only)
{
	for (int i = 0; i < bill->count; i++)
	{
		sum = less(sum, bill->periods[i].admin);
		if (!admin_only)
			sum = less(less(less(sum, bill->periods[i].amount), bill->periods[i].fine),
					   bill->periods[i].other);
	}
	return sum;
}

/*
 * Put what the provider leaves unsaid on the first period that it is unsaid of:
 * the admin fee, and then of the selling price whatever is left.
 */
static void
complete(Bill *bill, Numeric selling_price, Numeric admin)
{
	for (int i = 0; i < bill->count && admin != NULL; i++)
	{
		if (bill->periods[i].admin == NULL)
		{
			bill->periods[i].admin = less_all(admin, bill, true);
			break;
		}
	}
	for (int i = 0; i < bill->count && selling_price != NULL; i++)
	{
		if (bill->periods[i].amount == NULL)
		{
			bill->periods[i].amount = less_all(selling_price, bill, false);
			break;
		}
	}
}

/* The period of a bill that has but one: the tax year, where it is a tax. */
static text *
tax_year(Jsonb *desc)
{
	JsonbValue	value;
	JsonbValue *found;

	if (desc == NULL || !JB_ROOT_IS_OBJECT(desc))
		return NULL;
	found = getKeyJsonValueFromContainer(&desc->root, "tahun_pajak", strlen("tahun_pajak"), &value);
	if (found == NULL)
		return NULL;
	if (found->type == jbvString)
		return cstring_to_text_with_len(found->val.string.val, found->val.string.len);
	if (found->type == jbvNumeric)
		return cstring_to_text(DatumGetCString(DirectFunctionCall1(numeric_out,
																   NumericGetDatum(found->val.numeric))));
	return NULL;
}

/* An amount into its column; NULL where there is none. */
static void
put_amount(Numeric amount, int column, Datum *values, bool *nulls)
{
	nulls[column] = amount == NULL;
	values[column] = NumericGetDatum(amount);
}

/* One row of the result. */
static void
put_period(ReturnSetInfo *result, const Period *period, const text *family)
{
	Datum		values[N_COLUMNS];
	bool		nulls[N_COLUMNS] = {false};

	values[COLUMN_NO] = Int32GetDatum(period->no);
	values[COLUMN_PERIODE] = PointerGetDatum(period->periode);
	nulls[COLUMN_PERIODE] = period->periode == NULL;
	dp_period_read(period->periode, family, &values[COLUMN_MONTH], &nulls[COLUMN_MONTH]);
	put_amount(period->amount, COLUMN_AMOUNT, values, nulls);
	put_amount(period->fine, COLUMN_FINE, values, nulls);
	put_amount(period->other, COLUMN_OTHER, values, nulls);
	put_amount(period->admin, COLUMN_ADMIN, values, nulls);
	dp_srf_put(result, values, nulls);
}

/*
 * digipay_bill_json("desc" jsonb, family text, periode text,
 *					 selling_price numeric, admin numeric)
 *	returns setof (no, periode, month, kind, number, amount, fine, other, admin)
 *
 * Any argument may be NULL.
 */
Datum
digipay_bill_json(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = dp_srf_begin_small(fcinfo);
	Jsonb	   *desc = PG_ARGISNULL(0) ? NULL : PG_GETARG_JSONB_P(0);
	text	   *family = PG_ARGISNULL(1) ? NULL : PG_GETARG_TEXT_PP(1);
	text	   *periode = PG_ARGISNULL(2) ? NULL : PG_GETARG_TEXT_PP(2);
	Bill		bill = {.context = CurrentMemoryContext};

	if (desc != NULL)
		dp_detail_read(desc, take_period, &bill);
	if (bill.count == 0)
	{
		Datum		values[DP_DETAIL_COLUMNS] = {Int32GetDatum(1)};
		bool		nulls[DP_DETAIL_COLUMNS] = {false, true, true, true, true, true, true, true, true, true, true};

		take_period(&bill, values, nulls);
	}
	if (bill.count == 1 && bill.periods[0].periode == NULL)
		bill.periods[0].periode = periode != NULL ? periode : tax_year(desc);
	complete(&bill, PG_ARGISNULL(3) ? NULL : PG_GETARG_NUMERIC(3),
			 PG_ARGISNULL(4) ? NULL : PG_GETARG_NUMERIC(4));
	for (int i = 0; i < bill.count; i++)
		put_period(result, &bill.periods[i], family);
	return (Datum) 0;
}
