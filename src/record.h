/*
 * record.h
 *	  What is written about what came back.
 */
#ifndef DIGIPAY_RECORD_H
#define DIGIPAY_RECORD_H

#include "digipay.h"
#include "journal.h"

struct DpParams;

extern void dp_record_outcomes(DpEntry *entries, int n);
extern bool dp_record_distrusted(const DpAsk *ask, const DpAccount *account,
								 const DpResponse *response, const DpReply *reply);
extern void dp_record_inquiry(const DpAsk *ask, const DpAccount *account,
							  const DpResponse *response, const DpReply *reply);
extern void dp_record_bytes(const DpAsk *ask, const DpAccount *account,
							const DpResponse *response);
extern bool dp_record_add_reply(struct DpParams *params, const DpResponse *response,
								const DpReply *reply, const char *error);

#endif							/* DIGIPAY_RECORD_H */
