/*-------------------------------------------------------------------------
 *
 * turn.c
 *	  A turn of the worker: one transaction for all that is ready.
 *
 * All that is admitted or back when a turn begins shares the turn's one
 * transaction, so one flush serves many payments, and the same step of many is
 * one statement.  Where that fails, the turn begins anew with a statement for each
 * of them.  Where such a one fails, the job that it was for is the culprit: it is
 * taken out, and the turn begins anew with the rest, so that one locked row never
 * holds up the others.
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
#include "record.h"
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

/* One try at the turn's transaction. */
typedef struct Try
{
	bool		careful;		/* after a failure: one job after the other */
	DpJob	   *culprit;		/* whose statement is being run; NULL: many jobs' */
	bool		together;		/* a statement for many jobs is being run */
} Try;

/* Somebody has locked the payment's row: its outcome has to wait, its bytes need not. */
static void
wait_for_row(DpJob *job)
{
	if (!job->was_aside)
		dp_record_bytes(&job->ask, &job->account, &job->response);
	job->was_aside = true;
	dp_payment_put_aside(job, ASIDE_MIN_MS);
}

/*
 * Do one step of jobs: with all of them at once; with one after the other in a
 * try that is careful.
 */
static void
do_step(volatile Try *try, void (*step) (DpJob **jobs, int n), DpJob **jobs, int n)
{
	if (n == 0)
		return;
	if (!try->careful)
	{
		try->culprit = NULL;
		try->together = true;
		step(jobs, n);
		try->together = false;
		return;
	}
	for (int i = 0; i < n; i++)
	{
		try->culprit = jobs[i];
		step(&jobs[i], 1);
	}
}

/*
 * Write what is back.  Payments after a failure are looked at before they are
 * written, since many rows may be locked.
 */
static void
write_outcomes(volatile Try *try)
{
	DpJob	  **payments = palloc(Max(dp_job_count_in(DP_STEP_BACK), 1) * sizeof(DpJob *));
	int			n = 0;
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, dp_jobs_in(DP_STEP_BACK))
	{
		DpJob	   *job = dlist_container(DpJob, node, iter.cur);

		try->culprit = job;
		if (try->careful && job->ask.command == DP_PAY &&
			dp_journal_is_locked(&job->ask, &job->account))
			wait_for_row(job);
		else if (dp_payment_record(job))
			payments[n++] = job;
	}
	do_step(try, dp_payment_record_outcomes, payments, n);
}

/* Prepare what is admitted: the payments, or all else. */
static void
prepare(volatile Try *try, bool payments)
{
	DpJob	  **intents = palloc(Max(dp_job_count_in(DP_STEP_ADMITTED), 1) * sizeof(DpJob *));
	int			n = 0;
	dlist_iter	iter;

	dlist_foreach(iter, dp_jobs_in(DP_STEP_ADMITTED))
	{
		DpJob	   *job = dlist_container(DpJob, node, iter.cur);

		if ((job->ask.command == DP_PAY) != payments)
			continue;
		try->culprit = job;
		if (dp_payment_prepare(job))
			intents[n++] = job;
	}
	do_step(try, dp_payment_intend, intents, n);
}

/*
 * One try at the turn's transaction.  What is back comes first, since it is older
 * than what is admitted; and payments before call-backs, which may be about them.
 */
static DpTurn
try_turn(volatile Try *try)
{
	if (!dp_transaction_begin())
		return DP_TURN_UNINSTALLED;
	write_outcomes(try);
	prepare(try, true);
	prepare(try, false);
	try->culprit = NULL;
	dp_transaction_commit();
	return DP_TURN_DONE;
}

/* What the turn has committed can have its consequences now. */
static void
go_on(void)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, dp_jobs_in(DP_STEP_BACK))
	{
		DpJob	   *job = dlist_container(DpJob, node, iter.cur);

		dp_job_give_back_place(job);
		dp_job_set_step(job, DP_STEP_WRITTEN);
	}
	/* first send, then wake: the others' requests need not wait for that */
	dlist_foreach_modify(iter, dp_jobs_in(DP_STEP_ADMITTED))
		dp_payment_go_on(dlist_container(DpJob, node, iter.cur));
	dlist_foreach_modify(iter, dp_jobs_in(DP_STEP_WRITTEN))
		dp_payment_finish(dlist_container(DpJob, node, iter.cur));
}

/* Nothing could be written at all: refuse what is new, keep what is back. */
static void
turn_failed(const ErrorData *error)
{
	dlist_mutable_iter iter;

	trouble_ms = Min(Max(trouble_ms * 2, ASIDE_MIN_MS), ASIDE_MAX_MS);
	dlist_foreach_modify(iter, dp_jobs_in(DP_STEP_ADMITTED))
		dp_payment_refuse(dlist_container(DpJob, node, iter.cur), error->message,
						  is_lock_error(error));
	dlist_foreach_modify(iter, dp_jobs_in(DP_STEP_BACK))
		dp_payment_put_aside(dlist_container(DpJob, node, iter.cur), trouble_ms);
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
			dp_record_bytes(&job->ask, &job->account, &job->response);
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
handle_error(const Try *try, volatile int *failures)
{
	DpJob	   *culprit = try->culprit;
	ErrorData  *error;
	bool		again = true;

	MemoryContextSwitchTo(dp_jobs_context());
	error = CopyErrorData();
	FlushErrorState();
	dp_transaction_abort();
	MemoryContextSwitchTo(dp_jobs_context());
	dp_fence_forget_take_over();

	(*failures)++;
	dp_transaction_be_patient(false);
	if (try->together)
	{
		/* it shows in the next try whose fault it was */
		FreeErrorData(error);
		return true;
	}
	log_trouble(error, culprit);
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
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, dp_jobs_in(DP_STEP_ASIDE))
	{
		DpJob	   *job = dlist_container(DpJob, node, iter.cur);

		if (job->due <= now)
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
		volatile Try try = {.careful = failures > 0};

		again = false;
		PG_TRY();
		{
			turn = try_turn(&try);
			written = turn == DP_TURN_DONE;
		}
		PG_CATCH();
		{
			again = handle_error(unvolatize(Try *, &try), &failures);
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
	dlist_foreach(iter, dp_jobs_in(DP_STEP_ASIDE))
		first = Min(first, dlist_container(DpJob, node, iter.cur)->due);
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
