/*
 * payment.h
 *	  The life of a job in the worker, step by step.
 */
#ifndef DIGIPAY_PAYMENT_H
#define DIGIPAY_PAYMENT_H

#include "digipay.h"
#include "job.h"
#include "mailbox.h"

/* for the worker's loop */
extern bool dp_payment_needs_place(const DpAsk *ask);
extern bool dp_payment_is_known(const DpAsk *ask);
extern bool dp_payment_join(const DpAsk *ask, const DpWaiter *waiter);
extern void dp_payment_admit(const DpAsk *ask, const DpWaiter *waiter);
extern void dp_payment_admit_due(const DpAsk *ask);
extern void dp_payment_tell(const char *server, const char *ref_id, DpState state);
extern void dp_payment_collect(void);
extern void dp_payment_give_up(const char *why);

/* for its turns */
extern bool dp_payment_prepare(DpJob *job);
extern void dp_payment_intend(DpJob **jobs, int n);
extern void dp_payment_go_on(DpJob *job);
extern bool dp_payment_record(DpJob *job);
extern void dp_payment_record_outcomes(DpJob **jobs, int n);
extern void dp_payment_finish(DpJob *job);
extern void dp_payment_put_aside(DpJob *job, int pause_ms);
extern void dp_payment_refuse(DpJob *job, const char *why, bool locked);

#endif							/* DIGIPAY_PAYMENT_H */
