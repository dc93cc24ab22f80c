/*-------------------------------------------------------------------------
 *
 * amount.c
 *	  What src/amount.c lets pass for an amount: whole ones, and those with
 *	  decimals, exactly as they were written.  Prints TAP.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "amount.h"
#include "digipay.h"

static const struct
{
	const char *text;
	bool		as_text;		/* in a string */
	bool		as_number;		/* as JSON's number, which may have an exponent */
}			cases[] = {
	{"0", true, true}, {"10000", true, true}, {"10000.25", true, true}, {"0.10", true, true},
	{"2500.50", true, true}, {"-1", true, true}, {"-0", true, true}, {"-0.5", true, true},
	{"0002500", true, true}, {"12345678901234567890.123456789", true, true},
	{"9007199254740993", true, true}, {"1e3", false, true}, {"1.0e3", false, true},
	{"1E+400", false, true}, {"1e-400", false, true}, {"1e401", false, false},
	{"1e-401", false, false}, {"1e99999999999999999999", false, false},
	{"", false, false}, {"-", false, false}, {".", false, false}, {".5", false, false},
	{"1.", false, false}, {"1.e3", false, false}, {"1e", false, false}, {"1e+", false, false},
	{"+1", false, false}, {"--1", false, false}, {" 1", false, false}, {"1 ", false, false},
	{"10,000", false, false}, {"10.000,25", false, false}, {"10.000.25", false, false},
	{"Rp10000", false, false}, {"RM10.55", false, false}, {"NaN", false, false},
	{"Infinity", false, false}, {"0x10", false, false}, {"1_000", false, false},
	{"\xd9\xa1", false, false},
};

/* of what is an amount, what is more than zero */
static const struct
{
	const char *text;
	bool		positive;
}			signs[] = {
	{"1", true}, {"0.01", true}, {"10", true}, {"00200000", true}, {"1e0", true}, {"5e-3", true},
	{"0", false}, {"0.00", false}, {"-1", false}, {"-0", false}, {"0e9", false}, {"0.0E+5", false},
};

int
main(void)
{
	int			tests = 0;
	int			failures = 0;
	char		longest[DP_AMOUNT_MAX + 2];

	for (int i = 0; i < (int) lengthof(cases); i++)
	{
		bool		good = dp_amount_is_numeric(cases[i].text, false) == cases[i].as_text &&
			dp_amount_is_numeric(cases[i].text, true) == cases[i].as_number;

		printf("%sok %d - \"%s\"\n", good ? "" : "not ", ++tests, cases[i].text);
		failures += !good;
	}
	for (int i = 0; i < (int) lengthof(signs); i++)
	{
		bool		good = dp_amount_is_positive(signs[i].text) == signs[i].positive;

		printf("%sok %d - \"%s\" is more than zero\n", good ? "" : "not ", ++tests, signs[i].text);
		failures += !good;
	}
	memset(longest, '7', sizeof(longest));
	longest[DP_AMOUNT_MAX] = '\0';
	failures += !dp_amount_is_numeric(longest, false);
	printf("%sok %d - the longest\n", dp_amount_is_numeric(longest, false) ? "" : "not ", ++tests);
	longest[DP_AMOUNT_MAX] = '7';
	longest[DP_AMOUNT_MAX + 1] = '\0';
	failures += dp_amount_is_numeric(longest, false);
	printf("%sok %d - and one digit more\n", dp_amount_is_numeric(longest, false) ? "not " : "", ++tests);
	printf("1..%d\n", tests);
	return failures != 0;
}
