/*-------------------------------------------------------------------------
 *
 * amount.c
 *	  Amounts as text: what can safely become a numeric.
 *
 * After a payment has been made nothing may raise, so a reply's amounts are
 * checked by this grammar before numeric's input function sees them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "amount.h"
#include "digipay.h"

/* Largest exponent: 1e400 is exact in numeric, and no price needs more. */
#define EXPONENT_MAX	400

/*
 * Is this text an exact amount: an optional minus sign, digits, optionally a
 * point and digits, and (where JSON's numbers are meant) an exponent?  Then
 * numeric_in takes it without an error.  "NaN", "Infinity", blanks and the
 * empty string are not.
 */
bool
dp_amount_is_numeric(const char *text, bool allow_exponent)
{
	const char *p = text;
	long		exponent;

	if (strlen(text) > DP_AMOUNT_MAX)
		return false;
	if (*p == '-')
		p++;
	if (!isdigit((unsigned char) *p))
		return false;
	while (isdigit((unsigned char) *p))
		p++;
	if (*p == '.')
	{
		p++;
		if (!isdigit((unsigned char) *p))
			return false;
		while (isdigit((unsigned char) *p))
			p++;
	}
	if (allow_exponent && (*p == 'e' || *p == 'E'))
	{
		p++;
		if (*p == '-' || *p == '+')
			p++;
		if (!isdigit((unsigned char) *p))
			return false;
		exponent = 0;
		while (isdigit((unsigned char) *p) && exponent <= EXPONENT_MAX)
			exponent = exponent * 10 + (*p++ - '0');
		if (exponent > EXPONENT_MAX)
			return false;
	}
	return *p == '\0';
}

/* Is this exact amount more than zero? */
bool
dp_amount_is_positive(const char *text)
{
	size_t		digits = strcspn(text, "123456789eE");

	return text[0] != '-' && text[digits] != '\0' && text[digits] != 'e' && text[digits] != 'E';
}
