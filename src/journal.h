/*
 * journal.h
 *	  Whether a payment may leave, and its intent.
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

/* What has been written about a payment. */
typedef struct DpOutcome
{
	bool		became_final;	/* and so is news */
	DpState		state;
} DpOutcome;

/* One payment, for the functions that write about many in one statement. */
typedef struct DpEntry
{
	const DpAsk *ask;
	const DpAccount *account;
	bool		written;		/* by the statement for all of them */

	/* before it leaves */
	bool		claim;			/* it is in the queue */
	DpIntent	intent;			/* set by dp_journal_leave */
	DpProblem  *problem;		/* and why not, where it is refused */

	/* what came back */
	bool		from_queue;		/* nobody waits for it */
	const DpResponse *response;
	const DpReply *reply;
	bool		stored;			/* as jsonb */

	DpOutcome  *outcome;		/* what has become of it */
} DpEntry;

/* How a question about a payment stands. */
typedef enum DpQuestion
{
	DP_QUESTION_ASK,			/* it may leave, once this transaction has committed */
	DP_QUESTION_NOT_NOW,		/* too soon, final, or nothing to ask */
	DP_QUESTION_OVER			/* it is too late to ask: for a person now */
} DpQuestion;

extern int	dp_journal_recover(TimestampTz before, bool *leftover);
extern bool dp_journal_is_locked(const DpAsk *ask, const DpAccount *account);
extern bool dp_journal_find(const DpAsk *ask, const DpAccount *account, DpState *state);
extern DpIntent dp_journal_vetoed(const DpAsk *ask, const DpAccount *account,
								  const DpProblem *veto, DpProblem *problem);
extern void dp_journal_leave(DpEntry *entries, int n);
extern void dp_journal_mark_written(DpEntry *entries, int n, uint64 found);
extern DpIntent dp_journal_enqueue(const DpAsk *ask, const DpAccount *account,
								   TimestampTz not_after, const char *why,
								   Datum *row, DpProblem *problem);
extern bool dp_journal_must_ask(const DpAsk *ask, const DpAccount *account);
extern bool dp_journal_may_inquire(const DpAsk *ask, const DpAccount *account,
								   DpProblem *problem);

#endif							/* DIGIPAY_JOURNAL_H */
