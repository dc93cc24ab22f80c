/*
 * client.h
 *	  A session's side of a request: hand it over, wait, and take the answer.
 */
#ifndef DIGIPAY_CLIENT_H
#define DIGIPAY_CLIENT_H

#include "digipay.h"

/* How the wait ended. */
typedef enum DpWaited
{
	DP_WAITED_ANSWER,			/* the answer is there */
	DP_WAITED_LOST				/* the worker ended with the request in its hands */
} DpWaited;

extern DpWaited dp_client_ask(const DpAsk *ask, DpAnswer *answer);
extern void dp_client_watch(const DpAsk *ask, long timeout_ms);

#endif							/* DIGIPAY_CLIENT_H */
