/*
 * mailbox.h
 *	  The shared-memory slots between sessions and the worker, and the directory
 *	  in which a session finds its database's worker.
 */
#ifndef DIGIPAY_MAILBOX_H
#define DIGIPAY_MAILBOX_H

#include "digipay.h"
#include "port/atomics.h"

/* How a session's own request stands. */
typedef enum DpMail
{
	DP_MAIL_WAITING,			/* not taken yet: can be withdrawn */
	DP_MAIL_TAKEN,				/* with the worker */
	DP_MAIL_DONE,				/* answered */
	DP_MAIL_GONE_UNTAKEN,		/* the worker has ended, and never took it */
	DP_MAIL_GONE_TAKEN,			/* the worker has ended, having taken it */
	DP_MAIL_WITHDRAWN
} DpMail;

/* A session that waits: its slot, and which of its requests. */
typedef struct DpWaiter
{
	int			slot;
	uint64		seq;
} DpWaiter;

/*
 * What the worker has done since its start.  It alone writes, but for the last
 * one, and sessions read; each number is right for itself.
 */
typedef struct DpStats
{
	TimestampTz started_at;
	pg_atomic_uint64 sent;
	pg_atomic_uint64 outcomes[DP_REVIEW + 1];	/* how often each state was reached */
	pg_atomic_uint64 questions;
	pg_atomic_uint64 retries;
	pg_atomic_uint64 bytes_sent;
	pg_atomic_uint64 bytes_received;
	pg_atomic_uint64 replies;
	pg_atomic_uint64 reply_us;	/* in all */
	pg_atomic_uint64 reply_us_max;
	pg_atomic_uint64 in_flight;
	pg_atomic_uint64 queue_length;
	pg_atomic_uint64 webhooks;
	pg_atomic_uint64 webhooks_refused;
} DpStats;

extern void dp_mailbox_request_shmem(void);

/* for everybody */
extern int	dp_mailbox_worker_pid(void);
extern bool dp_mailbox_may_launch(int within_ms);
extern DpStats *dp_mailbox_stats(void);

/* for sessions */
extern bool dp_mailbox_attach(void);
extern bool dp_mailbox_post(const DpAsk *ask);
extern DpMail dp_mailbox_look(void);
extern bool dp_mailbox_unseen(void);
extern bool dp_mailbox_withdraw(void);
extern const DpAnswer *dp_mailbox_answer(void);
extern void dp_mailbox_forget(void);
extern void dp_mailbox_poke(void);

/* for the worker */
extern void dp_mailbox_create(void);
extern bool dp_mailbox_publish(void);
extern void dp_mailbox_close(void);
extern int	dp_mailbox_next_ready(void);
extern DpStats *dp_mailbox_stats_of_mine(void);
extern bool dp_mailbox_was_poked(void);
extern bool dp_mailbox_is_waiting(const DpWaiter *waiter);
extern bool dp_mailbox_peek(int slot, DpAsk *ask, DpWaiter *waiter);
extern bool dp_mailbox_take(const DpWaiter *waiter);
extern void dp_mailbox_reply(const DpWaiter *waiter, const DpAnswer *answer);

#endif							/* DIGIPAY_MAILBOX_H */
