/*-------------------------------------------------------------------------
 *
 * job.c
 *	  What the worker has in its hands.
 *
 * A job lives in a memory context of its own, so whatever is made for it goes
 * with it.  Each step has a list of the jobs that are in it, so that a turn looks
 * at those that it is about and not at all that are in flight.  By ref_id jobs are
 * found through a fixed table of lists, long enough for the ten thousand that may
 * be in flight.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "utils/memutils.h"

#include "credential.h"
#include "job.h"
#include "place.h"
#include "request.h"

#define LISTS	1024

/* A job fits into its context's first block, with its request and a usual reply. */
#define CONTEXT_SIZE	(24 * 1024)

/* So many contexts of jobs that are over are kept for the next ones. */
#define KEPT_CONTEXTS	64

static MemoryContext jobs_context = NULL;
static MemoryContext kept[KEPT_CONTEXTS];
static int	nkept = 0;
static dlist_head steps[DP_STEP_COUNT];
static dlist_head by_ref[LISTS];
static int	in_step[DP_STEP_COUNT];
static int	njobs = 0;
static int	nfailed = 0;

/* Get ready, once in the worker's life. */
void
dp_job_init(void)
{
	jobs_context = AllocSetContextCreate(TopMemoryContext, "digipay jobs",
										 ALLOCSET_DEFAULT_SIZES);
	for (int i = 0; i < DP_STEP_COUNT; i++)
		dlist_init(&steps[i]);
	for (int i = 0; i < LISTS; i++)
		dlist_init(&by_ref[i]);
}

/* The list that a job with this ref_id is in. */
static dlist_head *
list_of(const char *ref_id)
{
	return &by_ref[hash_bytes((const unsigned char *) ref_id, strlen(ref_id)) % LISTS];
}

/* A job's context, from the kept ones if there is one. */
static MemoryContext
get_context(void)
{
	if (nkept > 0)
		return kept[--nkept];
	return AllocSetContextCreate(jobs_context, "digipay job",
								 CONTEXT_SIZE, CONTEXT_SIZE, ALLOCSET_DEFAULT_MAXSIZE);
}

/* Free what was in a job's context, and keep it if there is room. */
static void
give_back_context(MemoryContext context)
{
	if (nkept == KEPT_CONTEXTS)
	{
		MemoryContextDelete(context);
		return;
	}
	MemoryContextReset(context);
	kept[nkept++] = context;
}

/* A new job, in its first step, that nobody waits for. */
DpJob *
dp_job_new(const DpAsk *ask)
{
	MemoryContext context = get_context();
	DpJob	   *job = MemoryContextAllocZero(context, sizeof(DpJob));

	job->context = context;
	job->step = DP_STEP_ADMITTED;
	in_step[job->step]++;
	job->ask = *ask;
	job->room = 4;
	job->waiters = MemoryContextAlloc(context, job->room * sizeof(DpWaiter));
	njobs++;
	dlist_push_tail(&steps[job->step], &job->node);
	dlist_push_tail(list_of(ask->ref_id), &job->same_ref);
	return job;
}

/* Forget a job; what it owned goes with it. */
void
dp_job_end(DpJob *job)
{
	dp_job_give_back_place(job);
	dp_job_set_failed(job, false);
	if (job->transfer != NULL)
		dp_transport_release(job->transfer);
	dp_request_wipe(&job->request);
	dp_account_wipe(&job->account);
	dlist_delete(&job->node);
	dlist_delete(&job->same_ref);
	in_step[job->step]--;
	njobs--;
	give_back_context(job->context);
}

/*
 * The job of this command about that payment, by server or by account; not
 * other_than itself.  NULL if there is none.
 */
DpJob *
dp_job_find(DpCommand command, const DpJob *other_than, Oid server,
			const char *account, const char *ref_id)
{
	dlist_iter	iter;

	dlist_foreach(iter, list_of(ref_id))
	{
		DpJob	   *job = dlist_container(DpJob, same_ref, iter.cur);

		if (job != other_than && job->ask.command == command &&
			strcmp(job->ask.ref_id, ref_id) == 0 &&
			(job->ask.server == server ||
			 (account != NULL && job->account.account != NULL &&
			  strcmp(job->account.account, account) == 0)))
			return job;
	}
	return NULL;
}

/* Move a job to another step, behind those that are there; they are counted. */
void
dp_job_set_step(DpJob *job, DpStep step)
{
	dlist_delete(&job->node);
	dlist_push_tail(&steps[step], &job->node);
	in_step[job->step]--;
	in_step[step]++;
	job->step = step;
}

/* Note whether an outcome could not be written, nobody's lock being the reason. */
void
dp_job_set_failed(DpJob *job, bool failed)
{
	nfailed += failed - job->failed;
	job->failed = failed;
}

/* Give back its place in flight, if it has one. */
void
dp_job_give_back_place(DpJob *job)
{
	if (job->has_place)
	{
		dp_place_give_back(job->ask.server);
		job->has_place = false;
	}
}

/* One more session waits for this job. */
void
dp_job_add_waiter(DpJob *job, const DpWaiter *waiter)
{
	if (job->nwaiters == job->room)
	{
		job->room *= 2;
		job->waiters = repalloc(job->waiters, job->room * sizeof(DpWaiter));
	}
	job->waiters[job->nwaiters++] = *waiter;
}

/* Let those who wait for one job wait for another. */
void
dp_job_move_waiters(DpJob *from, DpJob *to)
{
	for (int i = 0; i < from->nwaiters; i++)
		dp_job_add_waiter(to, &from->waiters[i]);
	from->nwaiters = 0;
}

/*
 * Wake all who wait for this job.  The account in the answer is the one that
 * the request was made under, which need not be the one that the session has
 * read.
 */
void
dp_job_answer(DpJob *job, DpAnswer *answer)
{
	if (job->account.account != NULL)
		strlcpy(answer->account, job->account.account, sizeof(answer->account));
	for (int i = 0; i < job->nwaiters; i++)
		dp_mailbox_reply(&job->waiters[i], answer);
	job->nwaiters = 0;
}

/* The jobs in that step, in the order in which they have come to it. */
dlist_head *
dp_jobs_in(DpStep step)
{
	return &steps[step];
}

/* Lives as long as the worker. */
MemoryContext
dp_jobs_context(void)
{
	return jobs_context;
}

/* Jobs in our hands, in whatever step. */
int
dp_job_count(void)
{
	return njobs;
}

/* Jobs in that step. */
int
dp_job_count_in(DpStep step)
{
	return in_step[step];
}

/* Outcomes that could not be written, nobody's lock being the reason. */
int
dp_job_count_failed(void)
{
	return nfailed;
}
