/*
 * amount.h
 *	  Amounts as text: what can safely become a numeric.
 */
#ifndef DIGIPAY_AMOUNT_H
#define DIGIPAY_AMOUNT_H

extern bool dp_amount_is_positive(const char *text);
extern bool dp_amount_is_numeric(const char *text, bool allow_exponent);

#endif							/* DIGIPAY_AMOUNT_H */
