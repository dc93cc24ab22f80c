/*
 * srf.h
 *	  Set-returning functions that hand over all rows at once.
 */
#ifndef DIGIPAY_SRF_H
#define DIGIPAY_SRF_H

#include "fmgr.h"
#include "funcapi.h"

extern ReturnSetInfo *dp_srf_begin(FunctionCallInfo fcinfo);

#endif							/* DIGIPAY_SRF_H */
