/*-------------------------------------------------------------------------
 *
 * calendar.c
 *	  Months and days as the billers write them.
 *
 *	  SELECT * FROM digipay_period('MEI 22');
 *	  -> [2022-05-01,2022-06-01) | month |
 *	  SELECT * FROM digipay_period('002', 'multifinance');
 *	  -> NULL | instalment | 2
 *
 * Immutable, and nothing raises: what cannot be read is NULL, since a report
 * over a million payments must not stop at one odd bill.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/rangetypes.h"
#include "utils/typcache.h"

#include "calendar.h"
#include "compat.h"

PG_FUNCTION_INFO_V1(digipay_period);
PG_FUNCTION_INFO_V1(digipay_to_date);

/* Longer than any way to write a day. */
#define MAX_LENGTH		40

/* What a bill may be for: old debts are paid too, but no older than these. */
#define FIRST_YEAR		1980
#define LAST_YEAR		2099

/* Columns of digipay_period. */
#define COLUMN_MONTH	0
#define COLUMN_KIND		1
#define COLUMN_NUMBER	2

/* What a period means. */
typedef struct Period
{
	const char *kind;			/* NULL: not understood */
	int			number;			/* how many, which one, or the year */
	int			year;			/* of a month, else 0 */
	int			month;
} Period;

/* How a family of products writes periods that are digits alone. */
static const struct
{
	const char *family;
	const char *kind;
	int			max_digits;
}			numbered_families[] = {
	{"bpjs", "months", 3},
	{"multifinance", "instalment", 4},
	{"pbb", "tax_year", 4},
	{"pdl", "tax_year", 4},
};

/* Every spelling of a month that was seen, and the words in full. */
static const struct
{
	const char *word;
	int			month;
}			month_words[] = {
	{"jan", 1}, {"januari", 1}, {"january", 1},
	{"feb", 2}, {"februari", 2}, {"february", 2}, {"peb", 2}, {"pebruari", 2},
	{"mar", 3}, {"maret", 3}, {"march", 3},
	{"apr", 4}, {"april", 4},
	{"mei", 5}, {"may", 5},
	{"jun", 6}, {"juni", 6}, {"june", 6},
	{"jul", 7}, {"juli", 7}, {"july", 7},
	{"agu", 8}, {"agt", 8}, {"agustus", 8}, {"aug", 8}, {"august", 8},
	{"sep", 9}, {"sept", 9}, {"september", 9},
	{"okt", 10}, {"oct", 10}, {"oktober", 10}, {"october", 10},
	{"nov", 11}, {"nop", 11}, {"november", 11}, {"nopember", 11},
	{"des", 12}, {"dec", 12}, {"desember", 12}, {"december", 12},
};

/*
 * The text without blanks around it, in lower case; false if it is longer than
 * anything that could be meant.  Only ASCII matters, so bytes will do.
 */
static bool
take_text(const text *value, char *buffer)
{
	const char *start = VARDATA_ANY(value);
	const char *end = start + VARSIZE_ANY_EXHDR(value);
	int			len = 0;

	while (start < end && *start == ' ')
		start++;
	while (end > start && end[-1] == ' ')
		end--;
	if (end - start > MAX_LENGTH)
		return false;
	while (start < end)
		buffer[len++] = pg_ascii_tolower((unsigned char) *start++);
	buffer[len] = '\0';
	return true;
}

/* Read digits, at most nine; how many there were, 0 if none or too many. */
static int
take_number(const char **at, int *number)
{
	int			digits = (int) strspn(*at, "0123456789");

	if (digits < 1 || digits > 9)
		return 0;
	*number = 0;
	for (int i = 0; i < digits; i++)
		*number = *number * 10 + (*(*at)++ - '0');
	return digits;
}

/* Read a month's name; 0 if there is none. */
static int
take_month(const char **at)
{
	size_t		length = strspn(*at, "abcdefghijklmnopqrstuvwxyz");

	for (int i = 0; i < (int) lengthof(month_words); i++)
	{
		if (strlen(month_words[i].word) == length &&
			strncmp(month_words[i].word, *at, length) == 0)
		{
			*at += length;
			return month_words[i].month;
		}
	}
	return 0;
}

/* Step over what stands between a month's name and its year. */
static void
skip_separator(const char **at)
{
	*at += strspn(*at, " -/.'");
}

/* Read a year of two or four digits up to the end of the text; 0 if it is none. */
static int
take_year(const char *at)
{
	int			year;
	int			digits = take_number(&at, &year);

	if (*at != '\0')
		return 0;
	if (digits == 2)
		return 2000 + year;
	return digits == 4 && year >= FIRST_YEAR && year <= LAST_YEAR ? year : 0;
}

/* It is this month, if that is one that a bill may be for. */
static void
set_month(Period *period, int year, int month)
{
	if (year < FIRST_YEAR || year > LAST_YEAR || month < 1 || month > 12)
		return;
	period->kind = "month";
	period->year = year;
	period->month = month;
}

/* "MEI 2019", "MEI 22", "NOV25" */
static void
read_named_month(const char *at, Period *period)
{
	int			month = take_month(&at);

	if (month == 0)
		return;
	skip_separator(&at);
	set_month(period, take_year(at), month);
}

/*
 * Digits alone.  What 4 digits are is plain without the family, since no month
 * is 19 or 20; what 2 or 3 are is not.
 */
static void
read_digits(const char *at, const char *family, Period *period)
{
	int			number;
	int			digits = take_number(&at, &number);

	if (digits == 0 || *at != '\0')
		return;
	for (int i = 0; i < (int) lengthof(numbered_families); i++)
	{
		bool		year = strcmp(numbered_families[i].kind, "tax_year") == 0;

		if (strcmp(numbered_families[i].family, family) != 0 ||
			digits > numbered_families[i].max_digits)
			continue;
		if (year ? digits == 4 && number >= FIRST_YEAR && number <= LAST_YEAR : number > 0)
		{
			period->kind = numbered_families[i].kind;
			period->number = number;
		}
		return;
	}
	if (digits == 6)
		set_month(period, number / 100, number % 100);
	else if (digits == 4 && number / 100 >= 1 && number / 100 <= 12)
		set_month(period, 2000 + number % 100, number / 100);
	else if (digits == 4 && family[0] == '\0' && number >= FIRST_YEAR && number <= LAST_YEAR)
	{
		period->kind = "tax_year";
		period->number = number;
	}
}

/* The month as a range of days. */
static Datum
month_range(int year, int month)
{
	TypeCacheEntry *type = lookup_type_cache(DATERANGEOID, TYPECACHE_RANGE_INFO);
	RangeBound	lower = {.inclusive = true,.lower = true};
	RangeBound	upper = {0};

	lower.val = DateADTGetDatum(date2j(year, month, 1) - POSTGRES_EPOCH_JDATE);
	upper.val = DateADTGetDatum(date2j(month < 12 ? year : year + 1, month < 12 ? month + 1 : 1, 1) -
								POSTGRES_EPOCH_JDATE);
	return RangeTypePGetDatum(dp_make_range(type, &lower, &upper));
}

/*
 * What a bill's period means, as the columns of digipay_period: all NULL where
 * it is not understood.  family decides where digits alone cannot; NULL, or one
 * that has no way of its own, leaves the reading to the digits.
 */
void
dp_period_read(const text *periode, const text *family, Datum *values, bool *nulls)
{
	char		words[MAX_LENGTH + 1];
	char		family_name[MAX_LENGTH + 1];
	Period		period = {0};

	nulls[COLUMN_MONTH] = nulls[COLUMN_KIND] = nulls[COLUMN_NUMBER] = true;
	if (periode == NULL || !take_text(periode, words))
		return;
	if (family == NULL || !take_text(family, family_name))
		family_name[0] = '\0';
	read_named_month(words, &period);
	if (period.kind == NULL)
		read_digits(words, family_name, &period);
	if (period.kind == NULL)
		return;
	values[COLUMN_KIND] = CStringGetTextDatum(period.kind);
	nulls[COLUMN_KIND] = false;
	if (period.year != 0)
		values[COLUMN_MONTH] = month_range(period.year, period.month);
	else
		values[COLUMN_NUMBER] = Int32GetDatum(period.number);
	nulls[COLUMN_MONTH] = period.year == 0;
	nulls[COLUMN_NUMBER] = period.year != 0;
}

/*
 * digipay_period(periode text, family text) returns (month, kind, number)
 */
Datum
digipay_period(PG_FUNCTION_ARGS)
{
	TupleDesc	tupdesc = fcinfo->flinfo->fn_extra;
	Datum		values[DP_PERIOD_COLUMNS];
	bool		nulls[DP_PERIOD_COLUMNS];

	if (tupdesc == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);

		if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
			elog(ERROR, "return type must be a row type");
		fcinfo->flinfo->fn_extra = BlessTupleDesc(tupdesc);
		MemoryContextSwitchTo(old);
		tupdesc = fcinfo->flinfo->fn_extra;
	}
	dp_period_read(PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0),
				   PG_ARGISNULL(1) ? NULL : PG_GETARG_TEXT_PP(1), values, nulls);
	return HeapTupleGetDatum(heap_form_tuple(tupdesc, values, nulls));
}

/* ----------
 * Days
 * ----------
 */

/* The three numbers of a day, whichever way round, split by - or / */
static bool
read_numbered_day(const char *at, int *year, int *month, int *day)
{
	int			first;
	int			digits = take_number(&at, &first);
	char		separator = *at;

	if (digits == 8 && separator == '\0')
	{
		*year = first / 10000;
		*month = first / 100 % 100;
		*day = first % 100;
		return true;
	}
	if (digits == 0 || digits == 3 || digits > 4 || (separator != '-' && separator != '/'))
		return false;
	at++;
	if (take_number(&at, month) == 0 || *at++ != separator)
		return false;
	if (digits == 4)
	{
		*year = first;
		return take_number(&at, day) != 0 && *at == '\0';
	}
	*day = first;
	return take_number(&at, year) == 4 && *at == '\0';
}

/* "15 DES 2014", or "1-15 DES 2014": the last day of those */
static bool
read_named_day(const char *at, int *year, int *month, int *day)
{
	int			digits = take_number(&at, day);

	if (digits == 0 || digits > 2)
		return false;
	if (*at == '-' && isdigit((unsigned char) at[1]))
	{
		at++;
		digits = take_number(&at, day);
		if (digits == 0 || digits > 2)
			return false;
	}
	skip_separator(&at);
	*month = take_month(&at);
	if (*month == 0)
		return false;
	skip_separator(&at);
	*year = take_year(at);
	return *year != 0;
}

/*
 * digipay_to_date(value text) returns date
 *
 * The day that a biller means: 20210309, 2021-03-09, 09-03-2021, 9 MAR 2021, and
 * of "1-15 DES 2014" the last day.  NULL for what is no day.
 */
Datum
digipay_to_date(PG_FUNCTION_ARGS)
{
	char		value[MAX_LENGTH + 1];
	int			year;
	int			month;
	int			day;

	if (!take_text(PG_GETARG_TEXT_PP(0), value) ||
		!(read_numbered_day(value, &year, &month, &day) ||
		  read_named_day(value, &year, &month, &day)) ||
		year < 1900 || year > 9999 || month < 1 || month > 12 ||
		day < 1 || day > day_tab[isleap(year)][month - 1])
		PG_RETURN_NULL();
	PG_RETURN_DATEADT(date2j(year, month, day) - POSTGRES_EPOCH_JDATE);
}
