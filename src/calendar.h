/*
 * calendar.h
 *	  What a bill's period means.
 */
#ifndef DIGIPAY_CALENDAR_H
#define DIGIPAY_CALENDAR_H

/* Of digipay_period: month, kind, number. */
#define DP_PERIOD_COLUMNS	3

extern void dp_period_read(const text *periode, const text *family, Datum *values, bool *nulls);

#endif							/* DIGIPAY_CALENDAR_H */
