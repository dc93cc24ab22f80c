/*
 * job.h
 *	  What the worker has in its hands: one job for each request, call-back or
 *	  order, with the sessions that wait for it.
 */
#ifndef DIGIPAY_JOB_H
#define DIGIPAY_JOB_H

#include "digipay.h"
#include "journal.h"
#include "lib/ilist.h"
#include "mailbox.h"
#include "transport.h"

/* Where a job stands; payment.c knows the order. */
typedef enum DpStep
{
	DP_STEP_ADMITTED,
	DP_STEP_OUT,
	DP_STEP_BACK,
	DP_STEP_ASIDE,				/* back, but the outcome could not be written */
	DP_STEP_WRITTEN,			/* and whoever waits is to be told */
	DP_STEP_COUNT
} DpStep;

typedef struct DpJob
{
	dlist_node	node;			/* in the list of its step */
	dlist_node	same_ref;		/* in the list of those with this ref_id's hash */
	MemoryContext context;		/* holds this struct and all below it */
	DpStep		step;
	DpAsk		ask;
	DpAccount	account;
	DpRequest	request;
	DpTransfer *transfer;
	DpResponse	response;		/* its body lives as long as the transfer */
	DpReply		reply;
	DpAnswer	answer;
	DpIntent	intent;
	DpOutcome	outcome;		/* what has been written */
	bool		from_backlog;	/* taken on by ourselves: dp_backlog_done is due */
	bool		from_queue;		/* and no session has asked for it since */
	bool		has_place;		/* counted among its server's in flight */
	bool		was_aside;
	bool		failed;			/* aside, and not because of somebody's lock */
	TimestampTz sent_at;
	TimestampTz due;			/* DP_STEP_ASIDE: when to try again */
	int			nwaiters;
	int			room;
	DpWaiter   *waiters;
} DpJob;

extern void dp_job_init(void);
extern DpJob *dp_job_new(const DpAsk *ask);
extern void dp_job_end(DpJob *job);
extern DpJob *dp_job_find(DpCommand command, const DpJob *other_than, Oid server,
						  const char *account, const char *ref_id);
extern void dp_job_set_step(DpJob *job, DpStep step);
extern void dp_job_set_failed(DpJob *job, bool failed);
extern void dp_job_give_back_place(DpJob *job);
extern void dp_job_add_waiter(DpJob *job, const DpWaiter *waiter);
extern void dp_job_move_waiters(DpJob *from, DpJob *to);
extern void dp_job_answer(DpJob *job, DpAnswer *answer);
extern dlist_head *dp_jobs_in(DpStep step);
extern MemoryContext dp_jobs_context(void);
extern int	dp_job_count(void);
extern int	dp_job_count_in(DpStep step);
extern int	dp_job_count_failed(void);

#endif							/* DIGIPAY_JOB_H */
