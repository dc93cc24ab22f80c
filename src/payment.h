/*
 * payment.h
 *	  The life of one request in the worker, from the mailbox to its answer.
 */
#ifndef DIGIPAY_PAYMENT_H
#define DIGIPAY_PAYMENT_H

#include "digipay.h"
#include "mailbox.h"

/* How the last turn went. */
typedef enum DpTurn
{
	DP_TURN_DONE,
	DP_TURN_TROUBLE,			/* nothing could be written; back off */
	DP_TURN_UNINSTALLED			/* the extension is gone */
} DpTurn;

extern void dp_payment_init(void);
extern bool dp_payment_is_known(const DpAsk *ask);
extern bool dp_payment_join(const DpAsk *ask, const DpWaiter *waiter);
extern void dp_payment_admit(const DpAsk *ask, const DpWaiter *waiter);
extern DpTurn dp_payment_turn(void);
extern void dp_payment_collect(void);
extern bool dp_payment_turn_is_due(void);
extern long dp_payment_timeout(void);
extern int	dp_payment_trouble(void);
extern bool dp_payment_is_stuck(void);
extern int	dp_payment_count(void);
extern void dp_payment_give_up(const char *why);

#endif							/* DIGIPAY_PAYMENT_H */
