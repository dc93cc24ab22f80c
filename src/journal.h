/*
 * journal.h
 *	  What the worker writes and reads in SQL, and the transactions around it.
 */
#ifndef DIGIPAY_JOURNAL_H
#define DIGIPAY_JOURNAL_H

#include "digipay.h"

/* What became of an intent. */
typedef enum DpIntent
{
	DP_INTENT_MADE,				/* send, once this transaction has committed */
	DP_INTENT_KNOWN,			/* the row that is there is the answer */
	DP_INTENT_SENDING,			/* a payment with this ref_id is in flight */
	DP_INTENT_REFUSED			/* with a problem */
} DpIntent;

extern pg_uuid_t dp_journal_origin(void);
extern int	dp_journal_recover(bool *leftover);
extern DpIntent dp_journal_intend(const DpAsk *ask, const DpAccount *account,
								  DpProblem *problem);
extern bool dp_journal_may_inquire(const DpAsk *ask, const DpAccount *account,
								   DpProblem *problem);
extern void dp_journal_outcome(const DpAsk *ask, const DpAccount *account,
							   const DpResponse *response, const DpReply *reply);
extern void dp_journal_inquiry(const DpAsk *ask, const DpAccount *account,
							   const DpResponse *response, const DpReply *reply);
extern void dp_journal_unrecorded(const DpAsk *ask, const DpAccount *account,
								  const DpResponse *response);

#endif							/* DIGIPAY_JOURNAL_H */
