/*
 * watch.h
 *	  Sessions that wait until a payment is final, and others who want to hear
 *	  of it.
 */
#ifndef DIGIPAY_WATCH_H
#define DIGIPAY_WATCH_H

#include "digipay.h"
#include "mailbox.h"

extern void dp_watch_init(void);
extern void dp_watch_add(const char *ref_id, const DpWaiter *waiter);
extern void dp_watch_final(const char *server, const char *ref_id, DpState state);
extern bool dp_watch_has_news(void);
extern void dp_watch_tell(void);
extern void dp_watch_sweep(void);

#endif							/* DIGIPAY_WATCH_H */
