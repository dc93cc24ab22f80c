/*
 * detail.h
 *	  The periods of a bill, out of the product's own data.
 */
#ifndef DIGIPAY_DETAIL_H
#define DIGIPAY_DETAIL_H

#include "utils/jsonb.h"

/* Columns of digipay_detail_row. */
typedef enum DpDetailColumn
{
	DP_DETAIL_NO,
	DP_DETAIL_PERIODE,
	DP_DETAIL_NILAI_TAGIHAN,
	DP_DETAIL_ADMIN,
	DP_DETAIL_DENDA,
	DP_DETAIL_BIAYA_LAIN,
	DP_DETAIL_METER_AWAL,
	DP_DETAIL_METER_AKHIR,
	DP_DETAIL_NO_REF,
	DP_DETAIL_USAGE,
	DP_DETAIL_EXTRA,
	DP_DETAIL_COLUMNS
} DpDetailColumn;

/* What takes the periods, one after the other; they are gone after the call. */
typedef void (*DpPeriodTaker) (void *taker, Datum *values, bool *nulls);

extern void dp_detail_read(Jsonb *desc, DpPeriodTaker take, void *taker);

#endif							/* DIGIPAY_DETAIL_H */
