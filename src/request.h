/*
 * request.h
 *	  What is sent: the signed JSON body.
 */
#ifndef DIGIPAY_REQUEST_H
#define DIGIPAY_REQUEST_H

#include "digipay.h"

extern bool dp_request_build(const DpAsk *ask, const DpAccount *account,
							 DpRequest *request, DpProblem *problem);
extern void dp_request_wipe(DpRequest *request);

#endif							/* DIGIPAY_REQUEST_H */
