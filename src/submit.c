/*-------------------------------------------------------------------------
 *
 * submit.c
 *	  What a session does to the queue in its own transaction: put a payment in,
 *	  take it back, settle what only a person can.
 *
 * All of it is the caller's to commit or to roll back.  The worker sees it at
 * COMMIT, of which it is told; should it not be there to be told, or the
 * transaction be a prepared one, it finds out by looking.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/memutils.h"

#include "event.h"
#include "fence.h"
#include "journal.h"
#include "launch.h"
#include "mailbox.h"
#include "problem.h"
#include "state.h"
#include "statement.h"
#include "submit.h"

static bool touched = false;	/* this transaction has changed the queue */

/* The transaction ends: see to it that the worker looks. */
static void
on_transaction_end(XactEvent event, void *arg)
{
	if (!touched)
		return;
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
			dp_launch_soon();
			break;
		case XACT_EVENT_COMMIT:
			dp_mailbox_poke();
			touched = false;
			break;
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			touched = false;
			break;
		default:
			break;
	}
}

/* This transaction changes the queue: the worker shall know in the end. */
static void
touch(void)
{
	static bool registered = false;

	if (!registered)
	{
		RegisterXactCallback(on_transaction_end, NULL);
		registered = true;
	}
	if (!touched)
		(void) dp_mailbox_attach(); /* so that it can be told */
	touched = true;
}

/*
 * Raise PY004 unless the queue is ours; afterwards the session's statements
 * mark what they write with our mark.  A database that has had no worker yet
 * has no mark, so one is started.
 */
void
dp_submit_check_fence(void)
{
	DpFence		fence;
	DpProblem	problem;

	dp_fence_read(&fence);
	if (fence.state == DP_FENCE_UNMADE)
	{
		(void) dp_launch_ensure();
		dp_fence_read(&fence);
	}
	if (fence.state == DP_FENCE_UNMADE)
	{
		fence.state = DP_FENCE_UP;
		strlcpy(fence.reason, "there are payments, but no mark; they were restored from a dump",
				sizeof(fence.reason));
	}
	if (fence.state == DP_FENCE_UP)
	{
		dp_fence_problem(&fence, &problem);
		dp_problem_raise(&problem);
	}
	dp_fence_adopt(&fence);
}

/* A row that a statement has returned, in the caller's memory. */
static Datum
keep_row(Datum row, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	Datum		copy = datumCopy(row, false, -1);

	MemoryContextSwitchTo(old);
	return copy;
}

/*
 * Put a payment into the queue.  *written is false where there is a row already
 * that is to be returned as it stands, which is the caller's to look up, or where
 * *problem says what is against it.
 */
Datum
dp_submit(const DpAsk *ask, const DpAccount *account, TimestampTz not_after, bool *written,
		  DpProblem *problem)
{
	MemoryContext context = CurrentMemoryContext;
	DpSession	session;
	Datum		row = (Datum) 0;

	memset(problem, 0, sizeof(DpProblem));
	dp_session_begin(&session);
	*written = dp_journal_enqueue(ask, account, not_after, NULL, &row, problem) == DP_INTENT_MADE;
	if (*written)
		row = keep_row(row, context);
	dp_session_end(&session);
	if (*written)
		touch();
	return row;
}

/* Take back what is queued.  False if it is not, or no more. */
bool
dp_submit_cancel(const DpAsk *ask, const DpAccount *account, Datum *row)
{
	static const DpResponse nothing;
	MemoryContext context = CurrentMemoryContext;
	DpSession	session;
	DpParams	params = {0};
	bool		isnull;
	bool		done;

	dp_session_begin(&session);
	dp_param_text(&params, account->account);
	dp_param_text(&params, ask->ref_id);
	dp_param_text(&params, psprintf("taken back by %s", NameStr(ask->requested_by)));
	dp_param(&params, UUIDPGetDatum(dp_fence_origin()));
	done = dp_run(DP_SQL_CANCEL, &params) > 0;
	if (done)
	{
		char	   *server = dp_result_text(2);

		*row = keep_row(dp_result(1, &isnull), context);
		dp_event_write(server, ask->ref_id, "cancelled",
					   psprintf("by %s", NameStr(ask->requested_by)), &nothing);
	}
	dp_session_end(&session);
	if (done)
		touch();
	return done;
}

/*
 * Write a person's verdict on a payment in review, and who gave it and why.
 * False if it is not in review.
 */
bool
dp_submit_settle(const DpAsk *ask, const DpAccount *account, DpState outcome,
				 const char *note, Datum *row)
{
	static const DpResponse nothing;
	MemoryContext context = CurrentMemoryContext;
	DpSession	session;
	DpParams	params = {0};
	const char *session_user = GetUserNameFromId(GetSessionUserId(), false);
	bool		isnull;
	bool		done;

	dp_session_begin(&session);
	dp_param_text(&params, account->account);
	dp_param_text(&params, ask->ref_id);
	dp_param_text(&params, dp_state_name(outcome));
	done = dp_run(DP_SQL_SETTLE, &params) > 0;
	if (done)
	{
		char	   *server = dp_result_text(2);

		*row = keep_row(dp_result(1, &isnull), context);
		dp_event_write(server, ask->ref_id, "settled",
					   psprintf("%s (session of %s) says %s: %s", NameStr(ask->requested_by),
								session_user, dp_state_name(outcome), note), &nothing);
	}
	dp_session_end(&session);
	if (done)
		touch();
	return done;
}
