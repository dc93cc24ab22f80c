/*-------------------------------------------------------------------------
 *
 * worker.c
 *	  The worker's life and loop: one process for each database, which does all
 *	  that is done over HTTP.
 *
 * It holds a private advisory lock, so that there is only one.  All waiting is
 * in one place, for its latch, the postmaster's death and libcurl's sockets.
 * Idle, it looks once a second whether it is in the way of somebody who wants
 * the database for himself (DROP DATABASE waits five seconds for others to go
 * away), or is not wanted any more, and then ends; the next call starts
 * another one.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_database.h"
#include "compat.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "replication/syncrep.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "storage/procarray.h"
#include "storage/procsignal.h"
#include "tcop/tcopprot.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "backlog.h"
#include "fence.h"
#include "guc.h"
#include "job.h"
#include "journal.h"
#include "launch.h"
#include "mailbox.h"
#include "objects.h"
#include "pace.h"
#include "payment.h"
#include "place.h"
#include "problem.h"
#include "statement.h"
#include "ticket.h"
#include "transport.h"
#include "turn.h"
#include "watch.h"
#include "worker.h"

/* How often an idle worker looks whether it should go. */
#define IDLE_LOOK_MS	1000

/* How soon a question that had to wait is looked at again. */
#define QUESTION_TURN_MS	20

/* How long the last commit of a stop may wait for a synchronous standby. */
#define STOP_COMMIT_MS	1000

static bool preloaded = false;
static TimeoutId stop_timeout;
static WaitEventSet *wait_set = NULL;
static uint32 wait_event_idle;
static uint32 wait_event_reply;

/* requests posted but not taken, in order of arrival: slots */
static int *queue = NULL;
static bool *queued = NULL;		/* by slot: is it in the queue? */
static int	queue_length = 0;
static bool question_waits = false; /* one of them, for its turn */

static TimestampTz started_at;	/* what left before is not ours */
static bool leftover = false;	/* rows of the last worker that are locked */
static TimestampTz recover_at;	/* when to try them again */
static bool tickets_left = true;	/* the same of deposit tickets, for which no payment waits */
static TimestampTz recover_tickets_at = 0;

static bool stopping = false;
static TimestampTz stop_by = 0;
static TimestampTz idle_since = 0;
static TimestampTz backoff_until = 0;

/* ----------
 * Start
 * ----------
 */

/*
 * Become the only worker of this database, or end.  Another one may be ending
 * just now; that is waited for, a second at a time.
 */
static void
become_the_worker(void)
{
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, 0, DP_LOCK_SINGLETON, DP_LOCK_CLASS);
	for (int i = 0; i < 100; i++)
	{
		if (LockAcquire(&tag, ExclusiveLock, true, true) != LOCKACQUIRE_NOT_AVAIL)
			return;
		if (dp_mailbox_worker_pid() != 0 && dp_mailbox_attach())
			break;				/* one is there, and well */
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 100, wait_event_idle);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	proc_exit(0);
}

/* Clean up after a worker that was killed. */
static void
recover(void)
{
	int			lost = dp_journal_recover(started_at, &leftover);

	dp_transaction_commit();
	if (lost > 0)
		ereport(LOG,
				(errmsg_plural("digipay: %d payment was on its way when the last worker ended; its state is now unknown",
							   "digipay: %d payments were on their way when the last worker ended; their state is now unknown",
							   lost, lost)));
	recover_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), IDLE_LOOK_MS);
}

/*
 * Check that the extension is there at all, and whose queue this is; if it is
 * ours, clean up.
 */
static void
open_journal(void)
{
	if (!dp_transaction_begin())
		proc_exit(0);
	dp_fence_open();
	dp_fence_keep_take_over();
	if (dp_fence()->state == DP_FENCE_OPEN)
		recover();
	else
		dp_transaction_commit();
}

/* Try again what somebody had locked at our start; an error is not ours. */
static void
recover_leftover(void)
{
	MemoryContext old = CurrentMemoryContext;

	recover_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), IDLE_LOOK_MS);
	PG_TRY();
	{
		if (dp_transaction_begin())
			recover();
	}
	PG_CATCH();
	{
		EmitErrorReport();
		dp_transaction_abort();
		FlushErrorState();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old);
}

/* The same for deposit tickets, in a transaction of their own. */
static void
recover_tickets(void)
{
	MemoryContext old = CurrentMemoryContext;

	recover_tickets_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), IDLE_LOOK_MS);
	dp_transaction_be_patient(false);
	PG_TRY();
	{
		if (dp_transaction_begin())
		{
			tickets_left = !dp_ticket_recover(started_at);
			dp_transaction_commit();
		}
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(old);
		/* somebody's lock is no news */
		if (geterrcode() != ERRCODE_LOCK_NOT_AVAILABLE)
			EmitErrorReport();
		dp_transaction_abort();
		FlushErrorState();
	}
	PG_END_TRY();
	dp_transaction_be_patient(true);
	MemoryContextSwitchTo(old);
}

/*
 * SIGTERM.  A commit that waits for a synchronous standby would not notice a
 * mere request, so that wait is cut short; dp_transaction_commit ends us then.
 */
static void
on_sigterm(SIGNAL_ARGS)
{
	int			save_errno = errno;

	ShutdownRequestPending = true;
	if (MyProc != NULL && MyProc->syncRepState == SYNC_REP_WAITING)
	{
		ProcDiePending = true;
		InterruptPending = true;
	}
	SetLatch(MyLatch);
	errno = save_errno;
}

/* The same, for such a wait that began after the signal. */
static void
on_stop_timeout(void)
{
	on_sigterm(SIGTERM);
}

/*
 * SIGINT, by which lock_timeout arrives.  It must not end the wait for a
 * synchronous standby, since a payment would leave after that.
 */
static void
on_sigint(SIGNAL_ARGS)
{
	if (!dp_is_committing)
		StatementCancelHandler(postgres_signal_arg);
}

/* Tell the launcher, who waits on its latch. */
static void
tell_launcher(void)
{
	PGPROC	   *launcher = MyBgworkerEntry->bgw_notify_pid != 0 ?
		BackendPidGetProc(MyBgworkerEntry->bgw_notify_pid) : NULL;

	if (launcher != NULL)
		SetLatch(&launcher->procLatch);
}

/* As many connections as is set, or a word in the log that these are too many. */
static void
allow_connections(void)
{
	int			room = dp_transport_allow(dp_guc_max_connections);

	if (room < dp_guc_max_connections)
		ereport(LOG,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("the digipay worker is sure of only %d of %d connections",
						room, dp_guc_max_connections),
				 errdetail("The hard limit on open files is too low for max_files_per_process (%d) and digipay.max_connections together.",
						   max_files_per_process),
				 errhint("Raise the limit, or lower one of the two.")));
}

/* Become this database's worker, or leave at once if there is one, or must be none. */
static void
start(Datum arg)
{
	Oid			database = (Oid) (DatumGetUInt64(arg) & PG_UINT32_MAX);
	const char *trouble;

	/* what pg_upgrade copies is paid by the new cluster, if at all */
	if (IsBinaryUpgrade)
		proc_exit(0);
	preloaded = (DatumGetUInt64(arg) >> 32) != 0;
	pqsignal(SIGTERM, die);		/* until there is something to end orderly */
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);
	pgstat_report_appname("digipay worker");
	wait_event_idle = dp_wait_event("DigipayWorkerIdle");
	wait_event_reply = dp_wait_event("DigipayWorkerReply");

	dp_transaction_configure();
	StartTransactionCommand();
	become_the_worker();
	CommitTransactionCommand();
	started_at = GetCurrentTimestamp();
	stop_timeout = RegisterTimeout(USER_TIMEOUT, on_stop_timeout);
	pqsignal(SIGTERM, on_sigterm);
	pqsignal(SIGINT, on_sigint);
	open_journal();

	trouble = dp_transport_init();
	if (trouble != NULL)
		ereport(FATAL,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("digipay worker could not start: %s", trouble)));
	allow_connections();
	dp_job_init();
	dp_place_init();
	dp_backlog_init();
	dp_watch_init();
	queue = MemoryContextAlloc(TopMemoryContext, MaxBackends * sizeof(int));
	queued = MemoryContextAllocZero(TopMemoryContext, MaxBackends * sizeof(bool));

	wait_set = dp_create_wait_event_set(3);
	AddWaitEventToSet(wait_set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(wait_set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	AddWaitEventToSet(wait_set, WL_SOCKET_READABLE, dp_transport_socket(), NULL, NULL);

	dp_mailbox_create();
	if (!dp_mailbox_publish())
		ereport(FATAL,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("digipay worker could not start: too many databases have one")));
	tell_launcher();
}

/* ----------
 * Requests
 * ----------
 */

/* Note who has posted. */
static void
collect_posts(void)
{
	int			slot;

	while ((slot = dp_mailbox_next_ready()) >= 0)
	{
		if (!queued[slot])
		{
			queued[slot] = true;
			queue[queue_length++] = slot;
		}
	}
}

/* While nothing can be written, say so at once. */
static void
refuse_for_now(const DpWaiter *waiter)
{
	DpAnswer	answer = {.kind = DP_ANSWER_PROBLEM};

	dp_problem_set(&answer.problem, DP_ERRCODE_NO_WORKER,
				   "the worker cannot write to the journal at present; nothing was sent");
	dp_problem_hint(&answer.problem,
					"See the server's log; the same ref_id may be used again.");
	dp_mailbox_reply(waiter, &answer);
}

/*
 * Deal with one posted request.  False if it has to wait for a free place, or as
 * a question for its turn, in which case it stays in the mailbox, where its
 * session can take it back.
 */
static bool
serve(int slot)
{
	DpAsk		ask;
	DpWaiter	waiter;
	bool		refuse;

	if (!dp_mailbox_peek(slot, &ask, &waiter))
		return true;
	refuse = backoff_until != 0 || dp_turn_is_stuck();
	if (!refuse && !dp_payment_is_known(&ask))
	{
		if (dp_payment_needs_place(&ask) && !dp_place_is_free(ask.server))
			return false;
		if (ask.command == DP_STATUS && !dp_pace_may_ask())
		{
			question_waits = true;
			return false;
		}
	}
	if (!dp_mailbox_take(&waiter))
		return true;
	if (ask.command == DP_WAIT)
	{
		dp_watch_add(ask.ref_id, &waiter);
		return true;
	}
	if (dp_payment_join(&ask, &waiter))
		return true;
	if (refuse)
		refuse_for_now(&waiter);
	else
	{
		if (ask.command == DP_STATUS)
			dp_pace_asked();
		dp_payment_admit(&ask, &waiter);
	}
	return true;
}

/* Deal with the posted requests, oldest first, as far as there are places. */
static void
serve_posts(void)
{
	int			kept = 0;

	question_waits = false;
	for (int i = 0; i < queue_length; i++)
	{
		int			slot = queue[i];

		if (serve(slot))
			queued[slot] = false;
		else
			queue[kept++] = slot;
	}
	queue_length = kept;
}

/* ----------
 * What is due by itself
 * ----------
 */

/* Tell of what the look has found to be final, now that it is committed. */
static void
tell_news(void)
{
	const DpNews *news;

	for (int i = 0; (news = dp_backlog_news(i)) != NULL; i++)
		dp_payment_tell(news->server, news->ref_id, news->state);
	dp_backlog_told();
}

/* Look at the journal; an error is logged, and the look repeated later. */
static void
look_at_backlog(void)
{
	MemoryContext old = CurrentMemoryContext;

	PG_TRY();
	{
		if (!dp_transaction_begin())
			proc_exit(0);
		dp_backlog_look();
		dp_transaction_commit();
		tell_news();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(old);
		/* somebody's lock is no news */
		if (geterrcode() != ERRCODE_LOCK_NOT_AVAILABLE)
			EmitErrorReport();
		dp_transaction_abort();
		FlushErrorState();
		dp_backlog_told();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old);
	pg_atomic_write_u64(&dp_mailbox_stats_of_mine()->queue_length,
						(uint64) dp_backlog_queue_length());
}

/* Take on queued payments and questions, as far as there are places. */
static void
take_on_backlog(void)
{
	DpAsk		ask;

	if (dp_mailbox_was_poked())
		dp_backlog_poked();
	if (backoff_until != 0 || dp_turn_is_stuck())
		return;
	if (dp_backlog_is_due())
		look_at_backlog();
	while (dp_backlog_next(&ask))
		dp_payment_admit_due(&ask);
}

/* ----------
 * Idleness and end
 * ----------
 */

/*
 * End if somebody waits for the database to be empty, or the extension has gone.
 * Whoever drops, renames or copies a database locks it against connecting
 * sessions; the same lock as theirs is tried here.
 */
static void
end_if_unwanted(void)
{
	LOCKTAG		tag;
	bool		in_the_way;
	bool		uninstalled;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	AcceptInvalidationMessages();
	SET_LOCKTAG_OBJECT(tag, InvalidOid, DatabaseRelationId, MyDatabaseId, 0);
	in_the_way = LockAcquire(&tag, RowExclusiveLock, false, true) == LOCKACQUIRE_NOT_AVAIL;
	uninstalled = dp_objects() == NULL;
	CommitTransactionCommand();
	if (in_the_way && !uninstalled && !dp_backlog_is_empty())
		dp_launch_later(preloaded);
	if (in_the_way || uninstalled)
		proc_exit(0);
}

/*
 * End, for lack of work.  Not while there is a prepared transaction, of whose
 * commit nobody would tell; and should somebody tell of his in this very moment,
 * another worker has to see to it.
 */
static void
end_idle(void)
{
	bool		prepared;

	if (!dp_transaction_begin())
		proc_exit(0);
	prepared = dp_backlog_is_prepared();
	dp_transaction_commit();
	idle_since = GetCurrentTimestamp();
	if (prepared)
		return;
	dp_mailbox_close();
	if (dp_mailbox_was_poked())
		dp_launch_later(preloaded);
	proc_exit(0);
}

/* End where nothing is in our hands. */
static void
end_if_idle_for_long(void)
{
	static TimestampTz next_look = 0;
	TimestampTz now = GetCurrentTimestamp();

	if (idle_since == 0 || !dp_backlog_is_empty())
		idle_since = now;
	if (!preloaded && dp_guc_idle_timeout > 0 &&
		TimestampDifferenceExceeds(idle_since, now, dp_guc_idle_timeout * 1000))
		end_idle();
	if (now < next_look)
		return;
	next_look = TimestampTzPlusMilliseconds(now, IDLE_LOOK_MS);
	end_if_unwanted();
	/* what we have written since, autovacuum must hear of */
	pgstat_report_stat(true);
}

/* Asked to end: take nothing new, and wait for what is on its way. */
static void
begin_to_stop(void)
{
	stopping = true;
	stop_by = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), dp_guc_shutdown_grace);
	dp_mailbox_close();
	enable_timeout_after(stop_timeout, dp_guc_shutdown_grace + STOP_COMMIT_MS);
}

/* Has the end come?  Payments without an answer are written as unknown. */
static void
stop_if_done(void)
{
	if (dp_places_taken() > 0 && GetCurrentTimestamp() < stop_by)
		return;
	dp_transaction_stop_waiting();
	dp_payment_give_up("the server was stopped before the answer came");
	(void) dp_turn();
	proc_exit(0);
}

/* ----------
 * The loop
 * ----------
 */

/*
 * Signals and the like.  A cancel has nothing to cancel here; what
 * CHECK_FOR_INTERRUPTS does besides, such as letting go of dropped files, it
 * must do.
 */
static void
handle_interrupts(void)
{
	QueryCancelPending = false;
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
		allow_connections();
	}
	if (ShutdownRequestPending && !stopping)
		begin_to_stop();
}

/* One turn of the journal, and what its failure means. */
static void
turn(void)
{
	if (!dp_turn_is_due())
		return;
	switch (dp_turn())
	{
		case DP_TURN_DONE:
			backoff_until = 0;
			break;
		case DP_TURN_TROUBLE:
			backoff_until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
														dp_turn_trouble());
			break;
		case DP_TURN_UNINSTALLED:
			proc_exit(0);
	}
}

/* The earlier of two time-outs in milliseconds, of which -1 is none. */
static long
earlier(long a, long b)
{
	return a < 0 ? b : b < 0 ? a : Min(a, b);
}

/* How long there is nothing to do unless something happens; -1: for ever. */
static long
sleep_time(void)
{
	long		timeout = earlier(dp_transport_timeout(), dp_turn_timeout());

	if (!stopping && backoff_until != 0)
		timeout = earlier(timeout, Max(0, (backoff_until - GetCurrentTimestamp()) / 1000 + 1));
	else if (!stopping && !dp_turn_is_stuck())
		timeout = earlier(timeout, dp_backlog_timeout());
	if (stopping)
		timeout = earlier(timeout, Max(0, (stop_by - GetCurrentTimestamp()) / 1000 + 1));
	if (dp_job_count() == 0 && !stopping)
		timeout = earlier(timeout, IDLE_LOOK_MS);
	if (question_waits)
		timeout = earlier(timeout, QUESTION_TURN_MS);
	return timeout;
}

/* Show in pg_stat_activity what we are at. */
static void
report_activity(void)
{
	static int	shown = -1;
	int			count = dp_places_taken();
	char		text[64];

	pg_atomic_write_u64(&dp_mailbox_stats_of_mine()->in_flight, (uint64) count);
	if (count == shown)
		return;
	shown = count;
	if (count == 0)
	{
		pgstat_report_activity(STATE_IDLE, "digipay: waiting for calls");
		pgstat_report_stat(false);
		return;
	}
	snprintf(text, sizeof(text), "digipay: %d in flight", count);
	pgstat_report_activity(STATE_RUNNING, text);
}

/* Sleep until a session, a socket, a signal or the clock wants something. */
static void
sleep_until_needed(void)
{
	WaitEvent	event;

	if (WaitEventSetWait(wait_set, sleep_time(), &event, 1,
						 dp_places_taken() > 0 ? wait_event_reply : wait_event_idle) > 0 &&
		(event.events & WL_LATCH_SET))
		ResetLatch(MyLatch);
}

/* Entry point of the process; arg is made by DP_WORKER_ARG. */
void
digipay_worker_main(Datum arg)
{
	MemoryContext loop_context;

	start(arg);
	loop_context = AllocSetContextCreate(TopMemoryContext, "digipay loop",
										 ALLOCSET_DEFAULT_SIZES);
	for (;;)
	{
		bool		slept_idle = dp_job_count() == 0 && queue_length == 0;

		MemoryContextReset(loop_context);
		MemoryContextSwitchTo(loop_context);
		handle_interrupts();
		if (backoff_until != 0 && backoff_until <= GetCurrentTimestamp())
			backoff_until = 0;
		if (!stopping)
		{
			collect_posts();
			serve_posts();
			take_on_backlog();
		}
		turn();
		if (dp_watch_has_news())
			dp_watch_tell();
		dp_watch_sweep();
		/* an abort may have let it go */
		dp_transaction_hold_journal(dp_job_count() > 0);
		if (leftover && recover_at <= GetCurrentTimestamp())
			recover_leftover();
		if (tickets_left && recover_tickets_at <= GetCurrentTimestamp())
			recover_tickets();
		dp_transport_drive();
		dp_payment_collect();
		if (stopping)
			stop_if_done();
		/* whoever waits for a place that is free now shall not wait for an event */
		if (dp_turn_is_due() ||
			(dp_places_news() && (queue_length > 0 || dp_backlog_is_waiting())))
			continue;
		if (dp_job_count() > 0)
			idle_since = 0;
		else if (slept_idle)
			end_if_idle_for_long();
		report_activity();
		sleep_until_needed();
	}
}
