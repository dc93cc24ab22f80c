/*
 * srf.h
 *	  Set-returning functions that hand over all rows at once.
 */
#ifndef DIGIPAY_SRF_H
#define DIGIPAY_SRF_H

#include "fmgr.h"
#include "funcapi.h"

extern ReturnSetInfo *dp_srf_begin(FunctionCallInfo fcinfo);
extern ReturnSetInfo *dp_srf_begin_small(FunctionCallInfo fcinfo);
extern void dp_srf_put(ReturnSetInfo *result, Datum *values, bool *nulls);

#endif							/* DIGIPAY_SRF_H */
