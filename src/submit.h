/*
 * submit.h
 *	  What a session does to the queue in its own transaction.
 */
#ifndef DIGIPAY_SUBMIT_H
#define DIGIPAY_SUBMIT_H

#include "digipay.h"

extern void dp_submit_check_fence(void);
extern Datum dp_submit(const DpAsk *ask, const DpAccount *account, TimestampTz not_after,
					   bool *written, DpProblem *problem);
extern bool dp_submit_cancel(const DpAsk *ask, const DpAccount *account, Datum *row);
extern bool dp_submit_settle(const DpAsk *ask, const DpAccount *account, DpState outcome,
							 const char *note, Datum *row);

#endif							/* DIGIPAY_SUBMIT_H */
