/*-------------------------------------------------------------------------
 *
 * verdict.c
 *	  What status replies and call-backs do to a payment's row.
 *
 * Each function is one step in terms of the journal, and runs in the
 * transaction that its caller has begun (statement.h).  Which event does what is
 * a table in state.c; here is what the table cannot know: how often and for how
 * long the provider has said the same.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "common/hashfn.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "charset.h"
#include "event.h"
#include "fence.h"
#include "problem.h"
#include "record.h"
#include "reply.h"
#include "state.h"
#include "statement.h"
#include "verdict.h"

/* Status questions are at most so far apart, unless the first one is later. */
#define LONGEST_INTERVAL_MS		3600000

/* "Not found" twice, so many intervals apart, is for a person. */
#define NOT_FOUND_INTERVALS		15

/* The same doubtful answer so often, over so long, is for a person. */
#define DOUBTFUL_TIMES			3
#define DOUBTFUL_MS				(24 * 3600 * 1000)

/* A payment's row, as far as a verdict depends on it. */
typedef struct Row
{
	DpState		state;
	bool		contradicted;	/* in review, out of a final state */
	char	   *code;
	char	   *customer_no;
	bool		testing;
	char	   *server;
	TimestampTz left_at;		/* when it left last, or was asked for */
	TimestampTz requested_at;
} Row;

/* The state of that label; one that the library does not know is an error. */
static DpState
state_or_error(const char *name)
{
	DpState		state;

	if (name == NULL || !dp_state_from_name(name, &state))
		elog(ERROR, "unrecognized payment state \"%s\"", name ? name : "");
	return state;
}

/* ----------
 * Asking
 * ----------
 */

/*
 * Milliseconds from the asked-th question (from 1) to the next: the first
 * interval doubled each time, and up to a quarter more, so that what went
 * wrong together is not asked about together.  The same for the same payment
 * and question, so that it can be told from next_check_at when the last one
 * was asked.
 */
static int
question_pause(int interval, int asked, const char *ref_id)
{
	int64		longest = Max(interval, LONGEST_INTERVAL_MS);
	int64		pause = Min((int64) interval << Min(asked, 30), longest);
	uint32		hash = hash_bytes((const unsigned char *) ref_id, strlen(ref_id)) ^
		hash_bytes_uint32((uint32) asked);

	return (int) Min(pause + pause / 4 * (hash & 255) / 255, INT_MAX);
}

/* Nothing more is to be expected by itself: leave the payment to a person. */
static void
give_to_person(const DpAsk *ask, const DpAccount *account, const char *why,
			   DpOutcome *outcome)
{
	static const DpResponse no_response;
	static const DpReply no_reply;
	DpParams	params = {0};

	dp_param_text(&params, account->account);
	dp_param_text(&params, ask->ref_id);
	(void) dp_record_add_reply(&params, &no_response, &no_reply, why);
	dp_param_text(&params, dp_state_name(DP_REVIEW));
	dp_param(&params, BoolGetDatum(false));
	dp_param(&params, BoolGetDatum(false));
	dp_param_null(&params);
	dp_run(DP_SQL_APPLY, &params);
	outcome->became_final = true;
	outcome->state = DP_REVIEW;
}

/*
 * May the provider be asked about this payment now?  If so, that is written
 * down, so that an answer that ends the worker is not asked for in a loop; the
 * question may leave once this transaction has committed.  Where another
 * transaction holds the row, it is another time.
 */
DpQuestion
dp_verdict_ask(const DpAsk *ask, const DpAccount *account, DpOutcome *outcome)
{
	static const DpResponse no_response;
	DpParams	params = {0};
	DpParams	asking = {0};
	TimestampTz now = GetCurrentTimestamp();
	DpState		state;
	int			checks;
	TimestampTz next;
	TimestampTz last;
	char	   *server;
	bool		open;

	dp_param_text(&params, account->account);
	dp_param_text(&params, ask->ref_id);
	dp_param(&params, UUIDPGetDatum(dp_fence_origin()));
	if (dp_run(DP_SQL_FIND_TO_ASK, &params) == 0)
		return DP_QUESTION_NOT_NOW;
	state = state_or_error(dp_result_text(1));
	checks = dp_result_int(2);
	next = dp_result_time(3);
	last = Max(dp_result_time(4), dp_result_time(6));
	server = dp_result_text(7);
	open = dp_state_is_asked_about(state);

	if (open && dp_result_bool(5))
	{
		give_to_person(ask, account, "the provider keeps transactions for 90 days, which are over",
					   outcome);
		return DP_QUESTION_OVER;
	}
	if (state == DP_SENDING || (state == DP_QUEUED && !ask->refresh) ||
		(dp_state_is_final(state) && !ask->refresh))
		return DP_QUESTION_NOT_NOW;
	if ((open || state == DP_QUEUED) && checks > 0 && next != 0 && !TIMESTAMP_NOT_FINITE(next))
		last = Min(TimestampTzPlusMilliseconds(next, -question_pause(account->status_interval,
																	 checks, ask->ref_id)), now);
	else if (open)
		last = dp_result_time(8);
	if (last != 0 && !TimestampDifferenceExceeds(last, now, account->status_interval))
		return DP_QUESTION_NOT_NOW;

	dp_param_text(&asking, account->account);
	dp_param_text(&asking, ask->ref_id);
	dp_param(&asking, Int32GetDatum(question_pause(account->status_interval, checks + 1,
												   ask->ref_id)));
	dp_run(DP_SQL_ASK, &asking);
	if (!open)
		dp_event_write(server, ask->ref_id, "asked",
					   psprintf("by %s", NameStr(ask->requested_by)), &no_response);
	return DP_QUESTION_ASK;
}

/* ----------
 * What the answer does
 * ----------
 */

/* Lock and read the row; false if there is none. */
static bool
find_row(const char *account, const char *ref_id, Row *row)
{
	DpParams	params = {0};

	dp_param_text(&params, account);
	dp_param_text(&params, ref_id);
	if (dp_run(DP_SQL_FIND_TO_JUDGE, &params) == 0)
		return false;
	row->state = state_or_error(dp_result_text(1));
	row->contradicted = row->state == DP_REVIEW && dp_result_bool(2);
	row->code = dp_result_text(3);
	row->customer_no = dp_result_text(4);
	row->testing = dp_result_bool(5);
	row->server = dp_result_text(6);
	row->left_at = dp_result_time(7);
	row->requested_at = dp_result_time(8);
	return true;
}

/*
 * How many events of that kind, and with that note if it is not NULL, are there
 * since the payment left?  *first is when the first one was.
 */
static int
count_events(const Row *row, const char *ref_id, const char *kind, const char *note,
			 TimestampTz *first)
{
	DpParams	params = {0};

	if (row->server != NULL)
		dp_param_name(&params, row->server);
	else
		dp_param_null(&params);
	dp_param_text(&params, ref_id);
	dp_param_text(&params, kind);
	dp_param_text(&params, note);
	dp_param(&params, TimestampTzGetDatum(row->left_at));
	if (dp_run(DP_SQL_COUNT_EVENTS, &params) == 0)
		return 0;
	*first = dp_result_time(2);
	return dp_result_int(1);
}

/*
 * Could a success be nothing but the echo of the ref_id's inquiry?  It is if
 * the balance is still the inquiry's, so that nothing was taken.
 */
static bool
may_echo_inquiry(const Row *row, const char *ref_id, const DpReply *reply)
{
	DpParams	params = {0};

	if (reply->balance == NULL)
		return false;
	dp_param_name(&params, row->server);
	dp_param_text(&params, ref_id);
	dp_param_text(&params, reply->balance);
	return dp_run(DP_SQL_ECHOES_INQUIRY, &params) > 0;
}

/* Write the new state, and what the reply says. */
static void
apply(const DpAsk *ask, const DpAccount *account, const Row *row, DpState state,
	  const char *error, const DpResponse *response, const DpReply *reply, DpOutcome *outcome)
{
	DpParams	params = {0};
	bool		final = dp_state_is_final(state) && state != DP_REVIEW;
	bool		stored;

	dp_param_text(&params, account->account);
	dp_param_text(&params, ask->ref_id);
	stored = dp_record_add_reply(&params, response, reply, error);
	dp_param_text(&params, dp_state_name(state));
	dp_param(&params, BoolGetDatum(reply->trusted));
	dp_param(&params, BoolGetDatum(final));
	dp_param(&params, Int32GetDatum(account->status_interval));
	dp_run(DP_SQL_APPLY, &params);
	outcome->became_final = state != row->state && dp_state_is_final(state);
	outcome->state = state;
	if (!stored)
		dp_event_write(row->server, ask->ref_id, "unstored",
					   "this database cannot hold the reply as jsonb", response);
}

/* A final state is in doubt; it is kept, but for a person to look at. */
static void
contradict(const DpAsk *ask, const DpAccount *account, const Row *row,
		   const DpResponse *response, const DpReply *reply, DpOutcome *outcome)
{
	DpParams	params = {0};
	char	   *words = reply->message != NULL ? dp_from_utf8(reply->message) : NULL;
	char	   *why = psprintf("it was %s, but the provider says rc %s, %s%s%s",
							   dp_state_name(row->state), reply->rc, reply->status,
							   words ? ": " : "", words ? words : "");

	dp_param_text(&params, account->account);
	dp_param_text(&params, ask->ref_id);
	dp_param_text(&params, why);
	dp_run(DP_SQL_CONTRADICT, &params);
	dp_event_write(row->server, ask->ref_id, "contradiction", why, response);
	outcome->became_final = true;
	outcome->state = DP_REVIEW;
}

/* "Not found": an outcome only when it has been said for long. */
static void
not_found(const DpAsk *ask, const DpAccount *account, const Row *row,
		  const DpResponse *response, const DpReply *reply, DpOutcome *outcome)
{
	TimestampTz first = 0;
	int64		apart = (int64) account->status_interval * NOT_FOUND_INTERVALS;
	int			before = count_events(row, ask->ref_id, "not_found", NULL, &first);

	dp_event_write(row->server, ask->ref_id, "not_found", reply->reason, response);
	if (row->state == DP_QUEUED && before > 0)
	{
		DpParams	params = {0};

		/* asked first, after a take-over, and often enough: it may leave now */
		dp_param_text(&params, account->account);
		dp_param_text(&params, ask->ref_id);
		dp_run(DP_SQL_HURRY, &params);
	}
	else if (dp_state_is_asked_about(row->state) && before > 0 &&
		GetCurrentTimestamp() - first >= apart * 1000)
		apply(ask, account, row, DP_REVIEW,
			  "the provider does not know this ref_id, and may never have had it",
			  response, reply, outcome);
}

/* The provider does not know, or its answer is odd: again and again? */
static void
doubtful(const DpAsk *ask, const DpAccount *account, const Row *row,
		 const DpResponse *response, const DpReply *reply, DpOutcome *outcome)
{
	TimestampTz first = 0;
	int			before = count_events(row, ask->ref_id, "doubtful", reply->reason, &first);

	dp_event_write(row->server, ask->ref_id, "doubtful", reply->reason, response);
	if (dp_state_is_asked_about(row->state) && before + 1 >= DOUBTFUL_TIMES &&
		GetCurrentTimestamp() - first >= (int64) DOUBTFUL_MS * 1000)
		apply(ask, account, row, DP_REVIEW,
			  psprintf("the same doubtful answer for a day: %s", reply->reason),
			  response, reply, outcome);
}

/* Has the payment been sent more than once, with digipay_retry? */
static bool
was_retried(const Row *row, const char *ref_id)
{
	Row			ever = *row;
	TimestampTz first;

	/* under whatever server's name; one too many is on the safe side */
	ever.left_at = row->requested_at;
	ever.server = NULL;
	return count_events(&ever, ref_id, "retried", NULL, &first) > 0;
}

/* Do to the row what the table says. */
static void
judge(const DpAsk *ask, const DpAccount *account, const Row *row,
	  const DpResponse *response, const DpReply *reply, DpOutcome *outcome)
{
	DpState		to;
	DpEffect	effect = dp_transition(row->state, row->contradicted, reply->event, &to);

	if (reply->event == DP_EVENT_NOT_FOUND && effect == DP_NOTE)
		not_found(ask, account, row, response, reply, outcome);
	else if (reply->event == DP_EVENT_DOUBTFUL && effect == DP_NOTE &&
			 dp_state_is_asked_about(row->state))
		doubtful(ask, account, row, response, reply, outcome);
	else if (effect == DP_NOTE)
		dp_event_write(row->server, ask->ref_id,
					   reply->event == DP_EVENT_NOTHING ? "untrusted" : "ignored",
					   reply->reason != NULL ? reply->reason :
					   psprintf("an answer that changes nothing, the payment being %s",
								dp_state_name(row->state)),
					   response);
	else if (effect == DP_CONTRADICT)
		contradict(ask, account, row, response, reply, outcome);
	else if (effect == DP_KEEP && dp_state_is_final(row->state))
		return;
	else if (effect == DP_KEEP)
		apply(ask, account, row, row->state, NULL, response, reply, outcome);
	else if (to == DP_SUCCEEDED && row->state != DP_PENDING &&
			 may_echo_inquiry(row, ask->ref_id, reply))
		apply(ask, account, row, DP_REVIEW,
			  "the provider says success, but took nothing: it may be echoing the inquiry",
			  response, reply, outcome);
	else if (to == DP_REJECTED && was_retried(row, ask->ref_id))
		apply(ask, account, row, DP_FAILED, reply->reason, response, reply, outcome);
	else
		apply(ask, account, row, to, reply->reason, response, reply, outcome);
}

/*
 * Write what the answer to a status question does to its payment.  A question
 * that got no answer, or one that says nothing, does nothing.
 */
void
dp_verdict_answer(const DpAsk *ask, const DpAccount *account,
				  const DpResponse *response, const DpReply *reply, DpOutcome *outcome)
{
	Row			row;

	if (!find_row(account->account, ask->ref_id, &row))
		return;
	if (!response->complete)
		dp_event_write(row.server, ask->ref_id, "transport", response->error, response);
	else if (response->departed && row.left_at > response->sent_at)
		/* it is about the time before the payment was sent again */
		dp_event_write(row.server, ask->ref_id, "ignored",
					   "the question was asked before the payment left", response);
	else
		judge(ask, account, &row, response, reply, outcome);
}

/*
 * A call-back about a payment that we do not know: nothing must pay it later.
 * False if somebody has written a row of that ref_id meanwhile, or has long done
 * so under another account.
 */
static bool
add_foreign(const DpAsk *ask, const DpAccount *account, const DpResponse *response,
			const DpReply *reply, DpOutcome *outcome)
{
	DpParams	params = {0};
	Row			row = {.state = DP_QUEUED, .server = account->server_name};

	dp_param_text(&params, ask->ref_id);
	dp_param_text(&params, ask->code);
	dp_param_text(&params, ask->customer_no);
	dp_param_name(&params, account->server_name);
	dp_param_text(&params, account->account);
	dp_param(&params, NameGetDatum(&ask->requested_by));
	dp_param(&params, UUIDPGetDatum(dp_fence_origin()));
	if (dp_run(DP_SQL_ADD_FOREIGN, &params) == 0)
		return false;
	apply(ask, account, &row, DP_REVIEW,
		  "the provider reports a payment that this database does not know",
		  response, reply, outcome);
	dp_event_write(account->server_name, ask->ref_id, "webhook",
				   "the provider reports a payment that this database does not know", response);
	return true;
}

/* Is it what a payment's argument may be made of? */
static bool
is_ascii(const char *text)
{
	for (; *text; text++)
	{
		if (*text < ' ' || *text > '~')
			return false;
	}
	return true;
}

/* Take what the reply says of itself for what was asked; false if it cannot be. */
static bool
take_key(DpAsk *ask, const DpReply *reply)
{
	const char *code = reply->code != NULL ? reply->code : "";
	const char *customer_no = reply->customer_no != NULL ? reply->customer_no : "";

	if (reply->ref_id == NULL || reply->ref_id[0] == '\0' ||
		strlen(reply->ref_id) > DP_REF_ID_MAX || strlen(code) > DP_CODE_MAX ||
		strlen(customer_no) > DP_CUSTOMER_NO_MAX)
		return false;
	strlcpy(ask->ref_id, reply->ref_id, sizeof(ask->ref_id));
	strlcpy(ask->code, code, sizeof(ask->code));
	strlcpy(ask->customer_no, customer_no, sizeof(ask->customer_no));
	return is_ascii(ask->ref_id) && is_ascii(ask->code) && is_ascii(ask->customer_no);
}

/*
 * Apply a well-signed call-back; response holds its body.  False if it is about
 * no payment: a ping, or something that cannot be read, which becomes an event.
 * Otherwise ask->ref_id tells which.
 */
bool
dp_verdict_webhook(DpAsk *ask, const DpAccount *account, const DpResponse *response,
				   DpReply *reply, DpOutcome *outcome)
{
	Row			row;
	bool		known;

	if (!dp_reply_parse(account->dialect, response, reply) || !take_key(ask, reply))
	{
		if (reply->data != NULL || reply->reason == NULL || !dp_reply_is_ping(response))
			dp_event_write(account->server_name, "", "untrusted",
						   reply->reason != NULL ? reply->reason :
						   "a call-back that names no usable ref_id", response);
		return false;
	}
	known = find_row(account->account, ask->ref_id, &row);
	if (!known)
	{
		dp_reply_judge(ask, response, reply);
		if (add_foreign(ask, account, response, reply, outcome))
			return true;
		known = find_row(account->account, ask->ref_id, &row);
	}
	if (!known)
	{
		dp_event_write(account->server_name, ask->ref_id, "webhook",
					   "the ref_id was used under another account", response);
		return false;
	}
	strlcpy(ask->code, row.code, sizeof(ask->code));
	strlcpy(ask->customer_no, row.customer_no, sizeof(ask->customer_no));
	dp_reply_judge(ask, response, reply);
	judge(ask, account, &row, response, reply, outcome);
	return true;
}
