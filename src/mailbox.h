/*
 * mailbox.h
 *	  The shared-memory slots between sessions and the worker, and the directory
 *	  in which a session finds its database's worker.
 */
#ifndef DIGIPAY_MAILBOX_H
#define DIGIPAY_MAILBOX_H

#include "digipay.h"

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

extern void dp_mailbox_request_shmem(void);

/* for everybody */
extern int	dp_mailbox_worker_pid(void);

/* for sessions */
extern bool dp_mailbox_attach(void);
extern bool dp_mailbox_post(const DpAsk *ask);
extern DpMail dp_mailbox_look(void);
extern bool dp_mailbox_unseen(void);
extern bool dp_mailbox_withdraw(void);
extern const DpAnswer *dp_mailbox_answer(void);

/* for the worker */
extern void dp_mailbox_create(void);
extern bool dp_mailbox_publish(void);
extern void dp_mailbox_close(void);
extern int	dp_mailbox_next_ready(void);
extern bool dp_mailbox_peek(int slot, DpAsk *ask, DpWaiter *waiter);
extern bool dp_mailbox_take(const DpWaiter *waiter);
extern void dp_mailbox_reply(const DpWaiter *waiter, const DpAnswer *answer);

#endif							/* DIGIPAY_MAILBOX_H */
