/*
 * reply.h
 *	  What came back: from bytes to an outcome.
 */
#ifndef DIGIPAY_REPLY_H
#define DIGIPAY_REPLY_H

#include "digipay.h"

extern bool dp_reply_parse(DpDialect dialect, const DpResponse *response, DpReply *reply);
extern bool dp_reply_is_ping(const DpResponse *response);
extern void dp_reply_judge(const DpAsk *ask, const DpResponse *response, DpReply *reply);
extern void dp_reply_read(const DpAsk *ask, DpDialect dialect, const DpResponse *response,
						  DpReply *reply);

#endif							/* DIGIPAY_REPLY_H */
