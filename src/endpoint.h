/*
 * endpoint.h
 *	  Where each call goes.
 */
#ifndef DIGIPAY_ENDPOINT_H
#define DIGIPAY_ENDPOINT_H

#include "digipay.h"

extern const char *dp_endpoint(const DpAccount *account, DpCommand command,
							   DpProblem *problem);

#endif							/* DIGIPAY_ENDPOINT_H */
