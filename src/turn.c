/*-------------------------------------------------------------------------
 *
 * turn.c
 *	  A turn of the worker: one transaction for all that is ready.
 *
 * All that is admitted or back when a turn begins shares the turn's one
 * transaction, so one flush serves many payments.  Where a statement fails, the
 * job that it was for is the culprit: it is taken out, and the turn begins anew
 * with the rest, so that one locked row never holds up the others.
 *
 * What is done for each job is in payment.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "compat.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "fence.h"
#include "job.h"
#include "payment.h"
#include "statement.h"
#include "turn.h"

/*
 * How long an outcome that could not be written is left alone: a locked row for
 * the shorter time; where nothing can be written at all, twice as long each
 * time, up to the longer one.
 */
#define ASIDE_MIN_MS	1000
#define ASIDE_MAX_MS	60000

/* So many outcomes that cannot be written, no lock being the reason, are no accident. */
#define STUCK_JOBS		3

static int	trouble_ms = 0;		/* the pause after the last turn that failed */

/* Was it somebody else's lock, which will be gone sooner or later? */
static bool
is_lock_error(const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ||
		error->sqlerrcode == ERRCODE_T_R_DEADLOCK_DETECTED;
}

/*
 * One try at the turn's transaction.  *culprit is whose statement is being run,
 * for the error handler.  Careful is after a failure: then many rows may be
 * locked, and each is tried before it is written.
 */
static DpTurn
try_turn(bool careful, DpJob *volatile *culprit)
{
	dlist_iter	iter;

	if (!dp_transaction_begin())
		return DP_TURN_UNINSTALLED;
	dlist_foreach(iter, dp_jobs())
	{
		DpJob	   *job = dlist_container(DpJob, node, iter.cur);

		*culprit = job;
		if (job->step == DP_STEP_ADMITTED)
			dp_payment_prepare(job);
		else if (job->step != DP_STEP_BACK)
			continue;
		else if (careful && job->ask.command == DP_PAY &&
				 dp_journal_is_locked(&job->ask, &job->account))
		{
			if (!job->was_aside)
				dp_journal_unrecorded(&job->ask, &job->account, &job->response);
			job->was_aside = true;
			dp_payment_put_aside(job, ASIDE_MIN_MS);
		}
		else
			dp_payment_record(job);
	}
	*culprit = NULL;
	dp_transaction_commit();
	return DP_TURN_DONE;
}

/* What the turn has committed can have its consequences now. */
static void
go_on(void)
{
	dlist_mutable_iter iter;

	/* first send, then wake: the others' requests need not wait for that */
	dlist_foreach_modify(iter, dp_jobs())
	{
		DpJob	   *job = dlist_container(DpJob, node, iter.cur);

		if (job->step == DP_STEP_ADMITTED)
			dp_payment_go_on(job);
		else if (job->step == DP_STEP_BACK)
			dp_job_give_back_place(job);
	}
	dlist_foreach_modify(iter, dp_jobs())
	{
		DpJob	   *job = dlist_container(DpJob, node, iter.cur);

		/* what could not be started is back as well, but not yet written */
		if (job->step == DP_STEP_BACK && !job->has_place)
			dp_payment_finish(job);
	}
}

/* Nothing could be written at all: refuse what is new, keep what is back. */
static void
turn_failed(const ErrorData *error)
{
	dlist_mutable_iter iter;

	trouble_ms = Min(Max(trouble_ms * 2, ASIDE_MIN_MS), ASIDE_MAX_MS);
	dlist_foreach_modify(iter, dp_jobs())
	{
		DpJob	   *job = dlist_container(DpJob, node, iter.cur);

		if (job->step == DP_STEP_ADMITTED)
			dp_payment_refuse(job, error->message, is_lock_error(error));
		else if (job->step == DP_STEP_BACK)
			dp_payment_put_aside(job, trouble_ms);
	}
}

/* Keep the bytes of a reply whose outcome has to wait, if that is possible. */
static void
save_bytes(DpJob *job)
{
	MemoryContext old = CurrentMemoryContext;

	if (job->was_aside || job->ask.command != DP_PAY)
		return;
	job->was_aside = true;
	PG_TRY();
	{
		if (dp_transaction_begin())
		{
			dp_journal_unrecorded(&job->ask, &job->account, &job->response);
			dp_transaction_commit();
		}
	}
	PG_CATCH();
	{
		dp_transaction_abort();
		MemoryContextSwitchTo(old);
		FlushErrorState();
	}
	PG_END_TRY();
}

/* Log an error of a turn, at most one a second. */
static void
log_trouble(const ErrorData *error, const DpJob *culprit)
{
	static TimestampTz last = 0;
	TimestampTz now = GetCurrentTimestamp();

	if (!TimestampDifferenceExceeds(last, now, 1000))
		return;
	last = now;
	ereport(LOG,
			(errcode(error->sqlerrcode),
			 errmsg("digipay could not write to the journal: %s", error->message),
			 culprit == NULL || culprit->ask.ref_id[0] == '\0' ? 0 :
			 errdetail("The payment is \"%s\".", culprit->ask.ref_id),
			 errhint("What is on its way is kept and tried again.")));
}

/*
 * Handle the error of one try.  True if the turn shall begin anew.
 */
static bool
handle_error(DpJob *culprit, volatile int *failures)
{
	ErrorData  *error;
	bool		again = true;

	MemoryContextSwitchTo(dp_jobs_context());
	error = CopyErrorData();
	FlushErrorState();
	dp_transaction_abort();
	MemoryContextSwitchTo(dp_jobs_context());
	dp_fence_forget_take_over();

	(*failures)++;
	log_trouble(error, culprit);
	dp_transaction_be_patient(false);
	/* whole tables may be locked: do not try each job for itself */
	if (culprit == NULL || *failures > 10)
	{
		turn_failed(error);
		again = false;
	}
	else if (culprit->step == DP_STEP_ADMITTED)
		dp_payment_refuse(culprit, error->message, is_lock_error(error));
	else
	{
		save_bytes(culprit);
		dp_job_set_failed(culprit, !is_lock_error(error));
		dp_payment_put_aside(culprit, ASIDE_MIN_MS);
	}
	FreeErrorData(error);
	return again;
}

/* What was put aside and is due now is back again. */
static void
take_back(TimestampTz now)
{
	dlist_iter	iter;

	dlist_foreach(iter, dp_jobs())
	{
		DpJob	   *job = dlist_container(DpJob, node, iter.cur);

		if (job->step == DP_STEP_ASIDE && job->due <= now)
			dp_job_set_step(job, DP_STEP_BACK);
	}
}

/* Is anything ready to be written? */
static bool
is_anything_ready(void)
{
	return dp_job_count_in(DP_STEP_ADMITTED) + dp_job_count_in(DP_STEP_BACK) > 0;
}

/*
 * One turn: write all intents and outcomes that are ready, commit, and go on
 * with what that allows.
 */
DpTurn
dp_turn(void)
{
	MemoryContext old = CurrentMemoryContext;
	volatile int failures = 0;
	volatile bool again = true;
	volatile DpTurn turn = DP_TURN_DONE;
	volatile bool written = false;

	if (dp_job_count_in(DP_STEP_ASIDE) > 0)
		take_back(GetCurrentTimestamp());
	while (again && is_anything_ready())
	{
		DpJob	   *volatile culprit = NULL;

		again = false;
		PG_TRY();
		{
			turn = try_turn(failures > 0, &culprit);
			written = turn == DP_TURN_DONE;
		}
		PG_CATCH();
		{
			again = handle_error(culprit, &failures);
			if (!again)
				turn = DP_TURN_TROUBLE;
		}
		PG_END_TRY();
	}
	MemoryContextSwitchTo(old);
	if (failures > 0)
		dp_transaction_be_patient(true);
	if (turn == DP_TURN_UNINSTALLED)
		return turn;
	if (written)
	{
		trouble_ms = 0;
		dp_fence_keep_take_over();
		go_on();
	}
	dp_transaction_hold_journal(dp_job_count() > 0);
	return turn;
}

/* Is there anything for a turn to write now? */
bool
dp_turn_is_due(void)
{
	return is_anything_ready() || dp_turn_timeout() == 0;
}

/* Milliseconds until an outcome that was put aside is due, -1 if none is. */
long
dp_turn_timeout(void)
{
	TimestampTz now;
	TimestampTz first = DT_NOEND;
	dlist_iter	iter;

	if (dp_job_count_in(DP_STEP_ASIDE) == 0)
		return -1;
	dlist_foreach(iter, dp_jobs())
	{
		DpJob	   *job = dlist_container(DpJob, node, iter.cur);

		if (job->step == DP_STEP_ASIDE)
			first = Min(first, job->due);
	}
	now = GetCurrentTimestamp();
	return first <= now ? 0 : (long) ((first - now + 999) / 1000);
}

/*
 * Milliseconds for which nothing new should be taken on, since the last turn
 * could write nothing at all; 0 when all is well.
 */
int
dp_turn_trouble(void)
{
	return trouble_ms;
}

/*
 * Do outcomes fail to be written, one after the other?  Then nothing new should
 * leave.  A single one may be a matter of that row.
 */
bool
dp_turn_is_stuck(void)
{
	return dp_job_count_failed() >= STUCK_JOBS;
}
