/*-------------------------------------------------------------------------
 *
 * payment.c
 *	  The life of a job in the worker: a payment, a question, a call-back.
 *
 * The only file that knows the order of the steps:
 *
 *	admitted	account loaded, body built and signed, intent written
 *	  -- COMMIT, flushed --
 *	out			handed to the transport
 *	back		reply read; outcome written
 *	  -- COMMIT, flushed --
 *	done		whoever waits is woken
 *
 * What a turn of the worker (turn.c) does to each job is here.  A status
 * question goes the same way: that it is asked is committed before it leaves.
 * Inquiries and digipay_health's question have no intent, since no money depends
 * on them; a call-back and a take-over are done with the first commit.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "compat.h"
#include "storage/dsm.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "answer.h"
#include "backlog.h"
#include "catalogue.h"
#include "credential.h"
#include "fault.h"
#include "fence.h"
#include "job.h"
#include "journal.h"
#include "pace.h"
#include "payment.h"
#include "place.h"
#include "problem.h"
#include "record.h"
#include "reply.h"
#include "request.h"
#include "state.h"
#include "statement.h"
#include "ticket.h"
#include "transport.h"
#include "verdict.h"
#include "watch.h"

/* ----------
 * Admission
 * ----------
 */

/* The job that a session with this request can wait for; NULL if there is none. */
static DpJob *
find_joinable(const DpAsk *ask)
{
	DpJob	   *job;

	if (ask->command != DP_PAY && ask->command != DP_STATUS && ask->command != DP_PRICE_LIST)
		return NULL;
	job = dp_job_find(ask->command, NULL, ask->server, NULL, ask->ref_id);
	if (job != NULL && ask->command == DP_PRICE_LIST &&
		(job->ask.prepaid != ask->prepaid || strcmp(job->ask.code, ask->code) != 0))
		return NULL;
	return job;
}

/* Is what this asks for in our hands already, so that it needs no place? */
bool
dp_payment_is_known(const DpAsk *ask)
{
	return find_joinable(ask) != NULL;
}

/* Answer PY002: the ref_id is that of a payment on its way, of another bill. */
static void
answer_other_bill(const DpWaiter *waiter, const char *ref_id)
{
	DpAnswer	answer = {.kind = DP_ANSWER_PROBLEM};

	dp_problem_set(&answer.problem, DP_ERRCODE_OTHER_BILL,
				   psprintf("ref_id \"%s\" belongs to another bill", ref_id));
	dp_problem_detail(&answer.problem, "%s",
					  "A payment with this ref_id and another code, customer_no or testing is on its way.");
	dp_problem_hint(&answer.problem, "Use a new ref_id for each bill.");
	dp_mailbox_reply(waiter, &answer);
}

/*
 * Where the same payment or question is in our hands already, let the session
 * wait for that.  The request must have been taken.  False if it is a new one.
 */
bool
dp_payment_join(const DpAsk *ask, const DpWaiter *waiter)
{
	DpJob	   *job = find_joinable(ask);

	if (job == NULL)
		return false;
	if (ask->command == DP_PAY &&
		(strcmp(job->ask.code, ask->code) != 0 ||
		 strcmp(job->ask.customer_no, ask->customer_no) != 0 ||
		 job->ask.testing != ask->testing))
		answer_other_bill(waiter, ask->ref_id);
	else
	{
		DpAnswer	row = {.kind = DP_ANSWER_ROW};

		dp_job_add_waiter(job, waiter);
		/* who is told that it could not leave must not find it paid later */
		job->from_queue = false;
		if (job->step == DP_STEP_ASIDE)
			dp_job_answer(job, &row);
	}
	return true;
}

/* Copy a call-back's body out of the session's shared memory. */
static void
fetch_body(DpJob *job)
{
	dsm_segment *segment = dsm_attach((dsm_handle) job->ask.body_handle);
	char	   *body;

	if (segment == NULL)
		return;					/* the session has gone */
	if (dsm_segment_map_length(segment) >= job->ask.body_len)
	{
		body = MemoryContextAlloc(job->context, job->ask.body_len + 1);
		memcpy(body, dsm_segment_address(segment), job->ask.body_len);
		job->response.body = body;
		job->response.body_len = job->ask.body_len;
		job->response.complete = true;
		job->response.departed = true;
		job->response.http_status = 200;	/* as if it had come as a reply */
	}
	dsm_detach(segment);
}

/* Does it send anything, so that it takes a place? */
bool
dp_payment_needs_place(const DpAsk *ask)
{
	return ask->command != DP_WEBHOOK && ask->command != DP_TAKE_OVER &&
		ask->command != DP_WAIT;
}

/* Is it about the account, and not about a bill? */
static bool
is_about_account(const DpAsk *ask)
{
	return ask->command == DP_BALANCE || ask->command == DP_DEPOSIT ||
		ask->command == DP_PRICE_LIST;
}

/* A new job in its first step, with its place taken. */
static DpJob *
admit(const DpAsk *ask)
{
	DpJob	   *job = dp_job_new(ask);

	if (dp_payment_needs_place(ask))
	{
		job->has_place = true;
		dp_place_take(ask->server);
	}
	dp_job_set_step(job, DP_STEP_ADMITTED);
	return job;
}

/* Take a session's request into our hands; the next turn goes on with it. */
void
dp_payment_admit(const DpAsk *ask, const DpWaiter *waiter)
{
	DpJob	   *job = admit(ask);

	dp_job_add_waiter(job, waiter);
}

/*
 * Take on what dp_backlog_next has given out.  What a session has asked for in
 * the same moment is in our hands already.
 */
void
dp_payment_admit_due(const DpAsk *ask)
{
	DpJob	   *job;

	if (dp_job_find(DP_PAY, NULL, ask->server, NULL, ask->ref_id) != NULL ||
		dp_job_find(DP_STATUS, NULL, ask->server, NULL, ask->ref_id) != NULL)
	{
		dp_backlog_done(ask);
		return;
	}
	job = admit(ask);
	job->from_queue = true;
	job->from_backlog = true;
}

/* ----------
 * Before it leaves
 * ----------
 */

/* Is there something that forbids all payments to this server at present? */
static void
find_veto(const DpJob *job, DpProblem *veto)
{
	TimestampTz until;

	veto->sqlerrcode = 0;
	if (dp_fence()->state != DP_FENCE_OPEN)
		dp_fence_problem(dp_fence(), veto);
	else if (job->account.paused)
	{
		dp_problem_set(veto, DP_ERRCODE_PAUSED,
					   psprintf("server \"%s\" is paused", job->account.server_name));
		dp_problem_hint(veto, "Its owner ends that with ALTER SERVER ... OPTIONS (SET paused 'false').");
	}
	else if (dp_backlog_rests(job->ask.server, &until))
	{
		dp_problem_set(veto, DP_ERRCODE_PAUSED,
					   psprintf("server \"%s\" rests: the provider has said that there are too many requests",
								job->account.server_name));
		dp_problem_detail(veto, "Nothing was sent.  Payments go on in %ld seconds.",
						  (long) ((until - GetCurrentTimestamp()) / USECS_PER_SEC + 1));
		dp_problem_hint(veto, "Call again then, or use digipay_submit, which waits by itself.");
	}
	else if (dp_journal_is_tampered_with())
	{
		dp_problem_set(veto, DP_ERRCODE_NO_WORKER,
					   "the journal has a trigger or rule that could change a payment");
		dp_problem_detail(veto, "Nothing was sent.");
		dp_problem_hint(veto, "Drop the rules and the BEFORE triggers of digipay_payment, then call again.");
	}
}

/*
 * May the intent of this payment be written?  If not, the job says why.
 */
static bool
prepare_payment(DpJob *job)
{
	DpProblem  *problem = &job->answer.problem;
	DpProblem	veto;
	Datum		row;

	find_veto(job, &veto);
	if (veto.sqlerrcode != 0)
	{
		if (!job->from_backlog)
			job->intent = dp_journal_vetoed(&job->ask, &job->account, &veto, problem);
		else if (veto.sqlerrcode == DP_ERRCODE_NO_WORKER)
			*problem = veto;	/* worth a line in the log */
		return false;
	}
	if (!dp_journal_must_ask(&job->ask, &job->account))
		return true;
	if (job->from_backlog)
	{
		dp_backlog_changed();	/* taken over since it was read */
		return false;
	}
	/* after a take-over: the queue asks about it first, and then pays */
	job->intent = dp_journal_enqueue(&job->ask, &job->account, 0,
									 "after a take-over, it is first asked whether this was paid already",
									 &row, problem);
	if (job->intent == DP_INTENT_MADE)
	{
		job->intent = DP_INTENT_KNOWN;
		dp_backlog_changed();
	}
	return false;
}

/* Write down that a question is asked, or find out why it is not. */
static void
prepare_question(DpJob *job)
{
	job->intent = DP_INTENT_KNOWN;
	if (dp_verdict_ask(&job->ask, &job->account, &job->outcome) == DP_QUESTION_ASK)
		job->intent = DP_INTENT_MADE;
}

/* Apply a call-back. */
static void
prepare_webhook(DpJob *job)
{
	MemoryContext old = MemoryContextSwitchTo(job->context);

	job->intent = DP_INTENT_KNOWN;
	job->answer.kind = DP_ANSWER_NOTHING;
	fetch_body(job);
	if (job->response.complete &&
		dp_verdict_webhook(&job->ask, &job->account, &job->response, &job->reply,
						   &job->outcome))
	{
		job->answer.kind = DP_ANSWER_ROW;
		strlcpy(job->answer.ref_id, job->ask.ref_id, sizeof(job->answer.ref_id));
	}
	MemoryContextSwitchTo(old);
}

/*
 * Load the account, and build what is to be sent, in the job's own memory.
 * False with a problem in the answer.
 */
static bool
load_and_build(DpJob *job)
{
	MemoryContext old = MemoryContextSwitchTo(job->context);
	bool		sends = job->ask.command != DP_WEBHOOK;
	bool		good;

	dp_request_wipe(&job->request); /* left by a try that failed */
	good = dp_account_load(job->ask.server, sends, &job->account, &job->answer.problem);
	if (good)
		dp_place_limit(job->ask.server, job->account.max_in_flight);
	if (good && sends)
		good = dp_request_build(&job->ask, &job->account, &job->request, &job->answer.problem);
	dp_account_wipe(&job->account);
	MemoryContextSwitchTo(old);
	return good;
}

/* What is known already is answered with its row. */
static void
answer_known(DpJob *job)
{
	if (job->intent == DP_INTENT_KNOWN && job->answer.kind == DP_ANSWER_PROBLEM)
		job->answer.kind = DP_ANSWER_ROW;
}

/*
 * Prepare one admitted job, in the turn's transaction.  What must not be sent
 * gets its answer here.  True for a payment whose intent is to be written now, by
 * dp_payment_intend; all else is ready.
 */
bool
dp_payment_prepare(DpJob *job)
{
	job->answer.kind = DP_ANSWER_PROBLEM;
	job->intent = DP_INTENT_REFUSED;
	memset(&job->outcome, 0, sizeof(DpOutcome));
	if (job->ask.command == DP_TAKE_OVER)
	{
		dp_fence_take_over(NameStr(job->ask.requested_by), job->ask.lost_nothing);
		job->intent = DP_INTENT_KNOWN;
		job->answer.kind = DP_ANSWER_NOTHING;
		dp_backlog_forget();
		return false;
	}
	if (!load_and_build(job))
		return false;
	DP_FAULT(DP_FAULT_BEFORE_INTENT);
	switch (job->ask.command)
	{
		case DP_PAY:
			if (prepare_payment(job))
				return true;
			break;
		case DP_STATUS:
			prepare_question(job);
			break;
		case DP_WEBHOOK:
			prepare_webhook(job);
			break;
		case DP_INQUIRE:
			if (dp_journal_may_inquire(&job->ask, &job->account, &job->answer.problem))
				job->intent = DP_INTENT_MADE;
			break;
		case DP_DEPOSIT:
			job->ask.ticket = dp_ticket_intend(&job->ask, &job->account);
			job->intent = DP_INTENT_MADE;
			break;
		case DP_PRICE_LIST:
			job->intent = dp_list_intend(&job->ask, &job->account, &job->answer.problem);
			break;
		default:
			job->intent = DP_INTENT_MADE;
			break;
	}
	answer_known(job);
	return false;
}

/* Write the intents of payments that are prepared, all in one statement. */
void
dp_payment_intend(DpJob **jobs, int n)
{
	DpEntry    *entries = palloc0(Max(n, 1) * sizeof(DpEntry));
	bool		made = false;

	for (int i = 0; i < n; i++)
	{
		entries[i].ask = &jobs[i]->ask;
		entries[i].account = &jobs[i]->account;
		entries[i].claim = jobs[i]->from_backlog;
		entries[i].problem = &jobs[i]->answer.problem;
		entries[i].outcome = &jobs[i]->outcome;
	}
	dp_journal_leave(entries, n);
	for (int i = 0; i < n; i++)
	{
		jobs[i]->intent = entries[i].intent;
		made = made || entries[i].intent == DP_INTENT_MADE;
		answer_known(jobs[i]);
	}
	pfree(entries);
	if (made)
		dp_transaction_hold_journal(true);
}

/*
 * The same payment is in flight under another server's name: wait for that one,
 * or take the row as it stands if it is in nobody's hands.
 */
static void
join_by_account(DpJob *job)
{
	DpAnswer	row = {.kind = DP_ANSWER_ROW};
	DpJob	   *other = dp_job_find(DP_PAY, job, InvalidOid, job->account.account,
									job->ask.ref_id);

	if (other == NULL || other->step == DP_STEP_ASIDE)
		dp_job_answer(job, &row);
	else
	{
		dp_job_move_waiters(job, other);
		other->from_queue = false;
	}
}

/* Forget a job, and count what has become of it. */
static void
end(DpJob *job)
{
	if (job->from_backlog)
		dp_backlog_done(&job->ask);
	dp_job_end(job);
}

/* Add to one of our own counters; nobody else writes them. */
static void
count(pg_atomic_uint64 *counter, uint64 more)
{
	pg_atomic_write_u64(counter, pg_atomic_read_u64(counter) + more);
}

/*
 * A payment has become final, and that is committed: count it, and tell
 * everybody.
 */
void
dp_payment_tell(const char *server, const char *ref_id, DpState state)
{
	count(&dp_mailbox_stats_of_mine()->outcomes[state], 1);
	dp_watch_final(server, ref_id, state);
}

/* The same for what a job has written, if that was news. */
static void
tell(DpJob *job)
{
	if (job->outcome.became_final)
		dp_payment_tell(job->account.server_name, job->ask.ref_id, job->outcome.state);
}

/* Hand to the transport; false if that could not even begin. */
static bool
send(DpJob *job)
{
	DP_FAULT(DP_FAULT_AFTER_INTENT);
	job->sent_at = GetCurrentTimestamp();
	job->transfer = dp_transport_start(&job->request, job);
	return job->transfer != NULL;
}

/* Log, at most once a minute, why what is queued or open is not gone on with. */
static void
log_hindrance(const DpJob *job)
{
	static TimestampTz logged_at = 0;
	const DpProblem *problem = &job->answer.problem;

	if (job->answer.kind != DP_ANSWER_PROBLEM || problem->sqlerrcode == 0 ||
		!TimestampDifferenceExceeds(logged_at, GetCurrentTimestamp(), 60000))
		return;
	logged_at = GetCurrentTimestamp();
	ereport(LOG,
			(errcode(problem->sqlerrcode),
			 errmsg("digipay cannot go on with payment \"%s\": %s", job->ask.ref_id,
					problem->message),
			 problem->hint[0] ? errhint("%s", problem->hint) : 0));
}

/* The intent is on disk: send, or answer what must not be sent. */
void
dp_payment_go_on(DpJob *job)
{
	switch (job->intent)
	{
		case DP_INTENT_MADE:
			if (send(job))
			{
				dp_job_set_step(job, DP_STEP_OUT);
				return;
			}
			memset(&job->response, 0, sizeof(DpResponse));
			strlcpy(job->response.error, "the request could not be started",
					sizeof(job->response.error));
			dp_job_set_step(job, DP_STEP_BACK);
			return;
		case DP_INTENT_SENDING:
			join_by_account(job);
			break;
		case DP_INTENT_KNOWN:
		case DP_INTENT_REFUSED:
			if (job->ask.command == DP_WEBHOOK)
				count(&dp_mailbox_stats_of_mine()->webhooks, 1);
			if (job->from_backlog)
				log_hindrance(job);
			if (job->ask.command == DP_STATUS)
				dp_pace_not_asked();
			tell(job);
			dp_job_answer(job, &job->answer);
			break;
	}
	end(job);
}

/* ----------
 * After it has come back
 * ----------
 */

/*
 * Read what came back, in the job's own memory.  Whatever goes wrong here
 * leaves the reply untrusted.
 */
static void
read_reply(DpJob *job)
{
	MemoryContext old = MemoryContextSwitchTo(job->context);

	PG_TRY();
	{
		dp_reply_read(&job->ask, job->account.dialect, &job->response, &job->reply);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(job->context);
		FlushErrorState();
		memset(&job->reply, 0, sizeof(DpReply));
		job->reply.state = DP_UNKNOWN;
		job->reply.reason = "the reply could not be read";
	}
	PG_END_TRY();
	if (job->response.complete && !job->reply.trusted)
		dp_transport_distrust();
	MemoryContextSwitchTo(old);
}

/* Count a request that has left. */
static void
count_departure(const DpJob *job)
{
	DpStats    *stats = dp_mailbox_stats_of_mine();

	if (!job->response.departed)
		return;
	count(&stats->bytes_sent, job->request.body_len);
	if (job->ask.command == DP_PAY)
		count(&stats->sent, 1);
	else if (job->ask.command == DP_STATUS)
		count(&stats->questions, 1);
	if (job->ask.retry)
		count(&stats->retries, 1);
}

/* Note how the transfer went, for the pace and the counters. */
static void
note_transfer(DpJob *job)
{
	DpStats    *stats = dp_mailbox_stats_of_mine();
	uint64		took = (uint64) Max(GetCurrentTimestamp() - job->sent_at, 0);

	count_departure(job);
	count(&stats->bytes_received, job->response.body_len);
	if (job->response.complete)
	{
		count(&stats->replies, 1);
		count(&stats->reply_us, took);
		if (took > pg_atomic_read_u64(&stats->reply_us_max))
			pg_atomic_write_u64(&stats->reply_us_max, took);
	}
	if (job->response.departed)
		dp_backlog_left(job->ask.server);
	else if (job->from_queue && job->ask.command == DP_PAY)
		dp_backlog_could_not_leave(job->ask.server);
	/* what limits other calls does not stop payments */
	if (job->response.complete && !is_about_account(&job->ask) &&
		dp_limit_reached(job->reply.trusted ? job->reply.rc : NULL, job->response.http_status))
		dp_backlog_rest(job->ask.server);
}

/* Take over what the transport has finished. */
void
dp_payment_collect(void)
{
	DpTransfer *transfer;

	while ((transfer = dp_transport_next_done()) != NULL)
	{
		DpJob	   *job = dp_transport_owner(transfer);

		job->response = *dp_transport_response(transfer);
		dp_request_wipe(&job->request);
		read_reply(job);
		note_transfer(job);
		dp_job_set_step(job, DP_STEP_BACK);
	}
}

/*
 * Write what came back to one job, in the turn's transaction, and word the answer.
 * True for a payment, whose outcome is to be written by dp_payment_record_outcomes.
 */
bool
dp_payment_record(DpJob *job)
{
	memset(&job->outcome, 0, sizeof(DpOutcome));
	DP_FAULT(DP_FAULT_BEFORE_OUTCOME);
	switch (job->ask.command)
	{
		case DP_STATUS:
			dp_verdict_answer(&job->ask, &job->account, &job->response, &job->reply,
							  &job->outcome);
			break;
		case DP_INQUIRE:
			dp_record_inquiry(&job->ask, &job->account, &job->response, &job->reply);
			break;
		case DP_BALANCE:
			dp_record_distrusted(&job->ask, &job->account, &job->response, &job->reply);
			break;
		case DP_DEPOSIT:
			dp_ticket_outcome(&job->ask, &job->account, &job->response, &job->reply);
			break;
		case DP_PRICE_LIST:
			dp_list_outcome(&job->ask, &job->account, &job->response, &job->reply);
			break;
		default:
			break;
	}
	dp_answer_word(&job->ask, &job->response, &job->reply, &job->answer);
	return job->ask.command == DP_PAY;
}

/* Write the outcomes of payments, all in one statement. */
void
dp_payment_record_outcomes(DpJob **jobs, int n)
{
	DpEntry    *entries = palloc0(Max(n, 1) * sizeof(DpEntry));

	for (int i = 0; i < n; i++)
	{
		entries[i].ask = &jobs[i]->ask;
		entries[i].account = &jobs[i]->account;
		entries[i].from_queue = jobs[i]->from_queue;
		entries[i].response = &jobs[i]->response;
		entries[i].reply = &jobs[i]->reply;
		entries[i].outcome = &jobs[i]->outcome;
	}
	dp_record_outcomes(entries, n);
	pfree(entries);
}

/* The outcome is on disk: wake whoever waits. */
void
dp_payment_finish(DpJob *job)
{
	DpStats    *stats = dp_mailbox_stats_of_mine();

	DP_FAULT(DP_FAULT_AFTER_OUTCOME);
	if (job->ask.command == DP_PAY && !job->outcome.became_final)
		count(&stats->outcomes[job->outcome.state], 1);
	tell(job);
	dp_job_answer(job, &job->answer);
	/* what is still open is due at some time */
	if (job->ask.command == DP_STATUS ||
		(job->ask.command == DP_PAY && !dp_state_is_final(job->outcome.state)))
		dp_backlog_changed();
	end(job);
}

/* ----------
 * When it cannot go on
 * ----------
 */

/*
 * Leave an outcome for later; whoever waits gets the row as it stands.  The
 * answer to a question is not kept: it is asked again.
 */
void
dp_payment_put_aside(DpJob *job, int pause_ms)
{
	DpAnswer	row = {.kind = DP_ANSWER_ROW};

	if (job->ask.command != DP_PAY && job->ask.command != DP_STATUS)
	{
		row.kind = DP_ANSWER_PROBLEM;
		dp_answer_unwritten(&job->ask, &row.problem);
	}
	if (job->ask.command == DP_PAY || job->ask.command == DP_DEPOSIT)
	{
		dp_job_give_back_place(job);
		if (job->from_backlog)
			dp_backlog_done(&job->ask);
		job->from_backlog = false;
		dp_job_set_step(job, DP_STEP_ASIDE);
		job->due = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), pause_ms);
		dp_job_answer(job, &row);
		return;
	}
	dp_job_answer(job, &row);
	end(job);
}

/* Answer an admitted job whose intent could not be written. */
void
dp_payment_refuse(DpJob *job, const char *why, bool locked)
{
	DpAnswer	answer = {.kind = DP_ANSWER_BUSY};

	if (!locked)
	{
		answer.kind = DP_ANSWER_PROBLEM;
		dp_problem_set(&answer.problem, DP_ERRCODE_NO_WORKER,
					   "the worker could not write to the journal; nothing was sent");
		dp_problem_detail(&answer.problem, "The reason: %s.", why);
		dp_problem_hint(&answer.problem,
						"See the server's log; the same ref_id may be used again.");
	}
	dp_job_answer(job, &answer);
	end(job);
}

/*
 * The worker has to end: whatever is on its way has no answer, and what was put
 * aside has its last chance.  The next turn writes both.
 */
void
dp_payment_give_up(const char *why)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, dp_jobs_in(DP_STEP_ASIDE))
		dlist_container(DpJob, node, iter.cur)->due = 0;
	dlist_foreach_modify(iter, dp_jobs_in(DP_STEP_OUT))
	{
		DpJob	   *job = dlist_container(DpJob, node, iter.cur);

		/* what has not left never will, and may be sent another time */
		job->response.departed = dp_transport_abandon(job->transfer);
		job->response.sent_at = dp_transport_response(job->transfer)->sent_at;
		count_departure(job);
		strlcpy(job->response.error, why, sizeof(job->response.error));
		job->reply.state = DP_UNKNOWN;
		job->reply.reason = why;
		dp_job_set_step(job, DP_STEP_BACK);
	}
}
