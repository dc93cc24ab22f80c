/*
 * verdict.h
 *	  What status replies and call-backs do to a payment's row.
 */
#ifndef DIGIPAY_VERDICT_H
#define DIGIPAY_VERDICT_H

#include "digipay.h"
#include "journal.h"

extern DpQuestion dp_verdict_ask(const DpAsk *ask, const DpAccount *account,
								 DpOutcome *outcome);
extern void dp_verdict_answer(const DpAsk *ask, const DpAccount *account,
							  const DpResponse *response, const DpReply *reply,
							  DpOutcome *outcome);
extern bool dp_verdict_webhook(DpAsk *ask, const DpAccount *account,
							   const DpResponse *response, DpReply *reply,
							   DpOutcome *outcome);

#endif							/* DIGIPAY_VERDICT_H */
