/*
 * journal.h
 *	  What the worker writes and reads in SQL, and the transactions around it.
 */
#ifndef DIGIPAY_JOURNAL_H
#define DIGIPAY_JOURNAL_H

#include "digipay.h"

struct DpParams;

/* What became of an intent. */
typedef enum DpIntent
{
	DP_INTENT_MADE,				/* send, once this transaction has committed */
	DP_INTENT_KNOWN,			/* the row that is there is the answer */
	DP_INTENT_SENDING,			/* a payment with this ref_id is in flight */
	DP_INTENT_REFUSED			/* with a problem */
} DpIntent;

/* What has been written about a payment. */
typedef struct DpOutcome
{
	bool		became_final;	/* and so is news */
	DpState		state;
} DpOutcome;

/* How a question about a payment stands. */
typedef enum DpQuestion
{
	DP_QUESTION_ASK,			/* it may leave, once this transaction has committed */
	DP_QUESTION_NOT_NOW,		/* too soon, final, or nothing to ask */
	DP_QUESTION_OVER			/* it is too late to ask: for a person now */
} DpQuestion;

extern int	dp_journal_recover(TimestampTz before, bool *leftover);
extern bool dp_journal_is_locked(const DpAsk *ask, const DpAccount *account);
extern DpIntent dp_journal_intend(const DpAsk *ask, const DpAccount *account,
								  const DpProblem *veto, DpProblem *problem);
extern DpIntent dp_journal_claim(const DpAsk *ask, const DpAccount *account,
								 DpOutcome *outcome);
extern DpIntent dp_journal_enqueue(const DpAsk *ask, const DpAccount *account,
								   TimestampTz not_after, const char *why,
								   Datum *row, DpProblem *problem);
extern bool dp_journal_must_ask(const DpAsk *ask, const DpAccount *account);
extern bool dp_journal_may_inquire(const DpAsk *ask, const DpAccount *account,
								   DpProblem *problem);
extern void dp_journal_outcome(const DpAsk *ask, const DpAccount *account, bool from_queue,
							   const DpResponse *response, const DpReply *reply,
							   DpOutcome *outcome);
extern bool dp_journal_distrusted(const DpAsk *ask, const DpAccount *account,
								  const DpResponse *response, const DpReply *reply);
extern void dp_journal_inquiry(const DpAsk *ask, const DpAccount *account,
							   const DpResponse *response, const DpReply *reply);
extern void dp_journal_unrecorded(const DpAsk *ask, const DpAccount *account,
								  const DpResponse *response);
extern void dp_journal_event(const char *server, const char *ref_id, const char *kind,
							 const char *note, const DpResponse *response);
extern bool dp_journal_add_reply(struct DpParams *params, const DpResponse *response,
								 const DpReply *reply, const char *error);

#endif							/* DIGIPAY_JOURNAL_H */
