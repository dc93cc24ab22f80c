/*-------------------------------------------------------------------------
 *
 * payment.c
 *	  The life of one request in the worker, from the mailbox to its answer.
 *
 * The only file that knows the order of the steps:
 *
 *	admitted	account loaded, body built and signed, intent written
 *	  -- COMMIT, flushed --
 *	out			handed to the transport
 *	back		reply read; outcome written
 *	  -- COMMIT, flushed --
 *	answered	whoever waits is woken
 *
 * All that is admitted or back when a turn begins shares the turn's one
 * transaction, so one flush serves many payments.  Where a statement fails, the
 * request that it was for is the culprit: it is taken out, and the turn begins
 * anew with the rest, so that one locked row never holds up the others.
 *
 * Inquiries and digipay_health's question go the same way without an intent,
 * since no money depends on them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "compat.h"
#include "lib/ilist.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "answer.h"
#include "credential.h"
#include "guc.h"
#include "journal.h"
#include "payment.h"
#include "place.h"
#include "problem.h"
#include "reply.h"
#include "request.h"
#include "state.h"
#include "statement.h"
#include "transport.h"

/*
 * How long an outcome that could not be written is left alone: a locked row for
 * the shorter time; where nothing can be written at all, twice as long each
 * time, up to the longer one.
 */
#define ASIDE_MIN_MS	1000
#define ASIDE_MAX_MS	60000

/* So many outcomes that cannot be written, no lock being the reason, are no accident. */
#define STUCK_PAYMENTS	3

typedef enum Step
{
	STEP_ADMITTED,
	STEP_OUT,
	STEP_BACK,
	STEP_ASIDE,					/* back, but the outcome could not be written */
	STEP_ANSWERED
} Step;

typedef struct Payment
{
	dlist_node	node;
	MemoryContext context;		/* holds this struct and all below it */
	Step		step;
	DpAsk		ask;
	DpAccount	account;
	DpRequest	request;
	DpTransfer *transfer;
	DpResponse	response;		/* its body lives as long as the transfer */
	DpReply		reply;
	DpAnswer	answer;
	DpIntent	intent;
	bool		has_place;		/* counted in its server's in_flight */
	bool		was_aside;
	bool		failed;			/* aside, and not because of somebody's lock */
	TimestampTz due;			/* STEP_ASIDE: when to try again */
	int			nwaiters;
	int			room;
	DpWaiter   *waiters;
} Payment;

static MemoryContext payments_context = NULL;
static dlist_head payments = DLIST_STATIC_INIT(payments);
static int	nadmitted = 0;
static int	nback = 0;
static int	naside = 0;
static int	npayments = 0;
static int	nfailed = 0;
static int	trouble_ms = 0;		/* the pause after the last turn that failed */

/* ----------
 * Admission
 * ----------
 */

/* Get ready, once in the worker's life. */
void
dp_payment_init(void)
{
	payments_context = AllocSetContextCreate(TopMemoryContext, "digipay payments",
											 ALLOCSET_DEFAULT_SIZES);
	dp_place_init();
}

/* Count a step's change, where it is counted. */
static void
set_step(Payment *payment, Step step)
{
	nadmitted += (step == STEP_ADMITTED) - (payment->step == STEP_ADMITTED);
	nback += (step == STEP_BACK) - (payment->step == STEP_BACK);
	naside += (step == STEP_ASIDE) - (payment->step == STEP_ASIDE);
	payment->step = step;
}

static void
set_failed(Payment *payment, bool failed)
{
	nfailed += failed - payment->failed;
	payment->failed = failed;
}

static void
give_back_place(Payment *payment)
{
	if (payment->has_place)
	{
		dp_place_give_back(payment->ask.server);
		payment->has_place = false;
	}
}

static void
add_waiter(Payment *payment, const DpWaiter *waiter)
{
	if (payment->nwaiters == payment->room)
	{
		payment->room *= 2;
		payment->waiters = repalloc(payment->waiters, payment->room * sizeof(DpWaiter));
	}
	payment->waiters[payment->nwaiters++] = *waiter;
}

/*
 * Wake all who wait for this payment.  The account in the answer is the one
 * that the payment was made under, which need not be the one that the session
 * has read.
 */
static void
answer_waiters(Payment *payment, DpAnswer *answer)
{
	if (payment->account.account != NULL)
		strlcpy(answer->account, payment->account.account, sizeof(answer->account));
	for (int i = 0; i < payment->nwaiters; i++)
		dp_mailbox_reply(&payment->waiters[i], answer);
	payment->nwaiters = 0;
}

static void
answer_problem(const DpWaiter *waiter, int sqlerrcode, const char *message,
			   const char *detail, const char *hint)
{
	DpAnswer	answer = {.kind = DP_ANSWER_PROBLEM};

	dp_problem_set(&answer.problem, sqlerrcode, message);
	dp_problem_detail(&answer.problem, "%s", detail);
	dp_problem_hint(&answer.problem, hint);
	dp_mailbox_reply(waiter, &answer);
}

/* Forget a payment; what it owned goes with it. */
static void
end_payment(Payment *payment)
{
	set_step(payment, STEP_ANSWERED);
	give_back_place(payment);
	set_failed(payment, false);
	if (payment->transfer != NULL)
		dp_transport_release(payment->transfer);
	dp_request_wipe(&payment->request);
	dp_account_wipe(&payment->account);
	dlist_delete(&payment->node);
	npayments--;
	MemoryContextDelete(payment->context);
}

/* The payment in our hands that this asks for; by server or by account. */
static Payment *
find_payment(Oid server, const char *account, const char *ref_id)
{
	dlist_iter	iter;

	dlist_foreach(iter, &payments)
	{
		Payment    *payment = dlist_container(Payment, node, iter.cur);

		if (payment->ask.command == DP_PAY &&
			strcmp(payment->ask.ref_id, ref_id) == 0 &&
			(payment->ask.server == server ||
			 (account != NULL && payment->account.account != NULL &&
			  strcmp(payment->account.account, account) == 0)))
			return payment;
	}
	return NULL;
}

/* Is the payment that this asks for in our hands, so that it needs no place? */
bool
dp_payment_is_known(const DpAsk *ask)
{
	return ask->command == DP_PAY &&
		find_payment(ask->server, NULL, ask->ref_id) != NULL;
}

/*
 * Where the same payment is in our hands already, let the session wait for
 * that.  The request must have been taken.  False if it is a new one.
 */
bool
dp_payment_join(const DpAsk *ask, const DpWaiter *waiter)
{
	Payment    *payment;

	if (ask->command != DP_PAY)
		return false;
	payment = find_payment(ask->server, NULL, ask->ref_id);
	if (payment == NULL)
		return false;
	if (strcmp(payment->ask.code, ask->code) != 0 ||
		strcmp(payment->ask.customer_no, ask->customer_no) != 0 ||
		payment->ask.testing != ask->testing)
		answer_problem(waiter, DP_ERRCODE_OTHER_BILL,
					   psprintf("ref_id \"%s\" belongs to another bill", ask->ref_id),
					   "A payment with this ref_id and another code, customer_no or testing is on its way.",
					   "Use a new ref_id for each bill.");
	else if (payment->step == STEP_ASIDE)
	{
		DpAnswer	row = {.kind = DP_ANSWER_ROW};

		add_waiter(payment, waiter);
		answer_waiters(payment, &row);
	}
	else
		add_waiter(payment, waiter);
	return true;
}

/* Take a new request into our hands; the next turn goes on with it. */
void
dp_payment_admit(const DpAsk *ask, const DpWaiter *waiter)
{
	MemoryContext context = AllocSetContextCreate(payments_context, "digipay payment",
												  ALLOCSET_SMALL_SIZES);
	Payment    *payment = MemoryContextAllocZero(context, sizeof(Payment));

	payment->context = context;
	payment->step = STEP_ANSWERED;
	payment->ask = *ask;
	payment->room = 4;
	payment->waiters = MemoryContextAlloc(context, payment->room * sizeof(DpWaiter));
	add_waiter(payment, waiter);
	payment->has_place = true;
	dp_place_take(ask->server);
	npayments++;
	dlist_push_tail(&payments, &payment->node);
	set_step(payment, STEP_ADMITTED);
}

/* ----------
 * Before it leaves
 * ----------
 */

/*
 * Prepare one admitted request, in the turn's transaction, up to its intent.
 * What must not be sent gets its answer here.
 */
static void
prepare(Payment *payment)
{
	MemoryContext old = MemoryContextSwitchTo(payment->context);
	DpProblem  *problem = &payment->answer.problem;
	bool		good;

	dp_request_wipe(&payment->request); /* left by a try that failed */
	payment->answer.kind = DP_ANSWER_PROBLEM;
	payment->intent = DP_INTENT_REFUSED;
	good = dp_account_load(payment->ask.server, true, &payment->account, problem);
	if (good)
	{
		dp_place_limit(payment->ask.server, payment->account.max_in_flight);
		good = dp_request_build(&payment->ask, &payment->account, &payment->request, problem);
	}
	dp_account_wipe(&payment->account);
	MemoryContextSwitchTo(old);
	if (!good)
		return;

	switch (payment->ask.command)
	{
		case DP_PAY:
			payment->intent = dp_journal_intend(&payment->ask, &payment->account, problem);
			if (payment->intent == DP_INTENT_MADE)
				dp_transaction_hold_journal(true);
			break;
		case DP_INQUIRE:
			if (dp_journal_may_inquire(&payment->ask, &payment->account, problem))
				payment->intent = DP_INTENT_MADE;
			break;
		case DP_PROBE:
			payment->intent = DP_INTENT_MADE;
			break;
	}
}

/*
 * The same payment is in flight under another server's name: wait for that one,
 * or take the row as it stands if it is in nobody's hands.
 */
static void
join_by_account(Payment *payment)
{
	DpAnswer	row = {.kind = DP_ANSWER_ROW};
	Payment    *other;

	dlist_delete(&payment->node);	/* so as not to find itself */
	other = find_payment(InvalidOid, payment->account.account, payment->ask.ref_id);
	dlist_push_tail(&payments, &payment->node);
	if (other == NULL || other->step == STEP_ASIDE)
		answer_waiters(payment, &row);
	else
	{
		for (int i = 0; i < payment->nwaiters; i++)
			add_waiter(other, &payment->waiters[i]);
		payment->nwaiters = 0;
	}
	end_payment(payment);
}

/* The intent is on disk: send, or answer what must not be sent. */
static void
go_on_after_intent(Payment *payment)
{
	switch (payment->intent)
	{
		case DP_INTENT_MADE:
			payment->transfer = dp_transport_start(&payment->request, payment);
			if (payment->transfer != NULL)
			{
				set_step(payment, STEP_OUT);
				return;
			}
			memset(&payment->response, 0, sizeof(DpResponse));
			strlcpy(payment->response.error, "the request could not be started",
					sizeof(payment->response.error));
			set_step(payment, STEP_BACK);
			return;
		case DP_INTENT_SENDING:
			join_by_account(payment);
			return;
		case DP_INTENT_KNOWN:
			payment->answer.kind = DP_ANSWER_ROW;
			break;
		case DP_INTENT_REFUSED:
			break;
	}
	answer_waiters(payment, &payment->answer);
	end_payment(payment);
}

/* ----------
 * After it has come back
 * ----------
 */

/*
 * Read what came back, in the payment's own memory.  Whatever goes wrong here
 * leaves the reply untrusted.
 */
static void
read_reply(Payment *payment)
{
	MemoryContext old = MemoryContextSwitchTo(payment->context);

	PG_TRY();
	{
		dp_reply_read(&payment->ask, &payment->response, &payment->reply);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(payment->context);
		FlushErrorState();
		memset(&payment->reply, 0, sizeof(DpReply));
		payment->reply.state = DP_UNKNOWN;
		payment->reply.reason = "the reply could not be read";
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old);
}

/* Take over what the transport has finished. */
void
dp_payment_collect(void)
{
	DpTransfer *transfer;

	while ((transfer = dp_transport_next_done()) != NULL)
	{
		Payment    *payment = dp_transport_owner(transfer);

		payment->response = *dp_transport_response(transfer);
		dp_request_wipe(&payment->request);
		read_reply(payment);
		set_step(payment, STEP_BACK);
	}
}

/* Write one outcome, in the turn's transaction, and word the answer. */
static void
record(Payment *payment)
{
	switch (payment->ask.command)
	{
		case DP_PAY:
			dp_journal_outcome(&payment->ask, &payment->account,
							   &payment->response, &payment->reply);
			break;
		case DP_INQUIRE:
			dp_journal_inquiry(&payment->ask, &payment->account,
							   &payment->response, &payment->reply);
			break;
		case DP_PROBE:
			break;
	}
	dp_answer_word(&payment->ask, &payment->response, &payment->reply, &payment->answer);
}

/* ----------
 * The turn
 * ----------
 */

/* Leave an outcome for later; whoever waits gets the row as it stands. */
static void
put_aside(Payment *payment, int pause_ms)
{
	DpAnswer	row = {.kind = DP_ANSWER_ROW};

	/* an inquiry or a probe has nothing that must not be lost */
	if (payment->ask.command != DP_PAY)
	{
		DpAnswer	trouble = {.kind = DP_ANSWER_PROBLEM};

		dp_problem_set(&trouble.problem, DP_ERRCODE_NO_ANSWER,
					   "the answer could not be written to the database");
		dp_problem_hint(&trouble.problem, "See the server's log; then call again.");
		answer_waiters(payment, &trouble);
		end_payment(payment);
		return;
	}
	give_back_place(payment);
	set_step(payment, STEP_ASIDE);
	payment->due = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), pause_ms);
	answer_waiters(payment, &row);
}

/* Was it somebody else's lock, which will be gone sooner or later? */
static bool
is_lock_error(const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ||
		error->sqlerrcode == ERRCODE_T_R_DEADLOCK_DETECTED;
}

/* Answer an admitted request whose intent could not be written. */
static void
refuse(Payment *payment, const ErrorData *error)
{
	DpAnswer	answer = {.kind = DP_ANSWER_BUSY};

	if (!is_lock_error(error))
	{
		answer.kind = DP_ANSWER_PROBLEM;
		dp_problem_set(&answer.problem, DP_ERRCODE_NO_WORKER,
					   "the worker could not write to the journal; nothing was sent");
		dp_problem_detail(&answer.problem, "The reason: %s.", error->message);
		dp_problem_hint(&answer.problem,
						"See the server's log; the same ref_id may be used again.");
	}
	answer_waiters(payment, &answer);
	end_payment(payment);
}

/*
 * One try at the turn's transaction.  *culprit is whose statement is being run,
 * for the error handler.
 */
static DpTurn
try_turn(Payment *volatile *culprit)
{
	dlist_iter	iter;

	if (!dp_transaction_begin())
		return DP_TURN_UNINSTALLED;
	dlist_foreach(iter, &payments)
	{
		Payment    *payment = dlist_container(Payment, node, iter.cur);

		*culprit = payment;
		if (payment->step == STEP_BACK)
			record(payment);
		else if (payment->step == STEP_ADMITTED)
			prepare(payment);
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
	dlist_foreach_modify(iter, &payments)
	{
		Payment    *payment = dlist_container(Payment, node, iter.cur);

		if (payment->step == STEP_ADMITTED)
			go_on_after_intent(payment);
		else if (payment->step == STEP_BACK)
			give_back_place(payment);
	}
	dlist_foreach_modify(iter, &payments)
	{
		Payment    *payment = dlist_container(Payment, node, iter.cur);

		/* what could not be started is back as well, but not yet written */
		if (payment->step == STEP_BACK && !payment->has_place)
		{
			answer_waiters(payment, &payment->answer);
			end_payment(payment);
		}
	}
}

/* Nothing could be written at all: refuse what is new, keep what is back. */
static void
turn_failed(const ErrorData *error)
{
	dlist_mutable_iter iter;

	trouble_ms = Min(Max(trouble_ms * 2, ASIDE_MIN_MS), ASIDE_MAX_MS);
	dlist_foreach_modify(iter, &payments)
	{
		Payment    *payment = dlist_container(Payment, node, iter.cur);

		if (payment->step == STEP_ADMITTED)
			refuse(payment, error);
		else if (payment->step == STEP_BACK)
			put_aside(payment, trouble_ms);
	}
}

/* Keep the bytes of a reply whose outcome has to wait, if that is possible. */
static void
save_bytes(Payment *payment)
{
	MemoryContext old = CurrentMemoryContext;

	if (payment->was_aside || payment->ask.command != DP_PAY)
		return;
	payment->was_aside = true;
	PG_TRY();
	{
		if (dp_transaction_begin())
		{
			dp_journal_unrecorded(&payment->ask, &payment->account, &payment->response);
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
log_trouble(const ErrorData *error, const Payment *culprit)
{
	static TimestampTz last = 0;
	TimestampTz now = GetCurrentTimestamp();

	if (!TimestampDifferenceExceeds(last, now, 1000))
		return;
	last = now;
	ereport(LOG,
			(errcode(error->sqlerrcode),
			 errmsg("digipay could not write to the journal: %s", error->message),
			 culprit == NULL ? 0 :
			 errdetail("The payment is \"%s\".", culprit->ask.ref_id),
			 errhint("What is on its way is kept and tried again.")));
}

/*
 * Handle the error of one try.  True if the turn shall begin anew.
 */
static bool
handle_error(Payment *culprit, int *failures)
{
	ErrorData  *error;
	bool		again = true;

	MemoryContextSwitchTo(payments_context);
	error = CopyErrorData();
	FlushErrorState();
	dp_transaction_abort();
	MemoryContextSwitchTo(payments_context);

	(*failures)++;
	log_trouble(error, culprit);
	dp_transaction_be_patient(false);
	/* whole tables may be locked: do not try each payment for itself */
	if (culprit == NULL || *failures > 10)
	{
		turn_failed(error);
		again = false;
	}
	else if (culprit->step == STEP_ADMITTED)
		refuse(culprit, error);
	else
	{
		save_bytes(culprit);
		set_failed(culprit, !is_lock_error(error));
		put_aside(culprit, ASIDE_MIN_MS);
	}
	FreeErrorData(error);
	return again;
}

/*
 * One turn: write all intents and outcomes that are ready, commit, and go on
 * with what that allows.
 */
DpTurn
dp_payment_turn(void)
{
	TimestampTz now = naside > 0 ? GetCurrentTimestamp() : 0;
	MemoryContext old = CurrentMemoryContext;
	dlist_iter	iter;
	int			failures = 0;
	volatile bool again = true;
	volatile DpTurn turn = DP_TURN_DONE;
	volatile bool written = false;

	if (naside > 0)
	{
		dlist_foreach(iter, &payments)
		{
			Payment    *payment = dlist_container(Payment, node, iter.cur);

			if (payment->step == STEP_ASIDE && payment->due <= now)
				set_step(payment, STEP_BACK);
		}
	}
	while (again && nadmitted + nback > 0)
	{
		Payment    *volatile culprit = NULL;

		again = false;
		PG_TRY();
		{
			turn = try_turn(&culprit);
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
		go_on();
	}
	dp_transaction_hold_journal(npayments > 0);
	return turn;
}

/* Is there anything for a turn to write now? */
bool
dp_payment_turn_is_due(void)
{
	return nadmitted + nback > 0 || dp_payment_timeout() == 0;
}

/* Milliseconds until an outcome that was put aside is due, -1 if none is. */
long
dp_payment_timeout(void)
{
	TimestampTz now;
	TimestampTz first = DT_NOEND;
	dlist_iter	iter;

	if (naside == 0)
		return -1;
	dlist_foreach(iter, &payments)
	{
		Payment    *payment = dlist_container(Payment, node, iter.cur);

		if (payment->step == STEP_ASIDE)
			first = Min(first, payment->due);
	}
	now = GetCurrentTimestamp();
	return first <= now ? 0 : (long) ((first - now + 999) / 1000);
}

/*
 * Milliseconds for which nothing new should be taken on, since the last turn
 * could write nothing at all; 0 when all is well.
 */
int
dp_payment_trouble(void)
{
	return trouble_ms;
}

/*
 * Do outcomes fail to be written, one after the other?  Then nothing new should
 * leave.  A single one may be a matter of that row.
 */
bool
dp_payment_is_stuck(void)
{
	return nfailed >= STUCK_PAYMENTS;
}

/* Requests that we have in our hands, in whatever step. */
int
dp_payment_count(void)
{
	return npayments;
}

/*
 * The worker has to end: whatever is on its way has no answer, and what was put
 * aside has its last chance.  The next turn writes both.
 */
void
dp_payment_give_up(const char *why)
{
	dlist_iter	iter;

	dlist_foreach(iter, &payments)
	{
		Payment    *payment = dlist_container(Payment, node, iter.cur);

		payment->due = 0;
		if (payment->step != STEP_OUT)
			continue;
		/* what has not left never will, and may be sent another time */
		payment->response.departed = dp_transport_abandon(payment->transfer);
		payment->response.sent_at = dp_transport_response(payment->transfer)->sent_at;
		strlcpy(payment->response.error, why, sizeof(payment->response.error));
		payment->reply.state = DP_UNKNOWN;
		payment->reply.reason = why;
		set_step(payment, STEP_BACK);
	}
}
