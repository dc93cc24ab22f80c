/*-------------------------------------------------------------------------
 *
 * client.c
 *	  A session's side of a request: hand it over, wait, and take the answer.
 *
 * Where something is asked for, whatever ends the wait (a cancel, a time-out, the end of the session) takes
 * the request back if the worker has not taken it; else it goes on without us.
 * Which of the two it was is in the error's context, and decided in the same
 * moment as it is told.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "compat.h"
#include "utils/timestamp.h"

#include "client.h"
#include "launch.h"
#include "mailbox.h"

/* A worker that has not even looked at a request after this has a problem. */
#define LOOK_TIMEOUT_MS		9000

/* What is asked for, with the ref_id if it is about one; palloc'd. */
static char *
name_of(const char *what, const DpAsk *ask)
{
	return ask->ref_id[0] != '\0' ? psprintf("%s \"%s\"", what, ask->ref_id) : pstrdup(what);
}

/*
 * Error context while we wait.  It withdraws the request, so that what it says
 * stays true; should the message be no error after all, the wait goes on by
 * posting again.
 */
static void
wait_ended(void *arg)
{
	const DpAsk *ask = arg;
	const char *what = ask->command == DP_PAY ? "payment" :
		ask->command == DP_INQUIRE ? "inquiry" :
		ask->command == DP_STATUS ? "status question" :
		ask->command == DP_WEBHOOK ? "call-back" :
		ask->command == DP_BALANCE ? "question for the balance" :
		ask->command == DP_PRICE_LIST ? "question for the price list" :
		ask->command == DP_DEPOSIT ? "deposit" : "request";
	char	   *subject = name_of(what, ask);
	DpMail		mail;

	(void) dp_mailbox_withdraw();
	mail = dp_mailbox_look();
	if (mail == DP_MAIL_WITHDRAWN || mail == DP_MAIL_GONE_UNTAKEN)
		errcontext("digipay %s, taken back before the worker had it: nothing was sent",
				   subject);
	else if (ask->command == DP_PAY)
		errcontext("digipay payment \"%s\", which goes on without this session: call digipay_pay again with the same ref_id for its outcome",
				   ask->ref_id);
	else if (ask->command == DP_DEPOSIT)
		errcontext("digipay deposit, which goes on without this session: its row in digipay_ticket will say what has become of it");
	else if (ask->command == DP_WEBHOOK || ask->command == DP_TAKE_OVER)
		errcontext("digipay %s, which goes on without this session", what);
	else
		errcontext("digipay %s, whose answer nobody waits for any more", subject);
}

/* Raise PY003 where a worker is there, but does not react. */
static void
raise_unresponsive(const DpAsk *ask)
{
	ereport(ERROR,
			(errcode(DP_ERRCODE_NO_WORKER),
			 errmsg("the digipay worker does not react"),
			 errdetail("It has not looked at %s for nine seconds.  Nothing was sent.",
					   name_of("request", ask)),
			 errhint("Look for \"digipay worker\" in pg_stat_activity and in the server's log.")));
}

/*
 * Wait for the request that was posted to be answered, or to come back.  The
 * only time-out is for the worker's first look at it.
 */
static DpMail
wait_for_answer(const DpAsk *ask)
{
	TimestampTz posted_at = GetCurrentTimestamp();
	uint32		wait_event = dp_wait_event("DigipayAnswer");
	bool		seen = false;
	DpMail		mail;

	for (;;)
	{
		long		left = -1;

		mail = dp_mailbox_look();
		if (mail != DP_MAIL_WAITING && mail != DP_MAIL_TAKEN)
			return mail;
		seen = seen || mail == DP_MAIL_TAKEN || !dp_mailbox_unseen();
		if (!seen)
		{
			left = LOOK_TIMEOUT_MS -
				TimestampDifferenceMilliseconds(posted_at, GetCurrentTimestamp());
			if (left <= 0 && dp_mailbox_withdraw())
				raise_unresponsive(ask);
			left = Max(left, 0);
		}
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | (left >= 0 ? WL_TIMEOUT : 0),
						 left, wait_event);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/*
 * Have the worker do what is asked, and wait for it.  Starts the worker if need
 * be.  Raises what ends the wait, and PY003 where no worker can be had; nothing
 * was sent in that case.
 */
DpWaited
dp_client_ask(const DpAsk *ask, DpAnswer *answer)
{
	ErrorContextCallback callback;
	DpMail		mail;

	for (;;)
	{
		(void) dp_launch_ensure();
		if (!dp_mailbox_post(ask))
			continue;			/* it has just ended: start another one */

		callback.callback = wait_ended;
		callback.arg = unconstify(DpAsk *, ask);
		callback.previous = error_context_stack;
		error_context_stack = &callback;
		mail = wait_for_answer(ask);
		error_context_stack = callback.previous;

		if (mail == DP_MAIL_DONE)
		{
			*answer = *dp_mailbox_answer();
			return DP_WAITED_ANSWER;
		}
		if (mail == DP_MAIL_GONE_TAKEN)
			return DP_WAITED_LOST;
		CHECK_FOR_INTERRUPTS();
	}
}

/*
 * Sleep until the payment has become final, or may have, or the time is over.
 * Starts the worker if need be, since without one nothing will happen to the
 * payment.  It may come back early: look, and call again.
 */
void
dp_client_watch(const DpAsk *ask, long timeout_ms)
{
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), timeout_ms);
	uint32		wait_event = dp_wait_event("DigipayOutcome");
	DpMail		mail;

	(void) dp_launch_ensure();
	if (!dp_mailbox_post(ask))
		return;
	for (;;)
	{
		TimestampTz now = GetCurrentTimestamp();

		mail = dp_mailbox_look();
		if ((mail != DP_MAIL_WAITING && mail != DP_MAIL_TAKEN) || now >= until)
			break;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 (until - now) / 1000 + 1, wait_event);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	if (!dp_mailbox_withdraw())
		dp_mailbox_forget();
}
